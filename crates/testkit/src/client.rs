//! A WebSocket client without a library above it: sends and reads frames as they are, waits with deadlines.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use actix_http::ws::{OpCode, Parser};
use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};
use yhub_encoding::{
    awareness::{self, AwarenessLimits},
    sync::{self, Message},
};

use crate::wait::{DEADLINE, within};

/// Frames of a server are read up to this length.
const MAX_FRAME_BYTES: usize = 1 << 30;
/// A state vector that says that one has nothing.
pub const EMPTY_STATE_VECTOR: &[u8] = &[0];

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    /// The close code; `None` if the stream ended without a close frame.
    pub code: Option<u16>,
    /// The reason in the close frame.
    pub reason: String,
}

/// An upgrade that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The status.
    pub status: u16,
    /// Head and body of the answer.
    pub answer: String,
}

/// A connection to be made.
#[derive(Clone, Debug)]
pub struct Connect {
    addr: SocketAddr,
    path: String,
    from: Ipv4Addr,
    headers: Vec<(String, String)>,
    receive_buffer_bytes: Option<u32>,
}

impl Connect {
    /// To `path` (with its query) at `addr`.
    pub fn to(addr: SocketAddr, path: &str) -> Self {
        Self { addr, path: path.to_owned(), from: Ipv4Addr::LOCALHOST, headers: Vec::new(), receive_buffer_bytes: None }
    }

    /// From an address of this machine: of `127.0.0.0/8`, all of them are.
    pub fn from(mut self, address: Ipv4Addr) -> Self {
        self.from = address;
        self
    }

    /// With a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With a small buffer in the kernel, so that a client that does not read is noticed soon.
    pub fn small_buffer(mut self) -> Self {
        self.receive_buffer_bytes = Some(4096);
        self
    }

    /// Connects. `Err` is the server's refusal.
    ///
    /// # Panics
    /// If there is no server or no answer.
    pub async fn open(self) -> Result<TestClient, Refused> {
        within("a connection to be upgraded", self.shake_hands()).await.expect("the server answers")
    }

    /// Connects, if there is a server that answers and does not refuse.
    pub async fn try_open(self) -> io::Result<TestClient> {
        let refused = |refused: Refused| io::Error::other(format!("not let in: {}", refused.status));
        timeout(DEADLINE, self.shake_hands()).await??.map_err(refused)
    }

    async fn shake_hands(self) -> io::Result<Result<TestClient, Refused>> {
        let socket = TcpSocket::new_v4()?;
        if let Some(size) = self.receive_buffer_bytes {
            socket.set_recv_buffer_size(size)?;
        }
        socket.bind((self.from, 0).into())?;
        let mut stream = socket.connect(self.addr).await?;
        stream.set_nodelay(true)?;
        let mut request = format!(
            "GET {} HTTP/1.1\r\nhost: {}\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\n\
             sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
            self.path, self.addr
        );
        for (name, value) in &self.headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str("\r\n");
        stream.write_all(request.as_bytes()).await?;

        let mut inbound = BytesMut::new();
        let end = loop {
            if let Some(end) = inbound.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            if stream.read_buf(&mut inbound).await? == 0 {
                return Err(io::Error::other(format!("the server hung up after {inbound:?}")));
            }
        };
        let head = String::from_utf8_lossy(&inbound.split_to(end)).into_owned();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        if status == 101 {
            return Ok(Ok(TestClient { stream, inbound, fragments: None, received_bytes: 0, head, is_mute: false }));
        }
        let length = head.to_ascii_lowercase().lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
        while inbound.len() < length.unwrap_or(usize::MAX) && stream.read_buf(&mut inbound).await? > 0 {}
        Ok(Err(Refused { status, answer: head + &String::from_utf8_lossy(&inbound) }))
    }
}

/// An open connection.
pub struct TestClient {
    stream: TcpStream,
    inbound: BytesMut,
    fragments: Option<BytesMut>,
    received_bytes: u64,
    head: String,
    is_mute: bool,
}

impl TestClient {
    /// Connects to `path` (with its query) at `addr`.
    ///
    /// # Panics
    /// If it is not let in.
    pub async fn connect(addr: SocketAddr, path: &str) -> Self {
        Connect::to(addr, path).open().await.unwrap_or_else(|refused| panic!("not let in to {path}: {refused:?}"))
    }

    /// The head of the answer to the upgrade.
    pub fn head(&self) -> &str {
        &self.head
    }

