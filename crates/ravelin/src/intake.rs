//! What clients send, before anything in it is believed, and who of them is enrolled.
//!
//! **Guarantee:** a signature is looked at only if the connection's own key is enrolled and is the one
//! said to have signed: whoever only has a key costs no more than reading what it sent. Questions that
//! anybody may ask are answered a bounded number of times a connection and turn.

use std::collections::BTreeMap;

use ravelin_model::limits::CLIENT_MESSAGE_BYTES_MAX;
use ravelin_model::wire::ClientMessage;
use ravelin_model::{Decode as _, Envelope, PublicKey};
use ravelin_runtime::transport::Received;
use ravelin_runtime::transport::clients::{ConnectionId, Guests};

/// Questions of one connection that are taken in one turn: those that anybody may ask, and proofs of
/// misbehaviour. A client has as many under way at most.
pub(crate) const QUESTIONS_PER_TURN_MAX: usize = 8;

/// The connections of clients.
pub(crate) struct Intake {
    guests: Guests,
    connections: BTreeMap<u64, Guest>,
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
    /// No message: whoever sent it is to be closed.
    Nonsense,
}

impl Intake {
    /// Nobody is connected; `guests` is told who is enrolled.
    pub(crate) fn new(guests: Guests) -> Self {
        Self { guests, connections: BTreeMap::new() }
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

    /// Takes what arrived in one turn; `admits` says whether a key is enrolled.
    pub(crate) fn take(
        &mut self,
        frames: &[(u64, Received)],
        admits: impl Fn(&PublicKey) -> bool,
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
        frames
            .iter()
            .map(|(connection, bytes)| {
                let is_enrolled = enrolled.get(connection) == Some(&true);
                let guest = self.connections.get_mut(connection);
                let taken = guest.map_or(Taken::Unheard, |guest| guest.take(bytes, is_enrolled));
                (*connection, taken)
            })
            .collect()
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

    use super::*;

    const ALICE: PublicKey = PublicKey([1; 32]);

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
