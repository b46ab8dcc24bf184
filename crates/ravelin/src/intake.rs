//! What clients send, before anything in it is believed, and who of them is enrolled.
//!
//! **Guarantee:** a signature is looked at only if the connection's own key is enrolled and is the one
//! said to have signed: whoever only has a key costs no more than reading what it sent. Of a key that
//! signed badly nothing is looked at for a while, over whichever connections: closing them would only cost
//! handshakes. Of a key that has as much waiting as it may no further signature is. Questions that anybody may ask are answered a bounded number of times a connection and
//! turn.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;
use std::time::Duration;

use ravelin_model::limits::CLIENT_MESSAGE_BYTES_MAX;
use ravelin_model::wire::{ClientMessage, ServerMessage};
use ravelin_model::{Decode as _, Envelope, PublicKey, Refusal, Time};
use ravelin_replication::Status;
use ravelin_replication::mempool::RETRY_AFTER_MS;
use ravelin_runtime::transport::clients::{ConnectionId, Guests};

/// Questions of one connection that are taken in one turn: those that anybody may ask, and proofs of
/// misbehaviour. A client has as many under way at most.
pub(crate) const QUESTIONS_PER_TURN_MAX: usize = 8;

/// For how long nothing is read of a client that has as much waiting as it may: it is told to wait so long.
pub(crate) const RETRY_AFTER: Duration = Duration::from_millis(RETRY_AFTER_MS as u64);
/// For how long nothing is looked at that comes from a key which signed badly.
pub(crate) const IGNORED_FOR: Duration = Duration::from_secs(10);

/// The connections of clients.
pub(crate) struct Intake {
    guests: Guests,
    connections: BTreeMap<u64, Guest>,
    /// Keys of enrolled clients that signed badly, and until when they are ignored.
    ignored: BTreeMap<PublicKey, Time>,
}

struct Guest {
    key: PublicKey,
    /// Questions taken in this turn.
    questions: usize,
}

/// One message, judged as far as it can be without looking at signatures.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// Its signature is to be checked.
    Submit(Envelope),
    /// From a key that may not order anything, or not this.
    Unwelcome(Envelope),
    /// Anything else.
    Other(ClientMessage),
    /// Left out: too much was asked at once.
    Unheard,
    /// One that its client may not have waiting beside the others, and what it is told: to come again.
    /// What else came over the connection is left out.
    TooMany(ServerMessage),
    /// Left out, and so will be whatever comes in the next time from this key, for so long.
    Ignored(Duration),
    /// No message: whoever sent it is to be closed.
    Nonsense,
}

impl Intake {
    /// Nobody is connected; `guests` is told who is enrolled.
    pub(crate) fn new(guests: Guests) -> Self {
        Self { guests, connections: BTreeMap::new(), ignored: BTreeMap::new() }
    }

    /// A client connected.
    pub(crate) fn open(&mut self, connection: u64, key: PublicKey, is_enrolled: bool) {
        self.connections.insert(connection, Guest { key, questions: 0 });
        self.guests.set_enrolled(ConnectionId(connection), is_enrolled);
    }

    /// A client's connection ended.
    pub(crate) fn close(&mut self, connection: u64) {
        self.connections.remove(&connection);
    }

    /// Takes note that the client of a connection, which is enrolled, sent what its key did not sign or what
    /// is for another cluster. For how long it is ignored now.
    pub(crate) fn ignore(&mut self, now: Time, connection: u64) -> Duration {
        self.ignored.retain(|_, until| *until > now);
        if let Some(guest) = self.connections.get(&connection)
            && self.ignored.insert(guest.key, now.after(IGNORED_FOR)).is_none()
        {
            tracing::warn!(
                client = %guest.key,
                "an enrolled client sent envelopes that its key did not sign, or that are for another \
                 cluster: nothing of its is looked at for {} s; its program or its plan is wrong, or its \
                 key is in wrong hands",
                IGNORED_FOR.as_secs()
            );
        }
        IGNORED_FOR
    }