    /// From now on no ping is answered, as if the other end were dead.
    pub fn stop_answering_pings(&mut self) {
        self.is_mute = true;
    }

    /// Bytes of WebSocket frames that have been read so far.
    pub fn received_bytes(&self) -> u64 {
        self.received_bytes
    }

    /// The address of this end.
    pub fn local_addr(&self) -> SocketAddr {
        self.stream.local_addr().expect("a connected socket has an address")
    }

    /// Sends one message in one frame.
    ///
    /// # Panics
    /// If the server does not take it in time.
    pub async fn send(&mut self, message: &[u8]) {
        within("the server to take a message", self.try_send(message)).await.expect("the connection is open");
    }

    /// The same, without a deadline; an error if the connection has ended.
    pub async fn try_send(&mut self, message: &[u8]) -> io::Result<()> {
        self.stream.write_all(&frame(message)).await
    }

    /// Sends bytes as they are: no frame, or several.
    pub async fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Sends from `bytes` until the server takes nothing more for `patience`: how much it took.
    ///
    /// # Panics
    /// If the connection ends.
    pub async fn push(&mut self, bytes: &[u8], patience: Duration) -> usize {
        let mut sent = 0;
        while sent < bytes.len() {
            match timeout(patience, self.stream.write(&bytes[sent..])).await {
                Ok(written) => sent += written.expect("the connection is open"),
                Err(_) => break,
            }
        }
        sent
    }

    /// Sends nothing more; reading goes on.
    pub async fn end_writing(&mut self) {
        // It may have ended already.
        let _ = self.stream.shutdown().await;
    }

    /// Sends an update.
    pub async fn send_update(&mut self, update: &[u8]) {
        self.send(&sync::update(update)).await;
    }

    /// Says who is there: client, clock, JSON state.
    pub async fn send_awareness(&mut self, entries: &[(u64, u64, &str)]) {
        self.send(&awareness_message(entries)).await;
    }

    /// The next message; pings are answered meanwhile. `Err` is how the connection ended.
    ///
    /// # Panics
    /// If nothing comes in time.
    pub async fn next(&mut self) -> Result<Bytes, Closed> {
        within("a message", self.read_message()).await
    }

    /// The next message, if one comes within `time`.
    pub async fn next_within(&mut self, time: Duration) -> Option<Result<Bytes, Closed>> {
        // What was read of a frame stays in the buffer when the time is over.
        timeout(time, self.read_message()).await.ok()
    }

    /// Reads messages until `wanted` finds what it looks for in one.
    ///
    /// # Panics
    /// If that does not come in time, or the connection ends before it.
    pub async fn until<T>(&mut self, what: &str, mut wanted: impl FnMut(Message<'_>) -> Option<T>) -> T {
        let wait = async {
            loop {
                match self.read_message().await {
                    Ok(message) => {
                        let decoded = Message::decode(&message).expect("the hub speaks the protocol");
                        if let Some(found) = wanted(decoded) {
                            return found;
                        }
                    }
                    Err(closed) => panic!("waited for {what}, but the connection ended: {closed:?}"),
                }
            }
        };
        match timeout(DEADLINE, wait).await {
            Ok(found) => found,
            Err(_) => panic!("waited {DEADLINE:?} for: {what}"),
        }
    }

    /// Asks for what `state_vector` lacks; the update in the answer.
    pub async fn sync_from(&mut self, state_vector: &[u8]) -> Vec<u8> {
        self.send(&sync::step1(state_vector)).await;
        self.step2().await
    }

    /// Asks for everything; the update in the answer.
    pub async fn sync(&mut self) -> Vec<u8> {
        self.sync_from(EMPTY_STATE_VECTOR).await
    }

    /// Waits for the next step 2: its update.
    pub async fn step2(&mut self) -> Vec<u8> {
        let step2 = |message: Message<'_>| match message {
            Message::SyncStep2(update) => Some(update.to_vec()),
            _ => None,
        };
        self.until("step 2", step2).await
    }

