//! What a wormhole keeps over restarts: never an earlier state, whatever is done to its files and
//! wherever its processes are stopped.

mod world;

use std::cell::RefCell;
use std::fs;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::scratch::{Scratch, copy_directory, me};
use ravelin_wormhole::counter::{CounterError, MonotonicCounter};
use ravelin_wormhole::keys::InstanceSecret;
use ravelin_wormhole::state::{
    Continuity, ContinuityError, Lease, Opened, Origin, RECORD_BYTES, StateDir, StateError,
};
use ravelin_wormhole::tpm::NvIndex;
use world::{Disk, Fate, Run, Script, World, counters, erased, exposed_value, instance_of, locked};

const LEASES: [Lease; 3] = [Lease::Run, Lease::Every, Lease::EveryUnmetered];
const FATES: [Fate; 3] = [Fate::Kept, Fate::Lost, Fate::Torn];
const INDEX: NvIndex = NvIndex::new(0x0180_0042).expect("an NV index");

/// A number in a file. It protects against nothing: who restores the other files restores this one.
struct UnprotectedFileCounterForTestsOnly(PathBuf);

impl MonotonicCounter for UnprotectedFileCounterForTestsOnly {
    fn read(&mut self) -> Result<u64, CounterError> {
        Ok(fs::read_to_string(&self.0).map_or(0, |text| text.parse().unwrap()))
    }

    fn increment(&mut self) -> Result<(), CounterError> {
        let next = self.read()? + 1;
        fs::write(&self.0, next.to_string()).unwrap();
        Ok(())
    }
}

fn provisioned(scratch: &Scratch) -> PathBuf {
    let path = scratch.path("state");
    StateDir::provision(&path, me(), &[7; 32]).unwrap();
    StateDir::open(&path, me()).unwrap().new_anchor::<StateError>(INDEX, |_| Ok(())).unwrap();
    path
}

fn continuity(state: &Path, counter: &Path, lease: Lease) -> Continuity {
    let directory = StateDir::open(state, me()).unwrap();
    let counter = Box::new(UnprotectedFileCounterForTestsOnly(counter.to_path_buf()));
    Continuity::anchored(&directory, counter, lease).unwrap()
}

fn open(state: &Path, counter: &Path, lease: Lease, fresh: u8) -> (Continuity, Opened) {
    let mut continuity = continuity(state, counter, lease);
    let opened = continuity.open(InstanceSecret([fresh; 32])).unwrap();
    (continuity, opened)
}

fn check_new(opened: &Opened, fresh: u8, origin: Origin) {
    assert_eq!(opened.origin, origin);
    assert_eq!(opened.secret.0, [fresh; 32]);
    assert!(opened.counters.is_none());
}

fn check_resumed(opened: &Opened, instance: u8, value: u64) {
    assert_eq!(opened.origin, Origin::Resumed);
    assert_eq!(opened.secret.0, [instance; 32]);
    assert_eq!(opened.counters.as_ref().map(exposed_value), Some(value));
}

#[test]
fn without_a_counter_every_start_is_a_new_instance_and_nothing_is_written() {
    let scratch = Scratch::new("volatile");
    let state = provisioned(&scratch);
    for fresh in [1, 2] {
        let mut continuity = Continuity::volatile();
        check_new(&continuity.open(InstanceSecret([fresh; 32])).unwrap(), fresh, Origin::Volatile);
        continuity.keep(&counters(5, fresh)).unwrap();
        continuity.close(&counters(5, fresh)).unwrap();
    }
    for record in ["record.0", "record.1"] {
        assert_eq!(fs::read(state.join(record)).unwrap(), [0; RECORD_BYTES]);
    }
}

