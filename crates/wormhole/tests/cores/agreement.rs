//! What the wormholes of a cluster promise about agreements: one decision each, whatever becomes of
//! messages, time and processes; and that a majority comes to one.

use std::collections::BTreeMap;

use crate::cluster::{self, Chance, Cluster, MILLI, SECOND, Weather, Wire, propose_all, refusal};
use ravelin_wormhole::attestation::ReplicaId;
use ravelin_wormhole::client::Client;
use ravelin_wormhole::core::{
    AGREEMENT_BOUND, AGREEMENT_RETENTION, AGREEMENTS_PER_ENTITY, AGREEMENTS_PER_HOST,
    ENDED_PER_HOST, Nanos, Output, TSTART_AHEAD_MAX,
};
use ravelin_wormhole::frame::{
    Agreement, Decision, DecisionFunction, Entity, Progress, Refusal, Standing, Tag, Value,
};

const MULTICAST: DecisionFunction = DecisionFunction::ReliableMulticast;
const T0: Nanos = Nanos::from_millis(200);

fn agreement(elist: &[Entity], tstart: Nanos, decision: DecisionFunction) -> Agreement {
    Agreement::new(elist, tstart, decision).expect("a list")
}

fn entities(clients: &[Client<Wire>]) -> Vec<Entity> {
    clients.iter().map(|client| client.entity().expect("it is named")).collect()
}

fn ended(client: &mut Client<Wire>, tag: Tag) -> Option<Decision> {
    match client.decide(tag).unwrap() {
        Progress::Ended(decision) => Some(decision),
        Progress::Running { .. } | Progress::GivenUp => None,
    }
}

#[test]
fn all_propose_and_it_ends_at_once_with_one_decision() {
    let cluster = Cluster::synchronised(4, 1);
    let mut clients: Vec<_> = (0..4).map(|node| cluster.client(node)).collect();
    let tstart = cluster.common(&mut clients[0]).after(T0);
    let agreement = agreement(&entities(&clients), tstart, DecisionFunction::Plurality);
    let values = [Some([3; 32]), Some([1; 32]), None, Some([1; 32])];
    let tags = propose_all(&mut clients, agreement, &values);
    let running = Progress::Running { ends_by: tstart.after(AGREEMENT_BOUND) };
    assert_eq!(clients[0].decide(tags[0]).unwrap(), running);
    cluster.run(2 * MILLI); // long before tstart
    let decision = Decision { value: Some([1; 32]), proposed_ok: 0b1010, proposed_any: 0b1111 };
    for (client, tag) in clients.iter_mut().zip(tags) {
        assert_eq!(ended(client, tag), Some(decision));
        assert_eq!(ended(client, tag), Some(decision), "it may be asked again");
    }
}

#[test]
fn it_starts_at_tstart_without_those_who_did_not_propose() {
    let cluster = Cluster::synchronised(4, 2);
    let mut clients: Vec<_> = (0..4).map(|node| cluster.client(node)).collect();
    let tstart = cluster.common(&mut clients[0]).after(T0);
    let agreement = agreement(&entities(&clients), tstart, MULTICAST);
    let tags = propose_all(&mut clients[..2], agreement, &[Some([9; 32]), None]);
    cluster.run(T0.0 - 2 * MILLI);
    assert_eq!(ended(&mut clients[0], tags[0]), None, "it waits for the others");
    cluster.run(5 * MILLI);
    let decision = Decision { value: Some([9; 32]), proposed_ok: 1, proposed_any: 0b11 };
    for (client, tag) in clients.iter_mut().zip(tags) {
        assert_eq!(ended(client, tag), Some(decision));
    }
    // Who comes late is told so, and learns all the same; also where nothing was heard of it before.
    let late = clients[2].propose(agreement, None).unwrap();
    assert_eq!(late.standing, Standing::TstartExpired);
    assert_eq!(ended(&mut clients[2], late.tag), Some(decision));
    let again = clients[1].propose(agreement, Some([1; 32])).unwrap();
    assert_eq!(again.standing, Standing::AlreadyProposed);
    cluster.start(3);
    cluster.run(SECOND);
    let mut newcomer = cluster.client(3);
    let strangers = refusal(newcomer.propose(agreement, None));
    assert_eq!(strangers, Err(Refusal::NotInElist), "another life is another process");
}

