//! The file and what is in memory stay one, whatever comes between.

use std::fs::{self, File, Permissions};
use std::io::Read as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::super::hex;
use super::super::tests::Scratch;
use super::*;
use crate::exit::Exit;

/// An identity in its file.
fn made(scratch: &Scratch) -> Identity {
    let identity = Identity::generate(&scratch.path("identity.toml")).expect("made");
    identity.create().expect("written");
    identity
}

fn next_of(identity: &Identity) -> PublicKey {
    identity.public_keys().next_block.expect("there is one")
}

fn text_of(identity: &Identity) -> String {
    fs::read_to_string(&identity.file).expect("there")
}

fn mode_of(identity: &Identity) -> u32 {
    fs::metadata(&identity.file).expect("there").permissions().mode() & 0o777
}

/// Writes the file with one change, and reads it.
fn changed(identity: &Identity, old: &str, new: &str) -> Result<Identity> {
    let text = text_of(identity);
    let other = text.replacen(old, new, 1);
    assert_ne!(other, text, "`{old}` is in it");
    disk::replace(&identity.file, &other, disk::Privacy::Secret).expect("written");
    let read = Identity::read(&identity.file);
    disk::replace(&identity.file, &text, disk::Privacy::Secret).expect("written");
    read
}

/// The line of the file that begins so.
fn line(identity: &Identity, key: &str) -> String {
    let text = text_of(identity);
    text.lines().find(|line| line.starts_with(key)).expect("there").to_owned()
}

/// The public half of the key for which a server may ask.
fn spare_of(identity: &Identity) -> Option<PublicKey> {
    identity.spare().map(|seed| SigningKey::ed25519(seed).public())
}

#[test]
fn a_new_identity_has_two_block_keys_and_is_read_back_unchanged() {
    let scratch = Scratch::new();
    let identity = made(&scratch);
    let keys = identity.public_keys();
    assert_ne!(keys.next_block, Some(keys.block));
    assert_eq!(identity.block_seeds().count(), 2);
    let mut read = Identity::read(&identity.file).expect("read back");
    assert_eq!(read.public_keys(), keys);
    let before = text_of(&identity);
    assert_eq!(spare_of(&read), None, "nobody knows yet whether it could be written");
    read.prepare().expect("nothing to do");
    assert_eq!(spare_of(&read), keys.next_block);
    assert_eq!(text_of(&read), before);
    assert_eq!(mode_of(&read), 0o600);
}

#[test]
fn an_identity_of_an_earlier_release_gets_a_next_key_once() {
    let scratch = Scratch::new();
    let keys = made(&scratch).public_keys();
    let path = scratch.path("identity.toml");
    let mut old = Identity::read(&path).expect("read back");
    old.next_block = None;
    disk::replace(&path, &old.text(), disk::Privacy::Secret).expect("written");
    let mut read = Identity::read(&path).expect("of an earlier release");
    assert_eq!(read.public_keys(), PublicKeys { next_block: None, ..keys });
    assert_eq!(read.block_seeds().count(), 1);
    assert_eq!(spare_of(&read), None);
    read.prepare().expect("writable");
    let next = next_of(&read);
    assert_eq!(spare_of(&read), Some(next));
    assert_eq!(read.public_keys(), PublicKeys { next_block: Some(next), ..keys });
    assert_eq!(mode_of(&read), 0o600);
    let mut again = Identity::read(&path).expect("read back");
    again.prepare().expect("nothing to do");
    assert_eq!(again.public_keys(), read.public_keys(), "it was durable before it was used");
}

#[test]
fn the_next_key_takes_the_place_of_the_one_before() {
    let scratch = Scratch::new();
    let mut identity = made(&scratch);
    let (before, next) = (identity.public_keys(), next_of(&identity));
    let old = line(&identity, "block_seed").replace("block_seed = ", "").replace('"', "");
    let mut held = File::open(&identity.file).expect("there");
    assert!(identity.advance(&next).expect("writable"));
    let after = identity.public_keys();
    assert_eq!(after, PublicKeys { block: next, next_block: after.next_block, ..before });
    assert!(![before.block, next].contains(&next_of(&identity)), "a fresh one");
    assert_eq!(spare_of(&identity), after.next_block);
    assert!(identity.block_seed(&before.block).is_none());
    assert_eq!(Identity::read(&identity.file).expect("read back").public_keys(), after);
    assert_eq!(mode_of(&identity), 0o600);
    assert!(!text_of(&identity).contains(&old), "the old seed is gone from the file");
    let mut bytes = Vec::new();
    held.read_to_end(&mut bytes).expect("still open");
    assert!(!bytes.is_empty() && bytes.iter().all(|byte| *byte == 0), "and from where it was");
    assert_eq!(fs::read_dir(scratch.path("")).expect("listed").count(), 1);
}

