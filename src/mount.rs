//! What guards connections of an actix-web server that is not ours, in which a hub is mounted.
//!
//! How such a server takes connections and reads heads is its own affair. But it shows each connection as it comes, and our answers
//! pass through here; so connections are counted, and those end whose clients take nothing.

use std::{any::Any, cell::RefCell, net::IpAddr, net::Shutdown, pin::Pin, rc::Rc, task::Context, task::Poll};

use actix_rt::{net::TcpStream, task::JoinHandle};
use actix_web::{
    HttpRequest, HttpResponse,
    body::{BodySize, BoxBody, MessageBody},
    dev::Extensions,
};
use bytes::Bytes;
use socket2::{SockRef, Socket};
use yhub_core::limiting::PlaceOf;

use crate::{
    Backend,
    connections::{Connections, Watch, Watched},
};

/// For `HttpServer::on_connect`: guards the connections of the server in which `backend` is mounted, as far as that can be done from
/// within.
///
/// - A session whose client takes nothing ends its socket, and so does an answer of which a client has taken nothing for
///   `server.write_timeout_ms`. Without this such sockets stay open until the operating system gives them up, and what the answer holds
///   of `limits.answer_bytes` with them.
/// - One address has at most `limits.http_connections_per_address` connections to the server that are no sessions, whatever of the
///   `App` they are for.
///
/// It sees plain TCP only: behind TLS of the server's own it does nothing. What else is the server's affair: see [`scope`](crate::scope).
pub fn on_connect(backend: &Backend) -> impl Fn(&dyn Any, &mut Extensions) + Clone + Send + Sync + 'static + use<> {
    let connections = backend.door().connections.clone();
    move |io, extensions| {
        if let Some(stream) = io.downcast_ref::<TcpStream>() {
            connected(&connections, stream, extensions);
        }
    }
}

fn connected(connections: &Connections, stream: &TcpStream, extensions: &mut Extensions) {
    let socket = SockRef::from(stream);
    // Small answers must not wait for a delayed acknowledgement; without it they do, and nothing else is wrong.
    let _ = socket.set_tcp_nodelay(true);
    let Some(place) = connections.take(stream) else {
        // The server finds that out by itself.
        let _ = socket.shutdown(Shutdown::Both);
        return;
    };
    match socket.try_clone() {
        Ok(socket) => {
            let connection = Connection { socket, connections: connections.clone(), place: RefCell::new(place) };
            extensions.insert(Rc::new(connection));
        }
        Err(error) => log::warn!("a connection cannot be ended from outside: {error}"),
    }
}

/// A connection of somebody else's server.
pub(crate) struct Connection {
    /// A second handle on its socket.
    socket: Socket,
    connections: Connections,
    /// As one that is no session.
    place: RefCell<Option<PlaceOf<IpAddr>>>,
}

impl Connection {
    /// The one on which a request came, if the server has shown it to us.
    pub(crate) fn of(request: &HttpRequest) -> Option<Rc<Self>> {
        request.conn_data::<Rc<Self>>().cloned()
    }

    /// It is a session from now on, which has a place of its own.
    pub(crate) fn is_a_session(&self) {
        self.place.take();
    }

    /// Ends the socket, whatever waits in it.
    pub(crate) fn end(&self) {
        // It may be closed already, which is what is wanted.
        let _ = self.socket.shutdown(Shutdown::Both);
    }

    /// An answer that ends the connection if the client takes nothing of it.
    pub(crate) fn watch(self: &Rc<Self>, answer: HttpResponse) -> HttpResponse {
        let (connection, watch) = (self.clone(), Rc::new(Watch::of_answer()));
        answer.map_body(|_, body| {
            let watched = Watched::new(body, Some(watch.clone()));
            let watching = actix_rt::spawn(async move {
                connection.connections.nothing_is_taken(&watch).await;
                connection.end();
            });
            BoxBody::new(Answering { body: Box::pin(watched), watching })
        })
    }
}

/// The body of an answer, watched while it is being sent.
struct Answering {
    body: Pin<Box<Watched<BoxBody>>>,
    watching: JoinHandle<()>,
}

impl MessageBody for Answering {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        self.body.as_mut().poll_next(cx)
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.watching.abort();
    }
}
