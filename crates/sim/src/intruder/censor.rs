//! Serves everybody but its victims: some clients are neither heard nor answered.

use ravelin_model::{Action, PublicKey};
use ravelin_replication::{ClientInput, ConnectionId, Event};

use super::{Deed, Intruder, Scene};

/// Neither hears nor answers about half of the clients; all colluders the same half.
#[derive(Debug, Default)]
pub(super) struct Censor;

impl Censor {
    fn is_victim(scene: &Scene<'_>, connection: ConnectionId) -> bool {
        let key = scene.means.clients.get(&connection);
        let first = scene.means.plan.plan.clients.first().map(|client| client.key);
        let chosen = |key: &PublicKey| {
            let salt = scene.means.shared(5) as usize;
            Some(*key) == first || key.0.get(salt % 32).is_some_and(|byte| byte % 2 == 0)
        };
        key.is_some_and(chosen)
    }
}

impl Intruder for Censor {
    fn name(&self) -> &'static str {
        "censor"
    }

    fn on_client(
        &mut self,
        scene: &mut Scene<'_>,
        connection: ConnectionId,
        input: ClientInput,
    ) -> Option<ClientInput> {
        if Self::is_victim(scene, connection) {
            scene.act();
            return None;
        }
        Some(input)
    }

    fn on_deed(&mut self, scene: &mut Scene<'_>, deed: Deed) {
        match &deed {
            Deed::Act(Action::Emit(Event::ToClient(connection, _)))
                if Self::is_victim(scene, *connection) =>
            {
                scene.act();
            }
            _ => scene.let_pass(deed),
        }
    }
}
