//! Who may use the cluster, and what only administrators may order.

use borsh::{BorshDeserialize, BorshSerialize};

use crate::{ClusterId, Incarnation, Position, PublicKey, ReplicaId, Signature};

/// Asked of [`crate::ServiceId::AUTH`].
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum AuthRequest {
    /// Carries out what enough administrators signed.
    Change {
        /// What is to be done.
        order: AuthOrder,
        /// Signatures over the order's canonical bytes, by distinct administrators.
        approvals: Vec<(PublicKey, Signature)>,
    },
    /// Lists clients with names above `after`, at most `limit` of them. Changes nothing.
    List {
        /// Start after this name; empty for the beginning.
        after: String,
        /// At most so many, up to 1024.
        limit: u16,
    },
    /// Says who the asker is. Changes nothing.
    WhoAmI,
}

/// What administrators sign. It names its own place in the sequence of all such orders, so that
/// none can be carried out twice.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct AuthOrder {
    /// The cluster.
    pub cluster: ClusterId,
    /// Its incarnation.
    pub incarnation: Incarnation,
    /// Number of this order: one more than the last carried out.
    pub serial: u64,
    /// What is to be done.
    pub action: AuthAction,
}

/// A change of who may use the cluster, or of the key by which a server speaks in it.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum AuthAction {
    /// Lets a key in under a name.
    Enroll {
        /// The name, unique.
        name: String,
        /// The key.
        key: PublicKey,
    },
    /// Shuts the named client out.
    Revoke {
        /// The name.
        name: String,
    },
    /// Gives a server another key for blocks, and so begins a new epoch: its own identity could not
    /// ask for it, or may be in wrong hands.
    Rekey {
        /// The member, by its number in the plan.
        member: ReplicaId,
        /// Its key for blocks and statements from then on.
        block: PublicKey,
    },
}

/// One client.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct ClientRecord {
    /// Its name.
    pub name: String,
    /// Its key.
    pub key: PublicKey,
    /// Where it was enrolled; 0 by the plan.
    pub since: Position,
}

/// The reply to an [`AuthRequest`].
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum AuthReply {
    /// Carried out; the next order's serial.
    Changed {
        /// Serial of the next order.
        next_serial: u64,
    },
    /// Clients by name, and whether there are more.
    Clients {
        /// The clients.
        clients: Vec<ClientRecord>,
        /// Whether more follow.
        more: bool,
        /// Serial of the next order.
        next_serial: u64,
        /// How many administrators must sign an order.
        administrators_needed: u16,
    },
    /// The asker.
    You {
        /// Its record; administrators need not be clients.
        client: Option<ClientRecord>,
        /// Whether its key is an administrator's.
        administrator: bool,
        /// Serial of the next order: tells apart two times of not being a client.
        next_serial: u64,
    },
    /// Too few valid approvals by distinct administrators.
    NotApproved {
        /// Valid ones.
        got: u16,
        /// Needed ones.
        needed: u16,
    },
    /// The order's serial is not the next one.
    WrongSerial {
        /// The next one.
        next: u64,
    },
    /// The order is for another cluster or incarnation.
    WrongCluster,
    /// The name or key is enrolled already.
    Exists,
    /// No such client.
    NotFound,
    /// A name or list that does not fit the limits; more approvals than there are administrators; a
    /// key in whose name anybody could sign.
    Invalid,
}

/// First byte of the keys under which clients lie in the state, and of changes.
pub const CLIENT_TAG: u8 = b'c';

/// Where the [`ClientRecord`] of this name lies in the state; its changes carry that key.
#[must_use]
pub fn client_key(name: &str) -> Vec<u8> {
    [&[CLIENT_TAG], name.as_bytes()].concat()
}
