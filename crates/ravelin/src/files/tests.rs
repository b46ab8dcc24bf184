//! What is written is read back, and what is wrong is refused with its place.

pub(crate) mod corpus;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use ravelin_model::{
    ClusterPlan, CommitIndex, Digest, Encode as _, FaultModel, Incarnation, Position, Previous,
    PublicKey, Purpose, Time,
};

use super::client::{ClientFile, ServerAddress, Whereabouts};
use super::identity::Identity;
use super::key::KeyFile;
use super::kind::Kind;
use super::node::NodeConfig;
use super::{card, disk, hex, plan};
use crate::exit::Exit;

/// A directory of its own for a test, removed at its end.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        let name = hex::encode(&disk::random::<8>().expect("random"));
        let dir = std::env::temp_dir().join(format!("ravelin-test-{name}"));
        disk::create_dir(&dir).expect("made");
        Self(dir)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn example_plan() -> ravelin_model::SignedPlan {
    plan::plan(Path::new("plan.toml"), Kind::Plan.example()).expect("an example")
}

#[test]
fn examples_are_valid_and_of_the_kind_they_claim() {
    for kind in [Kind::Node, Kind::Plan, Kind::Client, Kind::Card] {
        let path = Path::new("example.toml");
        kind.check(path, kind.example()).expect("valid");
        assert_eq!(Kind::recognise(path, kind.example()).expect("recognised"), kind);
    }
}

#[test]
fn plans_with_a_weak_key_are_refused_wherever_it_stands() {
    let weak = PublicKey([0; 32]);
    let sound = example_plan().plan;
    plan::check_fit(&sound).expect("sound");
    let plant: [fn(&mut ClusterPlan) -> &mut PublicKey; 5] = [
        |plan| &mut plan.members[1].identity,
        |plan| &mut plan.members[2].block,
        |plan| &mut plan.members[3].transport,
        |plan| &mut plan.administrators[0],
        |plan| &mut plan.clients[0].key,
    ];
    for place in plant {
        let mut plan = sound.clone();
        *place(&mut plan) = weak;
        let error = plan::check_fit(&plan).expect_err("weak");
        assert_eq!(error.exit(), Exit::Usage);
        assert!(error.message().contains("is weak"), "{}", error.message());
    }
}

#[test]
fn examples_stay_valid_with_what_they_comment_out() {
    let path = Path::new("example.toml");
    let node = Kind::Node.example().replace("# log_", "log_").replace("# level", "level");
    let node = node.replace("# format", "format").replace("# ballast", "ballast");
    let all = NodeConfig::checked(path, &node).expect("valid");
    assert_eq!(all, NodeConfig::checked(path, Kind::Node.example()).expect("valid"), "defaults");
    let client = Kind::Client.example().replace("plan = ", "# plan = ");
    let client = client.replace("# [[servers]]", "[[servers]]").replace("# address", "address");
    ClientFile::checked(path, &client).expect("valid");
}

#[test]
fn a_wormhole_is_configured_in_a_table_of_its_own() {
    let path = Path::new("/etc/ravelin/node.toml");
    let absent = NodeConfig::checked(path, Kind::Node.example()).expect("valid");
    assert_eq!(absent.wormhole, None);
    let example = Kind::Node.example().replace("# [wormhole]", "[wormhole]");
    let defaults = NodeConfig::checked(path, &example).expect("valid").wormhole.expect("a table");
    assert_eq!(defaults.state, Path::new("/etc/ravelin/wormhole"));
    assert_eq!((defaults.user, defaults.store), (None, None));
    let mut all = example;
    for key in ["state", "program", "user", "server_user", "tpm", "lease"] {
        all = all.replace(&format!("# {key} = "), &format!("{key} = "));
    }
    let all = NodeConfig::checked(path, &all).expect("valid").wormhole.expect("a table");
    assert_eq!(all.user.map(|user| user.to_string()).as_deref(), Some("990:990"));
    assert!(all.store.is_some() && all.program.is_some() && all.server_user.is_some());
}

#[test]
fn a_plan_keeps_its_canonical_bytes() {
    let mut signed = example_plan();
    let administrator = KeyFile::generate().expect("a key");
    signed.plan.administrators = vec![administrator.public()];
    signed.plan.purpose = Purpose::Local;
    signed.plan.fault_model = FaultModel::Hybrid;
    signed.plan.incarnation = Incarnation(u32::MAX);
    signed.plan.epoch = ravelin_model::Epoch(u64::MAX);
    signed.plan.previous = Some(Previous {
        plan: Digest([7; 32]),
        commit: CommitIndex(u64::MAX),
        time: Time(8),
        position: Position(5),
        state: Digest([9; 32]),
        ordering: Digest([10; 32]),
    });
    signed.plan.members[1].labels.zone = "a \"quoted\" zone\\ with \u{e9} and \u{1b}".to_owned();
    ravelin_crypto::sign_plan(&mut signed, &administrator.signing_key());
    let text = plan::text(&signed);
    let read = plan::plan(Path::new("plan.toml"), &text).expect("read back");
    assert_eq!(read.encode(), signed.encode());
    assert_eq!(plan::text(&read), text);
    assert_eq!(plan::good_signers(&read).expect("judged"), [administrator.public()]);
}

