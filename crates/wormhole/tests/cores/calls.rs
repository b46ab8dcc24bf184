//! A million calls, true, false and malformed: none panics, none allocates, none breaks a promise.

#![allow(unsafe_code, reason = "an allocator that counts")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use crate::cluster::Chance;
use crate::host::{self, CLUSTER, Insider, REPLICA, Start};
use ravelin_wormhole::attestation::{
    Attestation, Counter, CounterValue, Digest, Epoch, Heartbeat, ProcessId, ReplicaId,
    RollbackProof, Signature, Statement,
};
use ravelin_wormhole::client::{decode_answer, encode_call};
use ravelin_wormhole::core::{
    Action, Config, Core, Engine, HaltReason, Input, Lease, Lock, Member, Nanos, Output, Outputs,
    RETENTION, Rights, Seed,
};
use ravelin_wormhole::frame::{
    Agreement, Answer, AttestCall, Call, Decision, DecisionFunction, Entity, EntityId, ExecCall,
    Frame, FrameError, Header, Hello, Kind, Mode, Outcome, Progress, ProposeCall, Proposed,
    Refusal, Sequence, Standing, Status, Tag, Timeliness, Timestamp, decode_call, encode_answer,
};
use ravelin_wormhole::keys::{InstanceSecret, Keys, ProvisionedKey};

/// Counts the allocations of one thread.
struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    // Gone while a thread ends; nobody measures then.
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
}

// SAFETY: every call goes to `System` with the arguments as they came; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `pointer` came from `alloc` with this layout, which gave what `System` gave.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as for `dealloc`; the caller keeps the contract of `realloc`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// How many allocations `run` makes.
fn allocations(run: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    run();
    ALLOCATIONS.get() - before
}

#[test]
fn the_counter_counts() {
    let allocated = allocations(|| drop(std::hint::black_box(vec![1, 2, 3])));
    assert_eq!(allocated, 1);
}

/// A core whose host may change, repeat and invent frames.
struct Rig {
    core: Core,
    now: Nanos,
    out: Outputs,
    chance: Chance,
    last: Frame,
    last_tag: Tag,
    input_count: u64,
    authentic_count: u64,
}

impl Rig {
    /// Takes one input; gives the answer, or zeros.
    fn step(&mut self, input: Input<'_>) -> Frame {
        self.input_count += 1;
        self.core.step(self.now, input, &mut self.out);
        let mut answer = [0; 512];
        for output in self.out.iter() {
            match output {
                Output::Answer { frame, .. } => answer = *frame,
                Output::Halt(reason) => panic!("halted: {reason}"),
                Output::Keep | Output::Act(_) | Output::Control { .. } => {}
            }
        }
        answer
    }

    /// What the entity itself sends: a call, or authentic nonsense. Says whether the session goes
    /// on.
    fn call(&mut self, insider: &mut Insider) -> bool {
        let chance = &mut self.chance;
        let mut frame =
            encode_call(EntityId(0), Sequence(0), &any_call(self.now, self.last_tag, chance));
        match chance.below(4) {
            0 => frame[1..3].copy_from_slice(&chance.next().to_le_bytes()[..2]),
            1 => fill(&mut frame[20..], chance),
            2 => frame[usize::try_from(chance.below(480)).unwrap()] ^= 1 << chance.below(8),
            _ => {}
        }
        insider.seal(&mut frame);
        self.last = frame;
        let answer = self.step(Input::Call { connection: 0, frame: &frame });
        // Without version or header it is nobody's; otherwise the answer is authentic and readable.
        if Header::take(&frame).is_ok() {
            assert!(insider.is_answered_by(&answer), "{frame:?}");
            self.authentic_count += 1;
        }
        let meaning = decode_answer(&answer).expect("every answer reads");
        if let Ok(Answer::Tagged(tag)) = meaning {
            self.last_tag = tag;
        }
        meaning != Ok(Answer::Bye)
    }