    /// Waits for the next update message.
    pub async fn update(&mut self) -> Vec<u8> {
        let update = |message: Message<'_>| match message {
            Message::Update(update) => Some(update.to_vec()),
            _ => None,
        };
        self.until("an update", update).await
    }

    /// Waits until the hub shows this very update.
    pub async fn shown(&mut self, expected: &[u8]) {
        let same = |message: Message<'_>| matches!(message, Message::Update(update) if update == expected).then_some(());
        self.until("a certain update", same).await;
    }

    /// Waits for the next awareness message that says something: client, clock, state.
    pub async fn awareness(&mut self) -> Vec<(u64, u64, String)> {
        self.until("awareness", |message| awareness_of(message).filter(|entries| !entries.is_empty())).await
    }

    /// Waits until the hub says this of `client`: its clock, when its state is `state` (`null`: gone).
    pub async fn presence(&mut self, client: u64, state: &str) -> u64 {
        let says = |message: Message<'_>| {
            let entries = awareness_of(message)?;
            entries.iter().find(|(of, _, is)| *of == client && is == state).map(|(_, clock, _)| *clock)
        };
        self.until(&format!("client {client} to be {state}"), says).await
    }

    /// Reads on until the connection ends: how it ended.
    pub async fn closed(&mut self) -> Closed {
        let end = async {
            loop {
                if let Err(closed) = self.read_message().await {
                    return closed;
                }
            }
        };
        within("the connection to end", end).await
    }

    /// Everything that comes until the hub answers a query for awareness sent now: so what was under way is among it.
    pub async fn settled(&mut self) -> Vec<Bytes> {
        // A state vector is answered in order, after everything that was queued before it.
        self.send(&sync::step1(EMPTY_STATE_VECTOR)).await;
        let mut messages = Vec::new();
        loop {
            let message = self.next().await.expect("the connection is open");
            if matches!(Message::decode(&message), Ok(Message::SyncStep2(_))) {
                return messages;
            }
            messages.push(message);
        }
    }

    /// Ends the connection as a broken network does: with a reset.
    pub fn reset(self) {
        let socket = socket2::SockRef::from(&self.stream);
        socket.set_linger(Some(Duration::ZERO)).expect("a connected socket takes options");
    }

    async fn read_message(&mut self) -> Result<Bytes, Closed> {
        loop {
            let parsed = Parser::parse(&mut self.inbound, false, MAX_FRAME_BYTES).expect("the hub sends well-formed frames");
            let Some((finished, code, payload)) = parsed else {
                match self.stream.read_buf(&mut self.inbound).await {
                    Ok(read) if read > 0 => self.received_bytes += read as u64,
                    Ok(_) => return Err(Closed { code: None, reason: "the stream ended".into() }),
                    Err(error) => return Err(Closed { code: None, reason: error.to_string() }),
                }
                continue;
            };
            let payload = payload.unwrap_or_default();
            match code {
                OpCode::Close => {
                    let code = payload.get(..2).map(|code| u16::from_be_bytes([code[0], code[1]]));
                    let reason = String::from_utf8_lossy(payload.get(2..).unwrap_or_default()).into_owned();
                    return Err(Closed { code, reason });
                }
                OpCode::Ping if self.is_mute => {}
                OpCode::Ping => {
                    let mut pong = BytesMut::new();
                    Parser::write_message(&mut pong, &payload, OpCode::Pong, true, true);
                    // If it does not arrive the next read says why.
                    let _ = self.stream.write_all(&pong).await;
                }
                OpCode::Binary | OpCode::Continue => {
                    let mut whole = self.fragments.take().unwrap_or_default();
                    whole.unsplit(payload);
                    if finished {
                        return Ok(whole.freeze());
                    }
                    self.fragments = Some(whole);
                }
                _ => {}
            }
        }
    }
}

/// A message in one masked frame.
pub fn frame(message: &[u8]) -> BytesMut {
    let mut out = BytesMut::with_capacity(message.len() + 14);
    Parser::write_message(&mut out, message, OpCode::Binary, true, true);
    out
}

/// The message that says who is there: client, clock, JSON state.
pub fn awareness_message(entries: &[(u64, u64, &str)]) -> Vec<u8> {
    let entries: Vec<_> = entries.iter().map(|&(client, clock, state)| awareness::Entry { client, clock, state }).collect();
    sync::awareness(&awareness::encode(&entries))
}

/// Who a message says is there; `None` if it is about something else.
pub fn awareness_of(message: Message<'_>) -> Option<Vec<(u64, u64, String)>> {
    let Message::Awareness(update) = message else { return None };
    let entries = awareness::decode(update, AwarenessLimits::NONE).expect("the hub sends well-formed awareness");
    Some(entries.iter().map(|entry| (entry.client, entry.clock, entry.state.to_owned())).collect())
}
