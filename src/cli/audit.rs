//! `yhub audit`: what was done and refused. And the records of what commands do.

use clap::Args;
use serde_json::{Value, json};
use yhub::Stores;
use yhub_core::RoomId;
use yhub_store::{AuditFilter, AuditRecord, DocStoreError, StreamLogError};

use super::{
    moment::Moment,
    output::{Listing, Table, utc},
    room_name::written,
};

/// What `--help` says.
pub(super) const HELP: &str = "\
Lists the records of what was done and what was refused, newest first: who, by what they had shown who they are (`cli` is a \
command like this one), what, where, and how it ended. Records are deleted after `audit.keep_days`.";

/// Records that the store is asked for at a time.
const RECORDS: usize = 500;
/// Bytes of the name that a command is recorded under.
const MAX_NAME: usize = 64;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Only those of this organisation
    #[arg(long, value_name = "ORG")]
    org: Option<String>,
    /// Only those of what this user did
    #[arg(long, value_name = "USER")]
    actor: Option<String>,
    /// Only those of this action, such as `delete` or `token.create`
    #[arg(long, value_name = "WORD")]
    action: Option<String>,
    /// Only those from then on: so long ago, as in 7d, or a date in UTC, as in 2026-03-01
    #[arg(long, value_name = "TIME")]
    since: Option<Moment>,
    #[command(flatten)]
    listing: Listing,
}

/// A record of what this command does, as whoever runs it.
pub(super) async fn record(stores: &Stores, action: &str, room: Option<&RoomId>) -> Result<AuditRecord, StreamLogError> {
    Ok(AuditRecord {
        at_ms: stores.log.now_ms().await?,
        actor: operator(),
        via: "cli".to_owned(),
        action: action.to_owned(),
        org: room.map(|room| room.org().to_owned()),
        docid: room.map(|room| room.docid().to_owned()),
        branch: room.map(|room| room.branch().to_owned()),
        result: "done".to_owned(),
        request_id: String::new(),
        address: None,
        detail: String::new(),
        count: 1,
    })
}

/// The name of whoever runs this, as the system says it; anybody can have it say another.
pub(super) fn operator() -> String {
    let named = ["USER", "LOGNAME"].into_iter().filter_map(|name| std::env::var(name).ok());
    let mut name = named.into_iter().find(|name| !name.is_empty()).unwrap_or_else(|| "operator".to_owned());
    name.truncate(name.floor_char_boundary(MAX_NAME));
    name
}

pub(super) async fn run(arguments: Arguments, stores: Stores) -> anyhow::Result<()> {
    let Arguments { org, actor, action, since, listing } = arguments;
    let now_ms = stores.log.now_ms().await?;
    let filter = AuditFilter { org, actor, action, since_ms: since.map(|since| since.at_ms(now_ms)), ..AuditFilter::default() };
    let (records, more) = find(&stores, &filter, listing.limit).await?;
    listing.form.print(
        || json!({ "records": records.iter().map(in_json).collect::<Vec<_>>(), "more": more }),
        || {
            let mut table = Table::new(&["TIME", "ACTOR", "VIA", "ACTION", "RESULT", "WHERE", "TIMES", "FROM", "DETAIL"]);
            for record in &records {
                table.row([
                    utc(record.at_ms),
                    record.actor.clone(),
                    record.via.clone(),
                    record.action.clone(),
                    record.result.clone(),
                    place(record),
                    if record.count == 1 { String::new() } else { record.count.to_string() },
                    record.address.clone().unwrap_or_default(),
                    record.detail.clone(),
                ]);
            }
            let mut text = table.or("there is no such record");
            if more {
                text.push_str("there are more; see --limit\n");
            }
            text
        },
    )
}

/// At most `limit` records, and whether there are more.
async fn find(stores: &Stores, filter: &AuditFilter, limit: usize) -> Result<(Vec<AuditRecord>, bool), DocStoreError> {
    let (mut records, mut after) = (Vec::new(), None);
    loop {
        let page = stores.audit.page(filter, after.as_ref(), RECORDS).await?;
        records.extend(page.records);
        if records.len() > limit {
            records.truncate(limit);
            return Ok((records, true));
        }
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok((records, false)),
        }
    }
}

/// Where it was, as far as a record says.
fn place(record: &AuditRecord) -> String {
    match (&record.org, &record.docid, &record.branch) {
        (Some(org), Some(docid), Some(branch)) => written(&RoomId::new(org, docid, branch)),
        (Some(org), Some(docid), None) => written(&RoomId::new(org, docid, "")).trim_end_matches('@').to_owned(),
        (Some(org), ..) => org.clone(),
        (None, ..) => String::new(),
    }
}

fn in_json(record: &AuditRecord) -> Value {
    json!({
        "at_ms": record.at_ms,
        "actor": record.actor,
        "via": record.via,
        "action": record.action,
        "org": record.org,
        "docid": record.docid,
        "branch": record.branch,
        "result": record.result,
        "request_id": record.request_id,
        "address": record.address,
        "detail": record.detail,
        "count": record.count,
    })
}