#[test]
fn clean_stop_resumes_and_a_crash_resumes_only_under_the_lease_of_every_attestation() {
    for lease in LEASES {
        let scratch = Scratch::new("stops");
        let (state, counter) = (provisioned(&scratch), scratch.path("counter"));
        let (continuity, opened) = open(&state, &counter, lease, 1);
        check_new(&opened, 1, Origin::NoRecord);
        continuity.close(&counters(5, 1)).unwrap();

        let (mut continuity, opened) = open(&state, &counter, lease, 2);
        check_resumed(&opened, 1, 5);
        continuity.keep(&counters(6, 1)).unwrap();
        drop(continuity); // a crash

        let (_, opened) = open(&state, &counter, lease, 3);
        match lease {
            Lease::Run => check_new(&opened, 3, Origin::AfterCrash),
            Lease::Every | Lease::EveryUnmetered => check_resumed(&opened, 1, 6),
        }
    }
}

#[test]
fn files_put_back_close_the_instance() {
    for lease in LEASES {
        let scratch = Scratch::new("rollback");
        let (state, counter) = (provisioned(&scratch), scratch.path("counter"));
        let (continuity, _) = open(&state, &counter, lease, 1);
        continuity.close(&counters(5, 1)).unwrap();
        copy_directory(&state, &scratch.path("old"));
        let (continuity, _) = open(&state, &counter, lease, 2);
        continuity.close(&counters(9, 1)).unwrap();

        copy_directory(&scratch.path("old"), &state);
        let (_, opened) = open(&state, &counter, lease, 3);
        check_new(&opened, 3, Origin::NoRecord);
    }
}

#[test]
fn a_copy_on_another_machine_is_a_new_instance_and_another_lease_opens_none() {
    let scratch = Scratch::new("copies");
    let (state, counter) = (provisioned(&scratch), scratch.path("counter"));
    let (first, _) = open(&state, &counter, Lease::Run, 1);
    first.close(&counters(5, 1)).unwrap();
    let copy = scratch.path("copy");

    copy_directory(&state, &copy);
    let (_, opened) = open(&copy, &scratch.path("other counter"), Lease::Run, 2);
    check_new(&opened, 2, Origin::NoRecord);

    // Made anew, a counter may come by the very number: its tie is another all the same.
    copy_directory(&state, &copy);
    StateDir::open(&copy, me()).unwrap().new_anchor::<StateError>(INDEX, |_| Ok(())).unwrap();
    fs::copy(&counter, scratch.path("third counter")).unwrap();
    let (_, opened) = open(&copy, &scratch.path("third counter"), Lease::Run, 3);
    check_new(&opened, 3, Origin::NoRecord);

    let mut wrong = continuity(&state, &counter, Lease::Every);
    let refused = wrong.open(InstanceSecret([4; 32]));
    assert_eq!(refused.err(), Some(ContinuityError::OtherLease));
    drop(wrong);
    let (_, opened) = open(&state, &counter, Lease::Run, 5);
    assert_eq!(opened.origin, Origin::Resumed, "nothing was lost by it");
}

#[test]
fn every_changed_byte_of_a_record_and_swapped_records_close_the_instance() {
    let scratch = Scratch::new("tampering");
    let (state, counter) = (provisioned(&scratch), scratch.path("counter"));
    let (continuity, _) = open(&state, &counter, Lease::Run, 1);
    continuity.close(&counters(5, 1)).unwrap();
    let (copy, copied_counter) = (scratch.path("copy"), scratch.path("copied counter"));
    let try_with = |change: &dyn Fn(&Path)| {
        copy_directory(&state, &copy);
        fs::copy(&counter, &copied_counter).unwrap();
        change(&copy);
        open(&copy, &copied_counter, Lease::Run, 2).1
    };
    check_resumed(&try_with(&|_| {}), 1, 5);
    for at in 0..RECORD_BYTES {
        let opened = try_with(&|copy| {
            let path = copy.join("record.0"); // the counter stands at 2
            let mut bytes = fs::read(&path).unwrap();
            bytes[at] ^= 1;
            fs::write(&path, bytes).unwrap();
        });
        check_new(&opened, 2, Origin::NoRecord);
    }
    let swapped = try_with(&|copy| {
        fs::rename(copy.join("record.0"), copy.join("between")).unwrap();
        fs::rename(copy.join("record.1"), copy.join("record.0")).unwrap();
        fs::rename(copy.join("between"), copy.join("record.1")).unwrap();
    });
    check_new(&swapped, 2, Origin::NoRecord);
}