    /// Takes what arrived in one turn; `admits` says whether a key is enrolled, `room_of` how many further
    /// envelopes of it may wait.
    pub(crate) fn take<B: Deref<Target = [u8]>>(
        &mut self,
        now: Time,
        frames: &[(u64, B)],
        admits: impl Fn(&PublicKey) -> bool,
        room_of: impl Fn(&PublicKey) -> usize,
    ) -> Vec<(u64, Taken)> {
        let mut enrolled = BTreeMap::new();
        for (connection, _) in frames {
            let Some(guest) = self.connections.get_mut(connection) else { continue };
            guest.questions = 0;
            enrolled.entry(*connection).or_insert_with(|| {
                let is_enrolled = admits(&guest.key);
                self.guests.set_enrolled(ConnectionId(*connection), is_enrolled);
                is_enrolled
            });
        }
        let mut room = BTreeMap::new();
        let mut full = BTreeSet::new();
        let take = |(connection, bytes): &(u64, B)| {
            let Some(guest) = self.connections.get_mut(connection) else { return Taken::Unheard };
            if let Some(until) = self.ignored.get(&guest.key).filter(|until| **until > now) {
                return Taken::Ignored(until.since(now));
            }
            if full.contains(connection) {
                return Taken::Unheard;
            }
            let taken = guest.take(bytes, enrolled.get(connection) == Some(&true));
            let Taken::Submit(envelope) = &taken else { return taken };
            let left: &mut usize = room.entry(guest.key).or_insert_with(|| room_of(&guest.key));
            if *left == 0 {
                full.insert(*connection);
                return Taken::TooMany(busy(envelope));
            }
            *left -= 1;
            taken
        };
        frames.iter().map(|frame| frame.0).zip(frames.iter().map(take)).collect()
    }
}

impl Guest {
    fn take(&mut self, bytes: &[u8], is_enrolled: bool) -> Taken {
        match decode(bytes) {
            None => Taken::Nonsense,
            Some(ClientMessage::Submit(envelope)) if is_enrolled && envelope.client == self.key => {
                Taken::Submit(envelope)
            }
            Some(ClientMessage::Submit(envelope)) => Taken::Unwelcome(envelope),
            Some(
                question @ (ClientMessage::Plans
                | ClientMessage::Status { .. }
                | ClientMessage::Wormhole { .. }
                | ClientMessage::File(_)),
            ) => {
                self.questions += 1;
                if self.questions > QUESTIONS_PER_TURN_MAX {
                    return Taken::Unheard;
                }
                Taken::Other(question)
            }
            Some(other) => Taken::Other(other),
        }
    }
}

/// What the sender of an envelope is told that it may not order.
pub(crate) fn denied(envelope: &Envelope, status: &Status) -> ServerMessage {
    let refusal = match status {
        Status::FailSafe(_) => Refusal::Halted,
        _ => Refusal::UnknownClient,
    };
    ServerMessage::Denied { session: envelope.session, first: envelope.first.0, refusal }
}

fn busy(envelope: &Envelope) -> ServerMessage {
    let (session, first) = (envelope.session, envelope.first);
    ServerMessage::Busy { session, first, retry_after_ms: RETRY_AFTER_MS }
}

fn decode(bytes: &[u8]) -> Option<ClientMessage> {
    if bytes.len() > CLIENT_MESSAGE_BYTES_MAX {
        return None;
    }
    ClientMessage::decode("client message", bytes).ok()
}

#[cfg(test)]
mod tests {
    use ravelin_model::{
        ClusterId, Digest, Encode as _, Incarnation, Operation, Sequence, ServiceId, SessionId,
        Signature,
    };

    use ravelin_runtime::transport::clients::{ClientConfig, ClientLimits, ClientListener};
    use ravelin_runtime::transport::{Timing, TransportKey};

    use super::*;

    const ALICE: PublicKey = PublicKey([1; 32]);
    const BOB: PublicKey = PublicKey([2; 32]);

    fn guest() -> Guest {
        Guest { key: ALICE, questions: 0 }
    }

    fn submit(client: PublicKey) -> Vec<u8> {
        ClientMessage::Submit(Envelope {
            cluster: ClusterId(Digest([0; 32])),
            incarnation: Incarnation(1),
            client,
            session: SessionId(1),
            first: Sequence(1),
            operations: vec![Operation { service: ServiceId::KV, request: vec![] }],
            signature: Signature([0; 64]),
        })
        .encode()
    }

