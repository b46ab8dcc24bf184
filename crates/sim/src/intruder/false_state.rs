//! Shows those who fetch the state what is none, or nothing, or the same without end.

use ravelin_model::transfer::{Found, StateReply, StateRequest, TransferMessage};
use ravelin_model::{Action, CommitIndex, Digest, ReplicaId};
use ravelin_multicast::Message;
use ravelin_replication::Event;

use super::{Deed, Intruder, Scene};

/// Lies about the state.
#[derive(Debug, Default)]
pub(super) struct FalseState;

impl Intruder for FalseState {
    fn name(&self) -> &'static str {
        "false-state"
    }

    fn on_deed(&mut self, scene: &mut Scene<'_>, deed: Deed) {
        match deed {
            Deed::Act(Action::Emit(Event::Serve { to, request })) => {
                serve(scene, to, &request);
            }
            Deed::Act(Action::Send(to, Message::Transfer(TransferMessage::Offer(mut offer)))) => {
                match scene.means.dice.below(5) {
                    0 => drop(offer.plans.pop()),
                    1 => forge_checkpoint(scene, &mut offer.checkpoint),
                    2 => offer.checkpoint = None,
                    3 => offer.present.iter_mut().for_each(|it| it.state = Digest([7; 32])),
                    _ => {}
                }
                scene.act();
                scene.send(to, Message::Transfer(TransferMessage::Offer(offer)));
            }
            other => scene.let_pass(other),
        }
    }
}

/// What one member alone says, in all members' names.
fn forge_checkpoint(
    scene: &Scene<'_>,
    checkpoint: &mut Option<ravelin_model::transfer::Checkpoint>,
) {
    let Some(checkpoint) = checkpoint else { return };
    let (keyring, own) = (&scene.means.keyring, scene.means.own);
    for signed in &mut checkpoint.statements {
        signed.statement.state = Digest([7; 32]);
        let forged = keyring.sign_statement(&scene.means.key, own, signed.statement);
        signed.signature = forged.signature;
    }
}

/// In some runs no colluder ever shows any part: whoever asks them waits in vain while others go on.
fn is_silent(scene: &Scene<'_>) -> bool {
    scene.means.shared(8).is_multiple_of(3)
}

fn serve(scene: &mut Scene<'_>, to: ReplicaId, request: &StateRequest) {
    if is_silent(scene) {
        return scene.act();
    }
    let Message::Transfer(TransferMessage::Have(mut reply)) = scene.core.state_part(request) else {
        return;
    };
    match scene.means.dice.below(6) {
        0 => reply.found = Found::Gone,
        1 => empty(&mut reply.found),
        2 => return scene.act(), // says nothing
        3 => lengthen(&mut reply.found),
        4 => reply.commit = CommitIndex(reply.commit.0 + 1),
        _ => poison(&mut reply),
    }
    scene.act();
    scene.send(to, Message::Transfer(TransferMessage::Have(reply)));
}

fn empty(found: &mut Found) {
    match found {
        Found::Nodes(shown) => shown.clear(),
        Found::Entries(shown) => shown.clear(),
        Found::Range { entries, .. } => entries.clear(),
        Found::Gone => {}
    }
}

fn lengthen(found: &mut Found) {
    match found {
        Found::Nodes(shown) => {
            let again = shown.clone();
            shown.extend(again);
        }
        Found::Entries(shown) | Found::Range { entries: shown, .. } => {
            let again = shown.clone();
            shown.extend(again);
        }
        Found::Gone => {}
    }
}

/// An entry that is none, or another place's node.
fn poison(reply: &mut StateReply) {
    match &mut reply.found {
        Found::Nodes(shown) => {
            shown.reverse();
            for node in shown.iter_mut().flatten().take(1) {
                node.value = Digest([7; 32]);
            }
        }
        Found::Entries(shown) | Found::Range { entries: shown, .. } => {
            for (_, value) in shown.iter_mut().take(1) {
                *value = b"poison".to_vec();
            }
        }
        Found::Gone => {}
    }
}
