//! What intruded members and the network do.

use super::*;

/// A header of a multicast that `sender` would begin now.
fn header(group: &Group, sender: u16, ahead: Duration) -> Header {
    let others =
        entities(group.processes.len() as u16).into_iter().filter(|it| *it != entity(sender));
    let elist = std::iter::once(entity(sender)).chain(others).collect();
    Header { elist, tstart: group.wormholes.now.after(ahead) }
}

const SOON: Duration = Duration::from_millis(20);

/// Has the intruded `sender` propose the hash of `data`.
fn propose(group: &mut Group, header: &Header, data: &[u8]) {
    let sender = header.elist[0];
    let digest = Message { header: header.clone(), data: data.to_vec() }.digest(group.variant);
    let proposed = group.wormholes.at(sender).propose(&header.agreement(), Some(digest.0));
    assert_eq!(proposed.unwrap().error, None);
}

#[test]
fn a_sender_that_tells_two_messages_has_at_most_the_proposed_one_delivered() {
    for (variant, engine) in all_ways() {
        let mut group = Group::new(variant, engine, 4);
        let header = header(&group, 0, SOON);
        propose(&mut group, &header, b"one");
        for (to, data) in [(1, b"two"), (2, b"one"), (3, b"two")] {
            let packet = group.forge(0, to, &header, data);
            group.bring(to, &packet);
        }
        group.run_well();
        assert_eq!(group.delivered()[1..], [1; 3], "{variant:?} {engine:?}");
        assert!(group.delivered[1..].iter().all(|it| it[0].data == b"one"));
    }
}

#[test]
fn a_message_sent_to_one_only_and_after_the_decision_reaches_all() {
    for (variant, engine) in all_ways() {
        let mut group = Group::new(variant, engine, 5);
        let header = header(&group, 0, SOON);
        propose(&mut group, &header, b"one");
        // An accomplice says that it has it, too.
        let digest = Message { header: header.clone(), data: b"one".to_vec() }.digest(variant);
        group.wormholes.at(entity(1)).propose(&header.agreement(), Some(digest.0)).unwrap();
        group.run(Duration::from_millis(300), &mut |_, _| false);
        assert_eq!(group.delivered(), [0; 5]);
        let packet = group.forge(0, 4, &header, b"one");
        group.bring(4, &packet);
        group.run(Duration::from_millis(100), &mut |to, _| to.replica.0 < 2);
        assert_eq!(group.delivered(), [0, 0, 1, 1, 1], "{variant:?} {engine:?}");
    }
}

#[test]
fn a_message_that_was_never_proposed_is_never_delivered() {
    for (variant, engine) in all_ways() {
        let mut group = Group::new(variant, engine, 4);
        let header = header(&group, 0, SOON);
        for to in 1..4 {
            let packet = group.forge(0, to, &header, b"unproposed");
            group.bring(to, &packet);
        }
        group.run_well();
        assert_eq!(group.delivered(), [0; 4], "{variant:?} {engine:?}");
        assert!(group.processes[1..].iter().all(|it| it.sizes() == (0, 0)));
    }
}

#[test]
fn another_list_is_another_multicast() {
    for (variant, engine) in all_ways() {
        let mut group = Group::new(variant, engine, 4);
        let right = header(&group, 0, SOON);
        propose(&mut group, &right, b"x");
        let mut wrong = right.clone();
        wrong.elist.swap(1, 2);
        let mut shorter = right.clone();
        shorter.elist.truncate(3);
        for lists in [&wrong, &shorter] {
            let packet = group.forge(0, 1, lists, b"x");
            group.bring(1, &packet);
        }
        // Lists without the receiver, with somebody twice, or with nobody, open nothing.
        let mut without = right.clone();
        without.elist.remove(3);
        let mut twice = right.clone();
        twice.elist[2] = twice.elist[1];
        for lists in [&without, &twice, &Header { elist: vec![], ..right }] {
            let packet = group.forge(0, 3, lists, b"x");
            group.bring(3, &packet);
        }
        assert_eq!(group.processes[3].sizes(), (0, 0));
        group.run_well();
        assert_eq!(group.delivered(), [0; 4], "{variant:?} {engine:?}");
    }
}

