//! What replicas did: one order, one state, only what clients asked, each once.

use std::collections::{BTreeMap, BTreeSet};

use ravelin_crypto::domain_digest;
use ravelin_model::{
    CommitIndex, CommitStatement, Digest, Encode as _, Evidence, Misbehaviour, Position, PublicKey,
    ReplicaId, Time,
};

use super::Violation;
use crate::watched::Execution;

/// What all correct replicas together have shown so far.
#[derive(Debug, Default)]
pub struct Order {
    /// Who may misbehave; nobody else may be accused.
    faulty: BTreeSet<ReplicaId>,
    /// Whose requests may be executed.
    clients: BTreeSet<PublicKey>,
    commits: BTreeMap<CommitIndex, Progress>,
    stated: BTreeMap<CommitIndex, CommitStatement>,
    executed: BTreeMap<(Position, u16), Digest>,
    /// How often each client asked for this, byte by byte.
    asked: BTreeMap<Digest, u64>,
    /// Where it was executed.
    places: BTreeMap<Digest, BTreeSet<(Position, u16)>>,
    proofs: u64,
    proven: BTreeSet<ReplicaId>,
}

/// Where a replica stands after a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The commit.
    pub commit: CommitIndex,
    /// Digest over all committed leaders.
    pub chain: Digest,
    /// Root of the state.
    pub root: Digest,
    /// The last position executed.
    pub position: Position,
    /// Agreed time.
    pub time: Time,
}

impl Order {
    /// Nothing was shown yet. Only `faulty` may be accused; only `clients` may be served.
    #[must_use]
    pub fn new(faulty: BTreeSet<ReplicaId>, clients: BTreeSet<PublicKey>) -> Self {
        Self { faulty, clients, ..Self::default() }
    }

    /// Whether `replica` may misbehave.
    #[must_use]
    pub fn is_faulty(&self, replica: ReplicaId) -> bool {
        self.faulty.contains(&replica)
    }

    /// Proofs seen against the faulty.
    #[must_use]
    pub fn proof_count(&self) -> u64 {
        self.proofs
    }

    /// Whether someone correct holds proof against `replica`.
    #[must_use]
    pub fn is_proven(&self, replica: ReplicaId) -> bool {
        self.proven.contains(&replica)
    }

    /// Notes that a client asked for something.
    pub fn ask(&mut self, client: &PublicKey, request: &[u8]) {
        *self.asked.entry(request_digest(client, request)).or_default() += 1;
    }

    /// Compares where a correct replica stands with where the others stood. `latest`: the most that
    /// a correct clock shows.
    ///
    /// # Errors
    /// A [`Violation`] of agreement, or of agreed time.
    pub fn on_progress(
        &mut self,
        replica: ReplicaId,
        progress: Progress,
        latest: Time,
    ) -> Result<(), Violation> {
        let known = *self.commits.entry(progress.commit).or_insert(progress);
        if known != progress {
            let what = format!("replica {replica} has {progress:?}, another had {known:?}");
            return Err(Violation::new("agreement", what));
        }
        if progress.time > latest {
            let what = format!("{:?} is past every correct clock, {latest:?}", progress.time);
            return Err(Violation::new("agreed-time", what));
        }
        Ok(())
    }

    /// Compares a statement that a correct replica signed with the others'.
    ///
    /// # Errors
    /// A [`Violation`] of agreement.
    pub fn on_statement(
        &mut self,
        replica: ReplicaId,
        statement: CommitStatement,
    ) -> Result<(), Violation> {
        let known = *self.stated.entry(statement.commit).or_insert(statement);
        let stood = self.commits.get(&statement.commit);
        let fits = stood.is_none_or(|stood| {
            (stood.root, stood.position, stood.time)
                == (statement.state, statement.position, statement.time)
        });
        if known != statement || !fits {
            let what = format!("replica {replica} stated {statement:?}, known: {known:?}");
            return Err(Violation::new("agreement", what));
        }
        Ok(())
    }

    /// Judges what a correct replica executed.
    ///
    /// # Errors
    /// A [`Violation`] of agreement, validity or exactly-once.
    pub fn on_executed(
        &mut self,
        replica: ReplicaId,
        execution: &Execution,
    ) -> Result<(), Violation> {
        let place = (execution.context.position, execution.context.index);
        let digest = execution_digest(execution);
        let known = *self.executed.entry(place).or_insert(digest);
        if known != digest {
            let what = format!("replica {replica} executed at {place:?} {execution:?}");
            return Err(Violation::new("agreement", what));
        }
        let client = &execution.context.client;
        let request = request_digest(client, &execution.request);
        let asked = self.asked.get(&request).copied().unwrap_or(0);
        if asked == 0 || !self.clients.contains(client) {
            let what = format!("nobody asked for {execution:?}");
            return Err(Violation::new("validity", what));
        }
        let places = self.places.entry(request).or_default();
        places.insert(place);
        if places.len() as u64 > asked {
            let what = format!("asked {asked} times, executed at {places:?}: {execution:?}");
            return Err(Violation::new("exactly-once", what));
        }
        Ok(())
    }

    /// Judges what someone correct said of `accused`.
    ///
    /// # Errors
    /// A [`Violation`] if a correct replica was accused with proof.
    pub fn on_accusation(
        &mut self,
        accused: ReplicaId,
        misbehaviour: &Misbehaviour,
    ) -> Result<(), Violation> {
        let Misbehaviour::Proven(evidence) = misbehaviour else { return Ok(()) };
        self.proofs += 1;
        self.proven.insert(accused);
        if self.faulty.contains(&accused) && evidence.accused() == accused {
            return Ok(());
        }
        let what = format!("replica {accused} is correct: {}", short(evidence));
        Err(Violation::new("accusation", what))
    }

    /// The furthest commit that any correct replica has reached.
    #[must_use]
    pub fn highest(&self) -> CommitIndex {
        self.commits.last_key_value().map_or(CommitIndex(0), |(commit, _)| *commit)
    }
}

fn short(evidence: &Evidence) -> String {
    format!("{} {evidence:?}", evidence.kind())
}

fn request_digest(client: &PublicKey, request: &[u8]) -> Digest {
    domain_digest("ravelin simulator request v1", &[&client.0, request])
}

fn execution_digest(execution: &Execution) -> Digest {
    let Execution { context, service, request, reply } = execution;
    let reply = match reply {
        Ok(reply) => reply.clone(),
        Err(refusal) => refusal.encode(),
    };
    let time = context.time.0.to_le_bytes();
    domain_digest(
        "ravelin simulator execution v1",
        &[&context.client.0, &time, &[service.0], request, &reply],
    )
}

#[cfg(test)]
mod tests;
