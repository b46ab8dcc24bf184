//! Lies to clients, with good signatures: wrong answers under a root of its own, wrong reads, wrong
//! changes. Colluders tell the same lie.

use ravelin_crypto::answers::answer_leaf;
use ravelin_crypto::merkle::MerkleTree;
use ravelin_model::requests::kv::KvReply;
use ravelin_model::wire::ServerMessage;
use ravelin_model::{
    Action, AnswerBatch, Decode as _, Encode as _, OperationResult, Position, Refusal,
};
use ravelin_replication::Event;

use super::{Deed, Intruder, Scene};

/// Lies to clients.
#[derive(Debug, Default)]
pub(super) struct Liar;

impl Intruder for Liar {
    fn name(&self) -> &'static str {
        "liar"
    }

    fn on_deed(&mut self, scene: &mut Scene<'_>, deed: Deed) {
        let Deed::Act(Action::Emit(Event::ToClient(connection, message))) = deed else {
            return scene.let_pass(deed);
        };
        let lie = match message {
            ServerMessage::Answers { statement, mut batch, .. } => {
                lie_about(&mut batch);
                let tree = MerkleTree::new(vec![answer_leaf(&batch)]);
                let mut stated = statement.statement;
                stated.answers = tree.root();
                let (keyring, own) = (&scene.means.keyring, scene.means.own);
                let statement = keyring.sign_statement(&scene.means.key, own, stated);
                let path = tree.path(0).expect("the tree has one leaf");
                ServerMessage::Answers { statement, batch, path }
            }
            ServerMessage::Repeated(mut batch) => {
                lie_about(&mut batch);
                ServerMessage::Repeated(batch)
            }
            ServerMessage::ReadReply { id, commit, reply } => {
                ServerMessage::ReadReply { id, commit, reply: reply.map(|reply| wrong(&reply)) }
            }
            ServerMessage::Proof { id, statements, mut proof } => {
                if let Some(proof) = &mut proof {
                    proof.value = Some(b"a lie".to_vec());
                }
                ServerMessage::Proof { id, statements, proof }
            }
            ServerMessage::Changes { id, through, mut items } => {
                for item in &mut items {
                    item.change.value = Some(b"a lie".to_vec());
                }
                ServerMessage::Changes { id, through, items }
            }
            ServerMessage::Audit { id, mut records } => {
                for envelope in records.iter_mut().flat_map(|it| &mut it.list.envelopes) {
                    envelope.client.0[0] ^= 1; // another did it
                }
                ServerMessage::Audit { id, records }
            }
            other => other,
        };
        scene.answer(connection, lie);
    }
}

fn lie_about(batch: &mut AnswerBatch) {
    for answer in &mut batch.answers {
        answer.result = match &answer.result {
            OperationResult::Done(reply) => OperationResult::Done(wrong(reply)),
            OperationResult::Refused(_) => OperationResult::Refused(Refusal::Malformed),
        };
    }
}

/// Another reply that could be true.
fn wrong(reply: &[u8]) -> Vec<u8> {
    let wrong = match KvReply::decode("reply", reply) {
        Ok(KvReply::Entry(mut entry)) => {
            entry.value.push(b'!');
            KvReply::Entry(entry)
        }
        Ok(KvReply::Written { position, existed }) => {
            KvReply::Written { position, existed: !existed }
        }
        Ok(KvReply::Conflict { .. }) => KvReply::Written { position: Position(1), existed: true },
        _ => KvReply::Absent { removed: Position(0) },
    };
    wrong.encode()
}
