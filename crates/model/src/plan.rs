//! The cluster plan: who the members, administrators and first clients are, and what is assumed.
//!
//! The first plan's digest is the cluster's fingerprint and [`crate::ClusterId`]. Signing lives in
//! `crypto`; files and their syntax in the program.

use std::collections::BTreeSet;

use borsh::{BorshDeserialize, BorshSerialize};

use crate::limits::{CHECKPOINT_EVERY, NAME_BYTES_MAX, PLAN_ENTRIES_MAX};
use crate::{
    CommitIndex, Digest, Epoch, FaultModel, Group, GroupError, Incarnation, Position, PublicKey,
    Signature, Time, WormholeKeys,
};

/// Version of the plan's format.
pub const PLAN_VERSION: u16 = 2;

/// What a cluster is for: only local ones can be attacked on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Purpose {
    /// Real use: intruders refuse to run.
    Production,
    /// One machine, for trying and attacking.
    Local,
}

/// Everything that must be agreed before the first message.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct ClusterPlan {
    /// [`PLAN_VERSION`].
    pub version: u16,
    /// A name for people.
    pub name: String,
    /// What the cluster is for.
    pub purpose: Purpose,
    /// How often it was restored, from 1.
    pub incarnation: Incarnation,
    /// The epoch that this plan begins.
    pub epoch: Epoch,
    /// What the epoch follows; `None` in the first.
    pub previous: Option<Previous>,
    /// What is assumed of intruded servers.
    pub fault_model: FaultModel,
    /// Intrusions to tolerate.
    pub f: u16,
    /// Leader slots of a round.
    pub leaders_per_round: u16,
    /// Servers, in [`crate::ReplicaId`] order.
    pub members: Vec<Member>,
    /// Keys of the administrators.
    pub administrators: Vec<PublicKey>,
    /// How many administrators must sign what only they may do.
    pub administrators_needed: u16,
    /// Clients enrolled from the start.
    pub clients: Vec<ClientEntry>,
    /// Agreed seconds between two key changes that a server may ask for by itself.
    pub rekey_interval_min_s: u64,
    /// Commits between two checkpoints.
    pub checkpoint_every: u64,
}

/// Where an epoch begins: the end of the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Previous {
    /// Digest of its plan.
    pub plan: Digest,
    /// Its last commit.
    pub commit: CommitIndex,
    /// Agreed time of that commit.
    pub time: Time,
    /// The last position given out by then.
    pub position: Position,
    /// Root of the public state after it.
    pub state: Digest,
    /// Digest of the ordering state after it.
    pub ordering: Digest,
}

/// One server.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Member {
    /// A name for people.
    pub name: String,
    /// Signs what only the server itself may ask for; never blocks.
    pub identity: PublicKey,
    /// Signs blocks and answers in this epoch.
    pub block: PublicKey,
    /// Authenticates its connections.
    pub transport: PublicKey,
    /// Its wormhole: in [`FaultModel::Hybrid`], and there only.
    pub wormhole: Option<WormholeKeys>,
    /// Where other servers reach it, `host:port`.
    pub peer_address: String,
    /// Where clients reach it, `host:port`.
    pub client_address: String,
    /// Failure zone, operating system and administrator: for judging diversity.
    pub labels: Labels,
}

/// What members may have in common, and so may fall to together.
#[derive(Clone, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Labels {
    /// Site or zone.
    pub zone: String,
    /// Operating system.
    pub os: String,
    /// Who administers it.
    pub administrator: String,
}

/// A client that the plan enrols.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct ClientEntry {
    /// A name for people.
    pub name: String,
    /// The key that signs its envelopes and authenticates its connections.
    pub key: PublicKey,
}

/// A plan with the signatures that put it in force.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct SignedPlan {
    /// The plan.
    pub plan: ClusterPlan,
    /// Of the first plan: administrators' signatures over its canonical bytes. Of later ones:
    /// signatures over its digest by block keys of a quorum of the epoch before.
    pub signatures: Vec<(PublicKey, Signature)>,
}

impl ClusterPlan {
    /// Size and resilience.
    ///
    /// # Errors
    /// [`PlanError`] names the first thing that does not fit; retrying does not help.
    pub fn check(&self) -> Result<Group, PlanError> {
        if self.version != PLAN_VERSION {
            return Err(PlanError::Version { found: self.version });
        }
        if (self.epoch == Epoch::FIRST) != self.previous.is_none() {
            return Err(PlanError::Epoch { epoch: self.epoch });
        }
        let entries = self.members.len() + self.administrators.len() + self.clients.len();
        if entries > PLAN_ENTRIES_MAX {
            return Err(PlanError::TooManyEntries { entries });
        }
        let n = u16::try_from(self.members.len()).unwrap_or(u16::MAX);
        let group = Group::new(n, self.f, self.fault_model)?;
        let most = self.f + 1;
        if self.leaders_per_round == 0 || self.leaders_per_round > most {
            return Err(PlanError::Leaders { leaders: self.leaders_per_round, most });
        }
        let administrators = u16::try_from(self.administrators.len()).unwrap_or(u16::MAX);
        if self.administrators_needed == 0 || self.administrators_needed > administrators {
            return Err(PlanError::Administrators {
                needed: self.administrators_needed,
                named: administrators,
            });
        }
        if !CHECKPOINT_EVERY.contains(&self.checkpoint_every) {
            return Err(PlanError::Checkpoints { every: self.checkpoint_every });
        }
        self.check_names()?;
        self.check_keys()?;
        Ok(group)
    }