    /// What the host can throw in without the session's keys.
    fn throw(&mut self) {
        let chance = &mut self.chance;
        let mut frame = self.last;
        let mut connection = chance.next().to_le_bytes()[0] % 6;
        match chance.below(6) {
            0 => fill(&mut frame, chance),
            1 => {
                fill(&mut frame[4..], chance);
                frame[..4].copy_from_slice(&[1, chance.next().to_le_bytes()[0] % 20, 0, 0]);
            }
            2 => frame[usize::try_from(chance.below(512)).unwrap()] ^= 1 << chance.below(8),
            3 => {} // replayed
            4 => {
                let (eid, sequence) = (EntityId(number(chance)), Sequence(chance.next()));
                frame = encode_call(eid, sequence, &host::CHEAP);
            }
            _ => {
                let hello = Hello { public: digest(chance).0, challenge: digest(chance).0 };
                frame = encode_call(EntityId(0), Sequence(0), &Call::Hello(hello));
                // On the entity's own connection a few of them would end its session.
                connection = 1 + connection % 5;
            }
        }
        let answer = self.step(Input::Call { connection, frame: &frame });
        assert!(answer[480..] == [0; 32], "authentic answer to what was not authenticated");
    }

    /// A session's worth of inputs.
    fn session(&mut self, count: usize) {
        let entropy = digest(&mut self.chance).0;
        let send = |frame: &Frame| self.step(Input::Call { connection: 0, frame });
        let mut insider = Insider::hello(entropy, send).expect("welcome");
        for _ in 0..count {
            self.now = self.now.after(Nanos(self.chance.below(100_000)));
            match self.chance.below(10) {
                0..6 => {
                    if !self.call(&mut insider) {
                        break;
                    }
                }
                6 => {
                    self.step(Input::Time);
                }
                7 => {
                    let connection = 1 + self.chance.next().to_le_bytes()[0] % 5;
                    self.step(Input::Closed { connection });
                }
                _ => self.throw(),
            }
        }
        self.step(Input::Closed { connection: 0 });
        // What was planned makes room, and writes to a hardware counter are allowed again.
        self.now = self.now.after(Nanos(100 * RETENTION.0));
    }
}

fn fill(bytes: &mut [u8], chance: &mut Chance) {
    for byte in bytes {
        *byte = chance.next().to_le_bytes()[7];
    }
}

fn digest(chance: &mut Chance) -> Digest {
    let mut digest = [0; 32];
    fill(&mut digest, chance);
    Digest(digest)
}

/// Small numbers mostly, the largest sometimes.
fn number(chance: &mut Chance) -> u64 {
    match chance.below(16) {
        0 => u64::MAX - chance.below(3),
        1 => chance.next(),
        _ => chance.below(20),
    }
}

fn counter(chance: &mut Chance) -> Counter {
    Counter::ALL[usize::try_from(chance.below(4)).unwrap()]
}

fn action(chance: &mut Chance) -> Action {
    // Few: after the first one nothing is attested.
    match chance.below(12_000) {
        0 => Action::EraseKey,
        1 => Action::FailSafeLock,
        _ => Action::SignedHeartbeat,
    }
}

/// Of few agreements, so that some are proposed to again.
fn any_proposal(now: Nanos, chance: &mut Chance) -> ProposeCall {
    let entity = |local| Entity { replica: REPLICA, local };
    let elist = [entity(1), entity(2), Entity { replica: ReplicaId(3), local: 1 }];
    let count = 1 + usize::try_from(chance.below(3)).unwrap();
    let decision = match chance.below(6) {
        0 => DecisionFunction::ReliableMulticast,
        1 => DecisionFunction::Plurality,
        2 => DecisionFunction::MajorityOf(1),
        3 => DecisionFunction::AllEqual,
        4 => DecisionFunction::Min,
        _ => DecisionFunction::Xor,
    };
    let tstart = Nanos(now.0 / 1_000_000 * 1_000_000).after(Nanos(number(chance)));
    let agreement = Agreement::new(&elist[..count], tstart, decision).unwrap();
    ProposeCall { agreement, value: (chance.below(2) == 0).then(|| digest(chance).0) }
}

