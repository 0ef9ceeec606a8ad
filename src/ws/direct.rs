//! A session on its own TCP stream, taken over from actix-http at the upgrade.
//!
//! Leaving the HTTP dispatcher is what makes an idle connection cost a fraction of what it costs inside one, and what
//! lets a stuck client's socket really end. The price: every request with an `Upgrade` header comes here, past the
//! routes of the `App`.

use std::{io, rc::Rc};

use actix_codec::Framed;
use actix_http::{
    ConnectionType, HttpMessage, Request, Response,
    body::{BodySize, BoxBody, MessageBody, to_bytes},
    h1::{Codec, Message},
    header::SEC_WEBSOCKET_PROTOCOL,
    ws::{self, HandshakeError},
};
use actix_rt::net::TcpStream;
use futures_util::SinkExt;
use yhub_actors::{Place, Session, SessionParams};

use crate::{
    connections::Watch, credentials::answered_protocol, http::HttpError, limiting::admit as admit_session, wiring::Door,
};

/// Answers one upgrade request: a session, or a refusal. A client that is gone before it has its answer is nobody's error.
pub(crate) async fn upgrade(request: Request, framed: Framed<TcpStream, Codec>, door: Door) -> Result<(), actix_web::Error> {
    if let Err(error) = answer(request, framed, door).await {
        log::debug!("a client was gone before it was let in: {error}");
    }
    Ok(())
}

async fn answer(request: Request, mut framed: Framed<TcpStream, Codec>, door: Door) -> io::Result<()> {
    if let Some(watch) = request.conn_data::<Rc<Watch>>() {
        watch.on_request();
    }
    let (params, place) = match admit(&request, &door).await {
        Ok(admitted) => admitted,
        Err(refused) => return refuse(refused, &request, &mut framed).await,
    };
    let mut accept = match ws::handshake(request.head()) {
        Ok(accept) => accept,
        Err(HandshakeError::GetMethodRequired) => {
            return refuse(HttpError::MethodNotAllowed { allow: "GET".into() }, &request, &mut framed).await;
        }
        Err(error) => {
            let refused = HttpError::BadRequest { what: format!("no WebSocket handshake: {error}") };
            return refuse(refused, &request, &mut framed).await;
        }
    };
    if let Some(protocol) = answered_protocol(request.head().headers()) {
        accept.insert_header((SEC_WEBSOCKET_PROTOCOL, protocol));
    }
    let accept = accept.message_body(()).map_err(|error| io::Error::other(error.to_string()))?;
    framed.send(Message::Item((accept, BodySize::None))).await?;
    let parts = framed.into_parts();
    // Small answers must not wait for a delayed acknowledgement.
    parts.io.set_nodelay(true)?;
    Session::start_on(parts.io, &parts.read_buf, params, door.node.clone(), door.registry.clone(), place);
    Ok(())
}

async fn admit(request: &Request, door: &Door) -> Result<(SessionParams, Place), HttpError> {
    let client = door.callers.of_upgrade(request.head())?;
    let params = door.gate.check(request.head()).await?;
    let place = admit_session(door, client, &params)?;
    Ok((params, place))
}

/// Sends the refusal; the connection ends with it.
async fn refuse(error: HttpError, request: &Request, framed: &mut Framed<TcpStream, Codec>) -> io::Result<()> {
    let mut response: Response<BoxBody> = error.response(request.headers());
    response.head_mut().set_connection_type(ConnectionType::Close);
    let mut body = BoxBody::new(());
    let head = response.map_body(|_, taken| body = taken);
    let size = body.size();
    let body = to_bytes(body).await.map_err(|error| io::Error::other(error.to_string()))?;
    framed.send(Message::Item((head, size))).await?;
    framed.send(Message::Chunk(Some(body))).await?;
    framed.send(Message::Chunk(None)).await?;
    framed.close().await?;
    Ok(())
}
