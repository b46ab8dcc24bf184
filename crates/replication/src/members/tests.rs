use std::collections::BTreeMap;
use std::ops::ControlFlow;

use ravelin_crypto::SigningKey;
use ravelin_model::{ClusterId, Incarnation, Position, Rekey, Signature};

use super::*;
use crate::testing::World;

/// The namespace of the members, and nothing else.
#[derive(Default)]
struct Table(BTreeMap<Vec<u8>, Vec<u8>>);

impl View for Table {
    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.0.get(key).cloned()
    }

    fn scan(&self, _: &[u8], _: Option<&[u8]>, _: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>) {
        unreachable!("members are looked up one by one")
    }

    fn spend(&self, _: usize) {}
}

impl Store for Table {
    fn put(&mut self, key: &[u8], value: Vec<u8>) {
        self.0.insert(key.to_vec(), value);
    }

    fn delete(&mut self, key: &[u8]) {
        self.0.remove(key);
    }
}

const WHO: ReplicaId = ReplicaId(2);
const OTHER: ReplicaId = ReplicaId(1);
const START: Time = Time(1_700_000_000_000_000);

fn world() -> World {
    World::new(4, 1)
}

fn members(world: &World) -> Members {
    Members::new(world.keyring.clone(), world.plan.plan.clone(), None)
}

/// The next epoch of `members`, as if its plan were in force.
fn next_epoch(world: &World, members: &Members) -> (World, Members) {
    let mut next = world.clone();
    next.plan.plan = members.successor().unwrap().clone();
    let scheme = world.keyring.scheme().clone();
    next.keyring = Keyring::new(world.keyring.cluster(), &next.plan, scheme).unwrap();
    let members = self::members(&next);
    (next, members)
}

fn fresh(world: &World, member: ReplicaId, turn: u8) -> PublicKey {
    world.block_key_of(member, turn).public()
}

fn unsigned(world: &World, member: ReplicaId, block: PublicKey) -> Rekey {
    Rekey {
        cluster: world.keyring.cluster(),
        incarnation: world.keyring.incarnation(),
        epoch: world.keyring.epoch(),
        member,
        block,
        instance: None,
    }
}

/// The order as `key` signs it, and as the new key does if it is one of the member's.
fn signed(world: &World, rekey: Rekey, key: &SigningKey) -> SignedRekey {
    let bytes = rekey.encode();
    let own = (0..8).map(|turn| world.block_key_of(rekey.member, turn));
    let mut new = own.filter(|own| own.public() == rekey.block);
    let possession = new.next().map_or(Signature([0; 64]), |new| new.sign(Domain::Rekey, &bytes));
    SignedRekey { rekey, signature: key.sign(Domain::Rekey, &bytes), possession }
}

/// A member's own order.
fn order(world: &World, member: ReplicaId, block: PublicKey) -> SignedRekey {
    signed(world, unsigned(world, member, block), &world.identity_key(member))
}

/// The order is refused and leaves no trace.
fn check_refused(world: &World, now: Time, signed: &SignedRekey) {
    let (mut members, mut table) = (members(world), Table::default());
    assert!(!members.order(now, &mut table, signed), "{signed:?}");
    assert_eq!((members.successor(), table.0), (None, BTreeMap::new()), "{signed:?}");
}

/// The change is refused and leaves no trace.
fn check_unfit(world: &World, member: ReplicaId, block: PublicKey) {
    let (mut members, mut table) = (members(world), Table::default());
    members.convict(&mut table, member);
    let before = table.0.clone();
    assert!(!members.change(&mut table, member, block), "{member} {block}");
    assert_eq!((members.successor(), table.0), (None, before), "{member} {block}");
}

#[test]
fn the_next_plan_differs_in_the_key_and_in_what_it_follows() {
    let world = world();
    let (mut members, mut table) = (members(&world), Table::default());
    let block = fresh(&world, WHO, 1);
    assert_eq!(members.successor(), None);
    assert!(members.order(START, &mut table, &order(&world, WHO, block)));
    let plan = &world.plan.plan;
    let mut expected = plan.clone();
    expected.epoch = plan.epoch.next();
    expected.members[WHO.index()].block = block;
    // What it follows is filled in once the commit is known.
    expected.previous = Some(Previous {
        plan: plan_digest(plan),
        commit: CommitIndex(0),
        time: Time(0),
        position: Position(0),
        state: Digest::default(),
        ordering: Digest::default(),
    });
    assert_eq!(members.successor(), Some(&expected));
    assert!(expected.check().is_ok());
}