/// Any call that does not end the session.
fn any_call(now: Nanos, last_tag: Tag, chance: &mut Chance) -> Call {
    let tag = match chance.below(4) {
        0 => Tag(number(chance)),
        _ => Tag(last_tag.0.saturating_sub(chance.below(6))),
    };
    match chance.below(15) {
        0 => Call::Random,
        1 => Call::Timestamp,
        2 => Call::DurationStart,
        3 => Call::DurationStop(tag),
        4 => Call::Arm(Nanos(number(chance))),
        5 => Call::End(tag),
        6 => Call::ExecAt(ExecCall {
            action: action(chance),
            not_before: now.after(Nanos(number(chance))),
            within: Nanos(number(chance).saturating_mul(100_000)),
        }),
        7 => Call::Outcome(tag),
        8 => Call::Attest(AttestCall {
            counter: counter(chance),
            epoch: Epoch(chance.below(2)),
            expected_old: CounterValue(number(chance)),
            new: CounterValue(number(chance)),
            digest: digest(chance),
        }),
        9 => Call::Last(counter(chance)),
        10 => Call::Status,
        11 => Call::Propose(any_proposal(now, chance)),
        12 => Call::Decide(tag),
        13 => Call::PairKey(Entity { replica: ReplicaId(chance.below(5) as u16), local: 3 }),
        _ => Call::Hello(Hello { public: digest(chance).0, challenge: digest(chance).0 }),
    }
}

#[test]
fn million_calls_neither_panic_nor_allocate() {
    let mut rig = Rig {
        core: host::core(Start { lease: Lease::Every, ..Start::default() }),
        now: Nanos(0),
        out: Outputs::new(),
        chance: Chance::new(5),
        last: [0; 512],
        last_tag: Tag(0),
        input_count: 0,
        authentic_count: 0,
    };
    let allocated = allocations(|| {
        while rig.input_count < 1_000_000 {
            rig.session(1_000);
        }
    });
    assert_eq!(allocated, 0, "allocations");
    assert_eq!(rig.core.halted(), None);
    assert!(rig.authentic_count > 500_000, "{}", rig.authentic_count);
    assert_eq!(rig.core.counters().lock(), Lock::Erased, "even the rarest action came to pass");
    for counter in Counter::ALL {
        assert!(rig.core.counters().to_bytes()[1 + 120 * counter as usize..][..120] != [0; 120]);
    }
}

/// Three wormholes, what is on its way between them, and a host that changes it.
struct Channel {
    cores: [Core; 3],
    now: Nanos,
    out: Outputs,
    chance: Chance,
    on_way: [(usize, Frame); 64],
    input_count: u64,
    /// Proposals that were taken, decisions that were told.
    taken: u64,
    decided: u64,
}

impl Channel {
    fn new() -> Self {
        let key = |one: u8| ProvisionedKey::from_seed(&[one; 32]);
        let replica = |one: u8| ReplicaId(REPLICA.0 + u16::from(one));
        let members =
            [2, 1, 0].map(|one| Member { replica: replica(one), provisioned: key(one).id() });
        let cores = [0, 1, 2].map(|one| {
            let secret = InstanceSecret([one; 32]);
            let member = (CLUSTER, replica(one));
            let keys = Keys::new(key(one), &secret, member, RollbackProof::Absent);
            let rights = Rights::BY_DEFAULT;
            let config = Config { lease: Lease::Run, protections: 0, rights };
            let mut core = Core::new(config, keys, Seed([one; 32]), None);
            core.join(&members, Engine::Quorum).unwrap();
            core
        });
        Self {
            cores,
            now: Nanos(0),
            out: Outputs::new(),
            chance: Chance::new(9),
            on_way: [(0, [0; 512]); 64],
            input_count: 0,
            taken: 0,
            decided: 0,
        }
    }

    /// Takes one input; what goes to others replaces something on its way. Gives the answer, or zeros.
    fn step(&mut self, core: usize, input: Input<'_>) -> Frame {
        self.input_count += 1;
        self.cores[core].step(self.now, input, &mut self.out);
        let mut answer = [0; 512];
        for output in self.out.iter() {
            match output {
                Output::Answer { frame, .. } => answer = *frame,
                Output::Control { to, frame } => {
                    let place = usize::try_from(self.chance.below(64)).unwrap();
                    self.on_way[place] = (usize::from(to.0 - REPLICA.0), *frame);
                }
                Output::Halt(reason) => panic!("halted: {reason}"),
                Output::Keep | Output::Act(_) => {}
            }
        }
        answer
    }

