//! `yhub token`: access tokens, made, listed, revoked.

use std::io::{self, Write};

use clap::{ArgGroup, Args, Subcommand, builder::PossibleValuesParser};
use serde_json::{Value, json};
use yhub::Stores;
use yhub_core::access::{Grants, MAX_USER_BYTES, Purpose, TokenText};
use yhub_encoding::{Any, Object};
use yhub_store::{AccessToken, AuditRecord};

use super::{
    audit,
    moment::Span,
    output::{Listing, Table, one_line, utc},
};

/// What `--help` says.
pub(super) const HELP: &str = "\
An access token lets its holder in as one user, with what it grants, until it expires or is revoked. The hub stores no token, only \
a hash of each, so it is shown once, when it is made. Who has one may make others by it over HTTP, with no more than it grants; \
these end with it.";

/// Tokens that the store is asked for at a time.
const TOKENS: usize = 200;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a token, and print it: the only time that it is shown
    ///
    /// The token goes to stdout, alone; what else is said goes to stderr.
    Create(Create),
    /// List tokens, also those that have ended
    List {
        /// Only those that reach no further than this organisation
        #[arg(long, value_name = "ORG")]
        org: Option<String>,
        #[command(flatten)]
        listing: Listing,
    },
    /// Revoke a token and all that were made by it
    Revoke {
        /// Its id, as `list` shows it, or the whole token
        #[arg(value_name = "ID")]
        token: String,
    },
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("where").required(true).args(["org", "all_orgs"])))]
pub(super) struct Create {
    /// The organisation in which it holds
    #[arg(long, value_name = "ORG")]
    org: Option<String>,
    /// It holds in every organisation, and for the hub as a whole
    #[arg(long)]
    all_orgs: bool,
    /// Only for this document
    #[arg(long, value_name = "DOCID", conflicts_with = "docid_prefix")]
    docid: Option<String>,
    /// Only for documents whose docid begins so
    #[arg(long, value_name = "TEXT")]
    docid_prefix: Option<String>,
    /// Only for this branch
    #[arg(long, value_name = "BRANCH")]
    branch: Option<String>,
    /// How far it goes with content, or everything that an operator or an administrator may do
    #[arg(long, value_parser = ["r", "rw", "operator", "admin"], required_unless_present = "purpose")]
    access: Option<String>,
    /// What else it is for; may be given several times
    #[arg(long, value_name = "PURPOSE", value_parser = PossibleValuesParser::new(Purpose::ALL.iter().map(|purpose| purpose.name())))]
    purpose: Vec<String>,
    /// The user id under which its holder comes in
    #[arg(long, value_name = "NAME")]
    user: String,
    /// What it is for, in your words
    #[arg(long, value_name = "TEXT", default_value = "")]
    label: String,
    /// It ends after so long, such as 30d or 12h; without it, only when it is revoked
    #[arg(long, value_name = "TIME")]
    expires: Option<Span>,
}

pub(super) async fn run(command: Command, stores: Stores) -> anyhow::Result<()> {
    match command {
        Command::Create(create) => make(create, &stores).await,
        Command::List { org, listing } => list(&stores, org.as_deref(), listing).await,
        Command::Revoke { token } => revoke(&stores, &token).await,
    }
}

impl Create {
    /// What it grants.
    fn grants(&self) -> anyhow::Result<Grants> {
        anyhow::ensure!(self.org.as_deref() != Some("*"), "`*` is no organisation; for all of them say --all-orgs");
        let mut grant = Object::default();
        grant.insert("org", self.org.as_deref().unwrap_or("*").into());
        let texts =
            [("docid", &self.docid), ("docidPrefix", &self.docid_prefix), ("branch", &self.branch), ("access", &self.access)];
        for (key, text) in texts {
            if let Some(text) = text {
                grant.insert(key, text.as_str().into());
            }
        }
        if !self.purpose.is_empty() {
            grant.insert("purposes", Any::Array(self.purpose.iter().map(|purpose| purpose.as_str().into()).collect()));
        }
        Ok(Grants::from_any(&Any::Object(grant))?)
    }
}

