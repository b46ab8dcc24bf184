//! Nothing that a peer sends takes more than its share.

use super::*;

const FAR: Duration = Duration::from_millis(35);

/// Instances that do not exist, in bulk: of everybody but the victim, past and to come.
fn flood(group: &mut Group, count: u64) {
    for number in 0..count {
        let ahead = if number % 3 == 0 { Duration::ZERO } else { FAR };
        let tstart = group.wormholes.now.after(ahead + Duration::from_nanos(number));
        let mut elist = entities(group.processes.len() as u16);
        elist.rotate_left(1 + number as usize % 2);
        let packet = group.forge(3, 0, &Header { elist, tstart }, &number.to_le_bytes());
        group.bring(0, &packet);
    }
}

#[test]
fn who_brings_up_instances_in_bulk_takes_its_own_share_only() {
    for (variant, engine) in all_ways() {
        let mut group = Group::new(variant, engine, 4);
        flood(&mut group, 10_000);
        assert_eq!(group.processes[0].sizes(), (OPENED_PER_PEER_MAX, 0));
        let asking = group.processes[0].asking().get(&entity(3)).copied().unwrap_or(0);
        assert!(asking <= ASKING_PER_PEER_MAX, "{asking}");
        group.multicast(1, b"in time").unwrap();
        group.run_well();
        assert_eq!(group.delivered(), [1; 4], "{variant:?} {engine:?}");
        group.run(Duration::from_secs(2), &mut |_, _| false);
        assert_eq!(group.processes[0].sizes().0, 0, "what does not exist is forgotten");
    }
}

#[test]
fn a_multicast_that_a_flooder_brought_up_first_does_not_wait_among_its_flood() {
    for (variant, engine) in all_ways() {
        let mut group = Group::new(variant, engine, 4);
        flood(&mut group, 60);
        let header = group.multicast(1, b"in time").unwrap();
        let wrong = group.forge(3, 0, &header, b"wrong");
        group.bring(0, &wrong);
        group.run_well();
        assert_eq!(group.delivered(), [1; 4], "{variant:?} {engine:?}");
    }
}

#[test]
fn bytes_that_may_be_wrong_are_bounded_for_each_who_brings_them() {
    let mut group = Group::new(T, Engine::Quorum, 4);
    for number in 0..OPENED_PER_PEER_MAX as u64 + 10 {
        let tstart = group.wormholes.now.after(FAR + Duration::from_nanos(number));
        let mut elist = entities(4);
        elist.rotate_left(3);
        let header = Header { elist, tstart };
        let packet = group.forge(3, 0, &header, &vec![0; DATA_BYTES_MAX]);
        group.bring(0, &packet);
        group.bring(0, &group.forge(2, 0, &header, b"another candidate"));
        let too_large = group.forge(2, 0, &header, &vec![0; DATA_BYTES_MAX + 1]);
        group.bring(0, &too_large);
    }
    let held =
        |from| group.processes[0].running.values().map(move |it| it.held_bytes(entity(from)));
    assert_eq!(held(3).sum::<usize>(), HELD_BYTES_PER_PEER_MAX);
    assert_eq!(held(2).sum::<usize>(), 17 * group.processes[0].running.len());
}

#[test]
fn a_multicast_that_can_be_nobodys_is_refused() {
    let mut group = Group::new(T, Engine::Quorum, 3);
    let stranger = Entity { local: 8, ..entity(1) };
    let many: Vec<Entity> = (1..17).map(entity).collect();
    let cases = [
        (vec![], 1, MulticastError::Recipients),
        (many, 1, MulticastError::Recipients),
        (vec![entity(1), entity(1)], 1, MulticastError::Recipients),
        (vec![entity(0)], 1, MulticastError::Recipients),
        (vec![entity(2), stranger], 1, MulticastError::NoKey(stranger)),
        (vec![entity(1)], DATA_BYTES_MAX + 1, MulticastError::TooLarge(DATA_BYTES_MAX + 1)),
    ];
    for (recipients, bytes, error) in cases {
        let mut port = group.wormholes.at(entity(0));
        let message = (recipients.as_slice(), vec![0; bytes]);
        let begun = group.processes[0].multicast(Time(0), &mut port, message, &mut vec![]);
        assert_eq!(begun, Err(error));
    }
}

#[test]
fn what_nobody_correct_would_plan_so_far_ahead_opens_nothing() {
    for (variant, engine) in all_ways() {
        let mut group = Group::new(variant, engine, 3);
        let mut elist = entities(3);
        elist.rotate_left(1);
        for (ahead, opened) in [(Duration::MAX, 0), (Duration::from_millis(41), 0), (FAR, 1)] {
            let header = Header { elist: elist.clone(), tstart: group.wormholes.now.after(ahead) };
            let packet = group.forge(1, 0, &header, b"x");
            group.bring(0, &packet);
            assert_eq!(group.processes[0].sizes().0, opened, "{variant:?} {engine:?} {ahead:?}");
        }
    }
}

#[test]
fn two_multicasts_of_one_moment_have_a_tstart_each() {
    let mut group = Group::new(T, Engine::Quorum, 3);
    let tstarts: Vec<TrustedTime> =
        (0..4).map(|_| group.multicast(0, b"x").unwrap().tstart).collect();
    assert!(tstarts.windows(2).all(|two| two[0] < two[1]), "{tstarts:?}");
}

#[test]
fn what_was_delivered_is_remembered_up_to_a_bound_and_nothing_more_is_taken() {
    let mut group = Group::new(T, Engine::RealTime, 2);
    for number in 0..REMEMBERED_PER_SENDER_MAX as u64 {
        let tstart = TrustedTime(group.wormholes.now.0 - number);
        let header = Header { elist: entities(2), tstart };
        group.processes[1].delivered.entry(entity(0)).or_default().insert(header);
    }
    group.multicast(0, b"one more").unwrap();
    group.run_well();
    assert_eq!(group.delivered(), [1, 0]);
    group.now = group.now.after(Duration::from_secs(61));
    group.wormholes.now = group.wormholes.now.after(Duration::from_secs(61));
    group.turn(1);
    group.multicast(0, b"room again").unwrap();
    group.run_well();
    assert_eq!(group.delivered(), [2, 1]);
}