    /// Something arrives, changed in a third of all cases.
    fn arrive(&mut self) {
        let (mut to, mut frame) = self.on_way[usize::try_from(self.chance.below(64)).unwrap()];
        match self.chance.below(9) {
            0 => {
                frame[usize::try_from(self.chance.below(512)).unwrap()] ^= 1 << self.chance.below(8)
            }
            1 => fill(&mut frame[16..], &mut self.chance),
            2 => to = usize::try_from(self.chance.below(3)).unwrap(),
            _ => {}
        }
        self.step(to, Input::Control { frame: &frame });
    }

    /// The first core's payload asks for the time, proposes, and asks what became of it.
    fn call(&mut self, insider: &mut Insider, last: &mut Tag) {
        let Ok(Answer::Timestamp(time)) = self.ask(insider, &Call::Timestamp) else { return };
        let own: [u8; 4] = insider.eid[..4].try_into().unwrap();
        let own = Entity { replica: REPLICA, local: u32::from_le_bytes(own) };
        let other = Entity { replica: ReplicaId(REPLICA.0 + 1), local: 7 };
        let _ = self.ask(insider, &Call::PairKey(other)); // says its wish to a core of an earlier place
        let mut call = any_proposal(self.now, &mut self.chance);
        let grid = 20_000_000;
        let tstart = Nanos((time.latest.0 / grid + self.chance.below(3)) * grid);
        let decision = call.agreement.decision;
        call.agreement = Agreement::new(&[own, other], tstart, decision).unwrap();
        if let Ok(Answer::Proposed(proposed)) = self.ask(insider, &Call::Propose(call)) {
            self.taken += u64::from(proposed.standing == Standing::Taken);
            if self.chance.below(4) == 0 {
                *last = proposed.tag;
            }
        }
        if let Ok(Answer::Progress(Progress::Ended(_))) = self.ask(insider, &Call::Decide(*last)) {
            self.decided += 1;
        }
    }

    fn ask(&mut self, insider: &mut Insider, call: &Call) -> Result<Answer, Refusal> {
        let mut frame = encode_call(EntityId(0), Sequence(0), call);
        insider.seal(&mut frame);
        let answer = self.step(0, Input::Call { connection: 0, frame: &frame });
        assert!(insider.is_answered_by(&answer));
        decode_answer(&answer).expect("every answer reads")
    }
}

#[test]
fn million_frames_of_the_control_channel_neither_panic_nor_allocate() {
    let mut channel = Channel::new();
    let send = |frame: &Frame| channel.step(0, Input::Call { connection: 0, frame });
    let mut insider = Insider::hello([5; 32], send).expect("welcome");
    let mut last = Tag(0);
    let allocated = allocations(|| {
        while channel.input_count < 1_000_000 {
            channel.now = channel.now.after(Nanos(channel.chance.below(200_000)));
            match channel.chance.below(100) {
                0..70 => channel.arrive(),
                70..98 => {
                    let core = usize::try_from(channel.chance.below(3)).unwrap();
                    channel.step(core, Input::Time);
                }
                _ => channel.call(&mut insider, &mut last),
            }
        }
    });
    assert_eq!(allocated, 0, "allocations");
    assert!(channel.taken > 100 && channel.decided > 100, "{} {}", channel.taken, channel.decided);
}

#[test]
fn frame_has_one_meaning_and_a_meaning_one_frame() {
    let mut chance = Chance::new(5);
    let mut understood = 0;
    for _ in 0..200_000 {
        let mut frame = [0; 512];
        let used = usize::try_from(chance.below(480)).unwrap();
        fill(&mut frame[4..used.max(4)], &mut chance);
        frame[..4].copy_from_slice(&[1, 1 + chance.next().to_le_bytes()[0] % 15, 0, 0]);
        if chance.below(2) == 0 {
            frame[20..24].copy_from_slice(&[1, 0, 0, 0]); // numbers of things are small
            frame[84..480].fill(0);
        }
        let header = Header::take(&frame).unwrap();
        if let Ok(call) = decode_call(&frame) {
            assert_eq!(encode_call(header.eid, header.sequence, &call), frame);
            understood += 1;
        }
        if let Ok(answer) = decode_answer(&frame) {
            assert_eq!(encode_answer(header, &answer), frame);
        }
        frame[2] = chance.next().to_le_bytes()[0] % 16;
        let header = Header::take(&frame).unwrap();
        if let Ok(answer) = decode_answer(&frame) {
            assert_eq!(encode_answer(header, &answer), frame);
        }
    }
    assert!(understood > 10_000, "{understood}");
}