#[test]
fn only_the_first_change_in_an_epoch_counts() {
    let world = world();
    let (mut members, mut table) = (members(&world), Table::default());
    assert!(members.order(START, &mut table, &order(&world, WHO, fresh(&world, WHO, 1))));
    let (first, before) = (members.successor().cloned(), table.0.clone());
    assert!(!members.order(START, &mut table, &order(&world, OTHER, fresh(&world, OTHER, 1))));
    assert!(!members.change(&mut table, OTHER, fresh(&world, OTHER, 1)));
    assert!(!members.change(&mut table, WHO, fresh(&world, WHO, 2)));
    assert_eq!((members.successor().cloned(), table.0), (first, before));
}

#[test]
fn a_member_orders_again_when_the_interval_is_over_and_not_a_microsecond_before() {
    let world = world();
    let (mut members, mut table) = (members(&world), Table::default());
    assert!(members.order(START, &mut table, &order(&world, WHO, fresh(&world, WHO, 1))));
    let (world, members) = next_epoch(&world, &members);
    let again = order(&world, WHO, fresh(&world, WHO, 2));
    let due = START.after(Duration::from_secs(world.plan.plan.rekey_interval_min_s));
    for early in [Time(0), START, Time(due.0 - 1)] {
        assert!(!members.takes(early, &table, &again), "{early:?}");
        assert!(!members.clone().order(early, &mut table, &again), "{early:?}");
    }
    // Each has its own interval, and administrators have none.
    assert!(members.takes(START, &table, &order(&world, OTHER, fresh(&world, OTHER, 1))));
    assert!(members.clone().change(&mut table, WHO, fresh(&world, WHO, 2)));
    assert!(members.takes(due, &table, &again));
    assert!(members.clone().order(due, &mut table, &again));
    // The next interval begins with this order.
    let (world, members) = next_epoch(&world, &{
        let mut ended = members;
        assert!(ended.change(&mut Table::default(), OTHER, fresh(&world, OTHER, 1)));
        ended
    });
    let third = order(&world, WHO, fresh(&world, WHO, 3));
    assert!(!members.takes(due, &table, &third));
    assert!(members.takes(due.after(due.since(START)), &table, &third));
}

#[test]
fn a_change_by_administrators_does_not_begin_an_interval() {
    let world = world();
    let (mut members, mut table) = (members(&world), Table::default());
    assert!(members.change(&mut table, WHO, fresh(&world, WHO, 1)));
    let (world, members) = next_epoch(&world, &members);
    assert!(members.takes(START, &table, &order(&world, WHO, fresh(&world, WHO, 2))));
}

#[test]
fn an_order_that_did_not_fit_does_not_begin_an_interval() {
    let world = world();
    let (mut members, mut table) = (members(&world), Table::default());
    let taken = fresh(&world, OTHER, 0);
    assert!(!members.order(START, &mut table, &order(&world, WHO, taken)));
    assert!(members.order(START, &mut table, &order(&world, WHO, fresh(&world, WHO, 1))));
}

#[test]
fn an_offender_is_readmitted_by_administrators_only() {
    let world = world();
    let (mut members, mut table) = (members(&world), Table::default());
    members.convict(&mut table, WHO);
    members.convict(&mut table, WHO);
    let own = order(&world, WHO, fresh(&world, WHO, 1));
    assert!(!members.takes(START, &table, &own));
    assert!(!members.order(START, &mut table, &own));
    assert!(members.takes(START, &table, &order(&world, OTHER, fresh(&world, OTHER, 1))));
    // The change of another member leaves the proof where it is.
    assert!(members.change(&mut table, OTHER, fresh(&world, OTHER, 1)));
    let (world, mut members) = next_epoch(&world, &members);
    assert!(!members.takes(START, &table, &order(&world, WHO, fresh(&world, WHO, 1))));
    assert!(members.change(&mut table, WHO, fresh(&world, WHO, 1)));
    let (world, members) = next_epoch(&world, &members);
    assert!(members.takes(START, &table, &order(&world, WHO, fresh(&world, WHO, 2))));
}

