//! Every way to lose log or state, on real files: what is found, what is moved, and that no old key is
//! left.

use std::fs;

use ravelin_model::{Digest, PublicKey, ServiceId, ServiceStores as _, StateBackend as _};
use ravelin_replication::state::{State, WAY_BACK_BYTES_MAX};

use super::*;
use crate::files::tests::Scratch;

/// A server's data with some records and some state, closed in good order.
struct Server {
    scratch: Scratch,
    at: DataDir,
    keys: [PublicKey; 2],
}

fn server() -> Server {
    let scratch = Scratch::new();
    Identity::generate(&scratch.path("identity.toml")).and_then(|it| it.create()).expect("made");
    let at = DataDir {
        dir: scratch.path("data"),
        owner: [7; 32],
        member: ReplicaId(1),
        log_retention_bytes: 1 << 30,
        audit_retention_bytes: 256 << 20,
    };
    let mut server = Server { scratch, at, keys: [PublicKey([0; 32]); 2] };
    let mut identity = server.identity();
    let Opened { mut state, mut log, records } = open(&server.at, &mut identity).expect("new");
    assert!(records.is_empty());
    for round in 1..50 {
        let place =
            Place { epoch: ravelin_model::Epoch::FIRST, round: ravelin_model::Round(round) };
        log.append(Tag(place.number()), &[7; 200]).expect("appended");
        log.sync().expect("durable");
    }
    state.write(&[(b"key".to_vec(), Some(b"value".to_vec()))]);
    state.sync();
    log.close().expect("closed");
    let keys = identity.public_keys();
    server.keys = [keys.block, keys.next_block.expect("there")];
    server
}

impl Server {
    fn identity(&self) -> Identity {
        let mut identity = Identity::read(&self.scratch.path("identity.toml")).expect("read");
        identity.prepare().expect("writable");
        identity
    }

    fn path(&self, name: &str) -> PathBuf {
        self.at.dir.join(name)
    }

    fn aside(&self) -> Vec<PathBuf> {
        quarantine::list(&self.at.dir).expect("listed")
    }

    /// Opens; how many records and whether the state are there.
    fn open(&self) -> (usize, bool) {
        let mut identity = self.identity();
        let opened = open(&self.at, &mut identity).expect("opened");
        (opened.records.len(), opened.state.get(b"key").is_some())
    }

    /// Whether the server still holds a key that may have signed something.
    fn holds_old_key(&self) -> bool {
        let identity = self.identity();
        self.keys.iter().any(|key| identity.block_seed(key).is_some())
    }

    fn flip(&self, name: &str, offset: usize) {
        let mut bytes = fs::read(self.path(name)).expect("there");
        bytes[offset] ^= 0x10;
        fs::write(self.path(name), bytes).expect("written");
    }
}

const SEGMENT: &str = "log/0000000000000001.segment";

#[test]
fn whole_data_are_opened_and_no_key_is_given_up() {
    let server = server();
    for _ in 0..2 {
        assert_eq!(server.open(), (49, true));
    }
    assert!(server.holds_old_key() && server.aside().is_empty());
}

/// Spoils the data, and checks what becomes of them.
fn check(spoil: impl Fn(&Server), word: &str, moved: &[&str]) {
    let server = server();
    spoil(&server);
    assert_eq!(server.open(), (0, false), "{word}");
    assert!(!server.holds_old_key(), "{word}: it could contradict what it forgot");
    let aside = server.aside();
    match moved {
        [] => assert!(aside.is_empty(), "{word}"),
        moved => {
            let [dir] = &aside[..] else { panic!("{word}: {aside:?}") };
            assert!(dir.to_string_lossy().ends_with(&format!("-1-{word}")), "{dir:?}");
            for part in [LOG, STATE] {
                assert_eq!(dir.join(part).exists(), moved.contains(&part), "{word}: {part}");
            }
        }
    }
    let keys = server.identity().public_keys();
    assert_eq!(server.open(), (0, false), "and from then on all is well");
    assert_eq!(server.identity().public_keys(), keys, "the keys too");
    assert_eq!(server.aside().len(), aside.len());
}

