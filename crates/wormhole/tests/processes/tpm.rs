//! The counter in a TPM, against a real software TPM (`swtpm`, if it is installed) and against
//! liars on the way to it.

mod relay;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::scratch::{Scratch, copy_directory, me};
use ravelin_wormhole::core::Counters;
use ravelin_wormhole::counter::{CounterError, MonotonicCounter};
use ravelin_wormhole::keys::InstanceSecret;
use ravelin_wormhole::state::{
    Continuity, ContinuityError, Lease, Opened, Origin, StateDir, StateError,
};
use ravelin_wormhole::tpm::{AuthValue, NvCounter, NvIndex, Transport};
use relay::{
    NV_DEFINE, NV_INCREMENT, NV_READ, NV_READ_PUBLIC, Relay, START_AUTH_SESSION, SoftwareTpm,
    code_of, define_counter, flush, owner_command, refusal, undefine,
};
use zeroize::Zeroizing;

const INDEX: NvIndex = NvIndex::new(0x0180_0042).expect("an NV index");

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

struct CountingAllocator;

// SAFETY: every call goes to the system's allocator as it came.
#[allow(unsafe_code, reason = "counting allocations takes an allocator")]
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promise about `layout`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise about `pointer` and `layout`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

fn auth(byte: u8) -> AuthValue {
    AuthValue::new(Zeroizing::new([byte; 32]))
}

fn transport(path: &Path) -> Transport {
    Transport::open(path).unwrap()
}

fn counter(path: &Path, byte: u8) -> Result<NvCounter, CounterError> {
    NvCounter::open(transport(path), INDEX, &auth(byte))
}

/// A started TPM with our counter in it; `None`, said aloud, without `swtpm`.
fn tpm_with_counter(scratch: &Scratch) -> Option<SoftwareTpm> {
    let tpm = SoftwareTpm::start(scratch, "tpm")?;
    NvCounter::define(transport(tpm.path()), INDEX, &auth(1), b"").unwrap();
    Some(tpm)
}

/// The first counter stands at `value`.
fn counters(value: u64) -> Counters {
    let mut bytes = [0; Counters::BYTES];
    bytes[17..25].copy_from_slice(&value.to_le_bytes());
    Counters::from_bytes(&bytes).unwrap()
}

/// A provisioned state directory, tied to a counter in the TPM at `tpm`.
fn provisioned(scratch: &Scratch, tpm: &Path) -> PathBuf {
    let state = scratch.path("state");
    StateDir::provision(&state, me(), &[7; 32]).unwrap();
    tie(&state, tpm);
    state
}

/// A `swtpm` that another test starts has our descriptors, lock included, until it executes.
fn open_state(path: &Path) -> StateDir {
    loop {
        match StateDir::open(path, me()) {
            Err(StateError::InUse) => std::thread::sleep(Duration::from_millis(1)),
            other => return other.unwrap(),
        }
    }
}

fn tie(state: &Path, tpm: &Path) {
    try_to_tie(state, tpm).unwrap();
}

fn try_to_tie(state: &Path, tpm: &Path) -> Result<(), ContinuityError> {
    open_state(state).new_anchor(INDEX, |auth| -> Result<(), ContinuityError> {
        Ok(NvCounter::define(transport(tpm), INDEX, auth, b"")?)
    })?;
    Ok(())
}

fn nv_counter(state: &Path, tpm: &Path) -> Result<(StateDir, NvCounter), CounterError> {
    let directory = open_state(state);
    let anchor = directory.anchor().unwrap();
    let auth = directory.auth_value(&anchor);
    Ok((directory, NvCounter::open(transport(tpm), anchor.index, &auth)?))
}

fn start(
    state: &Path,
    tpm: &Path,
    lease: Lease,
    fresh: u8,
) -> Result<(Continuity, Opened), ContinuityError> {
    let (directory, counter) = nv_counter(state, tpm)?;
    let mut continuity = Continuity::anchored(&directory, Box::new(counter), lease)?;
    let opened = continuity.open(InstanceSecret([fresh; 32]))?;
    Ok((continuity, opened))
}

fn origin_and_instance(opened: &Opened) -> (Origin, u8) {
    (opened.origin, opened.secret.0[0])
}

