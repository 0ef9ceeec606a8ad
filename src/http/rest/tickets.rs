//! Tickets, which let browsers into a room once.

use std::{sync::Arc, time::Duration};

use actix_web::http::Method;
use futures_util::FutureExt;
use yhub_core::access::{Access, Docids, Grant, Grants, Level, Purposes, Scope as GrantScope, Target};
use yhub_encoding::Any;

use super::{
    Rest,
    answer::Answer,
    endpoint::{Call, Endpoint, Kind, Purpose, Returns, Right, Scope, param},
    tokens::user_of,
};
use crate::{
    http::HttpError,
    issued::{TicketFor, token_of},
};

pub(super) static ENDPOINTS: &[Endpoint] = &[Endpoint {
    method: Method::POST,
    name: "tickets/v1",
    scope: Scope::Room,
    tail: "",
    needs: Right::Purpose(Purpose::Ticket),
    needs_if: None,
    summary: "Let a browser into a document, once",
    about: "For a WebSocket connection of somebody whom the application knows, which shows the ticket as `yauth` in its address \
                within `auth.ticket_ms`. A ticket is used up by that. Who makes it can give no more than they have.",
    query: &[],
    body: Some(&[
        param("user", Kind::Text, "The user id under which it lets in."),
        param("access", Kind::Choice(&["r", "rw"]), "How far it goes; `rw` if not given."),
        param(
            "session",
            Kind::Count,
            "The connection ends after so many milliseconds, at most and if not given `auth.ticket_session_ms`.",
        ),
    ]),
    conditional: false,
    returns: Returns {
        about: "The ticket.",
        fields: &[
            param("ticket", Kind::Text, "It, a secret."),
            param("within", Kind::Count, "It has to be used within so many milliseconds."),
            param("expiresAt", Kind::Number, "When the connection ends, in milliseconds since 1970."),
        ],
        or_text: false,
    },
    run: |rest, call| ticket(rest, call).boxed(),
}];

async fn ticket(rest: Arc<Rest>, call: Call) -> Result<Answer, HttpError> {
    let user = user_of(&call)?;
    let place = Target::Room(call.room());
    let (level, right) = match call.body.text("access") {
        Some("r") => (Level::Read, Right::Read),
        _ => (Level::Write, Right::Write),
    };
    let allowed = rest.doorkeeper.access(&call.caller, place, right).await?;
    let (within, longest) = (rest.ticket, rest.ticket_session);
    let session = call.body.count("session").map_or(longest, Duration::from_millis).min(longest);
    let until = rest.time.now_ms().saturating_add(session.as_millis() as u64);
    let expires_ms = [Some(until), allowed.expires_ms, call.caller.expires_ms()].into_iter().flatten().min().unwrap_or(until);
    let room = call.room();
    let scope = GrantScope {
        org: Some(room.org().to_owned()),
        docids: Docids::One(room.docid().to_owned()),
        branch: Some(room.branch().to_owned()),
    };
    let grants = Grants::new(vec![Grant { scope, access: Access { level, purposes: Purposes::NONE } }]);
    let says = TicketFor { user, grants, expires_ms, token: token_of(&call.caller.who).map(str::to_owned) };
    let ticket = rest.doorkeeper.issued().ticket(&says, within).await.map_err(|_| HttpError::Unavailable)?;
    Ok(Answer::object(vec![
        ("ticket", ticket.as_str().into()),
        ("within", Any::Number(within.as_millis() as f64)),
        ("expiresAt", Any::Number(expires_ms as f64)),
    ]))
}
