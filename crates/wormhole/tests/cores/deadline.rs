//! What is promised of deadlines that several hosts watch: one verdict, in time only for what was in time,
//! and told also where the watched process, its host or its wormhole has stopped.

use crate::cluster::{Chance, Cluster, MILLI, SECOND, Wire};
use ravelin_wormhole::client::{Client, Deadline, Verdict};
use ravelin_wormhole::core::{Engine, Nanos};
use ravelin_wormhole::frame::{Entity, Tag};

const ENGINES: [Engine; 2] = [Engine::Quorum, Engine::RealTime { bound: Nanos(5 * MILLI) }];
const AHEAD: u64 = 100 * MILLI;
/// After the deadline, all know: three rounds of six bounds, and one more.
const KNOWN_WITHIN: u64 = 4 * 6 * 5 * MILLI;

fn armed(engine: Engine, seed: u64) -> (Cluster, Vec<Client<Wire>>, Deadline, Vec<Tag>) {
    let cluster = Cluster::of(4, engine, seed);
    cluster.run(4 * SECOND);
    let mut clients: Vec<_> = (0..4).map(|node| cluster.client(node)).collect();
    let names: Vec<Entity> = clients.iter().map(|client| client.entity().unwrap()).collect();
    let at = cluster.common(&mut clients[1]).after(Nanos(AHEAD));
    let deadline = Deadline::new(names[0], &names[1..], at).unwrap();
    let watchers = clients.iter_mut().skip(1);
    let tags = watchers.map(|watcher| watcher.arm_for_all(&deadline).unwrap()).collect();
    (cluster, clients, deadline, tags)
}

fn verdicts(clients: &mut [Client<Wire>], tags: &[Tag]) -> Vec<Verdict> {
    let watchers = clients[1..].iter_mut().zip(tags);
    watchers.map(|(watcher, tag)| watcher.verdict(*tag).unwrap()).collect()
}

#[test]
fn what_is_done_in_time_is_timely_for_all() {
    for engine in ENGINES {
        let (cluster, mut clients, deadline, tags) = armed(engine, 1);
        cluster.run(AHEAD / 2);
        assert!(matches!(clients[1].verdict(tags[0]), Ok(Verdict::Open { .. })));
        let (tag, is_ahead) = clients[0].end_for_all(&deadline).unwrap();
        assert!(is_ahead);
        cluster.run(AHEAD / 2 + KNOWN_WITHIN);
        assert_eq!(verdicts(&mut clients, &tags), [Verdict::Timely; 3], "{engine:?}");
        assert_eq!(clients[0].verdict(tag).unwrap(), Verdict::Timely);
    }
}

#[test]
fn what_is_done_too_late_or_never_is_late_for_all() {
    for engine in ENGINES {
        for (number, is_stopped) in [(2, false), (3, true)] {
            let (cluster, mut clients, deadline, tags) = armed(engine, number);
            cluster.run(AHEAD + MILLI);
            if is_stopped {
                cluster.stop(0);
            } else {
                let (_, is_ahead) = clients[0].end_for_all(&deadline).unwrap();
                assert!(!is_ahead);
            }
            cluster.run(KNOWN_WITHIN);
            assert_eq!(verdicts(&mut clients, &tags), [Verdict::Late; 3], "{engine:?}");
        }
    }
}

/// Whenever the process is done, and whoever stops: one verdict, and in time only if it was.
#[test]
fn there_is_one_verdict_whoever_stops() {
    let mut seen = [0; 2];
    for (engine, seed) in ENGINES.into_iter().flat_map(|it| (0..60).map(move |seed| (it, seed))) {
        let mut chance = Chance::new(seed);
        let (cluster, mut clients, deadline, tags) = armed(engine, seed);
        let ends_at = chance.below(2 * AHEAD);
        let stops_at = chance.below(2 * AHEAD);
        let stopped = 1 + usize::try_from(chance.below(3)).unwrap();
        let mut happenings = [(ends_at, None), (stops_at, Some(stopped))];
        happenings.sort_unstable();
        let mut now = 0;
        for (at, stops) in happenings {
            cluster.run(at - now);
            now = at;
            match stops {
                Some(node) => cluster.stop(node),
                None => {
                    let _ = clients[0].end_for_all(&deadline).unwrap();
                }
            }
        }
        cluster.run(2 * AHEAD + KNOWN_WITHIN - now);
        let told: Vec<_> = (0..3)
            .filter(|place| place + 1 != stopped)
            .map(|place| clients[place + 1].verdict(tags[place]).unwrap())
            .collect();
        assert_eq!(told[0], told[1], "{engine:?} {seed}");
        let is_timely = told[0] == Verdict::Timely;
        assert!(is_timely || told[0] == Verdict::Late, "{engine:?} {seed}: {told:?}");
        assert!(!is_timely || ends_at < AHEAD, "{engine:?} {seed}: late and called timely");
        let is_surely_ahead = ends_at + 5 * MILLI < AHEAD;
        assert!(is_timely || !is_surely_ahead || engine == Engine::Quorum, "{seed}: called late");
        seen[usize::from(is_timely)] += 1;
    }
    assert!(seen[0] > 20 && seen[1] > 20, "{seen:?}");
}
