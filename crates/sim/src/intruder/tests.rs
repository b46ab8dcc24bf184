use ravelin_model::{Action, Epoch, Round};
use ravelin_replication::state::MemoryBackend;
use ravelin_replication::{Replica, Setup, question};
use ravelin_services::Services;

use super::*;
use crate::options::{Mode, Options};
use crate::world::World;

fn replica(world: &World, own: ReplicaId) -> Replica {
    let setup = Setup {
        plan: world.plan.clone(),
        keyring: world.keyring.clone(),
        keys: vec![world.block_key(own, 0)],
        identity: world.identity_key(own),
        wormhole: None,
        own,
        application: Box::new(Services::new(world.keyring.scheme().clone())),
        backend: Box::new(MemoryBackend::new()),
        nonce: 1,
        transfer_lag: u64::MAX,
    };
    Replica::new(setup, [])
}

fn intruded(world: &World, names: &str, window: Window) -> Intruded {
    let own = ReplicaId(2);
    let (plan, keyring) = (world.plan.clone(), world.keyring.clone());
    let means = Means::new(plan, keyring, world.block_key(own, 0), own, (7, 7));
    Intruded::new(replica(world, own), means, by_names(names).unwrap(), window)
}

/// What others answer who know no block of a server that starts.
fn nothing_known() -> Message {
    Message::Recalled(question(1, Epoch::FIRST), None)
}

fn world() -> World {
    World::new(&Options::calm(1, Mode::Safety, (4, 1)))
}

/// Starts a server, lets two others say that they know no block of it, and collects what it does.
fn deeds(intruded: &mut Intruded) -> Vec<Deed> {
    let mut out = Vec::new();
    intruded.resume(Time(1_000_000), &mut out);
    for from in [0, 1] {
        let nothing = nothing_known();
        intruded.on_message(Time(1_000_000), ReplicaId(from), nothing, &mut out);
    }
    intruded.on_time(Time(9_000_000), &mut out);
    out
}

/// To how many others a deed of each kind goes: blocks as messages, anything as bytes.
fn sent(deeds: &[Deed]) -> (usize, usize) {
    let is_block = |deed: &&Deed| matches!(deed, Deed::Act(Action::Send(to, Message::Block(_))) if *to != ReplicaId(2));
    let is_bytes = |deed: &&Deed| matches!(deed, Deed::Bytes(..));
    (deeds.iter().filter(is_block).count(), deeds.iter().filter(is_bytes).count())
}

#[test]
fn names_are_unique_and_found() {
    let names: std::collections::BTreeSet<_> = all().iter().map(|known| known.name).collect();
    assert_eq!(names.len(), all().len());
    for known in all() {
        assert_eq!(by_name(known.name).unwrap().name(), known.name);
        assert!(!known.what.is_empty() && known.what.len() < 70);
    }
    assert!(by_name("saint").is_none() && by_names("mute+saint").is_none());
}

#[test]
fn outside_its_window_a_server_is_correct() {
    let world = world();
    let later = Window { from: Round(50), until: Round(60) };
    let mut waiting = intruded(&world, "mute", later);
    assert_eq!(sent(&deeds(&mut waiting)), (3, 0));
    assert_eq!(waiting.acts().count(), 0);
    let mut acting = intruded(&world, "mute", Window::ALWAYS);
    assert_eq!(sent(&deeds(&mut acting)), (0, 0));
    assert!(acting.acts().any(|(name, count)| name == "mute" && count >= 3));
}

#[test]
fn an_equivocator_shows_two_blocks_of_one_round() {
    let world = world();
    let mut forking = intruded(&world, "equivocator", Window::ALWAYS);
    let (blocks, bytes) = sent(&deeds(&mut forking));
    assert!(blocks > 0 && bytes > 0 && blocks + bytes == 3, "{blocks} and {bytes}");
}

#[test]
fn composed_intruders_follow_each_other() {
    let world = world();
    let mut both = intruded(&world, "stale-epoch+garbage", Window::ALWAYS);
    deeds(&mut both);
    let acted: Vec<_> = both.acts().map(|(name, _)| name).collect();
    assert_eq!(acted, ["garbage", "stale-epoch"]);
}

#[test]
fn what_is_put_off_is_done_in_time() {
    let world = world();
    let mut late = intruded(&world, "delayer", Window::ALWAYS);
    let mut out = Vec::new();
    late.resume(Time(1_000_000), &mut out);
    for from in [0, 1] {
        let nothing = nothing_known();
        late.on_message(Time(1_000_000), ReplicaId(from), nothing, &mut out);
    }
    assert_eq!(sent(&out), (0, 0));
    assert!(late.next_deadline().is_some_and(|at| at > Time(1_000_000)));
    late.on_time(Time(3_000_000), &mut out);
    assert_eq!(sent(&out), (3, 0));
}

#[test]
fn a_server_can_be_given_back() {
    let world = world();
    let mut server = intruded(&world, "mute", Window::ALWAYS);
    server.take_over(Vec::new(), Window::ALWAYS);
    assert_eq!(sent(&deeds(&mut server)), (3, 0));
}
