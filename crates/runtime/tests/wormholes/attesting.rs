//! A real wormhole, started and called as a server does.

use std::fs;
use std::path::PathBuf;
use std::process::Child;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use ravelin_crypto::{Keyring, Scheme, plan_digest};
use ravelin_model::plan::PLAN_VERSION;
use ravelin_model::{
    Block, BlockBody, BlockHeader, BlockRef, ClusterId, ClusterPlan, Digest, Epoch, FaultModel,
    Incarnation, Member, NotAttested, PublicKey, Purpose, ReplicaId, Round, SharedWormhole,
    SignedPlan, Time, WormholeKeys,
};
use ravelin_runtime::wormhole::{
    LocalWormhole, Monitor, QUICK_ANSWER_MAX, StartError, Started, answer_max, certificate_of,
    member_of,
};
use ravelin_wormhole::attestation::{self, CounterValue, Statement};
use ravelin_wormhole::client::HelloError;
use ravelin_wormhole::launcher::Launch;
use rustix::process::{Pid, Signal, kill_process};

use crate::Test;

const OWN: ReplicaId = ReplicaId(1);
/// How long an answer is waited for where none comes.
const SOON: Duration = Duration::from_millis(300);

/// The tests, by name.
pub(crate) const ALL: [Test; 6] = [
    ("an_attested_block_is_its_authors", an_attested_block_is_its_authors),
    ("both_sides_sign_the_same_bytes", both_sides_sign_the_same_bytes),
    ("a_value_is_bound_once", a_value_is_bound_once),
    ("a_lost_answer_is_found_again", a_lost_answer_is_found_again),
    ("another_wormhole_is_refused", another_wormhole_is_refused),
    ("looking_moves_nothing", looking_moves_nothing),
];

/// A directory that is gone after the test.
struct Home(PathBuf);

impl Home {
    fn new(name: &str) -> Self {
        let name = format!("ravelin-runtime-{name}-{}", std::process::id());
        let home = Self(std::env::temp_dir().join(name));
        fs::create_dir(&home.0).unwrap();
        home
    }

