//! Frames of one client: cut from its bytes, checked before they are buffered, put together from fragments.

use actix_http::ws::{OpCode, Parser, ProtocolError};
use bytes::{Bytes, BytesMut};
use yhub_core::Close;

/// A control frame's payload is at most so long (RFC 6455, section 5.5).
const MAX_CONTROL_BYTES: u64 = 125;
const FINISHED: u8 = 0x80;
const CONTROL: u8 = 0x08;

/// One thing that a client sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// A whole message.
    Message(Bytes),
    /// A part of a message that is not its last.
    Fragment,
    /// A ping with its payload, at most 125 bytes.
    Ping(Bytes),
    /// A pong.
    Pong,
    /// The client ends the connection.
    Close,
}

/// The bytes of one client that are not cut into messages yet. Empty, it owns no memory.
#[derive(Debug, Default)]
pub(crate) struct Inbound {
    bytes: BytesMut,
    fragments: Option<BytesMut>,
}

impl Inbound {
    /// Adds what was read.
    pub(crate) fn extend(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// How many bytes have come of what is not whole yet.
    pub(crate) fn size_bytes(&self) -> usize {
        self.bytes.len() + self.fragments.as_ref().map_or(0, BytesMut::len)
    }

    /// The next thing that has arrived whole. `Err` closes the session: a frame that announces more than
    /// `max_message_bytes` is refused by its header, before it is buffered.
    pub(crate) fn next(&mut self, max_message_bytes: usize) -> Result<Option<Received>, Close> {
        let announced = match announced_bytes(&self.bytes) {
            Some(announced) => announced,
            None => return Ok(self.wait()),
        };
        let held = self.fragments.as_ref().map_or(0, BytesMut::len);
        if announced.saturating_add(held as u64) > max_message_bytes as u64 {
            return Err(Close::TOO_LARGE);
        }
        let first = self.bytes[0];
        if first & CONTROL != 0 && (announced > MAX_CONTROL_BYTES || first & FINISHED == 0) {
            return Err(Close::malformed("a control frame in fragments or of more than 125 bytes"));
        }
        // The parser reserves what a frame announces, up to the size it is given: nothing before as much has arrived.
        let has_arrived = self.bytes.len() as u64 >= announced;
        let parsed = Parser::parse(&mut self.bytes, true, if has_arrived { max_message_bytes } else { 0 });
        let Some((finished, code, payload)) = parsed.map_err(|error| broken(&error))? else { return Ok(self.wait()) };
        let payload = payload.unwrap_or_default();
        match (code, finished, self.fragments.is_some()) {
            (OpCode::Ping, ..) => Ok(Some(Received::Ping(payload.freeze()))),
            (OpCode::Pong, ..) => Ok(Some(Received::Pong)),
            (OpCode::Close, ..) => Ok(Some(Received::Close)),
            (OpCode::Text, ..) => Err(Close::malformed("a text message; this protocol is binary")),
            (OpCode::Binary, true, false) => Ok(Some(Received::Message(payload.freeze()))),
            (OpCode::Binary, false, false) => {
                self.fragments = Some(payload);
                Ok(Some(Received::Fragment))
            }
            (OpCode::Continue, finished, true) => {
                let mut whole = self.fragments.take().expect("there are fragments: matched above");
                whole.unsplit(payload);
                if finished {
                    return Ok(Some(Received::Message(whole.freeze())));
                }
                self.fragments = Some(whole);
                Ok(Some(Received::Fragment))
            }
            _ => Err(Close::malformed("a fragment out of place")),
        }
    }

    /// Lets go of the buffer when nothing is in it.
    fn wait(&mut self) -> Option<Received> {
        if self.bytes.is_empty() {
            self.bytes = BytesMut::new();
        }
        None
    }
}

/// How many bytes of payload the frame at the front announces; `None` if its header has not arrived.
fn announced_bytes(bytes: &[u8]) -> Option<u64> {
    match bytes.get(1)? & 0x7f {
        126 => Some(u64::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
        127 => Some(u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)),
        short => Some(u64::from(short)),
    }
}

fn broken(error: &ProtocolError) -> Close {
    match error {
        ProtocolError::Overflow => Close::TOO_LARGE,
        error => Close::malformed(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client_frame(code: OpCode, fin: bool, payload: &[u8]) -> BytesMut {
        let mut out = BytesMut::new();
        Parser::write_message(&mut out, payload, code, fin, true);
        out
    }

    /// The next thing but fragments.
    fn next(inbound: &mut Inbound, max_message_bytes: usize) -> Result<Option<Received>, Close> {
        loop {
            match inbound.next(max_message_bytes) {
                Ok(Some(Received::Fragment)) => {}
                other => return other,
            }
        }
    }

    #[test]
    fn messages_come_whole_however_the_bytes_arrive() {
        let wire = [client_frame(OpCode::Binary, true, &[1, 2, 3]), client_frame(OpCode::Binary, true, &[9; 70_000])].concat();
        for step in [1, 7, 1000, wire.len()] {
            let (mut inbound, mut got) = (Inbound::default(), Vec::new());
            for piece in wire.chunks(step) {
                inbound.extend(piece);
                while let Some(received) = inbound.next(1 << 20).unwrap() {
                    got.push(received);
                }
            }
            let expected = [Bytes::from(vec![1, 2, 3]), Bytes::from(vec![9; 70_000])].map(Received::Message);
            assert_eq!(got, expected);
        }
    }

    #[test]
    fn a_frame_that_announces_too_much_is_refused_by_its_header() {
        let mut inbound = Inbound::default();
        inbound.extend(&[0x82, 0xff, 0, 0, 1, 0, 0, 0, 0, 0]);
        assert_eq!(inbound.next(1 << 20), Err(Close::TOO_LARGE));
    }

    #[test]
    fn nothing_is_reserved_for_what_is_only_announced() {
        let mut inbound = Inbound::default();
        inbound.extend(&[0x82, 0xff, 0, 0, 0, 0, 0x03, 0, 0, 0, 1, 2, 3, 4, 5]);
        assert_eq!(inbound.next(64 << 20), Ok(None));
        assert!(inbound.bytes.capacity() < 1024, "{}", inbound.bytes.capacity());
    }

    #[test]
    fn control_frames_come_in_one_piece() {
        let mut inbound = Inbound::default();
        inbound.extend(&client_frame(OpCode::Ping, false, b"p"));
        assert_eq!(inbound.next(100).unwrap_err().code, 4400);
    }

    #[test]
    fn fragments_count_together() {
        let mut inbound = Inbound::default();
        inbound.extend(&client_frame(OpCode::Binary, false, &[1; 60]));
        inbound.extend(&client_frame(OpCode::Ping, true, b"p"));
        inbound.extend(&client_frame(OpCode::Continue, true, &[2; 40]));
        assert_eq!(next(&mut inbound, 100), Ok(Some(Received::Ping(Bytes::from_static(b"p")))));
        assert!(matches!(next(&mut inbound, 100), Ok(Some(Received::Message(m))) if m.len() == 100));
        inbound.extend(&client_frame(OpCode::Binary, false, &[1; 60]));
        inbound.extend(&client_frame(OpCode::Continue, true, &[2; 41]));
        assert_eq!(next(&mut inbound, 100), Err(Close::TOO_LARGE));
    }

    #[test]
    fn unmasked_text_and_misplaced_frames_are_refused() {
        for wire in [
            vec![0x82, 0x01, 0x00],
            client_frame(OpCode::Text, true, b"x").to_vec(),
            client_frame(OpCode::Continue, true, b"x").to_vec(),
            [client_frame(OpCode::Binary, false, b"x"), client_frame(OpCode::Binary, true, b"x")].concat(),
        ] {
            let mut inbound = Inbound::default();
            inbound.extend(&wire);
            assert_eq!(next(&mut inbound, 100).unwrap_err().code, 4400, "{wire:?}");
        }
    }
}