async fn make(create: Create, stores: &Stores) -> anyhow::Result<()> {
    let grants = create.grants()?;
    let Create { user, label, expires, .. } = create;
    anyhow::ensure!(
        (1..=MAX_USER_BYTES).contains(&user.len()),
        "a user id has 1 to {MAX_USER_BYTES} bytes, and this one {}; see --user",
        user.len()
    );
    anyhow::ensure!(expires.is_none_or(|span| span.ms > 0), "--expires 0 is a token that never holds");
    let text = yhub::new_token()?;
    let record = audit::record(stores, "token.create", None).await?;
    let token = AccessToken {
        id: text.id().to_owned(),
        secret_hash: text.secret_hash(),
        ancestors: Vec::new(),
        user,
        label,
        grants,
        created_ms: record.at_ms,
        expires_ms: expires.map(|span| record.at_ms.saturating_add(span.ms)),
        revoked_ms: None,
        by: record.actor.clone(),
    };
    let record = about(record, &token);
    let token = stores.tokens.create(&token, Some(&record)).await?;
    let until = token.expires_ms.map_or_else(|| "it is revoked".to_owned(), utc);
    writeln!(
        io::stderr().lock(),
        "token {} lets {} in until {until}; it is shown this once: keep it as a password",
        token.id,
        one_line(&token.user)
    )?;
    Ok(writeln!(io::stdout().lock(), "{}", text.reveal())?)
}

/// The record of something that is done to a token.
fn about(record: AuditRecord, token: &AccessToken) -> AuditRecord {
    let detail = format!("token {} of {}: {}", token.id, token.user, token.grants.to_any().to_json());
    AuditRecord { org: token.grants.only_org().map(str::to_owned), detail, ..record }
}

async fn revoke(stores: &Stores, token: &str) -> anyhow::Result<()> {
    let id = TokenText::parse(token).map_or_else(|| token.to_owned(), |text| text.id().to_owned());
    // Somebody may have given a token that is none, in part: no text says it again.
    let unknown = || anyhow::anyhow!("there is no token of that id; see `yhub token list`");
    let found = stores.tokens.find(&id).await?.ok_or_else(unknown)?;
    let record = audit::record(stores, "token.revoke", None).await?;
    let record = about(record, &found.token);
    let said = match stores.tokens.revoke(&id, record.at_ms, Some(&record)).await?.ok_or_else(unknown)? {
        0 => format!("token {id} was revoked already"),
        1 => format!("token {id} is revoked"),
        count => format!("token {id} is revoked, and {} that were made by it", count - 1),
    };
    Ok(writeln!(io::stdout().lock(), "{said}")?)
}

async fn list(stores: &Stores, org: Option<&str>, listing: Listing) -> anyhow::Result<()> {
    let now_ms = stores.log.now_ms().await?;
    let mut tokens: Vec<AccessToken> = Vec::new();
    while tokens.len() <= listing.limit {
        let page = stores.tokens.page(org, tokens.last().map(|token| token.id.as_str()), TOKENS).await?;
        if page.is_empty() {
            break;
        }
        tokens.extend(page);
    }
    let more = tokens.len() > listing.limit;
    tokens.truncate(listing.limit);
    listing.form.print(
        || json!({ "tokens": tokens.iter().map(|token| in_json(token, now_ms)).collect::<Vec<_>>(), "more": more }),
        || {
            let mut table = Table::new(&["ID", "USER", "STATE", "MADE", "EXPIRES", "BY", "MADE BY MEANS OF", "LABEL", "GRANTS"]);
            for token in &tokens {
                table.row([
                    token.id.clone(),
                    token.user.clone(),
                    state(token, now_ms).to_owned(),
                    utc(token.created_ms),
                    token.expires_ms.map(utc).unwrap_or_default(),
                    token.by.clone(),
                    token.ancestors.last().cloned().unwrap_or_default(),
                    token.label.clone(),
                    token.grants.to_any().to_json(),
                ]);
            }
            let mut text = table.or("there is no token");
            if more {
                text.push_str("there are more; see --limit\n");
            }
            text
        },
    )
}

fn state(token: &AccessToken, now_ms: u64) -> &'static str {
    match token.revoked_ms {
        Some(_) => "revoked",
        None if token.is_alive(now_ms) => "holds",
        None => "expired",
    }
}

fn in_json(token: &AccessToken, now_ms: u64) -> Value {
    json!({
        "id": token.id,
        "user": token.user,
        "label": token.label,
        "state": state(token, now_ms),
        // It is JSON that we have just written.
        "grants": serde_json::from_str::<Value>(&token.grants.to_any().to_json()).unwrap_or(Value::Null),
        "created_ms": token.created_ms,
        "expires_ms": token.expires_ms,
        "revoked_ms": token.revoked_ms,
        "by": token.by,
        "ancestors": token.ancestors,
    })
}