#[test]
fn counter_rises_by_one_and_outlives_the_tpm_process() {
    let scratch = Scratch::new("rises");
    let Some(tpm) = tpm_with_counter(&scratch) else { return };
    let mut nv = counter(tpm.path(), 1).unwrap();
    let first = nv.read().unwrap();
    for raised in 1..=5 {
        nv.increment().unwrap();
        assert_eq!(nv.read().unwrap(), first + raised);
    }
    drop(nv);
    drop(tpm);
    let tpm = SoftwareTpm::start(&scratch, "tpm").expect("it was there before");
    assert_eq!(counter(tpm.path(), 1).unwrap().read().unwrap(), first + 5);
    let taken = NvCounter::define(transport(tpm.path()), INDEX, &auth(1), b"");
    assert_eq!(taken, Err(CounterError::Taken));
}

#[test]
fn a_counter_made_anew_goes_on_above_the_deleted_one() {
    let scratch = Scratch::new("anew");
    let Some(tpm) = tpm_with_counter(&scratch) else { return };
    let mut nv = counter(tpm.path(), 1).unwrap();
    for _ in 0..20 {
        nv.increment().unwrap();
    }
    let last = nv.read().unwrap();
    drop(nv);
    undefine(tpm.path(), INDEX);
    NvCounter::define(transport(tpm.path()), INDEX, &auth(1), b"").unwrap();
    assert!(counter(tpm.path(), 1).unwrap().read().unwrap() > last);
}

#[test]
fn a_tpm_that_nobody_started_is_started() {
    let scratch = Scratch::new("startup");
    let Some(tpm) = SoftwareTpm::start_with(&scratch, "tpm", "not-need-init") else { return };
    assert_eq!(counter(tpm.path(), 1).map(drop), Err(CounterError::Missing));
}

#[test]
fn sessions_do_not_pile_up() {
    let scratch = Scratch::new("sessions");
    let Some(tpm) = tpm_with_counter(&scratch) else { return };
    for _ in 0..100 {
        counter(tpm.path(), 1).unwrap();
        assert_eq!(counter(tpm.path(), 2).map(drop), Err(CounterError::NotOurs));
    }
    let relay = Relay::honest(&scratch, tpm.path());
    for _ in 0..100 {
        let mut killed = counter(relay.path(), 1).unwrap();
        killed.increment().unwrap();
        killed.read().unwrap();
        std::mem::forget(killed);
    }
}

#[test]
fn only_its_own_secret_reads_and_raises_it() {
    let scratch = Scratch::new("owner");
    let Some(tpm) = tpm_with_counter(&scratch) else { return };
    assert_eq!(counter(tpm.path(), 2).map(drop), Err(CounterError::NotOurs));
    // The owner of the TPM, with the right password: TPM_RC_NV_AUTHORIZATION.
    assert_eq!(owner_command(tpm.path(), NV_INCREMENT, INDEX, &[]), 0x149);
    assert_eq!(owner_command(tpm.path(), NV_READ, INDEX, &[0, 8, 0, 0]), 0x149);
    counter(tpm.path(), 1).unwrap();
}

#[test]
fn clean_stop_resumes_over_restarts_of_both() {
    for lease in [Lease::Run, Lease::Every, Lease::EveryUnmetered] {
        let scratch = Scratch::new("resume");
        let Some(tpm) = SoftwareTpm::start(&scratch, "tpm") else { return };
        let state = provisioned(&scratch, tpm.path());
        let (mut continuity, opened) = start(&state, tpm.path(), lease, 1).unwrap();
        assert_eq!(origin_and_instance(&opened), (Origin::NoRecord, 1));
        continuity.keep(&counters(4)).unwrap();
        continuity.close(&counters(5)).unwrap();
        drop(tpm);

        let tpm = SoftwareTpm::start(&scratch, "tpm").expect("it was there before");
        let (mut continuity, opened) = start(&state, tpm.path(), lease, 2).unwrap();
        assert_eq!(origin_and_instance(&opened), (Origin::Resumed, 1));
        assert_eq!(opened.counters, Some(counters(5)));
        continuity.keep(&counters(6)).unwrap();
        drop(continuity); // a crash

        let (_, opened) = start(&state, tpm.path(), lease, 3).unwrap();
        let expected = match lease {
            Lease::Run => (Origin::AfterCrash, 3),
            Lease::Every | Lease::EveryUnmetered => (Origin::Resumed, 1),
        };
        assert_eq!(origin_and_instance(&opened), expected);
    }
}