#[test]
fn every_call_comes_back_from_its_frame() {
    let mut chance = Chance::new(6);
    for _ in 0..20_000 {
        let call = any_call(Nanos(5), Tag(9), &mut chance);
        let (eid, sequence) = (EntityId(chance.next()), Sequence(chance.next()));
        let mut frame = encode_call(eid, sequence, &call);
        assert_eq!(decode_call(&frame), Ok(call));
        assert_eq!(
            Header::take(&frame).unwrap(),
            Header { kind: call.kind() as u8, code: 0, eid, sequence }
        );
        frame[479] = 1;
        assert_eq!(decode_call(&frame), Err(FrameError::Padding));
    }
}

/// One of each answer, and of each of its forms.
fn answers() -> Vec<(Kind, Result<Answer, Refusal>)> {
    let mut rig_core = host::core(Start::default());
    let mut out = Outputs::new();
    let hello = Hello { public: [9; 32], challenge: [1; 32] };
    let frame = encode_call(EntityId(0), Sequence(0), &Call::Hello(hello));
    rig_core.step(Nanos(0), Input::Call { connection: 0, frame: &frame }, &mut out);
    let Some(Output::Answer { frame, .. }) = out.iter().next() else { panic!("an answer") };
    let Ok(Ok(Answer::Welcome(welcome))) = decode_answer(frame) else { panic!("welcome") };
    let identity = welcome.certificate.identity;
    let (counter, epoch, digest) = (Counter::Recovery, Epoch(1), Digest([3; 32]));
    let (old, new) = (CounterValue(2), CounterValue(9));
    let statement = Statement { identity, counter, epoch, old, new, digest };
    let attestation = Attestation { statement, signature: Signature([4; 64]) };
    let heartbeat = Heartbeat { at_nanos: 8, number: 2, signature: Signature([6; 64]) };
    let status = Status {
        mode: Mode::Local,
        instance: identity.instance,
        process: ProcessId([5; 32]),
        rollback_proof: RollbackProof::Present,
        lock: Lock::Locked,
        entities: 1,
        durations: 2,
        armed: 3,
        actions: 4,
        calls: std::array::from_fn(|kind| kind as u64 * 1_000),
        refused: 5,
        protections: u64::MAX,
    };
    let by_majority = Mode::Distributed(Engine::Quorum);
    let in_real_time = Mode::Distributed(Engine::RealTime { bound: Nanos(5) });
    let (earliest, latest, synchronised) = (Nanos(1), Nanos(2), true);
    let outcome = |outcome| (Kind::Outcome, Ok(Answer::Outcome(outcome)));
    let proposed =
        |standing| (Kind::Propose, Ok(Answer::Proposed(Proposed { tag: Tag(4), standing })));
    let progress = |progress| (Kind::Decide, Ok(Answer::Progress(progress)));
    vec![
        (Kind::Hello, Ok(Answer::Welcome(welcome))),
        (Kind::Bye, Ok(Answer::Bye)),
        (Kind::Random, Ok(Answer::Random([1; 32]))),
        (Kind::Timestamp, Ok(Answer::Timestamp(Timestamp { earliest, latest, synchronised }))),
        (Kind::Arm, Ok(Answer::Tagged(Tag(7)))),
        (Kind::DurationStop, Ok(Answer::Duration { elapsed: Nanos(1), error: Nanos(2) })),
        (Kind::End, Ok(Answer::Ended(Timeliness::Timely { took: Nanos(3) }))),
        (Kind::End, Ok(Answer::Ended(Timeliness::Late { by: Nanos(3) }))),
        outcome(Outcome::Pending),
        outcome(Outcome::Done { at: Nanos(3), heartbeat: None }),
        outcome(Outcome::Done { at: Nanos(8), heartbeat: Some(heartbeat) }),
        outcome(Outcome::Missed),
        outcome(Outcome::Refused),
        (Kind::Attest, Ok(Answer::Attested(attestation))),
        (Kind::Last, Ok(Answer::Last(Some(attestation)))),
        (Kind::Last, Ok(Answer::Last(None))),
        (Kind::Status, Ok(Answer::Status(status))),
        (Kind::Status, Ok(Answer::Status(Status { mode: by_majority, ..status }))),
        (Kind::Status, Ok(Answer::Status(Status { mode: in_real_time, ..status }))),
        proposed(Standing::Taken),
        proposed(Standing::AlreadyProposed),
        proposed(Standing::TstartExpired),
        (Kind::PairKey, Ok(Answer::PairKey(None))),
        (Kind::PairKey, Ok(Answer::PairKey(Some([3; 32])))),
        progress(Progress::Running { ends_by: Nanos(77) }),
        progress(Progress::Ended(Decision { value: None, proposed_ok: 0, proposed_any: 3 })),
        progress(Progress::Ended(Decision {
            value: Some([1; 32]),
            proposed_ok: 1,
            proposed_any: 3,
        })),
    ]
}