#[test]
fn latecomer_learns_from_others_what_its_wormhole_never_heard() {
    let cluster = Cluster::synchronised(4, 3);
    let mut clients: Vec<_> = (0..4).map(|node| cluster.client(node)).collect();
    let tstart = cluster.common(&mut clients[0]).after(T0);
    let agreement = agreement(&entities(&clients), tstart, MULTICAST);
    cluster.isolate(&[3]);
    let tags = propose_all(&mut clients[..3], agreement, &[Some([9; 32]), None, None]);
    cluster.run(T0.0 + 50 * MILLI);
    let decision = ended(&mut clients[0], tags[0]).expect("three of four are enough");
    cluster.heal();
    let late = clients[3].propose(agreement, None).unwrap();
    assert_eq!(late.standing, Standing::TstartExpired);
    cluster.run(200 * MILLI);
    assert_eq!(ended(&mut clients[3], late.tag), Some(decision));
}

#[test]
fn without_the_first_host_it_ends_without_a_value_and_soon() {
    let cluster = Cluster::synchronised(4, 4);
    let mut clients: Vec<_> = (0..4).map(|node| cluster.client(node)).collect();
    let tstart = cluster.common(&mut clients[1]).after(T0);
    let agreement = agreement(&entities(&clients), tstart, MULTICAST);
    cluster.stop(0);
    let tags = propose_all(&mut clients[1..], agreement, &[None, None, None]);
    cluster.run(T0.0 + AGREEMENT_BOUND.0);
    let decision = Decision { value: None, proposed_ok: 0, proposed_any: 0b1110 };
    for (client, tag) in clients[1..].iter_mut().zip(tags) {
        assert_eq!(ended(client, tag), Some(decision));
    }
}

#[test]
fn without_a_majority_nothing_is_decided_and_with_one_again_it_is() {
    let cluster = Cluster::synchronised(4, 5);
    let mut clients: Vec<_> = (0..4).map(|node| cluster.client(node)).collect();
    let tstart = cluster.common(&mut clients[0]).after(T0);
    let agreement = agreement(&entities(&clients), tstart, MULTICAST);
    cluster.isolate(&[0, 1]);
    let tags = propose_all(&mut clients, agreement, &[Some([9; 32]), None, None, None]);
    cluster.run(SECOND);
    for (client, tag) in clients.iter_mut().zip(&tags) {
        assert_eq!(ended(client, *tag), None);
    }
    cluster.heal();
    cluster.run(2 * SECOND);
    let decisions: Vec<_> =
        clients.iter_mut().zip(&tags).map(|(client, tag)| ended(client, *tag)).collect();
    assert!(decisions[0].is_some());
    assert!(decisions.iter().all(|one| *one == decisions[0]), "{decisions:?}");
}

/// The first of three and the second decide, the second forgets by starting again, and then the second
/// and the third are alone with each other.
#[test]
fn a_new_life_does_not_help_to_decide_what_an_earlier_one_may_have_decided() {
    for votes_from in 0..3 {
        let cluster = Cluster::synchronised(3, 6);
        let mut clients: Vec<_> = (0..3).map(|node| cluster.client(node)).collect();
        let tstart = cluster.common(&mut clients[0]).after(T0);
        let agreement = agreement(&entities(&clients), tstart, MULTICAST);
        cluster.isolate(&[2]);
        let first = propose_all(&mut clients[..1], agreement, &[Some([9; 32])])[0];
        cluster.run(T0.0 + 5 * MILLI);
        let decision = ended(&mut clients[0], first).expect("two of three decide");
        assert_eq!(decision.value, Some([9; 32]));
        // Not even if nobody hears of it: what the second knows dies with it.
        cluster.start(1);
        match votes_from {
            0 => cluster.heal(), // it hears from all
            1 => {}              // from the first alone
            _ => {
                cluster.heal();
                cluster.isolate(&[0]); // from the third alone
            }
        }
        cluster.run(300 * MILLI);
        cluster.heal();
        cluster.isolate(&[0]);
        cluster.run(100 * MILLI);
        let third = clients[2].propose(agreement, None).unwrap();
        for _ in 0..10 {
            cluster.run(100 * MILLI);
            assert_eq!(ended(&mut clients[2], third.tag), None, "{votes_from}");
        }
        cluster.heal();
        cluster.run(2 * SECOND);
        assert_eq!(ended(&mut clients[2], third.tag), Some(decision), "{votes_from}");
    }
}