#[test]
fn files_put_back_close_the_instance() {
    for lease in [Lease::Run, Lease::Every, Lease::EveryUnmetered] {
        let scratch = Scratch::new("rollback");
        let Some(tpm) = SoftwareTpm::start(&scratch, "tpm") else { return };
        let state = provisioned(&scratch, tpm.path());
        start(&state, tpm.path(), lease, 1).unwrap().0.close(&counters(5)).unwrap();
        copy_directory(&state, &scratch.path("old"));
        start(&state, tpm.path(), lease, 2).unwrap().0.close(&counters(9)).unwrap();
        copy_directory(&scratch.path("old"), &state);
        let (_, opened) = start(&state, tpm.path(), lease, 3).unwrap();
        assert_eq!(origin_and_instance(&opened), (Origin::NoRecord, 3));
    }
}

#[test]
fn a_copy_on_another_machine_does_not_start_before_an_operator_ties_it_anew() {
    let scratch = Scratch::new("machine");
    let Some(tpm) = SoftwareTpm::start(&scratch, "tpm") else { return };
    let state = provisioned(&scratch, tpm.path());
    start(&state, tpm.path(), Lease::Run, 1).unwrap().0.close(&counters(5)).unwrap();

    let other = SoftwareTpm::start(&scratch, "other").expect("it was there before");
    let copy = scratch.path("copy");
    copy_directory(&state, &copy);
    let missing = start(&copy, other.path(), Lease::Run, 2).map(drop);
    assert_eq!(missing, Err(ContinuityError::Counter(CounterError::Missing)));
    tie(&copy, other.path());
    for fresh in [3, 4] {
        let (_, opened) = start(&copy, other.path(), Lease::Run, fresh).unwrap();
        assert_eq!(opened.secret.0, [fresh; 32]);
    }
    let (_, opened) = start(&state, tpm.path(), Lease::Run, 5).unwrap();
    assert_eq!(origin_and_instance(&opened), (Origin::Resumed, 1));
}

/// Does something else before it raises the counter.
struct Interrupted(NvCounter, Option<Box<dyn FnOnce()>>);

impl MonotonicCounter for Interrupted {
    fn read(&mut self) -> Result<u64, CounterError> {
        self.0.read()
    }

    fn increment(&mut self) -> Result<(), CounterError> {
        if let Some(meanwhile) = self.1.take() {
            meanwhile();
        }
        self.0.increment()
    }
}

#[test]
fn a_tie_that_cannot_be_made_leaves_the_old_one_and_its_instance() {
    let scratch = Scratch::new("old-tie");
    let Some(tpm) = SoftwareTpm::start(&scratch, "tpm") else { return };
    let state = provisioned(&scratch, tpm.path());
    let (continuity, _) = start(&state, tpm.path(), Lease::Run, 1).unwrap();
    continuity.close(&counters(7)).unwrap();

    // Its place is taken, by the old counter itself.
    let taken = try_to_tie(&state, tpm.path());
    assert_eq!(taken, Err(ContinuityError::Counter(CounterError::Taken)));
    let (_, opened) = start(&state, tpm.path(), Lease::Run, 2).unwrap();
    assert_eq!(origin_and_instance(&opened), (Origin::Resumed, 1));
}

#[test]
fn of_two_clones_at_once_on_one_tpm_one_halts() {
    for lease in [Lease::Run, Lease::Every, Lease::EveryUnmetered] {
        let scratch = Scratch::new("clones");
        let Some(tpm) = SoftwareTpm::start(&scratch, "tpm") else { return };
        let relay = Relay::honest(&scratch, tpm.path());
        let state = provisioned(&scratch, relay.path());
        start(&state, relay.path(), lease, 1).unwrap().0.close(&counters(5)).unwrap();
        let copy = scratch.path("copy");
        copy_directory(&state, &copy);

        let clone = Rc::new(RefCell::new(None));
        let (directory, nv) = nv_counter(&state, relay.path()).unwrap();
        let (from_clone, path) = (Rc::clone(&clone), relay.path().to_path_buf());
        let meanwhile = move || {
            *from_clone.borrow_mut() = Some(start(&copy, &path, lease, 2).unwrap());
        };
        let interrupted = Box::new(Interrupted(nv, Some(Box::new(meanwhile))));
        let mut continuity = Continuity::anchored(&directory, interrupted, lease).unwrap();
        let halted = continuity.open(InstanceSecret([3; 32])).map(drop);
        assert!(matches!(halted, Err(ContinuityError::Clone { .. })), "{halted:?}");

        // The clone had the instance. Disturbed in turn, it halts at its next step.
        let (clone, opened) = clone.take().unwrap();
        assert_eq!(origin_and_instance(&opened), (Origin::Resumed, 1));
        let halted = clone.close(&counters(6));
        assert!(matches!(halted, Err(ContinuityError::Clone { .. })), "{halted:?}");
        drop((continuity, directory));
        for directory in ["state", "copy"] {
            let (_, opened) = start(&scratch.path(directory), relay.path(), lease, 4).unwrap();
            assert_eq!(opened.secret.0, [4; 32]);
        }
    }
}

