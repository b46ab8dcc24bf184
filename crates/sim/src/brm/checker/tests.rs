use ravelin_model::ReplicaId;
use ravelin_model::ttcb::TrustedTime;

use super::*;

fn entity(index: u16) -> Entity {
    Entity { replica: ReplicaId(index), local: 1 }
}

fn message(sender: u16, data: u8) -> Arc<Message> {
    let elist = [sender].into_iter().chain((0..4).filter(|it| *it != sender)).map(entity).collect();
    Arc::new(Message { header: Header { elist, tstart: TrustedTime(1) }, data: vec![data] })
}

/// Processes 0 to 2 are honest, 3 is not; 0 multicasts, and copies reach everybody.
fn calm(deliverers: &[u16]) -> Checker {
    let mut checker = Checker::new((0..3).map(entity));
    let said = message(0, 7);
    checker.on_multicast(Arc::clone(&said), true);
    for to in [1, 2] {
        checker.on_sent(entity(0), entity(to), &said.header);
        checker.on_arrived(entity(0), entity(to), &said.header);
    }
    deliverers.iter().for_each(|at| checker.on_delivered(entity(*at), Arc::clone(&said)));
    checker
}

fn kind(checker: &Checker) -> Option<&'static str> {
    checker.judge(0).err().map(|violation| violation.kind)
}

#[test]
fn a_sound_run_passes() {
    let checker = calm(&[0, 1, 2]);
    assert_eq!((kind(&checker), checker.deliveries(), checker.demanded(0)), (None, 3, 1));
}

#[test]
fn what_nobody_delivers_breaks_validity_unless_the_wormholes_could_not_decide() {
    let mut checker = calm(&[]);
    assert_eq!(kind(&checker), Some("validity"));
    checker.owe_nothing();
    assert_eq!(kind(&checker), None);
}

#[test]
fn what_only_some_deliver_breaks_agreement() {
    for some in [&[0][..], &[1], &[0, 2], &[1, 2]] {
        assert_eq!(kind(&calm(some)), Some("agreement"));
    }
    let mut checker = calm(&[0, 1, 2]);
    checker.on_delivered(entity(1), message(3, 1));
    assert_eq!(kind(&checker), Some("agreement"));
    for (at, data) in [(0, 1), (2, 2)] {
        checker.on_delivered(entity(at), message(3, data));
    }
    assert_eq!(kind(&checker), Some("agreement"), "two messages of one name");
}

#[test]
fn who_failed_owes_nothing_and_is_owed_nothing() {
    let mut checker = calm(&[0, 1]);
    checker.on_stopped(entity(2));
    assert_eq!(kind(&checker), None);
    let mut checker = calm(&[0, 1]);
    checker.on_sent(entity(1), entity(2), &message(0, 7).header);
    assert_eq!(kind(&checker), None, "no copy of process 1 reached it");
    checker.on_arrived(entity(1), entity(2), &message(0, 7).header);
    assert_eq!(kind(&checker), Some("agreement"));
    // With an omission degree of 1, a single lost copy cuts nobody off.
    let mut checker = calm(&[0, 1]);
    checker.on_sent(entity(1), entity(2), &message(0, 7).header);
    assert!(checker.judge(1).is_err());
}

#[test]
fn integrity_is_once_in_the_group_and_as_it_was_said() {
    let mut twice = calm(&[0, 1, 2]);
    twice.on_delivered(entity(1), message(0, 7));
    let mut stranger = calm(&[0, 1, 2]);
    let mut without = message(3, 7);
    Arc::make_mut(&mut without).header.elist.retain(|it| *it != entity(2));
    stranger.on_delivered(entity(2), without);
    let mut unsaid = calm(&[]);
    (0..3).for_each(|at| unsaid.on_delivered(entity(at), message(1, 7)));
    let mut changed = calm(&[]);
    (0..3).for_each(|at| changed.on_delivered(entity(at), message(0, 8)));
    for (place, checker) in [twice, stranger, unsaid, changed].iter().enumerate() {
        assert_eq!(kind(checker), Some("integrity"), "{place}");
    }
}