/// One votes and the first decides, which nobody hears. Another one's first question to the voter comes
/// late, after its second one, whose answer is lost: the refusal is taken for that answer.
#[test]
fn a_refusal_hides_no_vote() {
    let (prepare, accepted) = (5, 8);
    for (voter, asker) in [(1, 2), (2, 1)] {
        let cluster = Cluster::synchronised(3, 21);
        let mut clients: Vec<_> = (0..3).map(|node| cluster.client(node)).collect();
        let tstart = cluster.common(&mut clients[0]).after(T0);
        let agreement = agreement(&entities(&clients), tstart, MULTICAST);
        let sent = |to: usize, kind: u8| {
            let recorded = cluster.world().recorded.clone();
            let frames = recorded.into_iter().filter(|(of, frame)| *of == to && frame[1] == kind);
            frames.map(|(_, frame)| frame).collect::<Vec<_>>()
        };
        cluster.isolate(&[asker]);
        cluster.record();
        let first = propose_all(&mut clients[..1], agreement, &[Some([9; 32])])[0];
        while sent(0, accepted).is_empty() {
            cluster.run(MILLI / 10);
        }
        cluster.world().cuts.push((0, voter));
        cluster.run(MILLI);
        let decision = ended(&mut clients[0], first).expect("two of three decide");
        cluster.world().cuts.push((voter, 0));
        let asked = clients[asker].propose(agreement, None).unwrap();
        let mut questions = 0;
        // Each of its questions but the last comes late, until one does when it is of use.
        while ended(&mut clients[asker], asked.tag).is_none() && questions < 8 {
            while sent(voter, prepare).len() <= questions {
                cluster.run(MILLI / 10);
            }
            let late = sent(voter, prepare)[questions];
            questions += 1;
            cluster.heal();
            cluster.isolate(&[0]);
            cluster.world().cuts.push((voter, asker));
            while sent(voter, prepare).len() <= questions {
                cluster.run(MILLI / 10);
            }
            questions += 1;
            cluster.run(MILLI);
            cluster.heal();
            cluster.isolate(&[0]);
            cluster.inject(voter, &late);
            cluster.run(3 * MILLI);
            cluster.isolate(&[asker]);
        }
        cluster.heal();
        cluster.isolate(&[0]);
        cluster.run(SECOND);
        let other = ended(&mut clients[asker], asked.tag).expect("two of three decide");
        assert_eq!(other, decision, "{voter} voted");
    }
}

/// A vote of a life that is over by the time of another vote, whose voter told the next life that it knew
/// of nothing: the two must not count together.
#[test]
fn votes_count_together_only_if_no_voter_knew_a_later_life_of_another() {
    let cluster = Cluster::synchronised(5, 11);
    let mut clients: Vec<_> = [0, 3].map(|node| cluster.client(node)).into();
    let tstart = cluster.common(&mut clients[0]).after(T0);
    let agreement = agreement(&entities(&clients), tstart, MULTICAST);
    cluster.world().cuts.extend([(0, 2), (0, 3), (0, 4)]);
    cluster.record();
    let first = propose_all(&mut clients[..1], agreement, &[Some([9; 32])])[0];
    let is_first_attempt = |frame: &[u8; 512]| frame[1] == 7;
    let asked = || {
        let recorded = cluster.world().recorded.clone();
        recorded.into_iter().find(|(to, frame)| *to == 2 && is_first_attempt(frame))
    };
    while asked().is_none() {
        cluster.run(MILLI / 10);
    }
    cluster.freeze(0);
    cluster.run(MILLI); // the second votes, and that waits for the first
    cluster.start(1);
    cluster.run(400 * MILLI); // its next life hears from all others, of whom none has voted
    let (_, late) = asked().unwrap();
    cluster.inject(2, &late);
    cluster.run(MILLI);
    cluster.thaw(0);
    let of_first = ended(&mut clients[0], first);
    cluster.heal();
    cluster.isolate(&[0, 2]);
    let second = clients[1].propose(agreement, None).unwrap();
    cluster.run(SECOND);
    let of_others = ended(&mut clients[1], second.tag).expect("three of five decide");
    assert!(of_first.is_none_or(|decision| decision == of_others), "{of_first:?} {of_others:?}");
    cluster.heal();
    cluster.run(2 * SECOND);
    assert_eq!(ended(&mut clients[0], first), Some(of_others));
}