#[test]
fn a_directory_that_others_can_touch_is_refused() {
    let scratch = Scratch::new("modes");
    let state = provisioned(&scratch);
    let refused = |file: &'static str| {
        assert_eq!(
            StateDir::open(&state, me()).map(drop),
            Err(StateError::NotPrivate { file, owner: me() })
        );
    };
    for (file, right) in [(".", 0o700), ("key", 0o600), ("anchor", 0o600), ("record.1", 0o600)] {
        let path = state.join(file);
        for wrong in [0o040, 0o020, 0o004, 0o002, 0o001] {
            fs::set_permissions(&path, fs::Permissions::from_mode(right | wrong)).unwrap();
            refused(file);
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(right)).unwrap();
    }
    let other = me() + 1;
    assert_eq!(
        StateDir::open(&state, other).map(drop),
        Err(StateError::NotPrivate { file: ".", owner: other })
    );
    fs::hard_link(state.join("key"), scratch.path("second name")).unwrap();
    refused("key");
    fs::remove_file(scratch.path("second name")).unwrap();

    fs::rename(state.join("record.0"), scratch.path("elsewhere")).unwrap();
    std::os::unix::fs::symlink(scratch.path("elsewhere"), state.join("record.0")).unwrap();
    assert!(matches!(StateDir::open(&state, me()), Err(StateError::Io { file: "record.0", .. })));
    fs::rename(scratch.path("elsewhere"), state.join("record.0")).unwrap();
    StateDir::open(&state, me()).unwrap();
}

