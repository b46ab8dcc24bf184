//! What wormholes promise that agree by rounds of the common clock: one decision while the bound holds,
//! whoever stops, in the middle of a round too; and that one which wakes later than the bound stops itself.

use crate::cluster::{self, Chance, Cluster, MILLI, SECOND, Weather, Wire, propose_all, refusal};
use ravelin_wormhole::client::Client;
use ravelin_wormhole::core::{ClusterError, Engine, HaltReason, Input, Nanos, REAL_TIME_BOUND_MAX};
use ravelin_wormhole::frame::{
    Agreement, Decision, DecisionFunction, Entity, Frame, Progress, Refusal, Standing, Tag,
};

const BOUND: u64 = 5 * MILLI;
const T0: u64 = 50 * MILLI;
const ROUND: u8 = 12;
const ROUND_SPAN: u64 = 6 * BOUND;

fn synchronised(count: usize, seed: u64) -> Cluster {
    let cluster = Cluster::of(count, Engine::RealTime { bound: Nanos(BOUND) }, seed);
    cluster.run(4 * SECOND);
    cluster
}

/// From the start of an agreement until everybody has it.
fn span(count: usize) -> u64 {
    count as u64 * 6 * BOUND
}

fn entities(clients: &[Client<Wire>]) -> Vec<Entity> {
    clients.iter().map(|client| client.entity().unwrap()).collect()
}

fn named(cluster: &Cluster, clients: &mut [Client<Wire>], decision: DecisionFunction) -> Agreement {
    let tstart = cluster.common(clients.last_mut().unwrap()).after(Nanos(T0));
    Agreement::new(&entities(clients), tstart, decision).unwrap()
}

/// What those who run tell: one decision at most.
fn told(clients: &mut [Client<Wire>], tags: &[Tag]) -> Vec<Option<Decision>> {
    let ask = |(client, tag): (&mut Client<Wire>, &Tag)| match client.decide(*tag) {
        Ok(Progress::Ended(decision)) => Some(decision),
        _ => None,
    };
    let told: Vec<_> = clients.iter_mut().zip(tags).map(ask).collect();
    let mut decisions = told.iter().flatten();
    if let Some(first) = decisions.next() {
        assert!(decisions.all(|other| other == first), "{told:?}");
    }
    told
}

#[test]
fn a_bound_or_a_cluster_that_rounds_cannot_keep_is_refused() {
    for (count, bound) in [(4, 0), (4, 20 * MILLI + 1), (8, BOUND)] {
        let engine = Engine::RealTime { bound: Nanos(bound) };
        assert_eq!(cluster::join(count, engine), Err(ClusterError::Bound), "{count} {bound}");
    }
    assert_eq!(cluster::join(7, Engine::RealTime { bound: REAL_TIME_BOUND_MAX }), Ok(()));
}

#[test]
fn all_decide_the_same_at_the_stated_time() {
    for count in 1..6 {
        let cluster = synchronised(count, 1);
        let mut clients: Vec<_> = (0..count).map(|node| cluster.client(node)).collect();
        let agreement = named(&cluster, &mut clients, DecisionFunction::Plurality);
        let values: Vec<_> = (0..count).map(|node| (node > 0).then_some([4; 32])).collect();
        let tags = propose_all(&mut clients, agreement, &values);
        cluster.run(T0 - BOUND);
        assert!(told(&mut clients, &tags).iter().all(Option::is_none), "rounds begin at tstart");
        let Progress::Running { ends_by } = clients[0].decide(tags[0]).unwrap() else { panic!() };
        assert_eq!(ends_by, agreement.tstart.after(Nanos(span(count))));
        cluster.run(BOUND + span(count));
        let all = (1_u16 << count) - 1;
        let value = (count > 1).then_some([4; 32]);
        let decision = Decision { value, proposed_ok: all & !1, proposed_any: all };
        assert!(told(&mut clients, &tags).iter().all(|one| *one == Some(decision)), "{count}");
    }
}