#[test]
fn a_key_that_is_in_use_is_refused() {
    let world = world();
    let plan = &world.plan.plan;
    let of_members = plan.members.iter().flat_map(|it| [it.identity, it.block, it.transport]);
    let of_clients = plan.clients.iter().map(|client| client.key);
    let in_use = of_members.chain(of_clients).chain(plan.administrators.iter().copied());
    for block in in_use {
        check_unfit(&world, WHO, block);
        check_refused(&world, START, &order(&world, WHO, block));
    }
}

#[test]
fn whom_the_plan_does_not_name_gets_no_key() {
    let world = world();
    let stranger = ReplicaId(4);
    check_unfit(&world, stranger, fresh(&world, WHO, 1));
    check_unfit(&world, ReplicaId(u16::MAX), fresh(&world, WHO, 1));
    check_refused(&world, START, &order(&world, stranger, fresh(&world, stranger, 1)));
}

#[test]
fn an_order_counts_in_one_epoch_of_one_cluster() {
    let world = world();
    let good = unsigned(&world, WHO, fresh(&world, WHO, 1));
    let elsewhere = [
        Rekey { cluster: ClusterId(Digest([7; 32])), ..good },
        Rekey { incarnation: Incarnation(good.incarnation.0 + 1), ..good },
        Rekey { epoch: good.epoch.next(), ..good },
        Rekey { epoch: ravelin_model::Epoch(0), ..good },
    ];
    for rekey in elsewhere {
        check_refused(&world, START, &signed(&world, rekey, &world.identity_key(WHO)));
    }
}

#[test]
fn an_order_counts_by_its_members_identity_only() {
    let world = world();
    let rekey = unsigned(&world, WHO, fresh(&world, WHO, 1));
    let others = [
        world.identity_key(OTHER),
        world.block_key(WHO),
        world.block_key_of(WHO, 1),
        world.administrator(),
    ];
    for key in others {
        check_refused(&world, START, &signed(&world, rekey, &key));
    }
    let identity = world.identity_key(WHO);
    let signature = identity.sign(Domain::AuthOrder, &rekey.encode());
    let good = signed(&world, rekey, &identity);
    check_refused(&world, START, &SignedRekey { signature, ..good });
    check_refused(&world, START, &SignedRekey { signature: Signature([0; 64]), ..good });
    // Nobody takes the key for which another one asks.
    check_refused(&world, START, &SignedRekey { possession: good.signature, ..good });
    let mut changed = signed(&world, rekey, &identity);
    changed.rekey.block = fresh(&world, WHO, 2);
    check_refused(&world, START, &changed);
    let (mut members, mut table) = (members(&world), Table::default());
    assert!(members.order(START, &mut table, &signed(&world, rekey, &identity)));
}

/// Proof that stands after the administrators' order in one commit is of the key before.
#[test]
fn who_was_just_readmitted_is_not_convicted_by_old_proof() {
    let world = world();
    let (mut members, mut table) = (members(&world), Table::default());
    members.convict(&mut table, WHO);
    assert!(members.change(&mut table, WHO, fresh(&world, WHO, 1)));
    members.convict(&mut table, WHO);
    let (next, members) = next_epoch(&world, &members);
    let order = signed(&next, unsigned(&next, WHO, fresh(&next, WHO, 2)), &next.identity_key(WHO));
    assert!(members.takes(START, &table, &order));
}

/// An order of `WHO` that names an instance of its wormhole.
fn naming(world: &World, instance: Option<InstanceCertificate>) -> SignedRekey {
    let rekey = Rekey { instance, ..unsigned(world, WHO, fresh(world, WHO, 1)) };
    signed(world, rekey, &world.identity_key(WHO))
}

/// The instance that a wormhole made at its next start.
fn next_instance(world: &World) -> PublicKey {
    world.block_key_of(WHO, 7).public()
}