#[test]
fn clones_that_race_never_resume_twice() {
    let scratch = Scratch::new("race");
    let Some(tpm) = SoftwareTpm::start(&scratch, "tpm") else { return };
    let relay = Relay::honest(&scratch, tpm.path());
    let state = provisioned(&scratch, relay.path());
    for round in 0..10 {
        let (continuity, opened) = start(&state, relay.path(), Lease::Run, 100 + round).unwrap();
        let instance = opened.secret.0;
        continuity.close(&counters(5)).unwrap();
        let copy = scratch.path("copy");
        copy_directory(&state, &copy);
        let resumed: usize = std::thread::scope(|scope| {
            let runs = [&state, &copy].map(|directory| {
                scope.spawn(|| {
                    let opened = start(directory, relay.path(), Lease::Run, round);
                    usize::from(opened.is_ok_and(|(_, opened)| opened.secret.0 == instance))
                })
            });
            runs.into_iter().map(|run| run.join().unwrap()).sum()
        });
        assert!(resumed <= 1, "round {round}");
    }
}

#[test]
fn an_index_deleted_and_made_anew_is_refused_or_closes_the_instance() {
    let scratch = Scratch::new("redefined");
    let Some(software) = SoftwareTpm::start(&scratch, "tpm") else { return };
    let tpm = Relay::honest(&scratch, software.path());
    let state = provisioned(&scratch, tpm.path());
    start(&state, tpm.path(), Lease::Run, 1).unwrap().0.close(&counters(5)).unwrap();
    let refused = || match start(&state, tpm.path(), Lease::Run, 2).map(drop) {
        Err(ContinuityError::Counter(error)) => error,
        other => panic!("{other:?}"),
    };
    undefine(tpm.path(), INDEX);
    assert_eq!(refused(), CounterError::Missing);

    // By an owner who does not know the secret; with other attributes; not written yet.
    NvCounter::define(transport(tpm.path()), INDEX, &auth(9), b"").unwrap();
    assert_eq!(refused(), CounterError::NotOurs);
    undefine(tpm.path(), INDEX);
    define_counter(tpm.path(), INDEX, 0x0004_0004 | 0x10 | 1 << 1 | 1 << 17);
    assert_eq!(refused(), CounterError::WrongKind);
    undefine(tpm.path(), INDEX);
    define_counter(tpm.path(), INDEX, 0x0204_0014);
    assert_eq!(refused(), CounterError::WrongKind);
    undefine(tpm.path(), INDEX);

    // By somebody who knows the secret: the TPM goes on above the highest number it ever had.
    let directory = open_state(&state);
    let auth = directory.auth_value(&directory.anchor().unwrap());
    NvCounter::define(transport(tpm.path()), INDEX, &auth, b"").unwrap();
    drop(directory);
    let (continuity, opened) = start(&state, tpm.path(), Lease::Run, 3).unwrap();
    assert_eq!(origin_and_instance(&opened), (Origin::NoRecord, 3));

    // Under a running wormhole: it notices at its next step.
    undefine(tpm.path(), INDEX);
    let gone = continuity.close(&counters(6));
    assert!(matches!(gone, Err(ContinuityError::Counter(_))), "{gone:?}");

    // By the operator, with a new tie.
    tie(&state, tpm.path());
    let (_, opened) = start(&state, tpm.path(), Lease::Run, 4).unwrap();
    assert_eq!(origin_and_instance(&opened), (Origin::NoRecord, 4));
}