/// Whoever stops, and after whichever of its frames, of four wormholes two at most: the others decide, and
/// all the same. Every case is tried.
#[test]
fn wherever_in_the_rounds_some_stop_the_others_decide_the_same() {
    let mut tried = 0;
    for (first, second) in [(0, 1), (0, 2), (1, 2), (2, 0), (1, 0)] {
        for first_stops in 0..8 {
            for second_stops in 0..8 {
                let cluster = synchronised(4, 2);
                let mut clients: Vec<_> = (0..4).map(|node| cluster.client(node)).collect();
                let agreement = named(&cluster, &mut clients, DecisionFunction::Xor);
                // Only the first two propose, and nobody hears of it before the rounds.
                cluster.world().muted.extend((0..4).map(|node| (node, 4)));
                let of = [(first, [1; 32]), (second, [2; 32])];
                let mut tags = vec![Tag(0); 4];
                for (node, value) in of {
                    tags[node] = clients[node].propose(agreement, Some(value)).unwrap().tag;
                }
                for (node, stops) in [(first, first_stops), (second, second_stops)] {
                    cluster.stop_after(node, ROUND, stops);
                }
                cluster.run(T0 / 2);
                for node in (0..4).filter(|node| *node != first && *node != second) {
                    tags[node] = clients[node].propose(agreement, None).unwrap().tag;
                }
                cluster.run(T0 + span(4));
                let told = told(&mut clients, &tags);
                for node in (0..4).filter(|node| *node != first && *node != second) {
                    assert!(told[node].is_some(), "{first} {first_stops} {second} {second_stops}");
                }
                tried += 1;
            }
        }
    }
    assert_eq!(tried, 320);
}

#[test]
fn two_of_four_are_enough_and_go_on() {
    let cluster = synchronised(4, 3);
    let mut clients: Vec<_> = (2..4).map(|node| cluster.client(node)).collect();
    cluster.stop(0);
    cluster.stop(1);
    for _ in 0..20 {
        let agreement = named(&cluster, &mut clients, DecisionFunction::ReliableMulticast);
        let tags = propose_all(&mut clients, agreement, &[Some([1; 32]), None]);
        cluster.run(T0 + span(4));
        assert!(told(&mut clients, &tags).iter().all(Option::is_some));
        cluster.run(300 * MILLI);
    }
}

#[test]
fn who_wakes_later_than_the_bound_stops_itself_and_the_others_decide() {
    for late_by in [BOUND / 2, 2 * BOUND, 10 * BOUND, SECOND] {
        for begins in [T0 - BOUND, T0 + BOUND, T0 + 8 * BOUND, T0 + 14 * BOUND] {
            let cluster = synchronised(4, 4);
            let mut clients: Vec<_> = (0..4).map(|node| cluster.client(node)).collect();
            let agreement = named(&cluster, &mut clients, DecisionFunction::ReliableMulticast);
            let values = [Some([9; 32]), None, None, None];
            let tags = propose_all(&mut clients, agreement, &values);
            cluster.run(begins);
            cluster.freeze(0);
            cluster.run(late_by);
            cluster.thaw(0);
            cluster.run(T0 + span(4));
            let told = told(&mut clients, &tags);
            assert!(told[1..].iter().all(Option::is_some), "{late_by} {begins}: {told:?}");
            let halted = cluster.world().halted(0);
            if late_by > 8 * BOUND {
                assert_eq!(halted, Some(HaltReason::WokeLate), "{late_by} {begins}");
                let refused = refusal(clients[0].decide(tags[0]));
                assert_eq!(refused, Err(Refusal::Halted { reason: HaltReason::WokeLate }));
            }
            if late_by < BOUND {
                assert_eq!(halted, None, "{late_by} {begins}");
            }
        }
    }
}

/// What comes after its round's end counts for nobody, and whom it reaches decides nothing by itself.
#[test]
fn frames_of_a_round_that_is_over_are_nothing() {
    let cluster = synchronised(3, 5);
    let mut clients: Vec<_> = (0..3).map(|node| cluster.client(node)).collect();
    let agreement = named(&cluster, &mut clients, DecisionFunction::ReliableMulticast);
    let decided = 9;
    cluster.world().muted.extend((0..3).flat_map(|node| [(node, 4), (node, decided)]));
    cluster.record();
    let tags = propose_all(&mut clients, agreement, &[Some([9; 32]), None, None]);
    cluster.world().cuts.extend([(0, 1), (0, 2)]);
    cluster.run(T0 + 7 * BOUND); // the first of two rounds is over
    let recorded = cluster.world().recorded.clone();
    let late = recorded.iter().find(|(to, frame)| *to == 1 && frame[1] == ROUND);
    let (_, late) = late.expect("the first spoke");
    cluster.inject(1, late);
    cluster.run(span(3));
    let told = told(&mut clients[1..], &tags[1..]);
    assert_eq!(told[0], None, "it may know less than others");
    assert_eq!(told[1].map(|decision| decision.value), Some(None));
}