/// One of each refusal.
fn refusals() -> Vec<(Kind, Result<Answer, Refusal>)> {
    let refused = |refusal| (Kind::Arm, Err(refusal));
    vec![
        refused(Refusal::NotAuthenticated),
        refused(Refusal::BadMac),
        refused(Refusal::Replay),
        refused(Refusal::Malformed),
        refused(Refusal::UnknownTag),
        refused(Refusal::Conflict),
        refused(Refusal::Exhausted),
        refused(Refusal::NoResources { next_free: Nanos(12) }),
        refused(Refusal::NotDistributed),
        refused(Refusal::UnknownAction),
        refused(Refusal::TooFar),
        refused(Refusal::Locked),
        refused(Refusal::Halted { reason: HaltReason::ClockWentBack }),
        refused(Refusal::Halted { reason: HaltReason::Store }),
        refused(Refusal::Halted { reason: HaltReason::NamesUsedUp }),
        refused(Refusal::Halted { reason: HaltReason::NotResumable }),
        refused(Refusal::Halted { reason: HaltReason::WokeLate }),
        refused(Refusal::NotSynchronised),
        refused(Refusal::Denied),
        refused(Refusal::NotInElist),
        refused(Refusal::TstartExpired),
    ]
}

#[test]
fn every_answer_comes_back_from_its_frame() {
    for (kind, answer) in answers().into_iter().chain(refusals()) {
        let (eid, sequence) = (EntityId(77), Sequence(88));
        let header = Header { kind: kind as u8, code: 0, eid, sequence };
        let mut frame = encode_answer(header, &answer);
        assert_eq!(decode_answer(&frame), Ok(answer), "{kind:?}");
        let read = Header::take(&frame).unwrap();
        assert_eq!((read.kind, read.eid, read.sequence), (kind as u8, eid, sequence));
        frame[479] = 1;
        assert_eq!(decode_answer(&frame), Err(FrameError::Padding), "{kind:?}");
    }
}

#[test]
fn calls_look_like_this() {
    let mut golden = [0; 512];
    golden[..20].copy_from_slice(&[1, 11, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 6, 1, 0, 0, 0, 0, 0, 0]);
    golden[20] = 2; // counter
    golden[21] = 3; // epoch
    golden[29] = 4; // old
    golden[37..39].copy_from_slice(&[5, 1]); // new
    golden[45..77].fill(0xdd);
    let call = Call::Attest(AttestCall {
        counter: Counter::Recovery,
        epoch: Epoch(3),
        expected_old: CounterValue(4),
        new: CounterValue(0x105),
        digest: Digest([0xdd; 32]),
    });
    assert_eq!(encode_call(EntityId(5), Sequence(0x106), &call), golden);
}
