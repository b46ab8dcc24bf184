//! Sessions: every operation happens exactly once, through whichever replicas it is sent.
//!
//! **Guarantee:** within a session's window of sequence numbers each operation is executed at most
//! once, and a retry gets the first result; below the window it is refused. An opening that was
//! answered, and any older one, opens nothing when it comes again. Operations that only read are
//! answered afresh, and nothing of them is kept. All of it is replicated state.
//!
//! | key in namespace 0 | value |
//! |---|---|
//! | `c` client | last opening number, live sessions |
//! | `s` session | its record |
//! | `i` last use (seconds) session | nothing: the order in which sessions expire |
//! | `r` session first-sequence | the answers of one envelope |

use std::ops::ControlFlow;

use borsh::{BorshDeserialize, BorshSerialize};
use ravelin_model::limits::{SESSION_IDLE_MAX, SESSION_WINDOW, SESSIONS_PER_CLIENT_MAX};
use ravelin_model::{
    Answer, Decode as _, Encode, Position, PublicKey, Refusal, Sequence, SessionId, Store, Time,
    View,
};

/// Sessions that expire with one commit at most.
const EXPIRED_MAX: usize = 16;
/// Old entries of the reply cache that go with one envelope at most.
const FORGOTTEN_MAX: usize = 64;
/// Numbers by which a session goes on before the next old entries go.
const FORGET_EVERY: u64 = 64;
/// Last uses are noted to this precision, so that a busy session is not rewritten in the index.
const LAST_USE_STEP_US: u64 = 60_000_000;
const WORDS: usize = (SESSION_WINDOW / 64) as usize;

/// What is known of a session.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct SessionRecord {
    /// Whose it is.
    pub client: PublicKey,
    /// The highest number executed.
    highest: Sequence,
    /// Which of the window's numbers, up to the highest, were executed: bit `number % window`.
    executed: [u64; WORDS],
    last_use: Time,
    /// No answers are kept of envelopes that began below this number: nobody looks there again, for
    /// stores keep the traces of what was deleted for long.
    forgotten: Sequence,
}

#[derive(Clone, Copy, Debug, Default, BorshSerialize, BorshDeserialize)]
struct ClientRecord {
    last_opening: u64,
    /// What the last opening opened; 0 if it was one too many.
    last_session: SessionId,
    live: u32,
}

/// What a session knows of an operation's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// Never executed, and may be.
    New,
    /// Executed before.
    Executed,
    /// Too old to say.
    Forgotten,
}

impl SessionRecord {
    /// What is known of `sequence`.
    #[must_use]
    pub fn knows(&self, sequence: Sequence) -> Known {
        if sequence.0 == 0 || self.highest.0.saturating_sub(sequence.0) >= SESSION_WINDOW {
            Known::Forgotten
        } else if sequence > self.highest || !self.bit(sequence) {
            Known::New
        } else {
            Known::Executed
        }
    }

    /// Notes that `sequence` was executed.
    pub fn mark(&mut self, sequence: Sequence) {
        if sequence > self.highest {
            let passed = (sequence.0 - self.highest.0).min(SESSION_WINDOW);
            for step in 1..passed {
                self.set(Sequence(sequence.0 - passed + step), false);
            }
            self.highest = sequence;
        }
        self.set(sequence, true);
    }

    fn bit(&self, sequence: Sequence) -> bool {
        let place = sequence.0 % SESSION_WINDOW;
        self.executed.get(index(place / 64)).is_some_and(|word| word >> (place % 64) & 1 == 1)
    }

    fn set(&mut self, sequence: Sequence, value: bool) {
        let place = sequence.0 % SESSION_WINDOW;
        if let Some(word) = self.executed.get_mut(index(place / 64)) {
            *word = *word & !(1 << (place % 64)) | u64::from(value) << (place % 64);
        }
    }
}

fn index(word: u64) -> usize {
    usize::try_from(word).expect("a window has few words")
}

/// Opens a session for `client` with its opening `number`, which is used up even if the client has
/// too many: an intruder who keeps that envelope must not open a session with it later.
///
/// # Errors
/// The refusal to answer with.
pub fn open(
    store: &mut dyn Store,
    client: PublicKey,
    number: u64,
    position: Position,
    now: Time,
) -> Result<SessionId, Refusal> {
    let key = client_key(&client);
    let mut record: ClientRecord = read(store, &key).unwrap_or_default();
    if number == record.last_opening && number != 0 {
        return match record.last_session {
            SessionId(0) => Err(Refusal::TooManySessions),
            session => find(store, session, &client).map(|_| session),
        };
    }
    if number <= record.last_opening {
        return Err(Refusal::StaleOpening { last: record.last_opening });
    }
    let is_full = record.live >= SESSIONS_PER_CLIENT_MAX;
    let session = if is_full { SessionId(0) } else { SessionId(position.0) };
    record.last_opening = number;
    record.last_session = session;
    record.live += u32::from(!is_full);
    store.put(&key, record.encode());
    if is_full {
        return Err(Refusal::TooManySessions);
    }
    let last_use = stepped(now);
    let (highest, forgotten) = (Sequence(0), Sequence(0));
    let opened = SessionRecord { client, highest, executed: [0; WORDS], last_use, forgotten };
    store.put(&session_key(session), opened.encode());
    store.put(&idle_key(last_use, session), Vec::new());
    Ok(session)
}