#[test]
fn who_comes_late_or_anew_learns_it_from_others() {
    let cluster = synchronised(4, 6);
    let mut clients: Vec<_> = (0..4).map(|node| cluster.client(node)).collect();
    let agreement = named(&cluster, &mut clients, DecisionFunction::ReliableMulticast);
    cluster.isolate(&[3]);
    let tags = propose_all(&mut clients[..3], agreement, &[Some([9; 32]), None, None]);
    cluster.run(T0 + span(4));
    let decision = told(&mut clients[..3], &tags)[0].expect("they decide");
    cluster.heal();
    let late = clients[3].propose(agreement, None).unwrap();
    assert_eq!(late.standing, Standing::TstartExpired);
    cluster.run(300 * MILLI);
    assert_eq!(told(&mut clients[3..], &[late.tag]), [Some(decision)]);
}

/// In real time what was taken counts, so nothing is taken where this wormhole has no part.
#[test]
fn a_new_life_takes_no_proposal_that_would_not_count() {
    let cluster = synchronised(4, 8);
    let mut clients: Vec<_> = (0..4).map(|node| cluster.client(node)).collect();
    let far = cluster.common(&mut clients[0]).after(Nanos(5 * SECOND));
    let planned = Agreement::new(&entities(&clients), far, DecisionFunction::Plurality).unwrap();
    propose_all(&mut clients, planned, &[Some([1; 32]); 4]);
    cluster.run(100 * MILLI);
    cluster.start(3);
    cluster.run(SECOND);
    clients[3] = cluster.client(3);
    let agreement = named(&cluster, &mut clients, DecisionFunction::Plurality);
    let proposed = clients[3].propose(agreement, Some([2; 32])).unwrap();
    assert_eq!(proposed.standing, Standing::TstartExpired);
    let tags = propose_all(&mut clients[..3], agreement, &[Some([1; 32]); 3]);
    cluster.run(T0 + span(4) + 200 * MILLI);
    let told = told(&mut clients, &[&tags[..], &[proposed.tag]].concat());
    assert!(told.iter().all(|one| one.is_some_and(|it| it.proposed_any == 0b111)), "{told:?}");
}

/// The most that can be said: as many agreements as there is room for, each of sixteen processes.
#[test]
fn all_that_may_be_said_in_a_round_finds_room_at_its_readers() {
    let cluster = synchronised(4, 9);
    let places = (0..16_u8).map(|place| (usize::from(place) % 4, place / 4));
    let mut clients: Vec<_> =
        places.map(|(node, connection)| cluster.client_at(node, connection)).collect();
    let tstart = cluster.common(&mut clients[0]).after(Nanos(T0));
    let mut agreements = Vec::new();
    let full = 'full: loop {
        for first in 0..4 {
            let number = agreements.len() as u64;
            let mut elist = entities(&clients);
            elist.swap(0, first); // led by a process of each host in turn
            let at = tstart.after(Nanos(number));
            let agreement = Agreement::new(&elist, at, DecisionFunction::Plurality).unwrap();
            match refusal(clients[first].propose(agreement, Some([9; 32]))) {
                Ok(proposed) => agreements.push((agreement, first, proposed.tag)),
                Err(refused) => break 'full refused,
            }
        }
    };
    assert!(matches!(full, Refusal::NoResources { .. }), "{full:?}");
    assert_eq!(agreements.len(), 4 * 7);
    cluster.run(MILLI);
    for (agreement, ..) in &agreements {
        for client in &mut clients {
            let _ = client.propose(*agreement, Some([9; 32]));
        }
    }
    cluster.record();
    cluster.run(T0 / 2 + span(4));
    let of_rounds = |round: u8| {
        let recorded = cluster.world().recorded.clone();
        let of_it = |(to, frame): &&(usize, _)| *to == 0 && is_of_round(frame, round);
        recorded.iter().filter(of_it).count()
    };
    let frames: Vec<_> = (1..=3).map(of_rounds).collect();
    assert!(frames.iter().all(|count| *count <= 168), "{frames:?}");
    assert!(frames[0] > 100 && frames[1] > 0, "{frames:?}");
    for (_, first, tag) in agreements {
        let Ok(Progress::Ended(decision)) = clients[first].decide(tag) else { panic!("{first}") };
        assert_eq!(decision.proposed_ok, u16::MAX, "all sixteen were heard");
    }
}