/// Two of three voters forget, and the fourth never heard: only the third voter knows.
#[test]
fn who_knows_nothing_itself_does_not_tell_others_that_there_is_nothing() {
    let cluster = Cluster::synchronised(4, 12);
    let mut clients: Vec<_> = [0, 3].map(|node| cluster.client(node)).into();
    let tstart = cluster.common(&mut clients[0]).after(T0);
    let agreement = agreement(&entities(&clients), tstart, MULTICAST);
    cluster.isolate(&[3]);
    let first = propose_all(&mut clients[..1], agreement, &[Some([9; 32])])[0];
    cluster.run(T0.0 + 5 * MILLI);
    let decision = ended(&mut clients[0], first).expect("three of four decide");
    cluster.heal();
    cluster.isolate(&[0]);
    cluster.start(1);
    cluster.start(2);
    cluster.run(500 * MILLI);
    let late = clients[1].propose(agreement, None).unwrap();
    for _ in 0..10 {
        cluster.run(100 * MILLI);
        assert_eq!(ended(&mut clients[1], late.tag), None);
    }
    cluster.heal();
    cluster.run(2 * SECOND);
    assert_eq!(ended(&mut clients[1], late.tag), Some(decision));
}

/// Two of three decide and both forget; the third was away. All listen to the same lives then, and what
/// the earlier ones decided nobody knows.
#[test]
fn where_all_who_decided_forgot_nobody_votes_before_the_rest_has_forgotten_too() {
    let cluster = Cluster::synchronised(3, 14);
    let mut clients: Vec<_> = [0, 2].map(|node| cluster.client(node)).into();
    let tstart = cluster.common(&mut clients[0]).after(T0);
    let agreement = agreement(&entities(&clients), tstart, MULTICAST);
    cluster.isolate(&[2]);
    let first = propose_all(&mut clients[..1], agreement, &[Some([9; 32])])[0];
    cluster.run(T0.0 + 5 * MILLI);
    assert!(ended(&mut clients[0], first).is_some(), "two of three decide");
    cluster.heal();
    cluster.start(0);
    cluster.start(1);
    cluster.run(400 * MILLI);
    let late = clients[1].propose(agreement, None).unwrap();
    for _ in 0..10 {
        cluster.run(100 * MILLI);
        assert_eq!(ended(&mut clients[1], late.tag), None);
    }
    // Once nobody's process is left who could take part in what was decided, all can go on.
    cluster.start(2);
    cluster.run(4 * SECOND);
    let mut clients: Vec<_> = (0..3).map(|node| cluster.client(node)).collect();
    let tstart = cluster.common(&mut clients[0]).after(T0);
    let agreement = self::agreement(&entities(&clients), tstart, MULTICAST);
    let tags = propose_all(&mut clients, agreement, &[Some([9; 32]), None, None]);
    cluster.run(2 * MILLI);
    assert!(ended(&mut clients[1], tags[1]).is_some());
}

#[test]
fn what_is_forgotten_is_not_decided_again() {
    let cluster = Cluster::synchronised(3, 13);
    let mut clients: Vec<_> = (0..3).map(|node| cluster.client(node)).collect();
    let elist = entities(&clients);
    let begin = |clients: &mut [Client<Wire>], value| {
        let tstart = cluster.common(&mut clients[0]).after(T0);
        let agreement = agreement(&elist, tstart, MULTICAST);
        clients[0].propose(agreement, Some(value)).unwrap();
        cluster.run(T0.0 + 10 * MILLI);
        agreement
    };
    let old = begin(&mut clients, [1; 32]);
    cluster.run(AGREEMENT_RETENTION.0);
    begin(&mut clients, [2; 32]); // takes the place of the old one
    for client in &mut clients {
        assert_eq!(refusal(client.propose(old, Some([3; 32]))), Err(Refusal::TstartExpired));
    }
    // What was not decided in its time is given up, and is not decided later.
    cluster.isolate(&[0]);
    let tstart = cluster.common(&mut clients[0]).after(T0);
    let lonely = agreement(&elist, tstart, MULTICAST);
    let tag = clients[0].propose(lonely, Some([4; 32])).unwrap().tag;
    cluster.run(T0.0 + AGREEMENT_RETENTION.0 + SECOND);
    assert_eq!(clients[0].decide(tag).unwrap(), Progress::GivenUp);
    cluster.heal();
    cluster.run(SECOND);
    assert_eq!(refusal(clients[0].propose(lonely, None)), Err(Refusal::TstartExpired));
}