#[test]
fn nobody_multicasts_in_anothers_name() {
    for (variant, engine) in all_ways() {
        let mut group = Group::new(variant, engine, 4);
        let of_1 = header(&group, 1, SOON);
        for to in [1, 2, 3] {
            let packet = group.forge(0, to, &of_1, b"never said");
            group.bring(to, &packet);
        }
        assert_eq!(group.processes[1].sizes(), (0, 0), "it knows that it did not say so");
        group.run_well();
        assert_eq!(group.delivered(), [0; 4], "{variant:?} {engine:?}");
    }
}

#[test]
fn a_copy_made_for_another_or_changed_on_its_way_does_not_exist() {
    for (variant, engine) in all_ways() {
        let mut group = Group::new(variant, engine, 4);
        let header = header(&group, 0, SOON);
        let sound = group.forge(0, 1, &header, b"sound");
        let change = |change: &dyn Fn(&mut Packet)| {
            let mut packet = sound.clone();
            change(&mut packet);
            packet
        };
        let changed = [
            change(&|it| it.mac.0[31] ^= 1),
            change(&|it| it.from = entity(2)),
            change(&|it| it.from.local = 8),
            change(&|it| Arc::make_mut(&mut it.message).data[0] ^= 1),
            change(&|it| Arc::make_mut(&mut it.message).header.tstart.0 += 1),
            change(&|it| Arc::make_mut(&mut it.message).header.elist.swap(2, 3)),
            group.forge(0, 2, &header, b"sound"),
        ];
        for packet in &changed {
            group.bring(1, packet);
            assert_eq!(group.processes[1].sizes(), (0, 0), "{packet:?}");
        }
        group.bring(1, &sound);
        assert_eq!(group.processes[1].sizes(), (1, 0), "{variant:?} {engine:?}");
    }
}

#[test]
fn a_wrong_copy_that_comes_first_keeps_no_right_one_out() {
    for (variant, engine) in all_ways() {
        let mut group = Group::new(variant, engine, 4);
        let header = group.multicast(0, b"right").unwrap();
        for to in [2, 3] {
            let wrong = group.forge(1, to, &header, b"wrong");
            group.bring(to, &wrong);
        }
        group.run(Duration::from_millis(100), &mut |to, _| to == entity(1));
        assert_eq!(group.delivered(), [1, 0, 1, 1], "{variant:?} {engine:?}");
        assert!(group.delivered[2..].iter().all(|it| it[0].data == b"right"));
    }
}

#[test]
fn a_replay_delivers_nothing_twice_however_late() {
    for (variant, engine) in all_ways() {
        let mut group = Group::new(variant, engine, 3);
        group.multicast(0, b"once").unwrap();
        let mut heard = vec![];
        group.run(Duration::from_millis(100), &mut |to, packet| {
            heard.push((to, packet.clone()));
            false
        });
        // Once more at once, and at both ends of the retention, whose clock is uncertain.
        for wait in [0, 59_890, 9, 1, 1, 1, 50, 60_000] {
            for at in 0..3 {
                group.wormholes.seat(entity(at)).error = Duration::from_millis(u64::from(at));
            }
            let span = Duration::from_millis(wait);
            group.now = group.now.after(span);
            group.wormholes.now = group.wormholes.now.after(span);
            (0..3).for_each(|at| group.turn(at));
            heard.iter().for_each(|(to, packet)| group.bring(to.replica.0, packet));
            group.run(Duration::from_millis(5), &mut |_, _| false);
            assert_eq!(group.delivered(), [1; 3], "{variant:?} {engine:?}, {wait}");
        }
        assert!(group.processes.iter().all(|it| it.sizes() == (0, 0)), "all is forgotten");
        // The wormholes find their time anew, behind what it was.
        let now = group.wormholes.now;
        group.wormholes.now = TrustedTime(now.0 - 120_000_000_000);
        heard.iter().for_each(|(to, packet)| group.bring(to.replica.0, packet));
        group.run(Duration::from_secs(1), &mut |_, _| false);
        assert_eq!(group.delivered(), [1; 3], "{variant:?} {engine:?}, after the time went back");
    }
}
