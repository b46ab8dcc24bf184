//! The files that people and programs exchange.

use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::target::{Memory, Target, Verdict};
use crate::files::approval::Approval;
use crate::files::client::ClientFile;
use crate::files::identity::Identity;
use crate::files::key::KeyFile;
use crate::files::kind::Kind;
use crate::files::node::NodeConfig;
use crate::files::{card, plan, release};

/// A parser of TOML keeps a node of some hundred bytes for each value, two letters at the least.
const MEMORY: Memory = Memory { base: 1 << 20, factor: 1024 };

/// The targets.
pub(crate) const TARGETS: &[Target] = &[
    Target { name: "file_node", run: node, seeds: || example(Kind::Node), memory: MEMORY },
    Target { name: "file_plan", run: plan_file, seeds: || example(Kind::Plan), memory: MEMORY },
    Target { name: "file_client", run: client, seeds: || example(Kind::Client), memory: MEMORY },
    Target { name: "file_card", run: card_file, seeds: || example(Kind::Card), memory: MEMORY },
    Target { name: "file_approval", run: approval, seeds: approvals, memory: MEMORY },
    Target { name: "file_release", run: release_file, seeds: releases, memory: MEMORY },
    Target { name: "file_identity", run: identity, seeds: identities, memory: MEMORY },
    Target { name: "file_key", run: key, seeds: keys, memory: MEMORY },
];

fn example(kind: Kind) -> Vec<Vec<u8>> {
    vec![kind.example().as_bytes().to_vec()]
}

fn text(input: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(input).ok()?;
    let _ = Kind::recognise(here(), text); // any answer, no panic
    Some(text)
}

/// Where the text stands, for errors.
fn here() -> &'static Path {
    Path::new("/fuzz/file.toml")
}

fn node(input: &[u8]) -> Verdict {
    text(input).is_some_and(|text| NodeConfig::checked(here(), text).is_ok()).into()
}

/// A plan that is read is written so that it is read alike.
fn plan_file(input: &[u8]) -> Verdict {
    let Some(text) = text(input) else { return Verdict::Refused };
    let _ = Kind::Plan.check(here(), text); // any answer, no panic
    let Ok(signed) = plan::plan(here(), text) else { return Verdict::Refused };
    let again = plan::plan(here(), &plan::text(&signed));
    assert_eq!(again.ok().as_ref(), Some(&signed), "it comes back changed");
    Verdict::Taken
}

fn client(input: &[u8]) -> Verdict {
    let Some(text) = text(input) else { return Verdict::Refused };
    let Ok(file) = ClientFile::checked(here(), text) else { return Verdict::Refused };
    if let Ok(text) = file.text() {
        assert!(ClientFile::checked(here(), &text).is_ok(), "what is written is refused: {text}");
    }
    Verdict::Taken
}

fn card_file(input: &[u8]) -> Verdict {
    let Some(text) = text(input) else { return Verdict::Refused };
    let Ok(member) = card::card(here(), text) else { return Verdict::Refused };
    let again = card::card(here(), &card::text(&member));
    assert_eq!(again.ok().as_ref(), Some(&member), "it comes back changed");
    Verdict::Taken
}

fn approval(input: &[u8]) -> Verdict {
    let Some(text) = text(input) else { return Verdict::Refused };
    let Ok(approval) = Approval::checked(here(), text) else { return Verdict::Refused };
    let again = Approval::checked(here(), &approval.text());
    assert_eq!(again.ok().as_ref(), Some(&approval), "it comes back changed");
    Verdict::Taken
}

fn approvals() -> Vec<Vec<u8>> {
    let digits = |byte: &str, count| byte.repeat(count);
    let head =
        format!("version = 1\ncluster = \"{}\"\nincarnation = 1\nserial = 3\n", digits("c1", 32));
    let tail =
        format!("administrator = \"{}\"\nsignature = \"{}\"\n", digits("ad", 32), digits("51", 64));
    [
        format!("action = \"enroll\"\nname = \"bob\"\nkey = \"{}\"\n", digits("b0", 32)),
        "action = \"revoke\"\nname = \"bob\"\n".to_owned(),
        format!("action = \"rekey\"\nserver = 2\nblock = \"{}\"\n", digits("bb", 32)),
    ]
    .map(|action| format!("{head}{action}{tail}").into_bytes())
    .to_vec()
}