#[test]
fn a_new_life_helps_with_what_starts_after_it() {
    let cluster = Cluster::synchronised(3, 7);
    cluster.start(1);
    cluster.run(3 * SECOND);
    cluster.stop(2);
    let mut clients: Vec<_> = (0..2).map(|node| cluster.client(node)).collect();
    let tstart = cluster.common(&mut clients[0]).after(T0);
    let agreement = agreement(&entities(&clients), tstart, MULTICAST);
    let tags = propose_all(&mut clients, agreement, &[Some([9; 32]), None]);
    cluster.run(2 * MILLI);
    assert!(ended(&mut clients[1], tags[1]).is_some());
}

/// Every frame of the past comes again, to the life it was for and to the next.
#[test]
fn replayed_frames_do_nothing() {
    let cluster = Cluster::new(4, 8);
    cluster.record();
    cluster.run(4 * SECOND);
    let mut clients: Vec<_> = (0..4).map(|node| cluster.client(node)).collect();
    let tstart = cluster.common(&mut clients[0]).after(T0);
    let agreement = agreement(&entities(&clients), tstart, MULTICAST);
    propose_all(&mut clients, agreement, &[Some([9; 32]), None, None, None]);
    cluster.run(10 * MILLI);
    for is_other_life in [false, true] {
        if is_other_life {
            cluster.start(1);
            cluster.run(SECOND);
        }
        cluster.run(5 * MILLI); // nothing is on its way
        let recorded = cluster.world().recorded.clone();
        assert!(recorded.len() > 500);
        for (to, frame) in recorded {
            let outputs = cluster.inject(to, &frame);
            let is_greeting = |output: &Output| match output {
                Output::Control { frame, .. } => frame[1] == 1,
                _ => false,
            };
            assert!(outputs.iter().all(is_greeting), "{:?}", &frame[..16]);
        }
        // And nobody lost anybody by it.
        cluster.run(SECOND);
        let mut clients: Vec<_> = (0..4).map(|node| cluster.client(node)).collect();
        let tstart = cluster.common(&mut clients[0]).after(TSTART_AHEAD_MAX).since(T0);
        let agreement = self::agreement(&entities(&clients), tstart, MULTICAST);
        let tags = propose_all(&mut clients, agreement, &[Some([9; 32]), None, None, None]);
        cluster.run(10 * MILLI);
        assert!(ended(&mut clients[3], tags[3]).is_some());
    }
}

#[test]
fn every_error_by_name() {
    let cluster = Cluster::new(4, 9);
    let mut clients: Vec<_> = (0..4).map(|node| cluster.client(node)).collect();
    let elist = entities(&clients);
    let early = agreement(&elist, Nanos(1), MULTICAST);
    assert_eq!(refusal(clients[0].propose(early, None)), Err(Refusal::NotSynchronised));
    cluster.run(4 * SECOND);
    let now = cluster.common(&mut clients[0]);
    let mut say = |elist: &[Entity], tstart: Nanos| {
        refusal(clients[0].propose(agreement(elist, tstart, MULTICAST), None))
            .map(|proposed| proposed.standing)
    };
    let soon = now.after(T0);
    assert_eq!(say(&elist[1..], soon), Err(Refusal::NotInElist));
    let stranger = Entity { replica: ReplicaId(99), local: 1 };
    assert_eq!(say(&[elist[0], stranger], soon), Err(Refusal::Conflict));
    let far = now.after(TSTART_AHEAD_MAX).after(Nanos(MILLI));
    assert_eq!(say(&elist, far), Err(Refusal::TooFar));
    assert_eq!(say(&elist, now.since(Nanos(MILLI))), Ok(Standing::TstartExpired));
    assert_eq!(say(&elist, soon), Ok(Standing::Taken));
    assert_eq!(say(&elist, soon), Ok(Standing::AlreadyProposed));
    assert_eq!(refusal(clients[1].decide(Tag(1))), Err(Refusal::UnknownTag), "of another");
    cluster.run(T0.0 + 2 * AGREEMENT_RETENTION.0);
    assert_eq!(refusal(clients[0].decide(Tag(99))), Err(Refusal::UnknownTag));
}