    fn launch(&self, cluster: ClusterId) -> Launch {
        Launch {
            program: std::env::current_exe().unwrap(),
            state: self.0.join("wormhole"),
            owner: None,
            connection_count: 2,
            member: member_of(cluster, OWN),
            store: None,
            words: None,
        }
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A wormhole in a cluster of three.
struct Site {
    wormhole: LocalWormhole,
    monitor: Mutex<Monitor>,
    process: Child,
    plan: SignedPlan,
    cluster: ClusterId,
    _home: Home,
}

impl Site {
    fn new(name: &str) -> Self {
        let home = Home::new(name);
        let provisioned = home.launch(ClusterId(Digest([0; 32]))).provision().unwrap();
        let mut plan = plan(PublicKey(provisioned.0));
        let cluster = ClusterId(plan_digest(&plan));
        let launch = home.launch(cluster);
        let Started { wormhole, process, monitor } =
            LocalWormhole::start(&launch, PublicKey(provisioned.0), SOON).unwrap();
        let (_, certificate, last) = wormhole.presented().unwrap();
        assert_eq!(last, None);
        let own = plan.members.get_mut(OWN.index()).and_then(|own| own.wormhole.as_mut());
        own.unwrap().instance = Some(certificate.instance);
        let plan = SignedPlan { plan, signatures: vec![] };
        let monitor = Mutex::new(monitor.unwrap());
        Self { wormhole, monitor, process, plan, cluster, _home: home }
    }

    fn keyring(&self) -> Keyring {
        Keyring::new(self.cluster, &self.plan, Scheme::ed25519([7; 32])).unwrap()
    }

    fn called(&self) -> SharedWormhole {
        self.wormhole.presented().unwrap().0
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A plan of three servers, of which only one is real.
fn plan(own: PublicKey) -> ClusterPlan {
    let member = |index: u8| {
        let key = |kind: u8| PublicKey([16 * kind + index; 32]);
        let provisioned = if u16::from(index) == OWN.0 { own } else { key(4) };
        Member {
            name: format!("s{index}"),
            identity: key(1),
            block: key(2),
            transport: key(3),
            wormhole: Some(WormholeKeys { provisioned, instance: None }),
            peer_address: format!("127.0.0.1:{}", 7000 + u16::from(index)),
            client_address: format!("127.0.0.1:{}", 8000 + u16::from(index)),
            labels: Default::default(),
        }
    };
    ClusterPlan {
        version: PLAN_VERSION,
        name: "test".into(),
        purpose: Purpose::Local,
        incarnation: Incarnation(1),
        epoch: Epoch(1),
        previous: None,
        fault_model: FaultModel::Hybrid,
        f: 1,
        leaders_per_round: 1,
        members: (0..3).map(member).collect(),
        administrators: vec![PublicKey([9; 32])],
        administrators_needed: 1,
        clients: vec![],
        rekey_interval_min_s: 3600,
        checkpoint_every: 1024,
    }
}

fn body(keyring: &Keyring, round: u64, previous: BlockRef, salt: u64) -> BlockBody {
    BlockBody {
        cluster: keyring.cluster(),
        genesis: keyring.genesis(),
        epoch: keyring.epoch(),
        author: OWN,
        round: Round(round),
        parents: vec![previous],
        exposed: vec![],
        timestamp: Time(salt),
        envelopes: vec![],
        votes: vec![],
    }
}

/// The block that `draft` becomes by the wormhole's word, as others receive it.
fn attested(
    keyring: &Keyring,
    wormhole: &SharedWormhole,
    body: BlockBody,
) -> Result<Block, NotAttested> {
    let draft = keyring.draft_block(body);
    let authenticator = wormhole.lock().unwrap().attest(&draft.header())?;
    Ok(Block { authenticator, ..draft.block().clone() })
}

fn an_attested_block_is_its_authors() {
    let site = Site::new("block");
    let (keyring, wormhole) = (site.keyring(), site.called());
    let (_, certificate, _) = site.wormhole.presented().unwrap();
    assert!(keyring.certifies(OWN, &certificate), "the provisioned key's word");
    assert!(!keyring.certifies(ReplicaId(0), &certificate), "for this member only");

    let genesis = BlockRef::genesis(OWN, keyring.genesis());
    let first = attested(&keyring, &wormhole, body(&keyring, 1, genesis, 0)).unwrap();
    let first = keyring.verify_block(first).unwrap();
    let previous = keyring.draft_block(first.body.clone()).header().reference;
    // A round may be left out; the attestation says so.
    let second = attested(&keyring, &wormhole, body(&keyring, 3, previous, 0)).unwrap();
    keyring.verify_block(second.clone()).unwrap();
    let mut changed = second;
    changed.body.timestamp = Time(1);
    keyring.verify_block(changed).unwrap_err();

    let (_, again, last) = site.wormhole.presented().unwrap();
    assert_eq!(again, certificate, "one process is one instance");
    let last = last.unwrap();
    assert_eq!((last.epoch, last.previous, last.round), (Epoch(1), Round(1), Round(3)));
}

fn both_sides_sign_the_same_bytes() {
    let (cluster, instance) = (ClusterId(Digest([3; 32])), PublicKey([5; 32]));
    let (of, replica) = member_of(cluster, OWN);
    let id = attestation::InstanceId(instance.0);
    let identity = attestation::Identity { cluster: of, replica, instance: id };
    let statement = Statement {
        identity,
        counter: attestation::Counter::Ordering,
        epoch: attestation::Epoch(6),
        old: CounterValue(7),
        new: CounterValue(9),
        digest: attestation::Digest([8; 32]),
    };
    let header = BlockHeader {
        cluster,
        genesis: Digest([1; 32]),
        epoch: Epoch(6),
        previous: Round(7),
        reference: BlockRef { round: Round(9), author: OWN, digest: Digest([8; 32]) },
    };
    assert!(statement.signed_bytes().ends_with(&header.attested_bytes(&instance)));
    for proof in [attestation::RollbackProof::Absent, attestation::RollbackProof::Present] {
        let theirs = attestation::InstanceCertificate::signed_bytes(&identity, proof);
        let signature = attestation::Signature([0; 64]);
        let certificate =
            attestation::InstanceCertificate { identity, rollback_proof: proof, signature };
        let ours = certificate_of(&certificate).signed_bytes(cluster, OWN);
        assert!(theirs.ends_with(&ours));
    }
}

fn a_value_is_bound_once() {
    let site = Site::new("once");
    let (keyring, wormhole) = (site.keyring(), site.called());
    let genesis = BlockRef::genesis(OWN, keyring.genesis());
    attested(&keyring, &wormhole, body(&keyring, 2, genesis, 0)).unwrap();
    let contradicts = |round, previous, salt| {
        let refused = attested(&keyring, &wormhole, body(&keyring, round, previous, salt));
        assert_eq!(refused, Err(NotAttested::Counter), "{round}");
    };
    contradicts(2, genesis, 1); // the same round
    contradicts(1, genesis, 0); // an earlier one
    contradicts(3, genesis, 0); // a later one that does not know of it
    contradicts(0, genesis, 0); // none at all
    site.signal(Signal::KILL);
    let gone = attested(&keyring, &wormhole, body(&keyring, 4, genesis, 0));
    assert!(matches!(gone, Err(NotAttested::Gone(_))), "{gone:?}");
}

fn a_lost_answer_is_found_again() {
    let site = Site::new("lost");
    let (keyring, wormhole) = (site.keyring(), site.called());
    let genesis = BlockRef::genesis(OWN, keyring.genesis());
    site.signal(Signal::STOP);
    std::thread::scope(|threads| {
        let block = threads.spawn(|| {
            let begun = Instant::now();
            let block = attested(&keyring, &wormhole, body(&keyring, 1, genesis, 0));
            (block, begun.elapsed())
        });
        // Longer than the first answer is waited for, not so long as that and the second hello's.
        std::thread::sleep(SOON + SOON / 2);
        site.signal(Signal::CONT);
        let (block, took) = block.join().unwrap();
        keyring.verify_block(block.unwrap()).unwrap();
        assert!(took >= SOON, "the first answer came in time");
    });
    let (_, _, last) = site.wormhole.presented().unwrap();
    assert_eq!(last.unwrap().round, Round(1));
}

fn another_wormhole_is_refused() {
    let home = Home::new("other");
    let cluster = ClusterId(Digest([1; 32]));
    let launch = home.launch(cluster);
    launch.provision().unwrap();
    let other = PublicKey([2; 32]);
    assert_eq!(answer_max(&launch), QUICK_ANSWER_MAX);
    // A right welcome could come after a false one: it is waited for until the end.
    let refused = LocalWormhole::start(&launch, other, 10 * SOON).map(drop);
    assert!(matches!(refused, Err(StartError::Hello(HelloError::Forged(_)))), "{refused:?}");

    // Two on one directory, or on a copy of it, are two instances.
    let provisioned = PublicKey(launch.public().unwrap().0);
    let started = [0, 1].map(|_| LocalWormhole::start(&launch, provisioned, SOON).unwrap());
    let instances =
        started.each_ref().map(|started| started.wormhole.presented().unwrap().1.instance);
    assert_ne!(instances[0], instances[1]);
    for Started { wormhole, monitor, mut process } in started {
        drop((wormhole, monitor));
        assert!(process.wait().unwrap().success(), "it ends in good order with its last caller");
    }
}

fn looking_moves_nothing() {
    let site = Site::new("look");
    let (keyring, wormhole) = (site.keyring(), site.called());
    let look = || site.monitor.lock().unwrap().look();
    let before = look().unwrap();
    assert_eq!(before.counters, []);

    let genesis = BlockRef::genesis(OWN, keyring.genesis());
    let first = attested(&keyring, &wormhole, body(&keyring, 1, genesis, 0)).unwrap();
    let after = look().unwrap();
    let [bound] = after.counters[..] else { panic!("one counter is bound") };
    assert_eq!((bound.epoch.0, bound.old.0, bound.new.0), (1, 0, 1));
    assert_eq!(after.certificate, before.certificate);
    assert_eq!(after.woken_late.len(), 5);
    assert!(!after.clock.synchronised && after.clock.latest >= before.clock.latest);

    // While it does not answer, whoever looks is told so, and sees it again afterwards.
    site.signal(Signal::STOP);
    assert!(look().is_err());
    site.signal(Signal::CONT);
    assert_eq!(look().unwrap().counters, after.counters);
    let previous = keyring.draft_block(first.body).header().reference;
    attested(&keyring, &wormhole, body(&keyring, 2, previous, 0)).unwrap();
}