#[test]
fn a_changed_number_a_recorded_answer_and_a_reflected_proof_are_not_believed() {
    let scratch = Scratch::new("liars");
    let Some(tpm) = tpm_with_counter(&scratch) else { return };
    let not_believed = CounterError::NotBelieved { command: "TPM2_NV_Read" };

    // One bit of the number, of the proof, of the TPM's nonce, of the session's attributes.
    for at in [23, 92, 26, 58] {
        let liar = Relay::new(&scratch, tpm.path(), move |command, honest| {
            let mut answer = honest(command);
            if code_of(command) == NV_READ {
                answer[at] ^= 1;
            }
            answer
        });
        assert_eq!(counter(liar.path(), 1).map(drop), Err(not_believed), "byte {at}");
    }

    let mut recorded = None;
    let liar = Relay::new(&scratch, tpm.path(), move |command, honest| {
        if code_of(command) != NV_READ {
            return honest(command);
        }
        recorded.get_or_insert_with(|| honest(command)).clone()
    });
    assert_eq!(counter(liar.path(), 1).unwrap().read(), Err(not_believed));

    let liar = Relay::new(&scratch, tpm.path(), |command, honest| {
        let mut answer = honest(command);
        if code_of(command) == NV_READ {
            let proof = &command[command.len() - 36..command.len() - 4];
            let start = answer.len() - 32;
            answer[start..].copy_from_slice(proof);
        }
        answer
    });
    assert_eq!(counter(liar.path(), 1).map(drop), Err(not_believed));

    // An increment that was swallowed, with the answer to a read.
    let mut increment_answer = None;
    let liar = Relay::new(&scratch, tpm.path(), move |command, honest| {
        if code_of(command) != NV_INCREMENT {
            return honest(command);
        }
        increment_answer.get_or_insert_with(|| honest(command)).clone()
    });
    let mut nv = counter(liar.path(), 1).unwrap();
    nv.increment().unwrap();
    assert_eq!(nv.increment(), Err(CounterError::NotBelieved { command: "TPM2_NV_Increment" }));
}

#[test]
fn a_whole_fake_tpm_with_another_secret_is_not_believed() {
    let scratch = Scratch::new("fake");
    let Some(tpm) = SoftwareTpm::start(&scratch, "tpm") else { return };
    let state = provisioned(&scratch, tpm.path());
    // As good a TPM as any, with a counter of the right kind at the right place. It even lets every
    // proof of ours pass: it computes one itself, for the secret that it knows.
    let fake = SoftwareTpm::start(&scratch, "fake").expect("it was there before");
    NvCounter::define(transport(fake.path()), INDEX, &auth(9), b"").unwrap();
    let accepting = Relay::accepting(&scratch, fake.path(), [9; 32]);
    let mut knows = counter(accepting.path(), 9).unwrap();
    knows.increment().unwrap();
    drop(knows);
    let result = start(&state, accepting.path(), Lease::Run, 2).map(drop);
    let error = CounterError::NotBelieved { command: "TPM2_NV_Read" };
    assert_eq!(result, Err(ContinuityError::Counter(error)));
}

#[test]
fn a_hidden_index_does_not_make_a_start_give_the_secret_away() {
    let scratch = Scratch::new("lure");
    let Some(tpm) = SoftwareTpm::start(&scratch, "tpm") else { return };
    let state = provisioned(&scratch, tpm.path());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let record = Arc::clone(&seen);
    let liar = Relay::new(&scratch, tpm.path(), move |command, honest| {
        record.lock().unwrap().push(code_of(command));
        if code_of(command) == NV_READ_PUBLIC { refusal(0x18B) } else { honest(command) }
    });
    let missing = start(&state, liar.path(), Lease::Run, 2).map(drop);
    assert_eq!(missing, Err(ContinuityError::Counter(CounterError::Missing)));
    let seen = seen.lock().unwrap();
    assert!(seen.contains(&NV_READ_PUBLIC) && !seen.contains(&NV_DEFINE), "{seen:x?}");
}