#[test]
fn wrong_lists_are_none() {
    let one = Entity { replica: ReplicaId(0), local: 1 };
    let list = |count: u32| -> Vec<_> { (0..count).map(|local| Entity { local, ..one }).collect() };
    let new = |elist: &[Entity], decision| Agreement::new(elist, Nanos(1), decision).is_some();
    assert!(new(&list(1), MULTICAST) && new(&list(16), MULTICAST));
    assert!(!new(&[], MULTICAST) && !new(&list(17), MULTICAST) && !new(&[one, one], MULTICAST));
    assert!(new(&list(4), DecisionFunction::MajorityOf(4)));
    assert!(!new(&list(4), DecisionFunction::MajorityOf(5)));
    assert!(!new(&list(4), DecisionFunction::MajorityOf(0)));
}

/// Whoever fills places fills its own host's, everywhere; and is told when there will be one.
#[test]
fn a_flood_of_agreements_takes_nothing_from_other_hosts() {
    let cluster = Cluster::synchronised(4, 10);
    let mut clients: Vec<_> = (0..4).map(|node| cluster.client(node)).collect();
    let elist = entities(&clients);
    let now = cluster.common(&mut clients[0]);
    let mut taken = 0;
    let refused = loop {
        let tstart = now.after(T0).after(Nanos(taken as u64));
        match refusal(clients[0].propose(agreement(&elist, tstart, MULTICAST), None)) {
            Ok(_) => taken += 1,
            Err(refused) => break refused,
        }
    };
    assert_eq!(taken, AGREEMENTS_PER_HOST);
    let Refusal::NoResources { next_free } = refused else { panic!("{refused:?}") };
    cluster.run(MILLI); // all others know of all of them
    let tstart = now.after(T0);
    let (mut others, other) = (clients.split_off(1), agreement(&elist[1..], tstart, MULTICAST));
    let tags = propose_all(&mut others, other, &[Some([1; 32]), None, None]);
    cluster.run(2 * MILLI);
    assert!(ended(&mut others[0], tags[0]).is_some());
    // The own ones end, and then there is room again, within what an entity may hold.
    cluster.run(T0.0);
    for round in 1..AGREEMENTS_PER_ENTITY / 2 / AGREEMENTS_PER_HOST {
        let now = cluster.common(&mut clients[0]);
        for number in 0..AGREEMENTS_PER_HOST {
            let tstart = now.after(T0).after(Nanos(number as u64));
            let proposed = refusal(clients[0].propose(agreement(&elist, tstart, MULTICAST), None));
            assert_eq!(
                proposed.map(|one| one.standing),
                Ok(Standing::Taken),
                "round {round} {number}"
            );
        }
        cluster.run(2 * T0.0);
    }
    let tstart = cluster.common(&mut clients[0]).after(T0);
    let refused = refusal(clients[0].propose(agreement(&elist, tstart, MULTICAST), None));
    assert!(matches!(refused, Err(Refusal::NoResources { .. })));
    assert!(next_free > Nanos(0));
    cluster.run(AGREEMENT_RETENTION.0);
    let tstart = cluster.common(&mut clients[0]).after(T0);
    clients[0].propose(agreement(&elist, tstart, MULTICAST), None).unwrap();
}

/// Begins and ends so many agreements, a few at a time.
fn begin_and_end(
    (cluster, client): (&Cluster, &mut Client<Wire>),
    elist: &[Entity],
    (count, at_once): (usize, usize),
) {
    for round in 0..count / at_once {
        let now = cluster.common(client).after(Nanos(20 * MILLI));
        let begin = |number: usize| {
            let named = agreement(elist, now.after(Nanos(number as u64)), MULTICAST);
            refusal(client.propose(named, Some([4; 32]))).unwrap_or_else(|it| panic!("{it:?}")).tag
        };
        let tags: Vec<_> = (0..at_once).map(begin).collect();
        cluster.run(60 * MILLI);
        assert!(tags.iter().all(|tag| ended(client, *tag).is_some()), "round {round}");
    }
}

