//! Three servers with wormholes go through epochs, and the bad one's wormhole begins anew in between.
//!
//! The bad server lets its wormhole begin anew when it likes: then another instance attests. It has
//! whatever runs attest blocks of any epoch that has a plan, the next one's before that begins, too, shows
//! them to whom it likes, and orders any instance in: one of its wormhole's, one that it made itself, which
//! attests everything, or none but the present one. The correct servers execute the order that ends an
//! epoch at different times, and go on when enough signed.
//!
//! A server takes a block, and carries out an order, where the product's [`Keyring`] and [`Members`] do; it
//! begins an epoch where [`check_successor`] does. That an instance attests one block for a round is what
//! [`counters`](crate::counters) is about; that then no two views of an epoch commit differently, what
//! [`hybrid`](crate::hybrid) is.
//!
//! Left out: rounds beside one of each epoch, and that order's own way through the epoch.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use ravelin_crypto::{
    Domain, Keyring, Registry, Scheme, SigningKey, check_successor, plan_digest, sign_handover,
};
use ravelin_model::{
    Block, BlockBody, ClusterId, ClusterPlan, Encode as _, FaultModel, InstanceCertificate,
    PublicKey, Rekey, ReplicaId, Round, ServiceId, ServiceStores as _, Signature, SignedPlan,
    SignedRekey, Time,
};
use ravelin_replication::members::Members;
use ravelin_replication::state::{MemoryBackend, State as Store};
use stateright::{Model, Property};

use crate::keys::Keys;

/// The bad server, which stands last.
const BAD: ReplicaId = ReplicaId(2);
/// The correct ones.
const CORRECT: usize = 2;
/// Epochs, of which the last one does not end.
const EPOCHS: usize = 3;
/// What a block may say.
const WORDS: [u8; 2] = [0, 1];

/// Something that can attest: one of the wormhole's instances, by number, or what the intruder made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Instance {
    /// The wormhole's.
    Own(u8),
    /// The intruder's.
    Made,
}

/// What the order at the end of an epoch names.
type Order = Option<Instance>;

/// An attested block of the bad server.
type Attested = (Instance, u8, u8);

/// Everything at a moment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// The instance that runs.
    runs: u8,
    /// What was attested by the wormhole: instance, epoch, word.
    attested: BTreeSet<Attested>,
    /// The orders that ended epochs.
    orders: Vec<Order>,
    /// Which correct servers signed each end.
    signed: Vec<[bool; CORRECT]>,
    /// The epoch of each correct server.
    epochs: [u8; CORRECT],
    /// What counts for any of them, by epoch.
    taken: [BTreeSet<Attested>; EPOCHS],
}

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The wormhole begins anew.
    Restart,
    /// It is asked to attest a block of an epoch.
    Attest(u8, u8),
    /// A correct server is shown a block.
    Show(usize, Attested),
    /// The bad server's order is ordered.
    Order(Order),
    /// A correct server executes that, and signs the plan.
    Sign(usize),
    /// It begins the next epoch.
    Begin(usize),
}

/// The model.
pub struct Instances {
    registry: Registry,
    cluster: ClusterId,
    restarts_max: u8,
    /// Each epoch, by the orders before it.
    known: Mutex<BTreeMap<Vec<Order>, Option<Arc<Begun>>>>,
    /// What is taken after some orders, in which epoch.
    judged: Mutex<BTreeMap<(Vec<Order>, usize, Attested), bool>>,
}

/// An epoch that follows some orders.
struct Begun {
    plan: ClusterPlan,
    keyring: Keyring,
}

impl Instances {
    /// All runs in which the wormhole begins anew so many times at most.
    #[must_use]
    pub fn new(restarts_max: u8) -> Self {
        let registry = Registry::default();
        let plan = Keys::plan(&registry, 3, 1, FaultModel::Hybrid);
        let cluster = ClusterId(plan_digest(&plan));
        Self { registry, cluster, restarts_max, known: Mutex::default(), judged: Mutex::default() }
    }

    fn key(&self, kind: u8, server: u16) -> SigningKey {
        let mut seed = [kind; 32];
        seed[0] = server as u8;
        SigningKey::simulated(&seed, &self.registry)
    }

    fn instance(&self, instance: Instance) -> SigningKey {
        match instance {
            Instance::Own(0) => self.key(5, BAD.0), // that of the first plan
            Instance::Own(number) => self.key(20 + number, BAD.0),
            Instance::Made => self.key(40, BAD.0),
        }
    }