#[test]
fn a_directory_is_provisioned_once_and_used_by_one_process_at_a_time() {
    let scratch = Scratch::new("once");
    let path = scratch.path("state");
    fs::create_dir(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(path.join("key.new"), "of an interrupted run").unwrap();
    StateDir::provision(&path, me(), &[7; 32]).unwrap();
    assert_eq!(StateDir::provision(&path, me(), &[8; 32]), Err(StateError::AlreadyProvisioned));

    if me() == 0 {
        let (for_another, other) = (scratch.path("for another"), 4242);
        StateDir::provision(&for_another, other, &[7; 32]).unwrap();
        StateDir::open(&for_another, other)
            .unwrap()
            .new_anchor::<StateError>(INDEX, |_| Ok(()))
            .unwrap();
        StateDir::open(&for_another, other).unwrap().anchor().unwrap();
    }

    let mut directory = StateDir::open(&path, me()).unwrap();
    assert_eq!(directory.anchor(), Err(StateError::NotAnchored));
    assert_eq!(StateDir::open(&path, me()).map(drop), Err(StateError::InUse));
    directory.new_anchor::<StateError>(INDEX, |_| Ok(())).unwrap();
    let counter = Box::new(UnprotectedFileCounterForTestsOnly(scratch.path("counter")));
    let continuity = Continuity::anchored(&directory, counter, Lease::Run).unwrap();
    let key = directory.into_key();
    assert_eq!(StateDir::open(&path, me()).map(drop), Err(StateError::InUse));
    drop(continuity);
    assert_eq!(StateDir::open(&path, me()).unwrap().into_key().id(), key.id());

    for (file, length) in [("key", 63), ("record.0", RECORD_BYTES - 1)] {
        let whole = fs::read(path.join(file)).unwrap();
        fs::write(path.join(file), &whole[..length]).unwrap();
        assert_eq!(StateDir::open(&path, me()).map(drop), Err(StateError::Malformed { file }));
        fs::write(path.join(file), whole).unwrap();
    }
}

#[test]
fn an_erased_instance_leaves_the_disk_and_a_locked_one_stays_locked() {
    for lease in LEASES {
        let disk = Rc::new(RefCell::new(Disk::default()));
        let world = World::new();
        let mut continuity = Run::steady(&world, &disk).continuity(lease);
        continuity.open(InstanceSecret([0xA5; 32])).unwrap();
        continuity.close(&locked(5, 1)).unwrap();
        assert!(disk.borrow().holds(&[0xA5; 32]));

        let mut continuity = Run::steady(&world, &disk).continuity(lease);
        let opened = continuity.open(InstanceSecret([2; 32])).unwrap();
        assert_eq!(opened.counters, Some(locked(5, 1)));
        assert_eq!(disk.borrow().holds(&[0xA5; 32]), lease.keeps_each());
        continuity.keep(&erased(5, 1)).unwrap();
        assert!(!disk.borrow().holds(&[0xA5; 32]));
        continuity.close(&erased(5, 1)).unwrap();

        let mut continuity = Run::steady(&world, &disk).continuity(lease);
        let opened = continuity.open(InstanceSecret([3; 32])).unwrap();
        check_new(&opened, 3, Origin::AfterCrash);
    }
}

/// Whether the memory of a continuity holds these bytes.
fn remembers(continuity: &Continuity, secret: &[u8; 32]) -> bool {
    let memory = fs::File::open("/proc/self/mem").unwrap();
    let mut bytes = vec![0; size_of_val(continuity)];
    memory.read_exact_at(&mut bytes, std::ptr::from_ref(continuity) as u64).unwrap();
    bytes.windows(32).any(|part| part == secret)
}

#[test]
fn an_erased_instance_leaves_the_memory_too_and_needs_no_counter_any_more() {
    for lease in LEASES {
        let disk = Rc::new(RefCell::new(Disk::default()));
        let world = World::new();
        let run = Run::steady(&world, &disk);
        let mut continuity = run.continuity(lease);
        continuity.open(InstanceSecret([0xA5; 32])).unwrap();
        assert!(remembers(&continuity, &[0xA5; 32]));
        continuity.keep(&erased(5, 1)).unwrap();
        assert!(!remembers(&continuity, &[0xA5; 32]));
        let trace = world.trace();
        continuity.keep(&erased(5, 1)).unwrap();
        assert_eq!(continuity.keep(&counters(6, 1)).is_ok(), lease == Lease::Run, "does nothing");
        assert_eq!(world.trace(), trace);

        let steps = trace.split(' ').count();
        for step in 0..steps {
            let run = Run::new(&World::new(), &Rc::new(RefCell::new(Disk::default())), step);
            let mut continuity = run.continuity(lease);
            if continuity.open(InstanceSecret([0xA5; 32])).is_ok() {
                assert!(continuity.keep(&erased(5, 1)).is_err());
                assert!(!remembers(&continuity, &[0xA5; 32]), "not even if step {step} fails");
            }
        }
    }
}

#[test]
fn the_record_is_durable_before_the_counter_moves() {
    for lease in LEASES {
        let disk = Rc::new(RefCell::new(Disk::default()));
        let world = World::new();
        let mut continuity = Run::steady(&world, &disk).continuity(lease);
        continuity.open(InstanceSecret([1; 32])).unwrap();
        continuity.keep(&counters(5, 1)).unwrap();
        continuity.close(&counters(6, 1)).unwrap();
        let trace = world.trace();
        let increments = trace.matches("increment").count();
        assert_eq!(trace.matches("write sync increment read").count(), increments, "{trace}");
        assert_eq!(increments, if lease == Lease::Run { 2 } else { 4 }, "{trace}");
    }
}

#[test]
fn whatever_fails_is_final() {
    for lease in LEASES {
        for step in 0.. {
            let disk = Rc::new(RefCell::new(Disk::default()));
            let run = Run::new(&World::new(), &disk, step);
            let mut continuity = run.continuity(lease);
            let opened = continuity.open(InstanceSecret([1; 32]));
            let kept = opened.is_ok().then(|| continuity.keep(&counters(1, 1)));
            let failed = opened.is_err() || kept.is_some_and(|kept| kept.is_err());
            run.recover(); // the device works again: too late
            if !failed {
                assert!(step > 5, "nothing ever failed");
                break;
            }
            let again = continuity.open(InstanceSecret([2; 32])).map(drop);
            assert_eq!(again, Err(ContinuityError::NotOpen));
            if lease.keeps_each() {
                assert_eq!(continuity.keep(&counters(2, 1)), Err(ContinuityError::NotOpen));
            }
            assert_eq!(continuity.close(&counters(2, 1)), Err(ContinuityError::NotOpen));
        }
    }
}

/// A crash at each step of a life, with each fate of the write under way. [`World`] panics if an
/// instance ever comes back without what it exposed.
#[test]
fn a_crash_at_any_step_never_resumes_below_what_was_exposed() {
    for (lease, fate) in LEASES.iter().flat_map(|lease| FATES.map(|fate| (*lease, fate))) {
        for step in 0.. {
            let (world, disk) = (World::new(), Rc::new(RefCell::new(Disk::default())));
            Script { lease, attestations: 2 }.perform(&Run::steady(&world, &disk), 1).unwrap();
            let run = Run::new(&world, &disk, step);
            let script = Script { lease, attestations: 2 };
            let ended = script.perform(&run, 2);
            disk.borrow_mut().crash(fate);

            let mut continuity = Run::steady(&world, &disk).continuity(lease);
            let opened = continuity.open(InstanceSecret([3; 32])).unwrap();
            let resumed = opened.origin == Origin::Resumed;
            if resumed {
                assert_eq!(instance_of(&opened), 1);
                world.expose(&opened);
            }
            let case = format!("{lease:?}, {fate:?}, step {step}: {:?}", opened.origin);
            if ended.is_ok() {
                assert!(resumed && step > 10, "{case}");
                break;
            }
            // Before the first increment, step 4, nothing has changed. From it on the instance is
            // open until the counter confirms a resumable record: at the stop, or at the start.
            let open = if lease == Lease::Run { 5..11 } else { 5..9 };
            assert_eq!(resumed, !open.contains(&step), "{case}");
        }
    }
}

/// One process is paused at each step, a clone of its directory runs and is killed at each step,
/// the first goes on and is killed at each step; then a third starts from each record that anybody
/// ever wrote. [`World`] panics at an equivocation.
#[test]
fn no_schedule_of_clones_and_no_record_ever_written_makes_an_instance_equivocate() {
    let mut starts = 0;
    for choice in 0..8 {
        let [first, second, third] = [1, 2, 4].map(|bit| LEASES[usize::from(choice & bit != 0)]);
        for from_now in [false, true] {
            for pause in 0..steps(first) {
                for clone_killed in 0..=steps(second) {
                    for killed in pause..=steps(first) {
                        let world = World::new();
                        let leases = [first, second];
                        schedule(&world, leases, from_now, [pause, clone_killed, killed]);
                        starts += start_from_every_record(&world, third);
                    }
                }
            }
        }
    }
    println!("{starts} starts");
    assert!(starts > 100_000);
}

/// Steps of a life of one attestation.
fn steps(lease: Lease) -> usize {
    match lease {
        Lease::Run => 2 + 4 + 2 + 4, // look, advance, wipe; advance
        // Look, advance twice; advance; advance.
        Lease::Every | Lease::EveryUnmetered => 2 + 2 * 4 + 4 + 4,
    }
}

fn schedule(world: &Rc<World>, [first, second]: [Lease; 2], from_now: bool, at: [usize; 3]) {
    let [pause, clone_killed, killed] = at;
    let disk = Rc::new(RefCell::new(Disk::default()));
    Script { lease: first, attestations: 1 }.perform(&Run::steady(world, &disk), 1).unwrap();
    let before = disk.borrow().clone();
    let run = Run::new(world, &disk, killed);
    let (clone_world, clone_disk) = (Rc::clone(world), Rc::clone(&disk));
    run.pause(pause, move || {
        let disk = if from_now { clone_disk.borrow().as_seen() } else { before };
        let clone = Run::new(&clone_world, &Rc::new(RefCell::new(disk)), clone_killed);
        Script { lease: second, attestations: 1 }.perform(&clone, 2).ok();
    });
    Script { lease: first, attestations: 1 }.perform(&run, 3).ok();
}

fn start_from_every_record(world: &Rc<World>, lease: Lease) -> usize {
    let records = world.records();
    for record in &records {
        let world = world.fork();
        let disk = Rc::new(RefCell::new(Disk::of(record)));
        // It may find itself overtaken; it must not attest a second digest.
        Script { lease, attestations: 1 }.perform(&Run::steady(&world, &disk), 4).ok();
    }
    records.len()
}
