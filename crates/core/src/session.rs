//! What one session decides: what a client's message means, what it may do, and when silence becomes an end.
//!
//! Messages: the y-websocket protocol, one message a frame.

use bytes::Bytes;
use yhub_content::{self as content, ContentMap};
use yhub_encoding::sync::{Message, token_of};

use crate::{
    Change, Checked, Close, Freshness, Lapse, SessionLimits, Standing, StreamMessage, Submission,
    invariants::{Invariant, check},
    room,
};

/// Updates of at most so many bytes hold nothing.
const EMPTY_UPDATE_BYTES: usize = 3;
/// What has come of a message that is not whole may be so old, and older by a second for each so many bytes of it.
const UNFINISHED_MS: u64 = 60_000;
const UNFINISHED_BYTES_PER_SECOND: u64 = 16 << 10;
/// Bytes of a token that a client shows on its open connection.
pub const MAX_TOKEN_BYTES: usize = 8 << 10;

/// What a client wants.
#[derive(Debug, PartialEq, Eq)]
pub enum Intent<'a> {
    /// Know what it lacks; the state vector has passed the guard.
    Sync(&'a [u8]),
    /// Add an update that has not passed the guard yet: see [`prepare_update`].
    Update(&'a [u8]),
    /// Say who is there.
    Awareness(Vec<(u64, room::Presence)>),
    /// Know who is there.
    QueryAwareness,
    /// Stay for as long as this token says.
    Renew(&'a str),
    /// Nothing that we do.
    Nothing,
}

/// Who writes, as it is recorded with every character.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Author {
    /// The user id.
    pub user: String,
    /// Custom attributions, in the order given.
    pub custom: Vec<(String, String)>,
}

/// Makes of an update what is appended to the stream. Goes through the whole update: not for a thread that others wait for
/// when it is long. `now_ms` is the time of writing.
pub fn prepare_update(update: &[u8], author: &Author, now_ms: u64, limits: &content::Limits) -> Result<Submission, Close> {
    let inspected = content::inspect_update(update, limits).map_err(Close::malformed)?;
    let contentmap = ContentMap::attribution(&inspected.ids, Some(&author.user), now_ms, &author.custom).to_bytes();
    let (message, update) = StreamMessage::encode_update(update, &contentmap);
    Ok(Submission { cost_bytes: message.len(), ids: inspected.ids, message, update })
}

/// What the passing of time asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Due {
    /// Nothing.
    Nothing,
    /// The link was silent: send a message that says nothing, and a ping.
    KeepAlive,
    /// The client never said what it has: send it everything.
    SyncAll,
    /// Ask anew what it may do; report with [`SessionCore::on_checked`].
    Check(Freshness),
    /// End it.
    Close(Close),
}

/// The decisions of one session.
#[derive(Debug)]
pub struct SessionCore {
    standing: Standing,
    opened_ms: u64,
    received_ms: u64,
    /// Since when a message is coming that is not whole.
    unfinished_ms: Option<u64>,
    /// Bytes of updates that wait for the stream.
    waiting_bytes: usize,
    has_synced: bool,
    /// Is an answer to a sync being computed or sent?
    is_syncing: bool,
    /// The latest state vector that came meanwhile.
    next_sync: Option<Bytes>,
}

impl SessionCore {
    /// A session that opened at `now_ms` and may do what `standing` says, which counts time alike.
    pub fn new(standing: Standing, now_ms: u64) -> Self {
        Self {
            standing,
            opened_ms: now_ms,
            received_ms: now_ms,
            unfinished_ms: None,
            waiting_bytes: 0,
            has_synced: false,
            is_syncing: false,
            next_sync: None,
        }
    }