fn release_file(input: &[u8]) -> Verdict {
    let Some(text) = text(input) else { return Verdict::Refused };
    let Ok(signed) = release::checked(here(), text) else { return Verdict::Refused };
    let again = release::checked(here(), &release::text(&signed, "why"));
    assert_eq!(again.ok().as_ref(), Some(&signed), "it comes back changed");
    Verdict::Taken
}

fn releases() -> Vec<Vec<u8>> {
    let digits = |byte: &str, count| byte.repeat(count);
    let order = format!(
        "version = 1\ncluster = \"{}\"\nincarnation = 1\nepoch = 2\nserver = 3\nhalt = \"{}\"\n\
         serial = 4\nrepaired = [0, 1]\nissued = \"2031-12-24T18:00:00Z\"\n",
        digits("c1", 32),
        digits("d5", 32)
    );
    let signature = format!(
        "[[signatures]]\nadministrator = \"{}\"\nsignature = \"{}\"\n",
        digits("ad", 32),
        digits("51", 64)
    );
    [String::new(), signature.clone(), signature.repeat(2)]
        .map(|signatures| format!("{order}{signatures}").into_bytes())
        .to_vec()
}

/// A file that only its owner can read; gone when dropped.
struct Secret(PathBuf);

impl Secret {
    fn new(bytes: &[u8]) -> Self {
        use std::io::Write as _;
        use std::sync::atomic::{AtomicU64, Ordering};
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let memory = Path::new("/dev/shm");
        let root = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = root.join(format!("ravelin-fuzz-file-{}-{number}", std::process::id()));
        let mut options = std::fs::OpenOptions::new();
        let options = options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(&path).expect("made");
        file.set_permissions(std::fs::Permissions::from_mode(0o600)).expect("set");
        file.write_all(bytes).expect("written");
        Self(path)
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// No error tells a line of a file with secrets.
fn tells_nothing(input: &[u8], error: &crate::exit::Error) {
    let message = format!("{} {}", error.message(), error.advice());
    let input = String::from_utf8_lossy(input);
    let long = |word: &&str| word.len() >= 64 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    for word in input.split('"').filter(long) {
        assert!(!message.contains(word), "an error quotes a secret: {message}");
    }
}

fn identity(input: &[u8]) -> Verdict {
    let file = Secret::new(input);
    match Identity::read(&file.0) {
        Ok(identity) => {
            let keys = identity.public_keys();
            assert!(keys.identity != keys.block && Some(keys.block) != keys.next_block);
            Verdict::Taken
        }
        Err(error) => {
            tells_nothing(input, &error);
            Verdict::Refused
        }
    }
}

fn identities() -> Vec<Vec<u8>> {
    let seed = |name: &str, byte: &str| format!("{name}_seed = \"{}\"\n", byte.repeat(32));
    let head = "version = 1\ncreated = \"2026-01-01T00:00:00Z\"\n";
    let (identity, block, next, transport) = (
        seed("identity", "11"),
        seed("block", "22"),
        seed("next_block", "33"),
        seed("transport", "44"),
    );
    vec![
        format!("{head}{identity}{block}{next}{transport}").into_bytes(),
        format!("{head}{identity}{block}{transport}").into_bytes(),
    ]
}

fn key(input: &[u8]) -> Verdict {
    let file = Secret::new(input);
    match KeyFile::read(&file.0) {
        Ok(_) => Verdict::Taken,
        Err(error) => {
            tells_nothing(input, &error);
            Verdict::Refused
        }
    }
}

fn keys() -> Vec<Vec<u8>> {
    // RFC 8032, section 7.1, test 1.
    let seed = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
    let public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    let text = format!(
        "version = 1\ncreated = \"2026-01-01T00:00:00Z\"\npublic = \"{public}\"\nseed = \"{seed}\"\n"
    );
    vec![text.into_bytes()]
}