    #[test]
    fn only_signatures_of_an_enrolled_connections_own_key_are_checked() {
        assert!(matches!(guest().take(&submit(ALICE), true), Taken::Submit(_)));
        assert!(matches!(guest().take(&submit(ALICE), false), Taken::Unwelcome(_)));
        let other = submit(PublicKey([2; 32]));
        assert!(matches!(guest().take(&other, true), Taken::Unwelcome(_)));
    }

    /// An intake with two connections of `ALICE`, who is enrolled, and one of somebody else.
    fn intake() -> Intake {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("supported");
        let config = ClientConfig {
            key: TransportKey::from_seed(&[9; 32]),
            listener: tokio::net::TcpListener::from_std(listener).expect("inside a runtime"),
            limits: ClientLimits::default(),
            timing: Timing::default(),
        };
        let mut intake = Intake::new(ClientListener::start(config).0.guests());
        for (connection, key) in [(1, ALICE), (2, ALICE), (3, BOB)] {
            intake.open(connection, key, true);
        }
        intake
    }

    /// What is taken of envelopes over these connections, while each key has room for so many.
    fn taken(intake: &mut Intake, now: Time, connections: &[u64], room: usize) -> Vec<Taken> {
        let of = |connection: u64| submit(if connection == 3 { BOB } else { ALICE });
        let frames: Vec<_> = connections.iter().map(|number| (*number, of(*number))).collect();
        let taken = intake.take(now, &frames, |_| true, |_| room);
        taken.into_iter().map(|(_, taken)| taken).collect()
    }

    #[tokio::test]
    async fn no_more_signatures_of_a_key_are_checked_than_it_may_have_waiting() {
        let mut intake = intake();
        let taken = taken(&mut intake, Time(0), &[1, 2, 1, 1, 2, 3], 2);
        let [Taken::Submit(_), Taken::Submit(_), rest @ ..] = taken.as_slice() else {
            panic!("{taken:?}")
        };
        let [told, Taken::Unheard, told_too, Taken::Submit(_)] = rest else { panic!("{rest:?}") };
        for told in [told, told_too] {
            assert!(matches!(told, Taken::TooMany(ServerMessage::Busy { .. })), "{told:?}");
        }
    }

    #[tokio::test]
    async fn who_signed_badly_is_ignored_for_a_while_over_all_its_connections() {
        let mut intake = intake();
        let (begun, ended) = (Time(1), Time(1).after(IGNORED_FOR));
        assert_eq!(intake.ignore(begun, 1), IGNORED_FOR);
        let before = Time(ended.0 - 1);
        let rest = Duration::from_micros(1);
        let [one, other, bob] = &*taken(&mut intake, before, &[1, 2, 3], 9) else { panic!() };
        assert_eq!((one, other), (&Taken::Ignored(rest), &Taken::Ignored(rest)));
        assert!(matches!(bob, Taken::Submit(_)), "others are not");
        let after = taken(&mut intake, ended, &[1, 2], 9);
        assert!(after.iter().all(|taken| matches!(taken, Taken::Submit(_))), "{after:?}");
        intake.ignore(ended, 3);
        assert_eq!(intake.ignored.len(), 1, "who is no longer ignored is forgotten");
    }

    #[test]
    fn questions_that_anybody_may_ask_are_few_a_turn() {
        let mut guest = guest();
        for question in [ClientMessage::Plans, ClientMessage::Status { id: 1 }] {
            guest.questions = 0;
            let bytes = question.encode();
            for _ in 0..QUESTIONS_PER_TURN_MAX {
                assert_eq!(guest.take(&bytes, false), Taken::Other(question.clone()));
            }
            assert_eq!(guest.take(&bytes, false), Taken::Unheard);
        }
    }

    #[test]
    fn what_is_no_message_closes() {
        let mut longer = submit(ALICE);
        longer.push(0);
        assert_eq!(guest().take(&longer, true), Taken::Nonsense);
        assert_eq!(guest().take(&[], true), Taken::Nonsense);
        // A list of four thousand million operations, in a few bytes.
        let mut bomb = submit(ALICE);
        let at = 1 + 32 + 8 + 32 + 8 + 8;
        bomb[at..at + 4].copy_from_slice(&[0xff; 4]);
        assert_eq!(guest().take(&bomb, true), Taken::Nonsense);
    }
}