/// Behind the name of the agreement stands who is charged, and then the round.
fn is_of_round(frame: &[u8; 512], round: u8) -> bool {
    frame[1] == ROUND && frame[16 + 107 + 1] == round
}

/// Wormholes that agree in another way, or by another bound, are no cluster.
#[test]
fn others_do_not_hear_each_other() {
    let cluster = Cluster::of(2, Engine::RealTime { bound: Nanos(BOUND) }, 7);
    cluster.replace(1, Engine::Quorum);
    cluster.run(10 * SECOND);
    assert!(!cluster.client(0).timestamp().unwrap().synchronised);
    assert!(!cluster.client(1).timestamp().unwrap().synchronised);
}

/// Frames arrive within the bound; wormholes stop, sleep for any time, start again.
fn run_wild(seed: u64) -> (usize, usize) {
    let mut chance = Chance::new(seed);
    let count = 3 + usize::try_from(chance.below(3)).unwrap();
    let cluster = synchronised(count, seed);
    for node in &mut cluster.world().nodes {
        node.drift = 0;
    }
    cluster.weather(Weather {
        loss_permille: 0,
        twice_permille: chance.below(200),
        delay: (20_000, 100_000 + chance.below(MILLI)),
    });
    let mut clients: Vec<_> = (0..count).map(|node| cluster.client(node)).collect();
    let (mut decided, mut halted) = (0, 0);
    for _ in 0..12 {
        let node = usize::try_from(chance.below(count as u64)).unwrap();
        if clients.iter_mut().any(|one| !one.timestamp().is_ok_and(|it| it.synchronised)) {
            cluster.run(500 * MILLI);
            continue;
        }
        let agreement = named(&cluster, &mut clients, DecisionFunction::Plurality);
        let (mut tags, mut taken) = (vec![Tag(0); count], Vec::new());
        for (node, client) in clients.iter_mut().enumerate() {
            let value = [u8::try_from(chance.below(3)).unwrap(); 32];
            if chance.is(700) {
                let proposed = client.propose(agreement, Some(value)).unwrap();
                tags[node] = proposed.tag;
                taken.extend((proposed.standing == Standing::Taken).then_some(node));
            }
            cluster.run(chance.below(10 * MILLI));
        }
        cluster.run(chance.below(span(count)));
        if chance.is(600) {
            cluster.freeze(node);
            let longest = if chance.is(500) { 2 * BOUND } else { 30 * BOUND };
            cluster.run(chance.below(longest));
            if chance.is(300) {
                cluster.world().step(node, Input::ControlLost);
                taken.retain(|one| *one != node); // to others it may have stopped
            }
            cluster.thaw(node);
        }
        cluster.run(T0 + span(count));
        let told = told(&mut clients, &tags);
        if let Some(decision) = told.into_iter().flatten().next() {
            decided += 1;
            for node in taken.into_iter().filter(|node| cluster.world().halted(*node).is_none()) {
                assert_ne!(
                    decision.proposed_any & 1 << node,
                    0,
                    "seed {seed}: what is taken counts"
                );
            }
        }
        for (node, client) in clients.iter_mut().enumerate() {
            if cluster.world().halted(node).is_some() {
                halted += 1;
                cluster.start(node);
                *client = cluster.client(node);
            }
        }
        cluster.run(2 * SECOND);
    }
    (decided, halted)
}