    /// Reads one message. `Err` closes the session.
    pub fn on_message<'a>(
        &self,
        message: &'a [u8],
        limits: &SessionLimits,
        guard_limits: &content::Limits,
    ) -> Result<Intent<'a>, Close> {
        let intent = match Message::decode(message).map_err(Close::malformed)? {
            Message::SyncStep1(state_vector) => {
                content::check_state_vector(state_vector, guard_limits).map_err(Close::malformed)?;
                Intent::Sync(state_vector)
            }
            Message::SyncStep2(update) | Message::Update(update)
                if self.standing.may_write() && update.len() > EMPTY_UPDATE_BYTES =>
            {
                Intent::Update(update)
            }
            Message::Awareness(update) if update.len() > limits.max_awareness_bytes => return Err(Close::PRESENCE_TOO_LARGE),
            // Presence is kept whether or not the session may write.
            Message::Awareness(update) => Intent::Awareness(room::decode_presence(update).map_err(Close::malformed)?),
            Message::QueryAwareness => Intent::QueryAwareness,
            Message::Auth(payload) => match token_of(payload).map_err(Close::malformed)? {
                Some(token) if token.len() > MAX_TOKEN_BYTES => return Err(Close::TOO_LARGE),
                Some(token) => Intent::Renew(token),
                None => Intent::Nothing,
            },
            _ => Intent::Nothing,
        };
        Ok(intent)
    }

    /// May its client write?
    pub fn may_write(&self) -> bool {
        self.standing.may_write()
    }

    /// Its access is to be checked, at `at_ms`. Returns whether to ask at once, afresh.
    pub fn on_check_demanded(&mut self, at_ms: u64, now_ms: u64) -> bool {
        self.standing.demand(at_ms, now_ms)
    }

    /// Is somebody being asked what it may do?
    pub fn is_asking(&self) -> bool {
        self.standing.is_asking()
    }

    /// Somebody is being asked about a token that the client has shown; report with [`Self::on_checked`].
    pub fn on_asking(&mut self) {
        self.standing.begin();
    }

    /// It was found out what it may do, or could not be.
    pub fn on_checked(&mut self, checked: Checked, now_ms: u64) -> Change {
        self.standing.on_checked(checked, now_ms)
    }

    /// The session has joined its room: from now on its client is listened to.
    pub fn on_opened(&mut self, now_ms: u64) {
        self.opened_ms = now_ms;
        self.received_ms = now_ms;
    }

    /// Something came from the client.
    pub fn on_received(&mut self, now_ms: u64) {
        self.received_ms = now_ms;
    }

    /// Something came, and `size_bytes` of it are not a whole message yet.
    ///
    /// # Errors
    /// If that message has been coming for too long for what has come: it would be held for ever.
    pub fn on_unfinished(&mut self, size_bytes: usize, now_ms: u64) -> Result<(), Close> {
        if size_bytes == 0 {
            self.unfinished_ms = None;
            return Ok(());
        }
        let since_ms = *self.unfinished_ms.get_or_insert(now_ms);
        let within_ms = UNFINISHED_MS.saturating_add(size_bytes as u64 * 1_000 / UNFINISHED_BYTES_PER_SECOND);
        if now_ms.saturating_sub(since_ms) > within_ms { Err(Close::UNFINISHED) } else { Ok(()) }
    }

    /// A message was whole: what comes behind it is another, and as young as what comes now.
    pub fn on_whole(&mut self) {
        self.unfinished_ms = None;
    }

    /// The client is not being read: it is not slow meanwhile.
    pub fn on_not_read(&mut self, now_ms: u64) {
        self.received_ms = now_ms;
        self.unfinished_ms = None;
    }

    /// The client wants to know what it lacks. Returns what is to be asked of the room now: one answer at a time is under
    /// way, so that a client that asks without reading costs one answer.
    pub fn on_sync(&mut self, state_vector: Bytes) -> Option<Bytes> {
        self.has_synced = true;
        if self.is_syncing {
            self.next_sync = Some(state_vector);
            return None;
        }
        self.is_syncing = true;
        Some(state_vector)
    }

    /// The answer has left. Returns what is to be asked next.
    pub fn on_answered(&mut self) -> Option<Bytes> {
        self.is_syncing = false;
        let next = self.next_sync.take()?;
        self.on_sync(next)
    }

    /// Is an answer under way?
    pub fn is_syncing(&self) -> bool {
        self.is_syncing
    }

    /// Updates went to the room.
    pub fn on_submitted(&mut self, cost_bytes: usize) {
        self.waiting_bytes += cost_bytes;
    }

    /// So much of it no longer waits.
    pub fn on_credit(&mut self, size_bytes: usize) {
        check(Invariant::QueuesBounded, size_bytes <= self.waiting_bytes, || {
            format!("{size_bytes} bytes come back, {} were given", self.waiting_bytes)
        });
        self.waiting_bytes = self.waiting_bytes.saturating_sub(size_bytes);
    }

    /// May the socket be read? Not while too much of this client waits for the stream.
    pub fn may_read(&self, limits: &SessionLimits) -> bool {
        self.waiting_bytes < limits.inbound_bytes
    }

    /// Time passes. `spoke_ms` is when a message was last sent to the client; `stalled_ms` since when the client takes nothing although
    /// something waits.
    pub fn on_time(&mut self, now_ms: u64, spoke_ms: u64, stalled_ms: Option<u64>, limits: &SessionLimits) -> Due {
        let since = |then: u64| u128::from(now_ms.saturating_sub(then));
        match self.standing.on_time(now_ms) {
            Lapse::Nothing => {}
            Lapse::Check(freshness) => return Due::Check(freshness),
            Lapse::Close(close) => return Due::Close(close),
        }
        if stalled_ms.is_some_and(|stalled| since(stalled) >= limits.stall_timeout.as_millis()) {
            return Due::Close(Close::TOO_SLOW);
        }
        // While we do not read, silence is our doing.
        if self.may_read(limits) && since(self.received_ms) >= limits.idle_timeout.as_millis() {
            return Due::Close(Close::SILENT);
        }
        if !self.has_synced && since(self.opened_ms) >= limits.first_sync.as_millis() {
            return Due::SyncAll;
        }
        if since(spoke_ms) >= limits.keepalive.as_millis() {
            return Due::KeepAlive;
        }
        Due::Nothing
    }

    /// When [`Self::on_time`] should be called next, in milliseconds from `now_ms`.
    pub fn next_time_ms(&self, now_ms: u64, spoke_ms: u64, limits: &SessionLimits) -> u64 {
        let mut at = spoke_ms + limits.keepalive.as_millis() as u64;
        if !self.has_synced {
            at = at.min(self.opened_ms + limits.first_sync.as_millis() as u64);
        }
        if let Some(next) = self.standing.next_ms() {
            at = at.min(next);
        }
        at.saturating_sub(now_ms).max(10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AccessPolicy, access::Level};

    fn session(level: Level) -> SessionCore {
        let policy = AccessPolicy { sweep: std::time::Duration::ZERO, ..AccessPolicy::default() };
        SessionCore::new(Standing::new(level, None, 0, 0.0, policy), 0)
    }

    const STEP1_EMPTY: &[u8] = &[0, 0, 1, 0];

    fn read<'a>(session: &SessionCore, message: &'a [u8]) -> Result<Intent<'a>, Close> {
        session.on_message(message, &SessionLimits::default(), &content::Limits::default())
    }

    #[test]
    fn a_state_vector_that_claims_a_billion_entries_closes_the_session() {
        let session = session(Level::Write);
        let close = read(&session, &[0x00, 0x00, 0x05, 0x80, 0x94, 0xeb, 0xdc, 0x03]).unwrap_err();
        assert_eq!(close.code, 4400);
    }

    #[test]
    fn a_reader_cannot_write_by_any_message_but_keeps_its_presence() {
        let reader = session(Level::Read);
        let update = [1, 1, 5, 0, 4, 1, 1, b't', 1, b'x', 0];
        for kind in [1, 2] {
            let mut message = vec![0, kind, update.len() as u8];
            message.extend(update);
            assert_eq!(read(&reader, &message), Ok(Intent::Nothing));
            assert_eq!(read(&session(Level::Write), &message), Ok(Intent::Update(&update)));
        }
        assert!(matches!(read(&reader, &[1, 6, 1, 9, 1, 2, b'{', b'}']), Ok(Intent::Awareness(e)) if e.len() == 1));
        assert_eq!(read(&reader, STEP1_EMPTY), Ok(Intent::Sync(&[0])));
    }

    #[test]
    fn a_message_that_does_not_end_is_not_waited_for_for_ever() {
        let mut session = session(Level::Read);
        // What is slow but comes is let: 16 KiB a second after the first minute.
        for second in 0..300 {
            assert_eq!(session.on_unfinished(1 + (second as usize * (16 << 10)), second * 1_000), Ok(()));
        }
        assert_eq!(session.on_unfinished(300 << 14, 360_000), Ok(()));
        assert_eq!(session.on_unfinished(300 << 14, 360_001), Err(Close::UNFINISHED));
        // What came behind a whole message is another one, and while nobody reads nobody is slow.
        session.on_whole();
        assert_eq!(session.on_unfinished(1, 400_000), Ok(()));
        session.on_not_read(500_000);
        assert_eq!(session.on_unfinished(1, 560_000), Ok(()));
        assert_eq!(session.on_unfinished(0, 620_000), Ok(()));
        assert_eq!(session.on_unfinished(1, 620_001), Ok(()));
        assert_eq!(session.on_unfinished(1, 680_002), Err(Close::UNFINISHED));
    }

    #[test]
    fn a_token_on_an_open_connection_is_read_and_bounded() {
        let session = session(Level::Read);
        assert_eq!(read(&session, &yhub_encoding::sync::token("a.b")), Ok(Intent::Renew("a.b")));
        let long = yhub_encoding::sync::token(&"a".repeat(MAX_TOKEN_BYTES + 1));
        assert_eq!(read(&session, &long), Err(Close::TOO_LARGE));
        assert_eq!(read(&session, &yhub_encoding::sync::permission_denied("x")), Ok(Intent::Nothing));
        assert!(read(&session, &[2]).is_err());
    }

    #[test]
    fn a_session_ends_with_its_token_and_writes_once_it_may() {
        let limits = SessionLimits::default();
        let standing = Standing::new(Level::Read, Some(500), 0, 0.0, AccessPolicy::default());
        let mut session = SessionCore::new(standing, 0);
        assert_eq!(session.on_time(0, 0, None, &limits), Due::Check(Freshness::Cached));
        let update = [0, 2, 11, 1, 1, 5, 0, 4, 1, 1, b't', 1, b'x', 0];
        assert_eq!(read(&session, &update), Ok(Intent::Nothing));
        let may = Checked::May { level: Level::Write, expires_ms: Some(1_000) };
        assert_eq!(session.on_checked(may, 10), Change::Raised);
        assert!(matches!(read(&session, &update), Ok(Intent::Update(_))));
        assert_eq!(session.next_time_ms(10, 10, &limits), 990);
        assert_eq!(session.on_time(1_000, 900, None, &limits), Due::Close(Close::EXPIRED));
    }

    #[test]
    fn one_answer_at_a_time_is_under_way() {
        let mut session = session(Level::Write);
        assert_eq!(session.on_sync(Bytes::from_static(&[0])), Some(Bytes::from_static(&[0])));
        assert_eq!(session.on_sync(Bytes::from_static(&[1, 1, 1])), None);
        assert_eq!(session.on_sync(Bytes::from_static(&[1, 1, 2])), None);
        assert_eq!(session.on_answered(), Some(Bytes::from_static(&[1, 1, 2])));
        assert_eq!(session.on_answered(), None);
        assert!(!session.is_syncing());
    }

    #[test]
    fn no_open_link_is_silent() {
        let limits = SessionLimits::default();
        let mut session = session(Level::Write);
        session.on_sync(Bytes::from_static(&[0]));
        assert_eq!(session.on_time(11_999, 0, None, &limits), Due::Nothing);
        assert_eq!(session.on_time(12_000, 0, None, &limits), Due::KeepAlive);
        assert_eq!(session.on_time(45_000, 44_000, None, &limits), Due::Close(Close::SILENT));
    }

    #[test]
    fn who_never_asks_gets_everything() {
        let limits = SessionLimits::default();
        let mut session = session(Level::Write);
        assert_eq!(session.on_time(4_999, 0, None, &limits), Due::Nothing);
        assert_eq!(session.on_time(5_000, 0, None, &limits), Due::SyncAll);
        session.on_sync(Bytes::from_static(&[0]));
        assert_eq!(session.on_time(5_001, 0, None, &limits), Due::Nothing);
    }

    #[test]
    fn a_client_that_takes_nothing_is_closed() {
        let limits = SessionLimits::default();
        let mut session = session(Level::Write);
        assert_eq!(session.on_time(30_000, 30_000, Some(0), &limits), Due::Close(Close::TOO_SLOW));
    }

    #[test]
    fn too_much_that_waits_stops_the_reading() {
        let limits = SessionLimits { inbound_bytes: 100, ..SessionLimits::default() };
        let mut session = session(Level::Write);
        session.on_submitted(100);
        assert!(!session.may_read(&limits));
        session.on_credit(1);
        assert!(session.may_read(&limits));
    }
}
