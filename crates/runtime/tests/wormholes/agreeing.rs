//! Three real wormholes that agree, called as protocols call them.

use std::path::PathBuf;
use std::process::Child;
use std::time::{Duration, Instant};

use ravelin_model::ttcb::{
    Agreement, AgreementTag, DecisionFunction, Entity, Progress, ProposeError, Proposed,
    TrustedTime, Ttcb, TtcbError, Value,
};
use ravelin_model::{ClusterId, Digest, ReplicaId};
use ravelin_runtime::ttcb::LocalTtcb;
use ravelin_runtime::wormhole::member_of;
use ravelin_wormhole::attestation::Peer;
use ravelin_wormhole::client::SeqPacket;
use ravelin_wormhole::core::{Engine, Member};
use ravelin_wormhole::launcher::{Control, Launch, Launched, control_sockets};

const COUNT: u16 = 3;
/// Longest time for anything that should happen soon.
const SOON: Duration = Duration::from_secs(20);
const T0: Duration = Duration::from_millis(300);

/// The tests, one after the other on the same wormholes.
pub(crate) fn all_on_one_site() {
    let mut site = Site::new();
    let tests: [(&str, fn(&mut Site)); 5] = [
        ("all_are_told_the_same", all_are_told_the_same),
        ("who_is_late_or_twice_is_told_and_has_the_tag", who_is_late_or_twice),
        ("what_makes_no_agreement_is_refused_with_its_reason", what_makes_no_agreement),
        ("two_processes_get_one_key", two_processes_get_one_key),
        ("a_wormhole_that_is_gone_gives_no_answer", a_wormhole_that_is_gone), // the last
    ];
    for (name, test) in tests {
        test(&mut site);
        println!("test {name} ... ok");
    }
}

/// Wormholes, and a process beside each.
struct Site {
    ports: Vec<LocalTtcb<SeqPacket>>,
    elist: Vec<Entity>,
    processes: Vec<Child>,
    home: PathBuf,
}