    /// What the wormhole says of its own; of another, what the intruder says with a key of its own.
    fn certificate(&self, of: Instance) -> InstanceCertificate {
        let instance = self.instance(of).public();
        let signature = Signature([0; 64]);
        let mut certificate = InstanceCertificate { instance, is_rollback_proof: false, signature };
        let signer = match of {
            Instance::Own(_) => self.key(4, BAD.0),
            Instance::Made => self.instance(of),
        };
        let bytes = certificate.signed_bytes(self.cluster, BAD);
        certificate.signature = signer.sign(Domain::Instance, &bytes);
        certificate
    }

    /// The epoch that follows these orders; none if one of them does not fit.
    fn epoch(&self, orders: &[Order]) -> Option<Arc<Begun>> {
        if let Some(known) = self.known.lock().expect("no thread failed").get(orders) {
            return known.clone();
        }
        let plan = match orders.split_last() {
            None => Some(Keys::plan(&self.registry, 3, 1, FaultModel::Hybrid)),
            Some((last, before)) => self.following(&*self.epoch(before)?, before.len(), *last),
        };
        let epoch = plan.map(|plan| {
            let signed = SignedPlan { plan: plan.clone(), signatures: vec![] };
            let scheme = Scheme::Simulated(self.registry.clone());
            let keyring = Keyring::new(self.cluster, &signed, scheme).expect("a sound plan");
            Arc::new(Begun { plan, keyring })
        });
        let mut known = self.known.lock().expect("no thread failed");
        known.insert(orders.to_vec(), epoch.clone());
        epoch
    }

    /// The plan after one of `epoch`, if the order is carried out.
    fn following(&self, epoch: &Begun, turn: usize, order: Order) -> Option<ClusterPlan> {
        let block = self.key(10 + turn as u8, BAD.0);
        let rekey = Rekey {
            cluster: self.cluster,
            incarnation: epoch.plan.incarnation,
            epoch: epoch.plan.epoch,
            member: BAD,
            block: block.public(),
            instance: order.map(|instance| self.certificate(instance)),
        };
        let possession = block.sign(Domain::Rekey, &rekey.encode());
        let signature = self.key(2, BAD.0).sign(Domain::Rekey, &rekey.encode());
        let mut members = Members::new(epoch.keyring.clone(), epoch.plan.clone(), None);
        let mut store = Store::open(Box::new(MemoryBackend::new()));
        let store = store.of(ServiceId::MEMBERS);
        let now = Time(3_600_000_000 * (1 + turn as u64));
        members.order(now, store, &SignedRekey { rekey, signature, possession });
        members.successor().cloned()
    }

    /// Whether a server in the epoch `here` takes the bad server's block.
    fn takes(&self, state: &State, here: usize, block: Attested) -> bool {
        let asked = (state.orders.clone(), here, block);
        if let Some(known) = self.judged.lock().expect("no thread failed").get(&asked) {
            return *known;
        }
        let takes = self.judge(state, here, block);
        self.judged.lock().expect("no thread failed").insert(asked, takes);
        takes
    }

    fn judge(&self, state: &State, here: usize, (instance, epoch, word): Attested) -> bool {
        let of = |epoch: usize| self.epoch(&state.orders[..epoch]).expect("they were ordered");
        let there = of(usize::from(epoch));
        let body = BlockBody {
            cluster: self.cluster,
            genesis: there.keyring.genesis(),
            epoch: there.keyring.epoch(),
            author: BAD,
            round: Round(1),
            parents: vec![],
            exposed: vec![],
            timestamp: Time(u64::from(word)),
            envelopes: vec![],
            votes: vec![],
        };
        let header = there.keyring.draft_block(body.clone()).header();
        let key = self.instance(instance);
        let bytes = header.attested_bytes(&key.public());
        let authenticator = key.sign(Domain::Attestation, &bytes);
        of(here).keyring.verify_block(Block { body, authenticator }).is_ok()
    }