#[test]
fn no_other_key_moves_it() {
    let scratch = Scratch::new();
    let mut identity = made(&scratch);
    let (keys, before) = (identity.public_keys(), text_of(&identity));
    for key in [keys.block, keys.identity, keys.transport, PublicKey([7; 32])] {
        assert!(!identity.advance(&key).expect("nothing to do"));
    }
    let next = next_of(&identity);
    assert_eq!((identity.public_keys(), text_of(&identity)), (keys, before));
    assert!(identity.advance(&next).expect("writable"));
    assert!(!identity.advance(&next).expect("nothing to do"), "told twice");
    assert!(!identity.advance(&keys.block).expect("nothing to do"), "an old plan");
}

#[test]
fn a_crash_before_the_file_was_written_back_costs_nothing() {
    let scratch = Scratch::new();
    let made = made(&scratch);
    let next = next_of(&made);
    // It died while another file was made, before that had its name.
    let draft = scratch.path(".identity.toml.0123abcd.draft");
    disk::create(&draft, "block_seed = \"half of it", disk::Privacy::Secret).expect("written");
    let others = [
        ".identity.toml.0123abc.draft",
        ".identity.toml.0123abcg.draft",
        ".identity.toml.0123ABCD.draft",
        ".identity.toml.0123abcd.drafts",
        ".other.toml.0123abcd.draft",
        "identity.toml.0123abcd.draft",
    ];
    for other in others {
        disk::create(&scratch.path(other), "", disk::Privacy::Public).expect("written");
    }
    let mut read = Identity::read(&made.file).expect("as it was");
    assert_eq!(read.public_keys(), made.public_keys());
    assert!(read.block_seed(&next).is_some(), "the key in force is among its own");
    read.prepare().expect("writable");
    assert!(!draft.exists(), "the leftover is gone");
    assert!(others.iter().all(|other| scratch.path(other).exists()), "and nothing else");
    assert!(read.advance(&next).expect("writable"));
}

#[test]
fn a_linked_identity_stays_a_link() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.path("real")).expect("made");
    let real = scratch.path("real/keys.toml");
    Identity::generate(&real).expect("made").create().expect("written");
    let draft = scratch.path("real/.keys.toml.0123abcd.draft");
    disk::create(&draft, "", disk::Privacy::Secret).expect("written");
    let link = scratch.path("identity.toml");
    symlink(&real, &link).expect("linked");
    let mut identity = Identity::read(&link).expect("read");
    identity.prepare().expect("writable");
    assert!(!draft.exists());
    let next = next_of(&identity);
    assert!(identity.advance(&next).expect("writable"));
    assert!(fs::symlink_metadata(&link).expect("there").is_symlink());
    let keys = Identity::read(&real).expect("read back").public_keys();
    assert_eq!(keys, identity.public_keys());
}

#[test]
fn a_second_name_of_the_file_keeps_what_it_names() {
    let scratch = Scratch::new();
    let mut identity = made(&scratch);
    let (keys, next) = (identity.public_keys(), next_of(&identity));
    fs::hard_link(&identity.file, scratch.path("backup.toml")).expect("linked");
    assert!(identity.advance(&next).expect("writable"));
    let backup = Identity::read(&scratch.path("backup.toml")).expect("whole");
    assert_eq!(backup.public_keys(), keys);
}

/// What cannot be written back changes nothing, and the error says what that means.
fn check_unwritable(identity: &mut Identity) {
    let (keys, next) = (identity.public_keys(), next_of(identity));
    for error in [identity.prepare().err(), identity.advance(&next).err()] {
        let error = error.expect("it cannot be written");
        assert!(error.message().contains(READ_ONLY), "{}", error.message());
        assert!(error.advice().contains("writable"), "{}", error.advice());
    }
    assert_eq!((identity.public_keys(), identity.spare()), (keys, None));
    assert!(identity.block_seed(&next).is_some(), "the server can sign nevertheless");
}

#[test]
fn where_nothing_can_be_written_the_keys_stay_as_they_are() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.path("keys")).expect("made");
    let mut identity = Identity::generate(&scratch.path("keys/identity.toml")).expect("made");
    identity.create().expect("written");
    let mode = |mode| fs::set_permissions(scratch.path("keys"), Permissions::from_mode(mode));
    mode(0o500).expect("set");
    // Nothing is read-only to root.
    if File::create(scratch.path("keys/probe")).is_err() {
        check_unwritable(&mut identity);
    }
    mode(0o700).expect("set");
    identity.prepare().expect("writable again");
    assert_eq!(spare_of(&identity), identity.public_keys().next_block);
    fs::rename(scratch.path("keys"), scratch.path("elsewhere")).expect("renamed");
    check_unwritable(&mut identity);
}