/// The session, if it is `client`'s and lives.
///
/// # Errors
/// [`Refusal::UnknownSession`].
pub fn find(
    store: &dyn View,
    session: SessionId,
    client: &PublicKey,
) -> Result<SessionRecord, Refusal> {
    read::<SessionRecord>(store, &session_key(session))
        .filter(|record| record.client == *client)
        .ok_or(Refusal::UnknownSession)
}

/// Writes a session back after an envelope was executed in it, with the answers to keep under the
/// envelope's first number.
pub fn save(
    store: &mut dyn Store,
    session: SessionId,
    mut record: SessionRecord,
    first: Sequence,
    answers: &[Answer],
    now: Time,
) {
    let last_use = stepped(now);
    if last_use > record.last_use {
        store.delete(&idle_key(record.last_use, session));
        store.put(&idle_key(last_use, session), Vec::new());
        record.last_use = last_use;
    }
    if !answers.is_empty() {
        store.put(&reply_key(session, first), Encode::encode(&answers));
    }
    // Envelopes hold up to a window of numbers: one that begins two windows back has none left. One
    // envelope brings one entry and may take many along.
    let old = Sequence(record.highest.0.saturating_sub(2 * SESSION_WINDOW));
    if old.0.saturating_sub(record.forgotten.0) >= FORGET_EVERY {
        let (from, until) = (reply_key(session, record.forgotten), reply_key(session, old));
        let last = forget_replies(store, (&from, &until), FORGOTTEN_MAX);
        record.forgotten = last.map_or(old, |last| Sequence(last.0 + 1));
    }
    store.put(&session_key(session), record.encode());
}

/// The kept answers of the envelope that began with `first`, if there can be any: not if the session has
/// executed nothing from that number on, which most envelopes find without a look.
#[must_use]
pub fn replies_of(
    store: &dyn View,
    session: SessionId,
    record: &SessionRecord,
    first: Sequence,
) -> Vec<Answer> {
    if first > record.highest { Vec::new() } else { replies(store, session, first) }
}

/// The kept answers of the envelope that began with `first`.
#[must_use]
pub fn replies(store: &dyn View, session: SessionId, first: Sequence) -> Vec<Answer> {
    read(store, &reply_key(session, first)).unwrap_or_default()
}

/// Ends a session. Its replies go at once.
pub fn close(store: &mut dyn Store, session: SessionId, record: &SessionRecord) {
    store.delete(&idle_key(record.last_use, session));
    store.delete(&session_key(session));
    let next = SessionId(session.0.saturating_add(1));
    let all = (&*reply_key(session, record.forgotten), &*reply_key(next, Sequence(0)));
    forget_replies(store, all, usize::MAX);
    let key = client_key(&record.client);
    if let Some(client) = read::<ClientRecord>(store, &key) {
        store.put(&key, ClientRecord { live: client.live.saturating_sub(1), ..client }.encode());
    }
}

/// Ends sessions that were idle for [`SESSION_IDLE_MAX`] and up to a minute longer, a few a commit.
pub fn expire(store: &mut dyn Store, now: Time) {
    let idle_max = u64::try_from(SESSION_IDLE_MAX.as_micros()).expect("an hour is short");
    let Some(limit) = now.0.checked_sub(idle_max) else { return };
    // Last uses are whole steps: up to the next one the range is the same, and a store that found it empty
    // need not look again.
    let limit = limit.saturating_sub(LAST_USE_STEP_US).next_multiple_of(LAST_USE_STEP_US);
    let mut idle = Vec::new();
    store.scan(b"i", Some(&idle_key(Time(limit), SessionId(0))), &mut |key, _| {
        let session = key.get(9..17).and_then(|bytes| bytes.try_into().ok());
        idle.extend(session.map(|bytes| SessionId(u64::from_be_bytes(bytes))));
        if idle.len() < EXPIRED_MAX { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    for session in idle {
        if let Some(record) = read::<SessionRecord>(store, &session_key(session)) {
            close(store, session, &record);
        }
    }
}

/// Deletes the answers kept under these keys, up to `most`; then the number of the last is told.
fn forget_replies(
    store: &mut dyn Store,
    (from, until): (&[u8], &[u8]),
    most: usize,
) -> Option<Sequence> {
    let mut old = Vec::new();
    store.scan(from, Some(until), &mut |key, _| {
        old.push(key.to_vec());
        if old.len() < most { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    for key in &old {
        store.delete(key);
    }
    let last = old.last().filter(|_| old.len() == most)?;
    let number = last.last_chunk::<8>().expect("the state holds only what sessions wrote");
    Some(Sequence(u64::from_be_bytes(*number)))
}

fn read<T: BorshSerialize + BorshDeserialize>(
    store: &(impl View + ?Sized),
    key: &[u8],
) -> Option<T> {
    let bytes = store.get(key)?;
    Some(T::decode("session record", &bytes).expect("the state holds only what sessions wrote"))
}

fn stepped(now: Time) -> Time {
    Time(now.0 - now.0 % LAST_USE_STEP_US)
}

fn client_key(client: &PublicKey) -> Vec<u8> {
    [b"c".as_slice(), &client.0].concat()
}

fn session_key(session: SessionId) -> Vec<u8> {
    [b"s".as_slice(), &session.0.to_be_bytes()].concat()
}

fn idle_key(last_use: Time, session: SessionId) -> Vec<u8> {
    [b"i".as_slice(), &last_use.0.to_be_bytes(), &session.0.to_be_bytes()].concat()
}

fn reply_key(session: SessionId, first: Sequence) -> Vec<u8> {
    [b"r".as_slice(), &session.0.to_be_bytes(), &first.0.to_be_bytes()].concat()
}

#[cfg(test)]
mod tests;