    /// Whether those who signed the end of the epoch of `at`, with the bad one, put the next in force.
    fn is_in_force(&self, state: &State, epoch: usize) -> bool {
        let this = self.epoch(&state.orders[..epoch]).expect("it was ordered");
        let next = self.epoch(&state.orders[..=epoch]).expect("it was ordered");
        let digest = plan_digest(&next.plan);
        let correct = (0..CORRECT).filter(|at| state.signed[epoch][*at]);
        let signers = correct.map(|at| self.key(1, at as u16)).chain([match epoch {
            0 => self.key(1, BAD.0),
            turn => self.key(9 + turn as u8, BAD.0),
        }]);
        let signatures: BTreeMap<PublicKey, Signature> =
            signers.map(|key| (key.public(), sign_handover(&digest, &key))).collect();
        let signed =
            SignedPlan { plan: next.plan.clone(), signatures: signatures.into_iter().collect() };
        check_successor(&this.plan, &signed, &Scheme::Simulated(self.registry.clone())).is_ok()
    }

    /// The instance that counts after these orders.
    fn counting(orders: &[Order]) -> Instance {
        orders.iter().rev().flatten().next().copied().unwrap_or(Instance::Own(0))
    }

    /// What there is of attested blocks: of epochs that have a plan.
    fn shown(state: &State) -> Vec<Attested> {
        let epochs = 0..=state.orders.len() as u8;
        let made = epochs.flat_map(|epoch| WORDS.map(|word| (Instance::Made, epoch, word)));
        state.attested.iter().copied().chain(made).collect()
    }
}

impl Model for Instances {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            runs: 0,
            attested: BTreeSet::new(),
            orders: vec![],
            signed: vec![],
            epochs: [0; CORRECT],
            taken: Default::default(),
        }]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        if state.runs < self.restarts_max {
            steps.push(Step::Restart);
        }
        for epoch in 0..=state.orders.len() as u8 {
            steps.extend(WORDS.map(|word| Step::Attest(epoch, word)));
        }
        let running = (0..=state.runs).map(|number| Some(Instance::Own(number)));
        let is_open = state.orders.len() + 1 < EPOCHS
            && state.epochs.iter().any(|epoch| usize::from(*epoch) == state.orders.len());
        if is_open {
            steps.extend([None, Some(Instance::Made)].into_iter().chain(running).map(Step::Order));
        }
        for at in 0..CORRECT {
            steps.extend([Step::Sign(at), Step::Begin(at)]);
            steps.extend(Self::shown(state).into_iter().map(|block| Step::Show(at, block)));
        }
    }

    fn next_state(&self, state: &State, step: Step) -> Option<State> {
        let mut next = state.clone();
        match step {
            Step::Restart => next.runs += 1,
            Step::Attest(epoch, word) => {
                // A counter only rises, and each position is bound once.
                let own = Instance::Own(state.runs);
                let last = state.attested.iter().filter(|(by, ..)| *by == own).map(|it| it.1).max();
                if last.is_some_and(|last| last >= epoch) {
                    return None;
                }
                next.attested.insert((own, epoch, word));
            }
            Step::Show(at, block) => {
                let here = usize::from(state.epochs[at]);
                if !self.takes(state, here, block) {
                    return None;
                }
                next.taken[here].insert(block);
            }
            Step::Order(order) => {
                next.orders.push(order);
                self.epoch(&next.orders)?;
                next.signed.push([false; CORRECT]);
            }
            Step::Sign(at) => {
                *next.signed.get_mut(usize::from(state.epochs[at]))?.get_mut(at)? = true
            }
            Step::Begin(at) => {
                let epoch = usize::from(state.epochs[at]);
                if !state.signed.get(epoch)?[at] || !self.is_in_force(state, epoch) {
                    return None;
                }
                next.epochs[at] += 1;
            }
        }
        (next != *state).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("one block counts for a round of an epoch", |_, state: &State| {
                state.taken.iter().all(|blocks| blocks.len() <= 1)
            }),
            Property::always(
                "what counts is of that epoch and its instance",
                |_, state: &State| {
                    let of = |epoch: usize| Self::counting(&state.orders[..epoch]);
                    state.taken.iter().enumerate().all(|(epoch, blocks)| {
                        blocks
                            .iter()
                            .all(|(by, at, _)| usize::from(*at) == epoch && *by == of(epoch))
                    })
                },
            ),
            Property::always("the instance is the wormhole's", |_, state: &State| {
                Self::counting(&state.orders) != Instance::Made
            }),
            Property::sometimes("another instance counts", |_, state: &State| {
                state.taken.iter().flatten().any(|(by, ..)| *by != Instance::Own(0))
            }),
            Property::sometimes("all are in the last epoch", |_, state: &State| {
                state.epochs == [EPOCHS as u8 - 1; CORRECT]
            }),
        ]
    }
}
