//! The methods of [`AuditStore`] and [`AccessTokenStore`].

use std::collections::HashMap;

use async_trait::async_trait;
use diesel::QueryResult;
use yhub_core::{UserMatcher, access::MAX_USER_BYTES};
use yhub_encoding::{Any, Object};
use yhub_store::{
    AccessToken, AccessTokenStore, AuditCursor, AuditFilter, AuditPage, AuditRecord, AuditStore, CreateTokenError, DocStoreError,
    FoundToken, MAX_NOTICE_USERS, MAX_TOKEN_ANCESTORS, MAX_TOKEN_ID, MAX_TOKEN_LABEL, Notice,
};

use super::{Conn, Engine, audits, notices, together, tokens};
use crate::docs::{
    Access, Stop,
    records::{MAX_TEXT, access_token, audit_record, kept, number},
};

#[async_trait]
impl AuditStore for Engine {
    async fn append(&self, records: &[AuditRecord]) -> Result<(), DocStoreError> {
        if records.is_empty() {
            return Ok(());
        }
        let records: Vec<AuditRecord> = records.iter().map(AuditRecord::bounded).collect();
        self.within(None, Access::Write, move |tx| {
            Box::pin(async move {
                for record in &records {
                    audits::append(tx, record).await?;
                }
                Ok(())
            })
        })
        .await
    }

    async fn page(&self, filter: &AuditFilter, after: Option<&AuditCursor>, max: usize) -> Result<AuditPage, DocStoreError> {
        let (filter, after, max) = (filter.clone(), after.cloned(), max.max(1));
        let found = self.within(None, Access::Read, move |tx| {
            // One more: it says whether there are more.
            Box::pin(async move { Ok(audits::page(tx, &filter, after.as_ref(), max.saturating_add(1)).await?) })
        });
        let mut found = found.await?;
        let more = found.len() > max;
        found.truncate(max);
        let last = found.last().map(|((at_ms, id), ..)| (u64::try_from(*at_ms).unwrap_or(0), id.clone()));
        let next = last.filter(|_| more).map(|(at_ms, id)| AuditCursor::new(at_ms, id));
        Ok(AuditPage { records: found.into_iter().map(audit_record).collect::<Result<_, _>>()?, next })
    }

    async fn delete_before(&self, at_ms: u64, max: usize) -> Result<u64, DocStoreError> {
        self.within(None, Access::Write, move |tx| {
            Box::pin(async move { Ok(audits::delete_before(tx, number(at_ms), max).await? as u64) })
        })
        .await
    }
}