#[test]
fn a_tampered_file_is_refused() {
    let scratch = Scratch::new();
    let identity = made(&scratch);
    let seeds = ["identity_seed", "block_seed", "next_block_seed", "transport_seed"];
    for seed in seeds {
        let own = line(&identity, seed);
        for other in seeds.into_iter().filter(|other| *other != seed) {
            let equal = line(&identity, other).replacen(other, seed, 1);
            let error = changed(&identity, &own, &equal).err().expect("equal seeds");
            assert!(error.message().contains("two of the seeds are equal"), "{seed}, {other}");
        }
        let twice = format!("{own}\n{own}");
        let absent = format!("# {own}");
        let short = own.replace("\"\n", "").replacen("= \"", "= \"0", 1);
        let number = format!("{seed} = 7");
        for wrong in [twice, short, number] {
            let error = changed(&identity, &own, &wrong).err().expect("wrong");
            assert_eq!(error.exit(), Exit::Usage, "{wrong}");
            let digits = own.split('"').nth(1).expect("quoted");
            assert!(!error.message().contains(digits), "it quotes no secret");
        }
        let read = changed(&identity, &own, &absent);
        assert_eq!(read.is_ok(), seed == "next_block_seed", "{seed} is left out");
    }
    for (old, new) in [("version = 1", "version = 2"), ("created", "nonce = 1\ncreated")] {
        let error = changed(&identity, old, new).err().expect("wrong");
        assert_eq!(error.exit(), Exit::Usage, "{new}");
    }
    for mode in [0o640, 0o604, 0o660] {
        fs::set_permissions(&identity.file, Permissions::from_mode(mode)).expect("set");
        let error = Identity::read(&identity.file).err().expect("others can read it");
        assert_eq!(error.exit(), Exit::Denied, "{mode:o}");
    }
}

#[test]
fn seeds_and_public_keys_belong_together() {
    let scratch = Scratch::new();
    let identity = made(&scratch);
    let keys = identity.public_keys();
    for key in [keys.block, next_of(&identity)] {
        let seed = identity.block_seed(&key).expect("its own");
        assert_eq!(SigningKey::ed25519(seed).public(), key);
        assert!(text_of(&identity).contains(&hex::encode(seed.as_slice())));
    }
    assert!(identity.block_seed(&keys.identity).is_none());
}

#[test]
fn a_log_that_was_begun_is_remembered_with_the_keys_unchanged() {
    let scratch = Scratch::new();
    let mut identity = made(&scratch);
    let keys = identity.public_keys();
    assert!(!Identity::read(&identity.file).expect("read back").is_log_begun());
    identity.begin_log().expect("writable");
    let text = text_of(&identity);
    identity.begin_log().expect("nothing to do");
    assert_eq!(text_of(&identity), text, "once");
    let mut read = Identity::read(&identity.file).expect("read back");
    assert!(read.is_log_begun());
    assert_eq!(read.public_keys(), keys);
    assert_eq!(mode_of(&read), 0o600);
    read.prepare().expect("writable");
    read.advance(&next_of(&read)).expect("writable");
    assert!(Identity::read(&identity.file).expect("read back").is_log_begun(), "the log goes on");
}

#[test]
fn who_lost_the_log_holds_no_key_that_signed_for_it() {
    let scratch = Scratch::new();
    let mut identity = made(&scratch);
    identity.begin_log().expect("writable");
    let before = identity.public_keys();
    let old = line(&identity, "block_seed").replace("block_seed = ", "").replace('"', "");
    let mut held = File::open(&identity.file).expect("there");
    identity.give_up_keys().expect("writable");
    let after = identity.public_keys();
    assert_eq!(PublicKeys { block: before.block, next_block: before.next_block, ..after }, before);
    let gone = [before.block, next_of_keys(&before)];
    for key in [after.block, next_of_keys(&after)] {
        assert!(!gone.contains(&key), "the next one may have been used too");
    }
    assert!(gone.iter().all(|key| identity.block_seed(key).is_none()));
    assert_eq!(spare_of(&identity), after.next_block, "and it may ask");
    let read = Identity::read(&identity.file).expect("read back");
    assert_eq!((read.public_keys(), read.is_log_begun()), (after, false));
    assert!(!text_of(&identity).contains(&old));
    let mut bytes = Vec::new();
    held.read_to_end(&mut bytes).expect("still open");
    assert!(bytes.iter().all(|byte| *byte == 0), "nor where it was");
}

fn next_of_keys(keys: &PublicKeys) -> PublicKey {
    keys.next_block.expect("there is one")
}
