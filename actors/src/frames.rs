//! Server-side WebSocket frames as bytes that every session of a room can share.
//!
//! Server frames are not masked (RFC 6455, section 5.1), so one encoding serves all.

use bytes::{BufMut, Bytes, BytesMut};
use yhub_core::{Close, ServerMessage};
use yhub_encoding::sync;

const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;

/// A payload at least this long is not copied behind its header but sent as a piece of its own.
const SHARE_FROM_BYTES: usize = 4096;

/// Frames ready for the wire, in pieces. Cloning shares the bytes.
#[derive(Clone, Debug, Default)]
pub struct Frames {
    pieces: Vec<Bytes>,
    size_bytes: usize,
    speaks: bool,
}

impl Frames {
    /// Encodes messages, one WebSocket frame each, in order.
    pub fn encode(messages: &[ServerMessage]) -> Self {
        let mut frames = Self { speaks: true, ..Self::default() };
        let mut open = BytesMut::new();
        for message in messages {
            let nothing = Bytes::new();
            let (header, payload) = match message {
                ServerMessage::Step1(state_vector) => (sync::step1(state_vector), &nothing),
                ServerMessage::Step2(update) => (sync::step2_header(update.len()), update),
                ServerMessage::Update(update) => (sync::update_header(update.len()), update),
                ServerMessage::Awareness(update) => (sync::awareness_header(update.len()), update),
            };
            put_header(&mut open, BINARY, header.len() + payload.len());
            open.extend_from_slice(&header);
            if payload.len() < SHARE_FROM_BYTES {
                open.extend_from_slice(payload);
            } else {
                frames.add(open.split().freeze());
                frames.add(payload.clone());
            }
        }
        frames.add(open.freeze());
        frames
    }

    /// A message that says nothing and a ping: the first keeps the client's watchdog quiet, which pings do not, the second
    /// has the client show that it is there.
    pub fn keepalive() -> Self {
        let mut out = BytesMut::new();
        put_header(&mut out, BINARY, sync::EMPTY_AWARENESS_FRAME.len());
        out.extend_from_slice(&sync::EMPTY_AWARENESS_FRAME);
        put_header(&mut out, PING, 0);
        Self { speaks: true, ..Self::from(out.freeze()) }
    }

    /// What a client is told whose token was taken.
    pub fn token_taken(may_write: bool) -> Self {
        Self::message(&sync::token_taken(if may_write { "rw" } else { "r" }))
    }

    /// What a client is told whose token could not be checked.
    pub fn token_unchecked() -> Self {
        Self::message(&sync::token_unchecked())
    }

    fn message(message: &[u8]) -> Self {
        let mut out = BytesMut::new();
        put_header(&mut out, BINARY, message.len());
        out.extend_from_slice(message);
        Self { speaks: true, ..Self::from(out.freeze()) }
    }

    /// The answer to a ping; control frames hold at most 125 bytes, which the decoder has checked.
    pub fn pong(payload: &[u8]) -> Self {
        let mut out = BytesMut::new();
        put_header(&mut out, PONG, payload.len());
        out.extend_from_slice(payload);
        Self::from(out.freeze())
    }

    /// A close frame.
    pub fn close(close: &Close) -> Self {
        let mut out = BytesMut::new();
        put_header(&mut out, CLOSE, 2 + close.reason.len());
        out.put_u16(close.code);
        out.extend_from_slice(close.reason.as_bytes());
        Self::from(out.freeze())
    }

    /// The pieces, in order.
    pub fn pieces(&self) -> &[Bytes] {
        &self.pieces
    }

    /// Is a message among them? Clients' watchdogs see nothing else.
    pub fn speaks(&self) -> bool {
        self.speaks
    }

    /// How many bytes all pieces have.
    pub fn size_bytes(&self) -> usize {
        self.size_bytes
    }

    fn add(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.size_bytes += piece.len();
            self.pieces.push(piece);
        }
    }
}

impl From<Bytes> for Frames {
    fn from(piece: Bytes) -> Self {
        let mut frames = Self::default();
        frames.add(piece);
        frames
    }
}

fn put_header(out: &mut BytesMut, first: u8, payload_bytes: usize) {
    out.put_u8(first);
    match payload_bytes {
        0..126 => out.put_u8(payload_bytes as u8),
        126..0x1_0000 => {
            out.put_u8(126);
            out.put_u16(payload_bytes as u16);
        }
        _ => {
            out.put_u8(127);
            out.put_u64(payload_bytes as u64);
        }
    }
}

#[cfg(test)]
mod tests {
    use actix_http::ws::{OpCode, Parser};

    use super::*;

    fn parse(frames: &Frames) -> Vec<(OpCode, Vec<u8>)> {
        let mut wire = BytesMut::from(&frames.pieces().concat()[..]);
        let mut out = Vec::new();
        while let Some((_, code, payload)) = Parser::parse(&mut wire, false, usize::MAX).unwrap() {
            out.push((code, payload.unwrap_or_default().to_vec()));
        }
        assert!(wire.is_empty());
        out
    }

    #[test]
    fn what_is_sent_can_be_read_for_every_length_of_length() {
        for length in [1, 100, 121, 122, 123, 124, 4095, 4096, 65_530, 65_536, 200_000] {
            let update = Bytes::from(vec![7; length]);
            let frames = Frames::encode(&[ServerMessage::Update(update.clone()), ServerMessage::Step1(Bytes::from_static(&[0]))]);
            assert_eq!(frames.size_bytes(), frames.pieces().iter().map(Bytes::len).sum::<usize>());
            let read = parse(&frames);
            assert_eq!(read[0], (OpCode::Binary, sync::update(&update)));
            assert_eq!(read[1], (OpCode::Binary, vec![0, 0, 1, 0]));
            assert_eq!(read.len(), 2);
        }
    }

    #[test]
    fn long_payloads_are_shared() {
        let update = Bytes::from(vec![7; 1 << 20]);
        let frames = Frames::encode(&[ServerMessage::Step2(update.clone())]);
        assert!(frames.pieces().iter().any(|piece| piece.as_ptr() == update.as_ptr()));
    }

    #[test]
    fn control_frames_can_be_read() {
        assert_eq!(parse(&Frames::keepalive()).len(), 2);
        assert_eq!(parse(&Frames::pong(b"x")), [(OpCode::Pong, b"x".to_vec())]);
        let (code, payload) = parse(&Frames::close(&Close::TOO_SLOW)).remove(0);
        assert_eq!((code, &payload[..2]), (OpCode::Close, &1013u16.to_be_bytes()[..]));
    }
}
