//! A second opinion: whether the others go on without a server that halted.
//!
//! A server that halted because `f+1` members contradict its own result does not know who is wrong: it
//! is, or more than `f` members lie. If at least a quorum of *others* orders and answers beyond that
//! commit, it is the odd one out: within the assumption that is always so, and more than `f` but fewer
//! than a quorum of liars cannot bring it about alone, because the correct servers that they contradict
//! have halted too. Only then may it give up its state.

use std::sync::Arc;
use std::time::Duration;

use ravelin_model::wire::{ClientMessage, ServerMessage};
use ravelin_model::{CommitIndex, Decode as _, Encode as _, Group, Member, ReplicaId};
use ravelin_runtime::transport::TransportKey;
use ravelin_runtime::transport::ask::ask;
use ravelin_runtime::transport::peers::Peer;
use tokio::task::JoinSet;

use crate::room;

/// How long a member may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// Pause between two rounds of questions.
const ASK_EVERY: Duration = Duration::from_secs(2);

/// Whom to ask.
#[derive(Clone)]
pub(crate) struct Others {
    pub(crate) members: Arc<[Member]>,
    pub(crate) own: ReplicaId,
    pub(crate) group: Group,
    pub(crate) key: TransportKey,
}

impl Others {
    /// How they are reached as servers.
    pub(crate) fn peers(&self) -> impl Iterator<Item = Peer> {
        let members = (0..).map(ReplicaId).zip(&*self.members);
        members.filter(|(id, _)| *id != self.own).map(|(id, member)| Peer {
            id,
            address: member.peer_address.clone(),
            key: member.transport,
        })
    }

    /// Returns once a quorum of others serves beyond `commit`.
    pub(crate) async fn wait_for_quorum(&self, commit: CommitIndex) {
        let mut told = None;
        loop {
            let serving = self.count_serving(commit).await;
            let needed = self.group.quorum();
            if serving >= needed {
                return;
            }
            if told.replace(serving) != Some(serving) {
                tracing::warn!(
                    "this server halted, and {serving} others go on, where {needed} must before it \
                     gives up its state: more than f may lie; it keeps its state and asks again"
                );
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
    }

    /// How many others order and answer, and are beyond `commit`.
    async fn count_serving(&self, commit: CommitIndex) -> usize {
        let mut asked = JoinSet::new();
        for (index, member) in self.members.iter().enumerate() {
            if index != self.own.index() {
                let (member, key) = (member.clone(), self.key.clone());
                asked.spawn(async move { is_serving(&member, &key, commit).await });
            }
        }
        asked.join_all().await.into_iter().filter(|serves| *serves).count()
    }
}

/// Whether the holder of the member's key says that it serves, beyond `commit`.
async fn is_serving(member: &Member, key: &TransportKey, commit: CommitIndex) -> bool {
    let question = ClientMessage::Status { id: 0 }.encode();
    let Ok(answer) = ask(key, &member.client_address, &question, PATIENCE).await else {
        return false;
    };
    let message = ServerMessage::decode("server message", &answer.bytes);
    let Ok(ServerMessage::Status { report, .. }) = message else { return false };
    let serves = matches!(report.state.as_str(), "correct" | room::REPORTED);
    answer.server_key == member.transport && serves && report.commit > commit
}