#[test]
fn any_change_of_a_plan_voids_its_signatures() {
    let administrator = KeyFile::generate().expect("a key");
    let mut signed = example_plan();
    signed.plan.administrators = vec![administrator.public()];
    ravelin_crypto::sign_plan(&mut signed, &administrator.signing_key());
    plan::check_signed(&signed).expect("signed");
    let text = plan::text(&signed);
    // Long enough that no random key or fingerprint in a comment holds it.
    let key = ("c1c1c1c1c1c1c1c1", "c1c1c1c1c1c1c1c2");
    for (from, to) in [("west", "east"), ("f = 1", "f = 2"), (":7701", ":7801"), key] {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text);
        let changed = plan::plan(Path::new("plan.toml"), &changed).expect("still a plan");
        assert!(plan::check_signed(&changed).is_err(), "{from} to {to}");
    }
}

#[test]
fn a_card_is_read_back() {
    let member = example_plan().plan.members.swap_remove(0);
    let read = card::card(Path::new("card.toml"), &card::text(&member)).expect("read back");
    assert_eq!(read, member);
}

#[test]
fn a_client_file_is_read_back() {
    let path = Path::new("/etc/client.toml");
    let plan = ClientFile::checked(path, Kind::Client.example()).expect("an example");
    assert_eq!(plan.key.as_deref(), Some(Path::new("/etc/client.key")), "beside the file");
    let servers = ClientFile {
        whereabouts: Whereabouts::Servers(vec![
            ServerAddress { address: "a:1".to_owned(), transport: None },
            ServerAddress { address: "[::1]:2".to_owned(), transport: Some(PublicKey([9; 32])) },
        ]),
        ..plan.clone()
    };
    for file in [plan, servers] {
        let text = file.text().expect("text");
        assert_eq!(ClientFile::checked(path, &text).expect("read back"), file);
    }
}

#[test]
fn secrets_are_read_back_by_their_owner_only() {
    let scratch = Scratch::new();
    let (identity, key) = (scratch.path("identity.toml"), scratch.path("some.key"));
    let made = Identity::generate(&identity).expect("made");
    made.create().expect("written");
    let read = Identity::read(&identity).expect("read back");
    assert_eq!(read.public_keys(), made.public_keys());
    let made = KeyFile::generate().expect("made");
    made.create(&key).expect("written");
    assert_eq!(KeyFile::read(&key).expect("read back").public(), made.public());
    for path in [&identity, &key] {
        let mode = fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
    }
    for mode in [0o640, 0o604, 0o660, 0o601] {
        fs::set_permissions(&key, fs::Permissions::from_mode(mode)).expect("set");
        assert_eq!(KeyFile::read(&key).err().expect("refused").exit(), Exit::Denied, "{mode:o}");
    }
    fs::set_permissions(&key, fs::Permissions::from_mode(0o400)).expect("set");
    KeyFile::read(&key).expect("its owner reads it");
}

#[test]
fn an_error_quotes_no_secret() {
    let scratch = Scratch::new();
    let path = scratch.path("some.key");
    let seed = "5ec2e75ec2e75ec2e75ec2e75ec2e75ec2e75ec2e75ec2e75ec2e75ec2e75ec2";
    let start = "version = 1\ncreated = \"now\"\n";
    let public = "7".repeat(64);
    for rest in [
        format!("public = \"{public}\"\nseed = \"{seed}g\"\n"),
        format!("public = \"{public}\"\nseed = [\"{seed}\"]\n"),
        format!("public = \"{public}\"\nseed = \"{seed}\n"),
        format!("public = \"{public}\"\nseed = \"{seed}\"\n"),
        format!("public = \"{public}\"\nseed = '{seed}' '{seed}'\n"),
    ] {
        disk::replace(&path, &format!("{start}{rest}"), disk::Privacy::Secret).expect("written");
        let error = KeyFile::read(&path).err().expect("refused");
        let shown = format!("{} {} {error:?}", error.message(), error.advice());
        assert!(!shown.contains("5ec2e7"), "{shown}");
    }
}