impl Site {
    fn new() -> Self {
        let home = std::env::temp_dir().join(format!("ravelin-ttcb-{}", std::process::id()));
        std::fs::create_dir(&home).unwrap();
        let launch = |replica: u16| Launch {
            program: std::env::current_exe().unwrap(),
            state: home.join(replica.to_string()),
            owner: None,
            connection_count: 1,
            member: member_of(ClusterId(Digest([3; 32])), ReplicaId(replica)),
            store: None,
            words: None,
        };
        let launches: Vec<Launch> = (0..COUNT).map(launch).collect();
        let (sockets, _) = control_sockets(launches.len()).unwrap();
        let members = launches.iter().zip(&sockets).map(|(launch, (_, address))| {
            let provisioned = launch.provision().unwrap();
            (Member { replica: launch.member.1, provisioned }, *address)
        });
        let members: Vec<_> = members.collect();
        let (mut ports, mut processes) = (vec![], vec![]);
        for ((launch, (socket, _)), (member, _)) in launches.iter().zip(sockets).zip(&members) {
            let control = Control { socket, members: members.clone(), engine: Engine::Quorum };
            let Launched { process, ends } = launch.start_together(control).unwrap();
            let Member { replica, provisioned } = *member;
            let peer = Peer { cluster: launch.member.0, replica, provisioned };
            processes.push(process);
            ports.push(LocalTtcb::connect(&ends[0], &peer).unwrap());
        }
        let elist = ports.iter().map(|port| port.entity().unwrap()).collect();
        let mut site = Self { ports, elist, processes, home };
        for at in 0..site.ports.len() {
            let begun = Instant::now();
            while !site.ports[at].timestamp().unwrap().is_synchronised {
                assert!(begun.elapsed() < SOON, "no common time");
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        site
    }

    fn multicast_in(&mut self, span: Duration) -> Agreement {
        let tstart = self.ports[0].timestamp().unwrap().latest.after(span);
        let elist = self.elist.clone();
        Agreement { elist, tstart, decision: DecisionFunction::ReliableMulticast }
    }

    fn propose(&mut self, at: usize, agreement: &Agreement, value: Option<Value>) -> Proposed {
        self.ports[at].propose(agreement, value).unwrap()
    }

    fn decision(&mut self, at: usize, tag: AgreementTag) -> Progress {
        let begun = Instant::now();
        loop {
            match self.ports[at].decide(tag).unwrap() {
                Progress::Running { .. } => assert!(begun.elapsed() < SOON, "it does not end"),
                ended @ (Progress::Ended { .. } | Progress::GivenUp) => return ended,
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        for process in &mut self.processes {
            let _ = process.kill();
            let _ = process.wait();
        }
        let _ = std::fs::remove_dir_all(&self.home);
    }
}

fn all_are_told_the_same(site: &mut Site) {
    let value = Some([7; 32]);
    let agreement = site.multicast_in(T0);
    let tags = [value, None, value].into_iter().enumerate();
    let tags: Vec<AgreementTag> = tags
        .map(|(at, value)| {
            let proposed = site.propose(at, &agreement, value);
            assert_eq!(proposed.error, None);
            proposed.tag.unwrap()
        })
        .collect();
    let expected = Progress::Ended { value, proposed_ok: 0b101, proposed_any: 0b111 };
    for (at, tag) in tags.into_iter().enumerate() {
        assert_eq!(site.decision(at, tag), expected);
    }
    let unknown = site.ports[1].decide(AgreementTag(u64::MAX));
    assert_eq!(unknown, Err(TtcbError::UnknownInstance));
}

fn who_is_late_or_twice(site: &mut Site) {
    let agreement = site.multicast_in(T0);
    let first = site.propose(0, &agreement, Some([8; 32]));
    let again = site.propose(0, &agreement, Some([9; 32]));
    assert_eq!((first.error, again.error), (None, Some(ProposeError::AlreadyProposed)));
    let expected = Progress::Ended { value: Some([8; 32]), proposed_ok: 1, proposed_any: 1 };
    assert_eq!(site.decision(0, again.tag.unwrap()), expected);
    let late = site.propose(2, &agreement, None);
    assert_eq!(late.error, Some(ProposeError::TstartExpired));
    assert_eq!(site.decision(2, late.tag.unwrap()), expected, "and learns it all the same");
}

fn what_makes_no_agreement(site: &mut Site) {
    let good = site.multicast_in(T0);
    let twice = Agreement { elist: vec![good.elist[0]; 2], ..good.clone() };
    let others = Agreement { elist: good.elist[1..].to_vec(), ..good.clone() };
    let stranger = Entity { replica: ReplicaId(COUNT), local: 1 };
    let strangers = Agreement { elist: vec![good.elist[0], stranger], ..good.clone() };
    let far = Agreement { tstart: good.tstart.after(Duration::from_secs(60)), ..good.clone() };
    let over = Agreement { tstart: TrustedTime(1), ..good };
    let cases = [
        (twice, ProposeError::Conflict),
        (others, ProposeError::NotInElist),
        (strangers, ProposeError::Conflict),
        (far, ProposeError::TstartTooFar),
        (over, ProposeError::TstartExpired),
    ];
    for (agreement, error) in cases {
        assert_eq!(site.propose(0, &agreement, None).error, Some(error), "{agreement:?}");
    }
    // More than its share: told so, and not as if the wormhole were gone.
    let (decision, tstart) = (DecisionFunction::Min, site.multicast_in(T0).tstart);
    let refused = (1..200).find_map(|number| {
        let tstart = tstart.after(Duration::from_nanos(number));
        let agreement = Agreement { elist: site.elist.clone(), tstart, decision };
        site.propose(0, &agreement, None).error
    });
    let Some(ProposeError::NoResources { next_free }) = refused else { panic!("{refused:?}") };
    assert!(next_free >= tstart, "{next_free:?}");
    std::thread::sleep(T0 + ROOM);
}

/// After which the wormholes have forgotten what one test asked for.
const ROOM: Duration = Duration::from_secs(1);

fn two_processes_get_one_key(site: &mut Site) {
    let (one, other) = (site.elist[0], site.elist[1]);
    let begun = Instant::now();
    let (mut first, mut second) = (None, None);
    while first.is_none() || second.is_none() {
        assert!(begun.elapsed() < SOON, "no key");
        if first.is_none() {
            first = site.ports[0].pair_key(other).unwrap();
        }
        if second.is_none() {
            second = site.ports[1].pair_key(one).unwrap();
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(first, second);
    site.ports[0].pair_key(one).map(drop).unwrap_err();
}

fn a_wormhole_that_is_gone(site: &mut Site) {
    let agreement = site.multicast_in(T0);
    site.processes[2].kill().unwrap();
    site.processes[2].wait().unwrap();
    let gone = Err(TtcbError::Unreachable);
    assert_eq!(site.ports[2].timestamp().map(drop), gone);
    assert_eq!(site.ports[2].propose(&agreement, None).map(drop), gone);
    assert_eq!(site.ports[2].decide(AgreementTag(1)).map(drop), gone);
    // The others go on: a majority is left.
    let tag = site.propose(1, &agreement, Some([1; 32])).tag.unwrap();
    let expected = Progress::Ended { value: None, proposed_ok: 0, proposed_any: 0b10 };
    assert_eq!(site.decision(1, tag), expected, "the first of the list did not propose");
}