/// Can a token have this id? One that cannot is not there.
fn is_id(id: &str) -> bool {
    (1..=MAX_TOKEN_ID).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// Can it be stored as it is?
fn refuse_invalid(token: &AccessToken) -> Result<(), CreateTokenError> {
    let invalid = |field, what: String| Err(CreateTokenError::Invalid { field, what });
    if !is_id(&token.id) {
        return invalid("id", format!("is not 1 to {MAX_TOKEN_ID} letters and digits"));
    }
    if token.user.is_empty() || token.user.len() > MAX_USER_BYTES || token.user.contains('\0') {
        return invalid("user", format!("is not 1 to {MAX_USER_BYTES} bytes without U+0000"));
    }
    if token.grants.iter().any(|grant| grant.scope.org.as_ref().is_some_and(|org| org.contains('\0'))) {
        return invalid("grants", "name an org with U+0000".to_owned());
    }
    if token.ancestors.len() > MAX_TOKEN_ANCESTORS {
        return Err(CreateTokenError::TooDeep { count: token.ancestors.len() });
    }
    match token.ancestors.iter().find(|id| !is_id(id)) {
        Some(id) => Err(CreateTokenError::ParentGone { id: id.chars().take(MAX_TOKEN_ID).collect() }),
        None => Ok(()),
    }
}

type Created = Result<AccessToken, CreateTokenError>;

/// Makes a token, in a transaction of its own.
async fn create(tx: &mut Conn<'_>, mut token: AccessToken, audit: Option<&AuditRecord>) -> Result<Created, Stop<Created>> {
    let refused = |error| Stop::Outcome(Err(error));
    if let (Some(root), Some(parent)) = (token.ancestors.first(), token.ancestors.last()) {
        // Whoever revokes takes that lock, too: either we see theirs, or they come after us and see ours.
        tokens::lock(tx, root).await?;
        let Some(((found, _), _, (_, expires_ms, revoked_ms))) = tokens::token(tx, parent).await? else {
            return Err(refused(CreateTokenError::ParentGone { id: parent.clone() }));
        };
        let mut line = tokens::lineage(tx, parent).await?;
        line.push((found.clone(), Some(found), expires_ms, revoked_ms));
        if !line.iter().map(|(id, ..)| id).eq(&token.ancestors) {
            return Err(refused(CreateTokenError::ParentGone { id: parent.clone() }));
        }
        for (id, is_there, expires_ms, revoked_ms) in line {
            if is_there.is_none() {
                return Err(refused(CreateTokenError::ParentGone { id }));
            }
            if revoked_ms.is_some() {
                return Err(refused(CreateTokenError::ParentRevoked { id }));
            }
            let Some(expires_ms) = expires_ms.map(|ms| u64::try_from(ms).unwrap_or(0)) else { continue };
            if expires_ms <= token.created_ms {
                return Err(refused(CreateTokenError::ParentExpired { id }));
            }
            token.expires_ms = Some(token.expires_ms.map_or(expires_ms, |own| own.min(expires_ms)));
        }
    }
    if !tokens::insert(tx, &token).await? {
        return Err(refused(CreateTokenError::Taken { id: token.id }));
    }
    audits::append_some(tx, audit).await?;
    Ok(Ok(token))
}

/// Leaves notices for who came in by the tokens that are about to be revoked, under the lock of their tree.
async fn publish_revocation(tx: &mut Conn<'_>, id: &str, at_ms: u64) -> QueryResult<()> {
    let mut after = String::new();
    loop {
        let ids = tokens::revocable(tx, id, &after, MAX_NOTICE_USERS).await?;
        let Some(last) = ids.last() else { return Ok(()) };
        after.clone_from(last);
        let holder = |id: &String| UserMatcher::Identity(Object::from_iter([("token", Any::from(id.as_str()))]));
        let users = Some(ids.iter().map(holder).collect());
        notices::publish(tx, &Notice { at_ms, org: None, users, cut: false }).await?;
    }
}

#[async_trait]
impl AccessTokenStore for Engine {
    async fn create(&self, token: &AccessToken, audit: Option<&AuditRecord>) -> Result<AccessToken, CreateTokenError> {
        refuse_invalid(token)?;
        let mut token = token.clone();
        // As they will be stored, so that what comes back is that.
        (token.label, token.by) = (kept(&token.label, MAX_TOKEN_LABEL).into_owned(), kept(&token.by, MAX_TEXT).into_owned());
        let audit = audit.map(AuditRecord::bounded);
        self.within(None, Access::Write, move |tx| Box::pin(async move { create(tx, token, audit.as_ref()).await })).await?
    }

    async fn find(&self, id: &str) -> Result<Option<FoundToken>, DocStoreError> {
        if !is_id(id) {
            return Ok(None);
        }
        let id = id.to_owned();
        let found = self.within(None, Access::Read, move |tx| {
            Box::pin(async move { Ok(together!(tx, tokens::token(&id), tokens::lineage(&id))) })
        });
        let (Some(stored), line) = found.await? else { return Ok(None) };
        let is_over = |(_, is_there, _, revoked_ms): &tokens::Ancestor| is_there.is_none() || revoked_ms.is_some();
        let ancestor_is_over = line.iter().any(is_over);
        let token = access_token(stored, line.into_iter().map(|(id, ..)| id).collect())?;
        Ok(Some(FoundToken { is_revoked: ancestor_is_over || token.revoked_ms.is_some(), token }))
    }

    async fn page(&self, org: Option<&str>, after: Option<&str>, max: usize) -> Result<Vec<AccessToken>, DocStoreError> {
        // What cannot be stored is not there.
        if org.is_some_and(|org| org.contains('\0')) {
            return Ok(Vec::new());
        }
        let (org, after) = (org.map(str::to_owned), after.map(|after| kept(after, MAX_TOKEN_ID).into_owned()));
        let found = self.within(None, Access::Read, move |tx| {
            Box::pin(async move {
                let found = tokens::page(tx, org.as_deref(), after.as_deref(), max).await?;
                let ids: Vec<&str> = found.iter().map(|((id, _), ..)| id.as_str()).collect();
                let lines = tokens::lineages(tx, &ids).await?;
                Ok((found, lines))
            })
        });
        let (found, lines) = found.await?;
        let mut ancestors = HashMap::<String, Vec<String>>::new();
        for (id, ancestor) in lines {
            ancestors.entry(id).or_default().push(ancestor);
        }
        let with_ancestors = found.into_iter().map(|stored| {
            let line = ancestors.remove(&stored.0.0).unwrap_or_default();
            access_token(stored, line)
        });
        with_ancestors.collect()
    }

    async fn revoke(&self, id: &str, at_ms: u64, audit: Option<&AuditRecord>) -> Result<Option<u64>, DocStoreError> {
        if !is_id(id) {
            return Ok(None);
        }
        let (id, audit) = (id.to_owned(), audit.map(AuditRecord::bounded));
        self.within(None, Access::Write, move |tx| {
            Box::pin(async move {
                // From whom it descends never changes, so that may be asked for before the lock.
                let line = tokens::lineage(tx, &id).await?;
                tokens::lock(tx, line.first().map_or(&id, |(root, ..)| root)).await?;
                if !tokens::is_there(tx, &id).await? {
                    return Err(Stop::Outcome(None));
                }
                publish_revocation(tx, &id, at_ms).await?;
                let count = tokens::revoke(tx, &id, number(at_ms)).await?;
                audits::append_some(tx, audit.as_ref().filter(|_| count > 0)).await?;
                Ok(Some(count as u64))
            })
        })
        .await
    }

    async fn delete_ended_before(&self, before_ms: u64, max: usize) -> Result<u64, DocStoreError> {
        self.within(None, Access::Write, move |tx| {
            Box::pin(async move { Ok(tokens::delete_ended(tx, number(before_ms), max).await? as u64) })
        })
        .await
    }
}