#[test]
fn no_two_wormholes_ever_tell_two_decisions() {
    let seeds = std::env::var("RAVELIN_SEEDS").ok().and_then(|seeds| seeds.parse().ok());
    let seeds = seeds.unwrap_or(40);
    let (decided, halted) = (0..seeds)
        .map(run_wild)
        .fold((0, 0), |(decided, halted), run| (decided + run.0, halted + run.1));
    println!("{decided} agreements decided and {halted} wormholes stopped in {seeds} runs");
    assert!(decided as u64 > seeds * 5 && halted as u64 > seeds / 2, "{decided} {halted}");
}

/// A flood fills a socket: what others said in time is lost at the host, which notices that.
#[test]
fn who_lost_frames_at_its_host_decides_nothing_that_had_started() {
    let cluster = synchronised(3, 11);
    let mut clients: Vec<_> = (0..3).map(|node| cluster.client(node)).collect();
    let agreement = named(&cluster, &mut clients, DecisionFunction::ReliableMulticast);
    let decided = 9;
    cluster.world().muted.extend((0..3).flat_map(|node| [(node, 4), (node, decided)]));
    let tags = propose_all(&mut clients, agreement, &[Some([9; 32]), None, None]);
    cluster.world().cuts.extend([(0, 1), (2, 1)]);
    cluster.run(T0 + 2 * ROUND_SPAN - BOUND);
    cluster.world().step(1, Input::ControlLost);
    cluster.heal();
    cluster.run(span(3));
    let decisions = told(&mut clients, &tags);
    assert!(decisions[0].is_some() && decisions[2].is_some());
    assert_eq!(decisions[1], None, "it knows less than they");
    // It takes part in what starts after that.
    let agreement = named(&cluster, &mut clients, DecisionFunction::ReliableMulticast);
    let tags = propose_all(&mut clients, agreement, &[Some([8; 32]), None, None]);
    cluster.world().step(1, Input::ControlLost);
    cluster.run(T0 + span(3));
    assert!(told(&mut clients, &tags).iter().all(Option::is_some));
}

/// A flood keeps a host from waking its wormhole, too: that one withdraws, and need not stop.
#[test]
fn who_lost_frames_and_wakes_late_takes_no_part_and_comes_back() {
    for late_by in [BOUND / 2, 2 * BOUND, 10 * BOUND, SECOND] {
        let cluster = synchronised(4, 14);
        let mut clients: Vec<_> = (0..4).map(|node| cluster.client(node)).collect();
        let agreement = named(&cluster, &mut clients, DecisionFunction::ReliableMulticast);
        let tags = propose_all(&mut clients, agreement, &[Some([9; 32]), None, None, None]);
        cluster.run(T0 + 8 * BOUND);
        cluster.freeze(0);
        cluster.run(late_by);
        cluster.world().step(0, Input::ControlLost);
        assert_eq!(told(&mut clients[..1], &tags[..1]), [None], "{late_by}");
        cluster.thaw(0);
        cluster.run(T0 + span(4) + 200 * MILLI);
        assert_eq!(cluster.world().halted(0), None, "{late_by}");
        let of_them = told(&mut clients, &tags);
        assert!(of_them.iter().all(Option::is_some), "{late_by}: {of_them:?}");
        cluster.run(SECOND);
        let agreement = named(&cluster, &mut clients, DecisionFunction::ReliableMulticast);
        let tags = propose_all(&mut clients, agreement, &[Some([8; 32]), None, None, None]);
        cluster.run(T0 + span(4));
        let of_them = told(&mut clients, &tags);
        assert!(of_them.iter().all(Option::is_some), "{late_by}: {of_them:?}");
    }
}