#[test]
fn a_damaged_log_takes_the_state_along() {
    check(|it| it.flip(SEGMENT, 1000), "log-damaged", &[LOG, STATE]);
    check(|it| it.flip(SEGMENT, 60), "log-damaged", &[LOG, STATE]);
}

#[test]
fn a_log_that_lacks_a_segment_is_incomplete() {
    let rename = |it: &Server| {
        fs::rename(it.path(SEGMENT), it.path("log/0000000000000002.segment")).expect("renamed");
    };
    check(rename, "log-incomplete", &[LOG, STATE]);
}

#[test]
fn a_missing_log_takes_the_state_along() {
    check(|it| fs::remove_dir_all(it.path(LOG)).expect("gone"), "log-missing", &[STATE]);
    let emptied = |it: &Server| fs::remove_file(it.path(SEGMENT)).expect("gone");
    check(emptied, "log-missing", &[LOG, STATE]);
}

#[test]
fn a_missing_state_takes_the_log_along() {
    check(|it| fs::remove_dir_all(it.path(STATE)).expect("gone"), "state-missing", &[LOG]);
}

#[test]
fn a_state_that_was_rolled_back_or_damaged_takes_the_log_along() {
    let rolled_back = |it: &Server| {
        let copy = it.scratch.path("copy");
        let copied =
            std::process::Command::new("cp").arg("-r").arg(it.path(STATE)).arg(&copy).status();
        assert!(copied.expect("cp").success());
        {
            let Opened { mut state, .. } = open(&it.at, &mut it.identity()).expect("opened");
            state.write(&[(b"key".to_vec(), Some(b"new".to_vec()))]);
            state.sync();
        }
        fs::remove_dir_all(it.path("state/engine")).expect("gone");
        fs::rename(copy.join("engine"), it.path("state/engine")).expect("put back");
    };
    check(rolled_back, "state-rolled-back", &[LOG, STATE]);
    let noted = |it: &Server| fs::write(it.path("state/damaged.txt"), "rot").expect("written");
    check(noted, "state-damaged", &[LOG, STATE]);
    let mark = |it: &Server| fs::write(it.path("state/mark"), [1; 8192]).expect("written");
    check(mark, "state-damaged", &[LOG, STATE]);
}

#[test]
fn a_deleted_directory_costs_the_keys() {
    let all = |it: &Server| {
        fs::remove_dir_all(&it.at.dir).expect("gone");
        fs::create_dir(&it.at.dir).expect("made");
    };
    check(all, "all-missing", &[]);
}

#[test]
fn a_first_start_that_a_crash_cut_short_costs_nothing() {
    let server = server();
    fs::remove_dir_all(&server.at.dir).expect("gone");
    let text = fs::read_to_string(server.scratch.path("identity.toml")).expect("read");
    let never = text.replace("log_begun = true\n", "");
    assert_ne!(text, never);
    fs::write(server.scratch.path("identity.toml"), never).expect("written");
    fs::create_dir(&server.at.dir).expect("made");
    drop(DiskState::open(&server.path(STATE), &StoreConfig::new([7; 32])).expect("begun"));
    assert_eq!(server.open(), (0, false));
    assert!(server.holds_old_key(), "nothing was signed yet");
}

#[test]
fn a_crash_between_giving_up_keys_and_moving_is_harmless() {
    let server = server();
    server.flip(SEGMENT, 1000);
    server.identity().give_up_keys().expect("written");
    assert_eq!(server.open(), (0, false));
    assert!(!server.holds_old_key() && server.aside().len() == 1);
    // And one after half of the moving.
    let server = self::server();
    fs::write(server.path("state/damaged.txt"), "rot").expect("written");
    server.identity().give_up_keys().expect("written");
    quarantine::move_aside(&server.at.dir, &[STATE], "state-damaged", "half").expect("moved");
    assert_eq!(server.open(), (0, false));
    assert!(!server.holds_old_key() && server.aside().len() == 2);
    // And one before a state without its log went.
    let server = self::server();
    fs::remove_dir_all(server.path(LOG)).expect("gone");
    server.identity().give_up_keys().expect("written");
    assert_eq!(server.open(), (0, false));
    assert!(!server.holds_old_key() && server.aside().len() == 1);
}