/// The fourth host begins agreements of which the third hears from the first alone: they take no place of
/// the first's there.
#[test]
fn who_repeats_an_agreement_is_not_charged_for_it() {
    let cluster = Cluster::synchronised(4, 15);
    let mut clients: Vec<_> = (0..4).map(|node| cluster.client(node)).collect();
    let elist = entities(&clients);
    cluster.world().cuts.push((3, 2));
    let (prepare, accept, decided) = (5, 7, 9); // it proposes, and leaves it to others to decide
    cluster.world().muted.extend([(3, prepare), (3, accept), (3, decided)]);
    let half = (ENDED_PER_HOST / 2, AGREEMENTS_PER_HOST / 2);
    begin_and_end((&cluster, &mut clients[3]), &[elist[0], elist[3], elist[2]], half);
    cluster.stop(1); // from here on the third's vote is needed
    let rest = (ENDED_PER_HOST / 2 + AGREEMENTS_PER_HOST, AGREEMENTS_PER_HOST);
    begin_and_end((&cluster, &mut clients[0]), &[elist[0], elist[2]], rest);
}

/// A process that others lead to take part in agreements that they never begin, or that end at once, has
/// room for its own all the same; whether it asks what became of them or not.
#[test]
fn what_others_bring_up_leaves_room_for_own_agreements() {
    for (is_begun, is_asked, ahead) in [
        (false, false, 5),
        (false, true, 5),
        (true, false, 5),
        (true, true, 5),
        (false, false, 900),
    ] {
        let cluster = Cluster::synchronised(4, 16);
        let mut clients: Vec<_> = (0..4).map(|node| cluster.client(node)).collect();
        let elist = entities(&clients);
        let of_fourth = [elist[3], elist[0]];
        for turn in 0..40 {
            let now = cluster.common(&mut clients[0]);
            let mut tags = Vec::new();
            for number in 0..4 {
                let tstart = now.after(Nanos(ahead * MILLI + number));
                let bogus = agreement(&of_fourth, tstart, MULTICAST);
                if is_begun {
                    let _ = refusal(clients[3].propose(bogus, Some([4; 32])));
                    cluster.run(MILLI / 4);
                }
                tags.extend(refusal(clients[0].propose(bogus, None)).map(|one| one.tag));
            }
            if turn % 10 == 9 {
                let elist = [elist[0], elist[1]];
                begin_and_end((&cluster, &mut clients[0]), &elist, (4, 4));
            }
            cluster.run(30 * MILLI);
            for tag in tags.into_iter().filter(|_| is_asked) {
                assert!(ended(&mut clients[0], tag).is_some());
            }
        }
    }
}

/// All places that there are for what ended are taken, by both kinds: no more is begun, and nothing breaks.
#[test]
fn what_ends_always_has_a_place() {
    let cluster = Cluster::synchronised(4, 18);
    let mut clients: Vec<_> = (0..4).map(|node| cluster.client(node)).collect();
    let elist = entities(&clients);
    let own = (ENDED_PER_HOST, AGREEMENTS_PER_HOST);
    begin_and_end((&cluster, &mut clients[0]), &elist, own);
    let tstart = cluster.common(&mut clients[0]).after(Nanos(5 * MILLI));
    for list in [&[elist[0]][..], &[elist[3], elist[0]]] {
        let refused = refusal(clients[0].propose(agreement(list, tstart, MULTICAST), None));
        assert!(matches!(refused, Err(Refusal::NoResources { .. })), "{refused:?}");
    }
    cluster.run(AGREEMENT_RETENTION.0);
    begin_and_end((&cluster, &mut clients[0]), &elist, own);
}

/// The places of a process for what it asks about are free again once it was told.
#[test]
fn what_was_told_takes_no_place() {
    let cluster = Cluster::synchronised(4, 17);
    let mut clients: Vec<_> = (0..4).map(|node| cluster.client(node)).collect();
    let elist = entities(&clients);
    for turn in 0..3 * AGREEMENTS_PER_ENTITY {
        let tstart = cluster.common(&mut clients[turn % 4]).after(Nanos(MILLI));
        let named = agreement(&elist, tstart, MULTICAST);
        let begun = clients[turn % 4].propose(named, Some([9; 32])).map(|one| one.tag).unwrap();
        cluster.run(MILLI / 4);
        let tag = clients[0].propose(named, None).map(|one| one.tag).unwrap();
        cluster.run(40 * MILLI);
        assert!(ended(&mut clients[0], tag).is_some());
        assert!(ended(&mut clients[turn % 4], begun).is_some());
    }
}