/// A frame that comes too late takes its reader out of that agreement, and of no other hosts'.
#[test]
fn who_abstains_does_so_with_the_hosts_that_pay_only() {
    let cluster = synchronised(4, 12);
    let mut clients: Vec<_> = (0..4).map(|node| cluster.client(node)).collect();
    let decided = 9;
    cluster.world().muted.extend((0..4).map(|node| (node, decided)));
    let of_others = named(&cluster, &mut clients[2..], DecisionFunction::ReliableMulticast);
    let theirs =
        Agreement::new(&entities(&clients[..2]), of_others.tstart, DecisionFunction::Xor).unwrap();
    let of_third =
        Agreement::new(&entities(&clients[1..3]), of_others.tstart, DecisionFunction::Xor).unwrap();
    cluster.record();
    let tags = propose_all(&mut clients[2..], of_others, &[Some([9; 32]), None]);
    cluster.world().cuts.extend([(0, 2), (0, 1), (0, 3)]);
    clients[0].propose(theirs, Some([1; 32])).unwrap();
    let shared = clients[2].propose(of_third, Some([2; 32])).unwrap().tag;
    cluster.run(T0 + 7 * BOUND); // the first round is over
    cluster.heal();
    let recorded = cluster.world().recorded.clone();
    let late = recorded.iter().find(|(to, frame)| *to == 2 && frame[1] == ROUND);
    let (_, late) = late.expect("the first spoke");
    cluster.inject(2, late);
    cluster.run(span(4));
    let told = told(&mut clients[2..], &tags);
    assert!(told.iter().all(Option::is_some), "{told:?}");
    assert!(matches!(clients[2].decide(shared), Ok(Progress::Ended(_))), "nobody of that host");
}

/// Whoever has another host's process take part in his agreements leaves it its places everywhere.
#[test]
fn an_agreement_is_charged_to_the_same_host_everywhere() {
    let cluster = synchronised(4, 13);
    let mut clients: Vec<_> = (0..4).map(|node| cluster.client(node)).collect();
    let tstart = cluster.common(&mut clients[3]).after(Nanos(4 * T0));
    let among = |clients: &[Client<Wire>], nodes: [usize; 2], number: u64| {
        let elist = nodes.map(|node| clients[node].entity().unwrap());
        let tstart = tstart.after(Nanos(number));
        Agreement::new(&elist, tstart, DecisionFunction::Plurality).unwrap()
    };
    // The first host begins some with the second one; the third hears of them by the second only.
    cluster.world().cuts.push((0, 2));
    for number in 0..3 {
        let agreement = among(&clients, [0, 1], number);
        clients[0].propose(agreement, None).unwrap();
        cluster.run(MILLI);
        clients[1].propose(agreement, None).unwrap();
        cluster.run(MILLI);
    }
    cluster.heal();
    // The third one's own places for what others lead are used up.
    for number in 0..3 {
        let agreement = among(&clients, [3, 2], number);
        clients[2].propose(agreement, None).unwrap();
    }
    for number in 0..7 {
        let agreement = among(&clients, [1, 2], number);
        let led = clients[1].propose(agreement, None).unwrap();
        assert_eq!(led.standing, Standing::Taken);
        cluster.run(MILLI);
        let taken = refusal(clients[2].propose(agreement, None)).map(|one| one.standing);
        assert_eq!(taken, Ok(Standing::Taken), "{number}");
    }
}

/// Else what one that stops said to some in the last round could go on from there to some of the others.
#[test]
fn what_is_heard_in_a_round_is_said_in_the_next() {
    let cluster = synchronised(5, 20);
    let mut clients: Vec<_> = (0..5).map(|node| cluster.client(node)).collect();
    let agreement = named(&cluster, &mut clients, DecisionFunction::Xor);
    cluster.world().muted.extend((0..5).map(|node| (node, 4)));
    let values: Vec<_> = (0..5).map(|node| Some([200 + node; 32])).collect();
    propose_all(&mut clients, agreement, &values);
    // Some hear others before they speak themselves: no two know the time equally well.
    cluster.weather(Weather { delay: (10, 20), ..Weather::CALM });
    cluster.record();
    let said = || {
        let recorded = std::mem::take(&mut cluster.world().recorded);
        let of_rounds = recorded.into_iter().filter(|(_, frame)| frame[1] == ROUND);
        let count = |frame: &Frame| {
            let is_said = |value: &&Option<[u8; 32]>| {
                let value = value.unwrap();
                frame.windows(32).any(|part| part == value)
            };
            values.iter().filter(is_said).count()
        };
        of_rounds.map(|(_, frame)| count(&frame)).collect::<Vec<_>>()
    };
    cluster.run(T0 + ROUND_SPAN - BOUND);
    assert_eq!(said(), [1; 5 * 4], "each its own proposal to each other");
    cluster.run(ROUND_SPAN);
    assert_eq!(said(), [4; 5 * 4], "each what it heard");
    cluster.run(ROUND_SPAN);
    assert_eq!(said(), [0; 0], "nothing is new any more");
}