#[test]
fn who_cannot_give_up_keys_does_not_start_and_moves_nothing() {
    let server = server();
    server.flip(SEGMENT, 1000);
    let mut identity = server.identity();
    fs::remove_file(server.scratch.path("identity.toml")).expect("gone"); // root may write anywhere
    let error = open(&server.at, &mut identity).err().expect("refused");
    assert!(error.message().contains("must give up the block keys"), "{}", error.message());
    assert!(error.message().contains("damaged in segment 1"), "{}", error.message());
    assert!(server.aside().is_empty() && server.path(SEGMENT).exists());
}

#[test]
fn data_of_another_server_are_refused_untouched() {
    let server = server();
    let other = DataDir { owner: [8; 32], ..server.at.clone() };
    let refused = |what: &str| {
        let error = open(&other, &mut server.identity()).err().expect("refused");
        assert_eq!(error.exit(), Exit::Conflict);
        assert!(error.message().contains(what), "{}", error.message());
        assert!(error.advice().contains("exchanged"), "{}", error.advice());
    };
    refused("state store");
    assert!(server.holds_old_key() && server.aside().is_empty());
    assert_eq!(server.open(), (49, true), "its own are as they were");
}

/// Runs so many commits, settles each, and then the power fails. Someone vouches for the state after the
/// fourth, whose root is returned. The store has a pause after each to write, so many milliseconds.
fn run_and_fail(
    scratch: &Scratch,
    config: &StoreConfig,
    (commits, pause_ms): (u64, u64),
    value: &[u8],
) -> Digest {
    let disk = DiskState::open(&scratch.path("state"), config).expect("opened");
    let mut state = State::open(Box::new(disk));
    let mut root = Digest::default();
    for commit in 0..commits {
        let mut value = value.to_vec();
        value.extend(commit.to_le_bytes());
        state.of(ServiceId::KV).put(&(commit % 9).to_le_bytes(), value);
        let after = state.finish_commit(CommitIndex(commit));
        if commit == 4 {
            root = after;
            state.hold();
            state.vouch(CommitIndex(4), b"word".to_vec());
        }
        state.settle_commits();
        std::thread::sleep(std::time::Duration::from_millis(pause_ms));
    }
    root
}

/// Whatever the disk holds when the power fails leads back to what was vouched for.
#[test]
fn each_state_on_the_disk_leads_back_to_the_last_one_that_was_vouched_for() {
    let mut seen = Vec::new();
    // A busy host has the store write later: only then is there more time for that.
    for (commits, pause_ms) in [(8, 1), (20, 1), (33, 1), (47, 1), (90, 1), (90, 5), (90, 25)] {
        if pause_ms > 1 && seen.last() > Some(&40) {
            break;
        }
        let scratch = Scratch::new();
        let config = StoreConfig { overlay_bytes: 2 << 10, ..StoreConfig::new([7; 32]) };
        let root = run_and_fail(&scratch, &config, (commits, pause_ms), &[1; 200]);
        let disk = DiskState::open(&scratch.path("state"), &config).expect("opened");
        let mut state = State::open(Box::new(disk));
        if state.vouched().is_some() {
            let commit = state.commit();
            assert!(commit < CommitIndex(commits) && state.lead_back(CommitIndex(4), root));
            assert!(state.has_version(CommitIndex(4)));
            seen.push(commit.0);
        }
    }
    assert!(seen.len() >= 4 && seen.last() > Some(&40), "{seen:?}");
}

/// What leads back takes no more room than it may: then there is none, and no word for it either.
#[test]
fn too_long_a_way_back_is_given_up() {
    let scratch = Scratch::new();
    let config = StoreConfig { overlay_bytes: 256 << 10, ..StoreConfig::new([7; 32]) };
    let value = vec![1; 256 << 10];
    let commits = 2 * (WAY_BACK_BYTES_MAX / value.len()) as u64;
    run_and_fail(&scratch, &config, (commits, 1), &value);
    let disk = DiskState::open(&scratch.path("state"), &config).expect("opened");
    let state = State::open(Box::new(disk));
    assert!(state.commit() > CommitIndex(commits / 2), "{:?}", state.commit());
    assert_eq!(state.vouched(), None);
}