    fn check_names(&self) -> Result<(), PlanError> {
        let members = self.members.iter().map(|member| &member.name);
        let clients = self.clients.iter().map(|client| &client.name);
        let mut seen = BTreeSet::new();
        for name in members.chain(clients) {
            let fits = !name.is_empty() && name.len() <= NAME_BYTES_MAX;
            if !fits || !name.chars().all(|letter| letter.is_ascii_graphic()) {
                return Err(PlanError::Name { name: name.clone() });
            }
            if !seen.insert(name) {
                return Err(PlanError::SameName { name: name.clone() });
            }
        }
        let mut addresses = BTreeSet::new();
        for member in &self.members {
            for address in [&member.peer_address, &member.client_address] {
                if address.len() > 2 * NAME_BYTES_MAX || !address.contains(':') {
                    return Err(PlanError::Address { address: address.clone() });
                }
                if !addresses.insert(address) {
                    return Err(PlanError::SameAddress { address: address.clone() });
                }
            }
        }
        Ok(())
    }

    fn check_keys(&self) -> Result<(), PlanError> {
        let is_hybrid = self.fault_model == FaultModel::Hybrid;
        if let Some(member) = self.members.iter().find(|it| it.wormhole.is_some() != is_hybrid) {
            let (name, model) = (member.name.clone(), self.fault_model.name());
            return Err(PlanError::Wormhole { name, model });
        }
        let mut seen = BTreeSet::new();
        let members = self.members.iter().flat_map(Member::keys);
        let clients = self.clients.iter().map(|client| client.key);
        for key in members.chain(clients) {
            if !seen.insert(key) {
                return Err(PlanError::SameKey { key });
            }
        }
        // A local cluster's first client may be its administrator; two administrators may not be one.
        let administrators: BTreeSet<_> = self.administrators.iter().collect();
        if administrators.len() != self.administrators.len() {
            return Err(PlanError::SameAdministrator);
        }
        match self.members.iter().flat_map(Member::keys).find(|key| administrators.contains(key)) {
            Some(key) => Err(PlanError::SameKey { key }),
            None => Ok(()),
        }
    }
}

impl Member {
    /// All of its keys.
    pub fn keys(&self) -> impl Iterator<Item = PublicKey> {
        let wormhole = self.wormhole.into_iter();
        let wormhole = wormhole.flat_map(|it| [Some(it.provisioned), it.instance]).flatten();
        [self.identity, self.block, self.transport].into_iter().chain(wormhole)
    }
}

/// Why a plan cannot be put in force. Retrying does not help: the plan must be changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Written for another version of the format.
    #[error("plan format {found} is not {PLAN_VERSION}, the one this program reads")]
    Version {
        /// The plan's format.
        found: u16,
    },
    /// Only the first epoch follows none.
    #[error("the plan of epoch {} must say what it follows, unless that is 1", epoch.0)]
    Epoch {
        /// The plan's epoch.
        epoch: Epoch,
    },
    /// `n`, `f` and the fault model do not fit together.
    #[error("the group does not fit together")]
    Group(#[from] GroupError),
    /// More entries than [`PLAN_ENTRIES_MAX`].
    #[error("{entries} members, administrators and clients are more than {PLAN_ENTRIES_MAX}")]
    TooManyEntries {
        /// Entries named.
        entries: usize,
    },
    /// Leader slots outside `1..=f+1`. So many always have a correct one among them; further ones
    /// only give intruders more slots with which to hold the others up.
    #[error("{leaders} leaders per round: there may be 1 to {most}, one more than f")]
    Leaders {
        /// Slots asked for.
        leaders: u16,
        /// Slots that there may be.
        most: u16,
    },
    /// More administrators needed than named, or none.
    #[error("{needed} of {named} administrators cannot sign: choose between 1 and {named}")]
    Administrators {
        /// Signatures needed.
        needed: u16,
        /// Administrators named.
        named: u16,
    },
    /// Checkpoints too often for the disk, or too seldom for anyone to come back by one.
    #[error(
        "a checkpoint every {every} commits: choose between {} and {}",
        CHECKPOINT_EVERY.start(),
        CHECKPOINT_EVERY.end()
    )]
    Checkpoints {
        /// Commits between two.
        every: u64,
    },
    /// A name that is empty, too long or not printable.
    #[error(
        "`{}` is no name: use 1 to {NAME_BYTES_MAX} printable ASCII characters",
        name.escape_debug()
    )]
    Name {
        /// The name.
        name: String,
    },
    /// Two entries with one name.
    #[error("two entries are named `{name}`")]
    SameName {
        /// The name.
        name: String,
    },
    /// An address without a port.
    #[error("`{address}` is no address: write host:port")]
    Address {
        /// The address.
        address: String,
    },
    /// Two listeners at one address.
    #[error("two listeners share the address {address}")]
    SameAddress {
        /// The address.
        address: String,
    },
    /// One key in two places.
    #[error("key {key} stands in two places; every server and client needs its own")]
    SameKey {
        /// The key.
        key: PublicKey,
    },
    /// A member without a wormhole in [`FaultModel::Hybrid`], or with one elsewhere.
    #[error(
        "the wormhole of `{name}` does not fit `{model}`: in `hybrid` each member has one, elsewhere none"
    )]
    Wormhole {
        /// The member.
        name: String,
        /// The fault model.
        model: &'static str,
    },
    /// One administrator named twice.
    #[error("an administrator is named twice; m of n needs n distinct keys")]
    SameAdministrator,
}
