//! Answers in others' names: forged signatures, others' statements about its own lies, answers to
//! what was never asked.

use ravelin_model::wire::ServerMessage;
use ravelin_model::{
    Action, Answer, AnswerBatch, OperationResult, Position, ReplicaId, Sequence, Signature,
};
use ravelin_replication::Event;

use super::{Deed, Intruder, Scene};

/// Forges answers.
#[derive(Debug, Default)]
pub(super) struct Forger {
    turn: u64,
}

impl Forger {
    fn forged(&mut self, scene: &Scene<'_>, batch: &AnswerBatch) -> AnswerBatch {
        self.turn += 1;
        let answers = batch.answers.iter().map(|answer| Answer {
            sequence: match self.turn % 2 {
                0 => answer.sequence,
                _ => Sequence(answer.sequence.0.saturating_add(1)),
            },
            position: Position(scene.means.shared(6)),
            index: 0,
            result: OperationResult::Done(b"forged".to_vec()),
        });
        AnswerBatch { answers: answers.collect(), ..batch.clone() }
    }
}

impl Intruder for Forger {
    fn name(&self) -> &'static str {
        "forger"
    }

    fn on_deed(&mut self, scene: &mut Scene<'_>, deed: Deed) {
        let Deed::Act(Action::Emit(Event::ToClient(connection, message))) = &deed else {
            return scene.let_pass(deed);
        };
        let connection = *connection;
        if let ServerMessage::Answers { statement, batch, path } = message {
            let forged = self.forged(scene, batch);
            let path = path.clone();
            let mut others: Vec<ReplicaId> = scene.others().collect();
            others.push(scene.means.own);
            for replica in others {
                let mut statement = *statement;
                statement.replica = replica;
                if self.turn.is_multiple_of(3) {
                    statement.signature = Signature([5; 64]);
                }
                let (batch, path) = (forged.clone(), path.clone());
                scene.answer(connection, ServerMessage::Answers { statement, batch, path });
            }
            scene.answer(connection, ServerMessage::Repeated(forged));
            return;
        }
        scene.let_pass(deed);
    }
}