#[test]
fn a_members_order_lets_in_the_instance_that_its_wormhole_certified() {
    let world = World::hybrid(3, 1);
    let instance = next_instance(&world);
    let (mut members, mut table) = (members(&world), Table::default());
    let certificate = world.certificate(WHO, instance);
    assert!(members.order(START, &mut table, &naming(&world, Some(certificate))));
    let mut expected = world.plan.plan.members.clone();
    expected[WHO.index()].block = fresh(&world, WHO, 1);
    expected[WHO.index()].wormhole.as_mut().unwrap().instance = Some(instance);
    assert_eq!(members.successor().unwrap().members, expected);
}

#[test]
fn an_order_that_names_no_instance_leaves_the_present_one() {
    let world = World::hybrid(3, 1);
    let (mut members, mut table) = (members(&world), Table::default());
    assert!(members.order(START, &mut table, &naming(&world, None)));
    let plan = members.successor().unwrap();
    assert_eq!(plan.members[WHO.index()].wormhole, world.plan.plan.members[WHO.index()].wormhole);
    // So do administrators.
    let mut members = self::members(&world);
    assert!(members.change(&mut table, WHO, fresh(&world, WHO, 1)));
    let plan = members.successor().unwrap();
    assert_eq!(plan.members[WHO.index()].wormhole, world.plan.plan.members[WHO.index()].wormhole);
}

#[test]
fn no_instance_gets_in_that_the_members_own_wormhole_did_not_certify() {
    let world = World::hybrid(3, 1);
    let instance = next_instance(&world);
    let good = world.certificate(WHO, instance);
    let bad = [
        InstanceCertificate { signature: Signature([0; 64]), ..good },
        InstanceCertificate { instance: fresh(&world, WHO, 6), ..good },
        InstanceCertificate { is_rollback_proof: true, ..good },
        world.certificate(OTHER, instance),
        world.certificate(OTHER, world.instance_key(OTHER).public()),
    ];
    for certificate in bad {
        check_refused(&world, START, &naming(&world, Some(certificate)));
    }
    // An instance that signs for itself is nobody's.
    let bytes = good.signed_bytes(world.keyring.cluster(), WHO);
    let signature = world.block_key_of(WHO, 7).sign(Domain::Instance, &bytes);
    check_refused(&world, START, &naming(&world, Some(InstanceCertificate { signature, ..good })));
}

#[test]
fn an_instance_that_anybody_could_sign_for_is_refused() {
    let mut world = World::hybrid(3, 1);
    let [identity, provisioned, block] = [1, 2, 3].map(|seed| SigningKey::ed25519(&[seed; 32]));
    let member = &mut world.plan.plan.members[WHO.index()];
    member.identity = identity.public();
    member.wormhole.as_mut().unwrap().provisioned = provisioned.public();
    let scheme = ravelin_crypto::Scheme::ed25519([9; 32]);
    world.keyring = Keyring::new(world.keyring.cluster(), &world.plan, scheme).unwrap();
    let naming = |instance: PublicKey| {
        let signature = Signature([0; 64]);
        let mut certificate = InstanceCertificate { instance, is_rollback_proof: false, signature };
        let bytes = certificate.signed_bytes(world.keyring.cluster(), WHO);
        certificate.signature = provisioned.sign(Domain::Instance, &bytes);
        let rekey = Rekey { instance: Some(certificate), ..unsigned(&world, WHO, block.public()) };
        let bytes = rekey.encode();
        let signature = identity.sign(Domain::Rekey, &bytes);
        SignedRekey { rekey, signature, possession: block.sign(Domain::Rekey, &bytes) }
    };
    let mut neutral = [0; 32];
    neutral[0] = 1;
    check_refused(&world, START, &naming(PublicKey(neutral)));
    let sound = SigningKey::ed25519(&[4; 32]).public();
    assert!(members(&world).order(START, &mut Table::default(), &naming(sound)));
}

#[test]
fn where_there_are_no_wormholes_an_order_names_no_instance() {
    let world = world();
    let certificate = World::hybrid(4, 1).certificate(WHO, next_instance(&world));
    check_refused(&world, START, &naming(&world, Some(certificate)));
}