/// What is known of one agreement over all wormholes and all time.
#[derive(Default)]
struct Known {
    decision: Option<Decision>,
    proposed: BTreeMap<usize, Option<Value>>,
    tags: Vec<(usize, u64, Tag)>,
}

/// A run with everything that may happen; gives how many agreements were decided.
fn run_wild(seed: u64) -> usize {
    let mut chance = Chance::new(seed);
    let count = 3 + usize::try_from(chance.below(3)).unwrap();
    let cluster = Cluster::new(count, seed);
    for node in &mut cluster.world().nodes {
        node.drift = i64::try_from(chance.below(1_601)).unwrap() - 800;
    }
    cluster.run(4 * SECOND);
    cluster.weather(Weather {
        loss_permille: chance.below(300),
        twice_permille: chance.below(200),
        delay: (20_000, 100_000 + chance.below(20 * MILLI)),
    });
    let mut clients: Vec<_> = (0..count).map(|node| cluster.client(node)).collect();
    let mut all: Vec<(Agreement, Known)> = Vec::new();
    for turn in 0..120 {
        match chance.below(12) {
            0 => cluster.isolate(&[(); 2].map(|()| cluster::drawn(count, &mut chance))),
            1 | 2 => cluster.heal(),
            3 => {
                let node = cluster::drawn(count, &mut chance);
                cluster.start(node);
                clients[node] = cluster.client(node);
            }
            _ => {}
        }
        if turn % 8 == 0 {
            let now = clients.iter_mut().filter_map(|one| one.timestamp().ok());
            let now = now.filter(|time| time.synchronised).map(|time| time.latest).max();
            let elist = entities(&clients);
            let decision = match chance.below(3) {
                0 => MULTICAST,
                1 => DecisionFunction::Plurality,
                _ => DecisionFunction::Xor,
            };
            let tstart = now.unwrap_or(Nanos(SECOND)).after(Nanos(chance.below(100 * MILLI)));
            all.push((agreement(&elist, tstart, decision), Known::default()));
        }
        let recent = all.len().saturating_sub(3);
        for (agreement, known) in &mut all[recent..] {
            for (node, client) in clients.iter_mut().enumerate() {
                if !chance.is(400) {
                    continue;
                }
                let value = chance.is(700).then(|| [u8::try_from(node).unwrap(); 32]);
                if let Ok(proposed) = client.propose(*agreement, value) {
                    if proposed.standing == Standing::Taken {
                        known.proposed.insert(node, value);
                    }
                    known.tags.push((node, cluster.world().nodes[node].lives, proposed.tag));
                }
            }
        }
        cluster.run(chance.below(60 * MILLI));
        for (_, known) in &mut all {
            look(&cluster, &mut clients, known, seed);
        }
    }
    all.iter().filter(|(_, known)| known.decision.is_some()).count()
}

/// Asks everybody who may ask; all must tell the same, and nothing that was not proposed.
fn look(cluster: &Cluster, clients: &mut [Client<Wire>], known: &mut Known, seed: u64) {
    for (node, life, tag) in &known.tags {
        if cluster.world().nodes[*node].lives != *life {
            continue;
        }
        let Ok(Progress::Ended(decision)) = clients[*node].decide(*tag) else { continue };
        let before = *known.decision.get_or_insert(decision);
        assert_eq!(before, decision, "seed {seed}: two decisions, the second at node {node}");
        for place in (0..16).filter(|place| decision.proposed_any >> place & 1 != 0) {
            assert!(known.proposed.contains_key(&place), "seed {seed}: {place} did not propose");
        }
        let is_value = known.proposed.values().any(|value| *value == decision.value);
        assert!(decision.value.is_none() || is_value || decision.proposed_ok.count_ones() > 1);
    }
}

#[test]
fn no_two_wormholes_ever_tell_two_decisions() {
    let seeds = std::env::var("RAVELIN_SEEDS").ok().and_then(|seeds| seeds.parse().ok());
    let seeds = seeds.unwrap_or(60);
    let decided: usize = (0..seeds).map(run_wild).sum();
    println!("{decided} agreements decided in {seeds} runs");
    assert!(decided as u64 > seeds * 2, "the runs decide too little to prove anything: {decided}");
}
