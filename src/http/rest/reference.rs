//! The reference of the API for people, as Markdown, made from the table of endpoints.
//!
//! `docs/API.md` is the output of [`reference`]; a test compares them.

use super::{
    endpoint::{Endpoint, Kind, Param},
    endpoints,
};

const HEAD: &str = "\
# Documents over HTTP

This page is made from the table by which requests are read (`yhub api reference`). The same as OpenAPI: `/{prefix}/openapi.json`; a
page to try it: `/{prefix}/docs`.

## In general

- **Paths.** `/{prefix}/{name}/v1/{org}/{docid}`, where `prefix` is `server.prefix`, `api` unless set. `org` and `docid` are percent-encoded
  once. `?branch=` names a branch, `main` if not given. `?user=` says who writes, where
  nobody has to show it; else it takes the right `act-as`.
- **Bodies and answers** are [lib0-any](PROTOCOL.md). With `Accept: application/json` (in so many words) answers are JSON, with
  `Content-Type: application/json` bodies are. In JSON, bytes are base64 with padding, `undefined` is `null`, a big integer is a string.
- **Errors** are `{ error, code }` in the same encoding: a text for people, which may change, and a word that stays. Statuses 4xx are
  final until the request is another; 429 and 5xx may be tried again, after `Retry-After` where that is given.
- **`ETag`** is the clock of a document's last change, and the form of the answer. `If-None-Match` with it is answered with 304 as long as
  nothing has changed. A write with `If-Match` is carried out only if nothing has changed, which the append itself sees to; else it is
  412. Compaction may move the clock on where presence came after the last change: then read again, and write again.
- **`Idempotency-Key`** on a request that changes something of a document: of requests of one caller with one key, the first is carried
  out and the others are given its answer, for a day, for ten minutes if it changed nothing, or until an embedded hub stops. A caller is a
  user id and the kind of credential, so that a renewed token is no other caller; another caller's key is another key, and who may no
  longer do what was asked for is refused. Another request under the same key is 422. After a 5xx it is not known whether it was carried
  out; for two minutes the key answers 503 then. What takes no key, which are tickets and whatever is asked of an org, refuses one with 400.
  What the records may take is bounded, also of one user: [LIMITS.md](LIMITS.md). An embedded hub keeps 64 MiB of them; then those go
  that end first.
- **Pages of other origins** are let in by `server.allowed_origins`, and by nothing else.
- **Unknown parameters and fields** are refused: one that is misspelt would otherwise be one that is not given.

## Who may do what

A credential comes as `Authorization: Bearer …`; what is taken says `auth.mode`. Each endpoint names the right that it takes: `read`, `write`,
or a purpose by name. Rights come in *grants*, in the claim `yhub` of a signed token or with an access token:

    { \"org\": \"acme\", \"docidPrefix\": \"notes/\", \"branch\": \"main\", \"access\": \"rw\", \"purposes\": [\"delete\", \"list\"] }

`org` is never left out, `*` is every org and the hub as a whole; `docid` or `docidPrefix`, or every document; without `branch` every branch.
`access` is `r`, `rw`, `operator` (audit, hold, list, recheck, and no content) or `admin` (everything). Several grants add up. Part of an org
is not the org: what is asked of an org takes a grant for all of it. Whoever may only read changes nothing by any purpose that edits
(`act-as`, `presence`, `prune`, `rollback`).

## Statuses

| status | codes | again? |
|---|---|---|
| 400 | `bad-request`, `invalid-query`, `invalid-body`: the text names what is wrong | no |
| 401 | `unauthorized`: no credential, or one that is not valid | with another |
| 403 | `no-access` (the text names the right), `beyond` (nobody gives more than they have), `origin-not-allowed`, `own-machine-only` | no |
| 404 | `doc-deleted`, `not-found` | no |
| 405, 408, 413, 426, 431 | `method-not-allowed`, `timeout`, `too-large`, `document-too-large`, `upgrade-required`, `head-too-large` | no |
| 409 | `legal-hold`, `deleted-for-good` | no |
| 412 | `changed` | read again, then write again |
| 422 | `too-costly` (ask for less), `not-shown` (the document is not of this form), `key-reused` | no |
| 429 | `too-many-requests`: see [LIMITS.md](LIMITS.md) | yes, after `Retry-After` seconds |
| 500 | `internal` | yes |
| 503 | `unavailable`, `still-under-way`, `too-many-connections` | yes |
";

/// The reference of every endpoint.
pub fn reference() -> String {
    let mut out = HEAD.to_owned();
    for endpoint in endpoints() {
        describe(endpoint, &mut out);
    }
    out
}

fn describe(endpoint: &Endpoint, out: &mut String) {
    out.push_str(&format!("\n## {} /{{prefix}}/{}\n\n", endpoint.method, endpoint.path()));
    out.push_str(&format!("{}. {}\n\n", endpoint.summary, endpoint.about));
    out.push_str(&format!("Right: `{}`", endpoint.needs.name()));
    if let Some((parameter, right)) = endpoint.needs_if {
        out.push_str(&format!("; with `{parameter}=true` also `{}`", right.name()));
    }
    let mut headers = Vec::new();
    if endpoint.is_tagged() {
        headers.push("`If-None-Match`");
    }
    if endpoint.conditional {
        headers.push("`If-Match`");
    }
    if endpoint.takes_key() {
        headers.push("`Idempotency-Key`");
    }
    if !headers.is_empty() {
        out.push_str(&format!(". Takes {}", headers.join(" and ")));
    }
    out.push_str(".\n");
    table("Query", endpoint.query, true, out);
    if let Some(fields) = endpoint.body {
        table("Body", fields, false, out);
    }
    out.push_str(&format!("\nAnswer: {}\n", endpoint.returns.about));
    table("Answer", endpoint.returns.fields, false, out);
}

fn table(title: &str, params: &[Param], in_query: bool, out: &mut String) {
    if params.is_empty() {
        return;
    }
    out.push_str(&format!("\n| {} | type | |\n|---|---|---|\n", title.to_lowercase()));
    for param in params {
        let kind = match param.kind {
            Kind::Pairs if in_query => "`k:v,k:v`".to_owned(),
            Kind::Choice(words) => words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", "),
            kind => kind.name(),
        };
        out.push_str(&format!("| `{}` | {kind} | {} |\n", param.name, param.about));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_in_the_documentation_is_this_one() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/API.md");
        let found = std::fs::read_to_string(file).unwrap_or_default();
        assert!(found == reference(), "docs/API.md is out of date: cargo run -- api reference > docs/API.md");
    }
}