#[test]
fn no_answer_however_cut_or_changed_is_believed_or_kills() {
    let scratch = Scratch::new("malformed");
    let Some(tpm) = tpm_with_counter(&scratch) else { return };
    for (target, length) in [(NV_READ_PUBLIC, 62), (START_AUTH_SESSION, 48), (NV_READ, 93)] {
        for at in 0..length {
            let cut = liar_about(&scratch, &tpm, target, move |answer| {
                assert_eq!(answer.len(), length);
                answer.truncate(at);
                if let Some(size) = answer.get_mut(2..6) {
                    size.copy_from_slice(&u32::try_from(at).unwrap().to_be_bytes());
                }
            });
            assert!(quick_counter(&cut).is_err(), "{target:#x} cut to {at}");
            let changed = liar_about(&scratch, &tpm, target, move |answer| answer[at] ^= 0x81);
            assert!(quick_counter(&changed).is_err(), "{target:#x} changed at {at}");
        }
        let longer = liar_about(&scratch, &tpm, target, move |answer| {
            answer.push(0);
            answer[5] += 1;
        });
        assert!(quick_counter(&longer).is_err(), "{target:#x} one byte longer");
    }
    let liar = Relay::new(&scratch, tpm.path(), |_, _| vec![0xFF; 4096]);
    assert!(matches!(quick_counter(&liar), Err(CounterError::Malformed { .. })));
}

/// Changes the answers to one command.
fn liar_about(
    scratch: &Scratch,
    tpm: &SoftwareTpm,
    target: u32,
    change: impl Fn(&mut Vec<u8>) + Send + 'static,
) -> Relay {
    Relay::new(scratch, tpm.path(), move |command, honest| {
        let mut answer = honest(command);
        if code_of(command) == START_AUTH_SESSION && target == START_AUTH_SESSION {
            // Its client will not know it, and sessions are few.
            honest(&flush(&answer[10..14]));
        }
        if code_of(command) == target {
            change(&mut answer);
        }
        answer
    })
}

fn quick_counter(relay: &Relay) -> Result<(), CounterError> {
    let transport = transport(relay.path()).with_limit(Duration::from_millis(50));
    NvCounter::open(transport, INDEX, &auth(1)).map(drop)
}

#[test]
fn a_busy_tpm_is_asked_again_and_a_silent_one_has_a_deadline() {
    let scratch = Scratch::new("busy");
    let Some(tpm) = tpm_with_counter(&scratch) else { return };
    let mut asked = 0;
    let busy = Relay::new(&scratch, tpm.path(), move |command, honest| {
        asked += 1;
        let codes = [0x922, 0x920, 0x90A, 0x908];
        match codes.get(asked % 5) {
            Some(code) => refusal(*code),
            None => honest(command),
        }
    });
    let mut nv = counter(busy.path(), 1).unwrap();
    let before = nv.read().unwrap();
    nv.increment().unwrap();
    assert_eq!(nv.read(), Ok(before + 1));

    let began = Instant::now();
    let always_busy = Relay::new(&scratch, tpm.path(), |_, _| refusal(0x922));
    assert_eq!(quick_counter(&always_busy), Err(CounterError::TimedOut));
    let silent = Relay::new(&scratch, tpm.path(), |_, _| Vec::new());
    assert_eq!(quick_counter(&silent), Err(CounterError::TimedOut));
    // One that failed is not waited for again, not even to take leave of it.
    let mut asked = 0;
    let fading = Relay::new(&scratch, tpm.path(), move |command, honest| {
        asked += 1;
        if asked < 7 { honest(command) } else { Vec::new() }
    });
    let limited = transport(fading.path()).with_limit(Duration::from_millis(500));
    let mut nv = NvCounter::open(limited, INDEX, &auth(1)).unwrap();
    nv.increment().unwrap();
    for _ in 0..10 {
        assert_eq!(nv.read(), Err(CounterError::TimedOut));
    }
    drop(nv);
    assert!(began.elapsed() < Duration::from_secs(2));
    let nobody = Transport::open(&scratch.path("nobody")).map(drop);
    assert!(matches!(nobody, Err(CounterError::Unreachable(_))));
}

#[test]
fn keeping_an_attestation_allocates_nothing() {
    let scratch = Scratch::new("allocations");
    let Some(tpm) = SoftwareTpm::start(&scratch, "tpm") else { return };
    let state = provisioned(&scratch, tpm.path());
    let (mut continuity, _) = start(&state, tpm.path(), Lease::Every, 1).unwrap();
    let before = ALLOCATIONS.get();
    assert!(before > 0);
    let began = Instant::now();
    for value in 1..=50 {
        continuity.keep(&counters(value)).unwrap();
    }
    let (after, each) = (ALLOCATIONS.get(), began.elapsed() / 50);
    println!("{each:?} for each attestation kept");
    assert_eq!(after, before);
}