#[test]
fn errors_name_the_line_and_the_nearest_key() {
    let path = Path::new("node.toml");
    let example = Kind::Node.example();
    for (from, to, cause, hint) in [
        (
            "data_dir =",
            "datadir =",
            "node.toml:14: unknown key `datadir`",
            "did you mean `data_dir`?",
        ),
        ("# level", "levl", "unknown key `levl`", "did you mean `level`?"),
        ("# level = \"info\"", "level = \"inof\"", "unknown value `inof`", "did you mean `info`?"),
        ("name = \"s1\"", "", "missing key `name`", "config example"),
        ("0.0.0.0:7701", "0.0.0.0", "invalid socket address", "config example"),
        ("[labels]", "[labels", "node.toml:", "config example"),
        ("127.0.0.1:7703", "on", "neither ip:port nor `off`", "config example"),
        ("identity = \"", "identity = \"data/x/../", "lies in the data directory", "move it out"),
        ("0.0.0.0:7702", "127.0.0.1:7701", "the same address", "a port of its own"),
        (
            "# log_retention_bytes = 1073741824",
            "log_retention_bytes = 1",
            "less than one segment",
            "at least",
        ),
        (
            "# audit_retention_bytes = 268435456",
            "audit_retention_bytes = 1",
            "limits.audit_retention_bytes is 1",
            "at least",
        ),
        ("# clients_max = 512", "clients_max = 0", "limits.clients_max is 0", "from 1 to"),
        (
            "# strangers_max = 64",
            "strangers_max = 70000",
            "limits.strangers_max is 70000",
            "from 1 to 65536",
        ),
        ("# ballast_bytes = 67108864", "ballast_bytes = 1", "limits.ballast_bytes is 1", "from "),
        ("# [wormhole]", "[wormhole]\nuser = \"0:990\"", "not UID:GID", "config example"),
        ("# [wormhole]", "[wormhole]\nlease = \"run\"", "without wormhole.tpm", "name the TPM"),
        (
            "# [wormhole]",
            "[wormhole]\ntpm = \"t\"\nlease = \"every\"",
            "unknown value `every`",
            "every-unmetered",
        ),
        ("# [wormhole]", "[wormhole]\nstate = \"data/w\"", "is not apart", "outside"),
        (
            "# [wormhole]",
            "[wormhole]\nuser = \"9:9\"\nserver_user = \"9:9\"",
            "are the same",
            "give the server another",
        ),
        ("s1.example.org:7701", "s1.example.org", "it has no port", "write host:port"),
        ("s1.example.org:7701", "0.0.0.0:7701", "unspecified host", "write host:port"),
        ("s1.example.org:7701", "[::1:7701", "makes no sense", "write host:port"),
    ] {
        let text = example.replacen(from, to, 1);
        assert_ne!(text, example, "{from}");
        let error = NodeConfig::checked(path, &text).expect_err("refused");
        assert_eq!(error.exit(), Exit::Usage);
        assert!(error.message().contains(cause), "{}", error.message());
        assert!(error.advice().contains(hint), "{}", error.advice());
    }
}

#[test]
fn no_error_quotes_what_could_be_a_secret() {
    let seed = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
    for (text, cause) in [
        (format!("version = \"{seed}\""), "string \"(64 letters)\""),
        (format!("{seed} = 1"), "unknown key `(64 letters)`"),
        (format!("version = 1\nseed = \"{}\"", &seed[..63]), ""),
        (format!("version = 1\nseed = [\"{seed}\"]"), ""),
        (format!("version = \"{seed}"), ""),
    ] {
        let scratch = Scratch::new();
        let path = scratch.path("a.key");
        disk::create(&path, &text, disk::Privacy::Secret).expect("made");
        let errors = [
            KeyFile::read(&path).err().expect("refused"),
            Identity::read(&path).err().expect("refused"),
        ];
        for error in errors {
            let said = format!("{} {}", error.message(), error.advice());
            assert!(!said.contains(&seed[..32]), "{said}");
            assert!(said.contains(cause) || cause.starts_with("unknown"), "{said}");
        }
    }
}

#[test]
fn nothing_is_overwritten_and_no_draft_is_left() {
    let scratch = Scratch::new();
    let path = scratch.path("file");
    disk::create(&path, "first", disk::Privacy::Public).expect("made");
    let error = disk::create(&path, "second", disk::Privacy::Public).expect_err("refused");
    assert_eq!(error.exit(), Exit::Conflict);
    assert_eq!(fs::read_to_string(&path).expect("read"), "first");
    disk::replace(&path, "second", disk::Privacy::Public).expect("replaced");
    assert_eq!(fs::read_to_string(&path).expect("read"), "second");
    assert_eq!(fs::read_dir(scratch.path("")).expect("listed").count(), 1);
}

#[test]
fn a_replaced_link_stays_a_link() {
    let scratch = Scratch::new();
    disk::create(&scratch.path("real"), "first", disk::Privacy::Public).expect("made");
    std::os::unix::fs::symlink(scratch.path("real"), scratch.path("link")).expect("linked");
    disk::replace(&scratch.path("link"), "second", disk::Privacy::Public).expect("replaced");
    assert_eq!(fs::read_to_string(scratch.path("real")).expect("read"), "second");
}

#[test]
fn what_is_no_file_of_text_is_refused() {
    let scratch = Scratch::new();
    fs::write(scratch.path("binary"), [0xff, 0xfe]).expect("written");
    let large = fs::File::create(scratch.path("large")).expect("made");
    large.set_len(disk::FILE_BYTES_MAX + 1).expect("grown");
    for name in ["", "binary", "large"] {
        let error = disk::read(&scratch.path(name), disk::Privacy::Public).expect_err("refused");
        assert_eq!(error.exit(), Exit::Usage, "{name}");
    }
    let error = disk::read(Path::new("/dev/zero"), disk::Privacy::Public).expect_err("refused");
    assert_eq!(error.exit(), Exit::Usage);
}
