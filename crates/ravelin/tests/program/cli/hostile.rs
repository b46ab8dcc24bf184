//! Every argument of every command, left out or given what nobody should give it.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::process::Child;
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::cli::bad_input::USAGE;
use crate::cli::fixture::{Fixture, Run};
use crate::cli::help::{Leaf, leaves};

/// A run that takes longer waits for something that never comes.
const PATIENCE: Duration = Duration::from_secs(30);
/// How many runs wait beside one another: most of their time is spent on the end of a time-out.
const AT_ONCE: usize = 4;
/// Exit codes of a refusal.
const REFUSED: [i32; 7] = [1, 2, 3, 4, 5, 6, 9];
/// No text in any encoding.
const NO_TEXT: &[u8] = b"\xff\xfe";

/// A sound use of each command: the command, what it cannot do without, and what else it takes, one
/// `|` after the other. How a value begins says what stands there: `<` a file that is read, `>` one
/// that is made in a directory that is there, `+` one that is made with all above it, `^` one that is written anew, `%` a file or
/// stream that is read, `@` a directory that is there, `~` any text at all, `*` any path at all.
const SOUND: &[(&str, &str, &str)] = &[
    ("demo", "", "--headless | --report=+new | --keep | --fault-model=hybrid"),
    ("local up", "", "--dir=+new | --servers=4 | --fault-model=arbitrary"),
    ("local down", "", "--dir=@c"),
    ("local status", "", "--dir=@c"),
    ("local logs", "--on=0", "--dir=@c"),
    ("local reset", "", "--dir=@c"),
    (
        "node init",
        "--dir=+new --name=n --peer-address=a:1 --client-address=a:2",
        "--admin-listen=off | --identity=+new | --zone=~z | --os=~o | --administrator=~a \
         | --fault-model=hybrid | --fault-model=hybrid --wormhole-state=+new \
         | --fault-model=hybrid --wormhole-user=1:1 | --fault-model=hybrid --server-user=1:1",
    ),
    (
        "node card",
        "--config=<s0/node.toml",
        "--data-dir=*d | --peer-listen=127.0.0.1:1 | --client-listen=127.0.0.1:2 \
         | --admin-listen=off | --log-level=info | --log-format=text",
    ),
    ("node check", "--config=<s1/node.toml", NODE),
    ("node start", "--config=<s1/node.toml", NODE_START),
    ("node release", "--config=<s0/node.toml --signed=<release.toml", RELEASE),
    ("node reopen", "--key=<admin.key", REOPEN),
    ("node evidence", "--config=<s0/node.toml --out=^new", NODE),
    (
        "cluster plan",
        "--name=c --administrator=KEY <s0.card <s1.card <s2.card <s3.card",
        "--f=1 | --fault-model=arbitrary | --administrators-needed=1 | --client=a=KEY \
         | --leaders-per-round=2 | --out=>new | --backup=<bad.txn",
    ),
    ("cluster sign-plan", "<plan.toml", "--key=<admin.key --yes"),
    ("cluster show", "", "<plan.toml"),
    ("cluster fingerprint", "", "<plan.toml"),
    (
        "trust add",
        "new",
        "--plan=<signed.toml | --address=a:1 | --fingerprint=KEY | --plan=signed.toml --key=<admin.key",
    ),
    ("trust list", "", ""),
    ("trust use", "known", ""),
    ("trust remove", "known", ""),
    ("auth keygen", "--out=>new", ""),
    ("auth enroll", "bob KEY --key=<admin.key", "--approval=<approval.toml"),
    ("auth revoke", "bob --key=<admin.key", "--approval=<approval.toml"),
    ("auth rekey", "0 --block=OTHER --key=<admin.key", "--approval=<approval.toml"),
    ("auth approve enroll", "bob KEY --key=<admin.key --out=>new", ""),
    ("auth approve revoke", "bob --key=<admin.key --out=>new", ""),
    ("auth approve rekey", "0 --block=OTHER --key=<admin.key --out=>new", ""),
    ("auth list", "", ""),
    ("auth whoami", "", ""),
    (
        "kv put",
        "a",
        "1 | --file=%large | --lease=1 | --if-absent | --if-value=1 | --if-changed-at=1",
    ),
    ("kv get", "a", "--stale-ok"),
    ("kv delete", "a", "--if-value=1 | --if-changed-at=1"),
    ("kv cas", "a 1 2", ""),
    ("kv list", "", "a | --keys-only | --limit=1"),
    ("kv export", "--out=>new", "--prefix=a | --fuzzy"),
    ("kv import", "%bad.txn", "--from=etcd-json | --dry-run | --overwrite | --if-absent"),
    ("kv watch", "", "a | --from=1"),
    ("kv txn", "%bad.txn", ""),
    ("kv lease grant", "60s", ""),
    ("kv lease renew", "1", ""),
    ("kv lease revoke", "1", ""),
    ("kv lease show", "1", ""),
    ("kv lock", "a", "--lease=1 | --ttl=60s | -- touch"),
    ("kv unlock", "a --lease=1", ""),
    (
        "gateway http",
        "--tokens=<tokens.toml",
        "--listen=127.0.0.1:1 | --tls-cert=<plan.toml | --tls-key=<admin.key --tls-cert=plan.toml \
         | --insecure-plaintext | --access-log=>new",
    ),
    ("gateway token add", "bob --tokens=^new --key=<admin.key", ""),
    ("gateway token list", "--tokens=<tokens.toml", ""),
    ("gateway token remove", "bob --tokens=<tokens.toml", ""),
    ("status", "", "--watch"),
    ("audit tail", "", "--key=<admin.key | --lines=1 | --follow"),
    ("audit export", "--out=>new", "--key=<admin.key"),
    ("audit verify", "<bad.txn", "--fingerprint=KEY"),
    ("backup create", "--out=>new", ""),
    ("backup verify", "<bad.txn", "--by=KEY"),
    ("backup restore", "<bad.txn", "--by=KEY"),
    ("backup schedule", "--dir=*d", "--every=daily"),
    ("attack list", "", ""),
    ("attack run", "mute --on=0", "--dir=@c"),
    ("attack take", "--on=0 --exec=</bin/true", "--dir=@c | -- x"),
    ("attack stop", "--on=0", "--dir=@c"),
    (
        "attack campaign",
        "",
        "--fault-model=hybrid | --seed=0 | --seconds=60 | --full | --only=kill | --report=^new",
    ),
    (
        "attack machine",
        "",
        "--seed=0 | --minutes=1 | --only=kill | --soak=1 | --network=<bad.txn | --report=^new",
    ),
    (
        "attack power-loss",
        "",
        "--fault-model=hybrid | --rollback-proof | --seed=0 | --times=1 | --report=^new",
    ),
    (
        "sim run",
        "",
        "--seeds=1 | --from=0 | --mode=safety | --group=4,1 | --intruder=mute | --threads=1 \
         | --fault-model=hybrid | --fault-model=hybrid --rollback-proof=true | --regressions=+new",
    ),
    ("sim replay", "<bad.txn", ""),
    (
        "sim brm",
        "",
        "--seeds=1 | --from=0 | --variant=t | --engine=quorum | --intruder=mute | --threads=1",
    ),
    (
        "bench",
        "",
        "--value-bytes=1 | --in-flight=1 | --envelope=1 | --seconds=1 | --quick | --idle | --trace \
         | --attack=mute | --attack=mute --on=0 | --attack=mute --pairs=1 \
         | --attack=mute --report=^new \
         | --against=etcd | --against=etcd --pairs=1 | --against=etcd --report=^new \
         | --named=default | --named=default --report=^new | --runs=1 | --reads=50 | --servers=4 \
         | --fault-model=hybrid | --not-durable | --running \
         | --rate=32 | --away=5 | --away=5 --lost | --away=5 --keys=1 | --away=5 --no-quota \
         | --away=5 --rate=32 | --offer=2 | --offer=2 --report=^new | --growth --keys=10000 \
         | --targets --pairs=1 | --targets --quick --report=^new \
         | --against=etcd --reads=100 | --against=arbitrary \
         | --against=openraft --peer-program=<plan.toml \
         | --against=openraft --peer-program=plan.toml --reads=100 \
         | --against=openraft --peer-program=plan.toml --report=^new",
    ),
    (
        "assess closed-form no-repair",
        "--n=4 --f=1 --p=0.05",
        "--rate=0.01 | --time=1 | --coverage=0.7",
    ),
    ("assess closed-form no-repair", "--n=4 --f=1 --rate=0.01 --time=1", ""),
    ("assess closed-form repair", "--n=4 --f=1 --rate=0.01 --repair=1", ""),
    (
        "assess closed-form beta",
        "--n=4 --f=1 --p=0.05 --beta=0.1",
        "--rate=0.01 | --time=1 | --coverage=0.7",
    ),
    ("assess closed-form beta", "--n=4 --f=1 --rate=0.01 --time=1 --beta=0.1", ""),
    ("assess closed-form crossover", "--n=4 --f=1", "--coverage=0.7"),
    ("assess closed-form recoverable", "--fall=1 --recover=1", ""),
    ("assess closed-form coverage", "--operational=1 --environmental=1", ""),
    ("assess closed-form intruded", "--rate=1 --time=1", ""),
    (
        "assess run",
        "<model.toml",
        "--html=^new | --engine=closed | --engine=chain | --engine=monte-carlo --missions=1 \
         | --engine=monte-carlo --missions=1 --seed=1",
    ),
    ("assess compare", "<model.toml <model.toml", "--html=^new"),
    ("assess advise", "<model.toml", "--html=^new"),
    (
        "assess backtest",
        "<model.toml <campaign.json",
        "--service=signing | --acceleration=1 | --level=0.99",
    ),
    ("assess prism", "<model.toml", "--service=signing | --promise=integrity | --questions"),
    ("assess from-plan", "<plan.toml", "--out=>new"),
    ("assess example", "", "one-room"),
    ("assess schema", "", ""),
    ("assess explain", "", "risk"),
    ("wormhole status", "", "--dir=@c | --svg=^new"),
    ("wormhole selftest", "", "--program=<plan.toml"),
    ("wormhole bench", "", "--runs=1 | --wormholes=4"),
    (
        "wormhole measure-od",
        "--to=127.0.0.1:1",
        "--wanted=0.9 | --probes=9 | --rate=9 | --bytes=99 | --listen=192.0.2.1:1 | --for=1s",
    ),
    ("wormhole demo", "", "--svg=^new | --report=^new | --runs=1 | --seed=0 | --real-time"),
    ("doctor", "", "--dir=@c"),
    ("config show", "", CONFIG_SHOW),
    ("config validate", "<plan.toml", "--kind=plan"),
    ("config example", "node", ""),
    ("completion", "bash", ""),
    ("man", "", "--dir=+new"),
    ("version", "", ""),
];

const NODE: &str = "--data-dir=@d | --peer-listen=127.0.0.1:1 | --client-listen=127.0.0.1:2 \
    | --admin-listen=off | --log-level=info | --log-format=text";
const NODE_START: &str = "--data-dir=@d | --peer-listen=127.0.0.1:1 | --client-listen=127.0.0.1:2 \
    | --admin-listen=off | --log-level=info | --log-format=text | --intruder=mute";
const RELEASE: &str = "--data-dir=@d | --peer-listen=127.0.0.1:1 | --client-listen=127.0.0.1:2 \
    | --admin-listen=off | --log-level=info | --log-format=text | --draft=>new | --repaired=1 \
    | --approve=<release.toml | --approve=<release.toml --yes | --key=<admin.key";
const REOPEN: &str = "--lost=0 | --anyway | --draft=>new | --signed=<reopen.toml \
    | --approve=<reopen.toml | --approve=<reopen.toml --yes";
const CONFIG_SHOW: &str = "--config=<s1/node.toml \
    | --config=s1/node.toml --data-dir=*d | --peer-listen=127.0.0.1:1 \
    | --client-listen=127.0.0.1:2 | --admin-listen=off | --log-level=info | --log-format=text";

/// Files that no command takes for what it wants, apart from those that are compared.
struct Traps(Fixture);

impl Traps {
    fn new() -> Self {
        let traps = Fixture::empty("traps");
        std::fs::write(traps.path("noise"), [0xff, 0, b'\n', 0xfe].repeat(64)).expect("written");
        let huge = std::fs::File::create(traps.path("huge")).expect("made");
        huge.set_len(1 << 36).expect("sparse");
        std::fs::create_dir(traps.path("dir")).expect("made");
        let mode = Mode::RUSR | Mode::WUSR;
        mknodat(CWD, traps.path("pipe"), FileType::Fifo, mode, 0).expect("made");
        Self(traps)
    }

    /// What to give instead of a value that begins with `kind`.
    fn instead_of(&self, kind: char) -> Vec<OsString> {
        let named = |names: &[&str]| -> Vec<OsString> {
            names.iter().map(|name| self.0.path(name).into_os_string()).collect()
        };
        let mut traps = match kind {
            '<' => named(&["nowhere", "dir", "noise", "huge", "pipe", "noise/below"]),
            '%' => named(&["nowhere", "dir", "noise", "huge", "noise/below"]),
            '>' => named(&["dir", "noise", "pipe", "noise/below", "nowhere/below"]),
            '^' => named(&["dir", "pipe", "noise/below", "nowhere/below"]),
            '+' => named(&["noise", "pipe", "noise/below"]),
            '@' => named(&["nowhere", "dir", "noise", "pipe"]),
            _ => vec![],
        };
        match kind {
            '<' | '%' => traps.extend(["/dev/zero".into(), OsString::from_vec(NO_TEXT.to_vec())]),
            '>' | '^' | '+' | '@' | '*' => {}
            _ => traps.push(OsString::from_vec(NO_TEXT.to_vec())),
        }
        if kind != '~' {
            traps.push(OsString::new());
        }
        traps
    }
}

/// The words of a use, as they are typed.
fn words(use_of: &str, key: &str) -> Vec<String> {
    let other = "9".repeat(64);
    use_of
        .split_whitespace()
        .map(|word| word.replace("KEY", key).replace("OTHER", &other))
        .collect()
}

/// A word without the mark of what it is.
fn plain(word: &str) -> OsString {
    let (flag, value) = parts(word);
    format!("{flag}{}", value.trim_start_matches(MARKS)).into()
}

const MARKS: [char; 8] = ['<', '>', '^', '+', '%', '@', '~', '*'];

/// `--flag=` and the value of a word.
fn parts(word: &str) -> (&str, &str) {
    match word.find('=') {
        Some(at) if word.starts_with("--") => word.split_at(at + 1),
        _ => ("", word),
    }
}

/// The word with every value that it should not have.
fn spoiled(word: &str, traps: &Traps) -> Vec<OsString> {
    let (flag, value) = parts(word);
    if flag.is_empty() && word.starts_with("--") {
        return vec![format!("{word}=x").into()];
    }
    let kind = value.chars().next().unwrap_or(' ');
    let instead = traps.instead_of(kind).into_iter();
    let given = instead.map(|trap| {
        let mut given = OsString::from(flag);
        given.push(trap);
        given
    });
    given.collect()
}

/// Everything wrong that is tried on one command: what is typed, and whether it must be a usage error.
fn attempts(needs: &[String], others: &[Vec<String>], traps: &Traps) -> Vec<(Vec<OsString>, bool)> {
    let sound: Vec<OsString> = needs.iter().map(|word| plain(word)).collect();
    let mut attempts = Vec::new();
    for (at, word) in needs.iter().enumerate() {
        let mut without = sound.clone();
        without.remove(at);
        for spoiled in spoiled(word, traps) {
            let mut given = without.clone();
            given.insert(at, spoiled);
            attempts.push((given, false));
        }
        attempts.push((without, true));
    }
    for other in others {
        let (last, before) = other.split_last().expect("words");
        let before: Vec<OsString> = before.iter().map(|word| plain(word)).collect();
        for spoiled in spoiled(last, traps) {
            attempts.push(([&sound[..], &before, &[spoiled]].concat(), false));
        }
    }
    let no_text = |flag: &str| OsString::from_vec([flag.as_bytes(), NO_TEXT].concat());
    for wrong in [
        vec!["--no-such-flag".into()],
        vec!["-q".into(), "-v".into()],
        vec!["--output=xml".into()],
        vec![no_text("--output=")],
        vec![no_text("--timeout=")],
        vec![no_text("--context=")],
        vec!["--timeout=-1s".into()],
    ] {
        attempts.push(([&wrong[..], &sound].concat(), true));
    }
    attempts
}

/// An order to go on, for a server that is nowhere.
fn release() -> String {
    let digest = "0".repeat(64);
    format!(
        "version = 1\ncluster = \"{digest}\"\nincarnation = 1\nepoch = 1\nserver = 0\nhalt = \"{digest}\"\n\
         serial = 1\nrepaired = []\nissued = \"\"\n"
    )
}

/// An order to open a cluster that is nowhere.
fn reopening() -> String {
    let digest = "0".repeat(64);
    format!(
        "version = 1\ncluster = \"{digest}\"\nincarnation = 1\nepoch = 1\nnumber = 1\nlost = []\n"
    )
}

fn outcome(mut child: Child) -> Option<Run> {
    let started = Instant::now();
    while child.try_wait().expect("ours").is_none() {
        if started.elapsed() > PATIENCE {
            child.kill().expect("ours");
            child.wait().expect("ours");
            return None;
        }
        sleep(Duration::from_millis(2));
    }
    Some(Run::of(child.wait_with_output().expect("ours")))
}

/// What is wrong with how a command took bad input.
fn complaint(run: Option<&Run>, is_usage: bool) -> Option<String> {
    let Some(run) = run else { return Some("still runs".to_owned()) };
    let lines: Vec<&str> = run.stderr.lines().collect();
    let has_form = matches!(lines.as_slice(), [error, hint]
        if error.starts_with("error: ") && hint.starts_with("hint: ") && hint.len() > 10);
    let has_exit = if is_usage { run.exit == USAGE } else { REFUSED.contains(&run.exit) };
    (!has_form || !has_exit).then(|| format!("exit {}: {}{}", run.exit, run.stdout, run.stderr))
}

#[test]
fn no_argument_of_any_command_takes_what_it_should_not() {
    let fixture = Fixture::cluster("hostile");
    fixture.write("large", &"x".repeat(524_289));
    fixture.write("release.toml", &release());
    fixture.write("reopen.toml", &reopening());
    fixture.write("bad.txn", "then\n  move a b\n");
    fixture.write("campaign.json", "{\"event\":\"mission\",\"hours\":1,\"intruded\":[]}\n");
    fixture.write("model.toml", &fixture.done(&["assess", "example", "single-hsm"]));
    let traps = Traps::new();
    let before = fixture.contents();
    let key = fixture.public("admin.key");
    let environment = [("RAVELIN_TIMEOUT", "50ms")];
    let mut complaints = Vec::new();
    for (command, needs, others) in SOUND {
        let others = others.split('|').map(|other| words(other, &key));
        let others: Vec<Vec<String>> = others.filter(|other| !other.is_empty()).collect();
        let attempts = attempts(&words(needs, &key), &others, &traps);
        let complaint_of = |(given, is_usage): &(Vec<OsString>, bool)| {
            let noun = command.split(' ').map(OsString::from);
            let arguments: Vec<OsString> = noun.chain(given.iter().cloned()).collect();
            let run = outcome(fixture.start(&arguments, &environment));
            let complaint = complaint(run.as_ref(), *is_usage)?;
            Some(format!("{arguments:?}: {complaint}"))
        };
        scope(|threads| {
            let shares = attempts.chunks(attempts.len().div_ceil(AT_ONCE));
            let running: Vec<_> = shares
                .map(|share| threads.spawn(|| share.iter().filter_map(complaint_of).collect()))
                .collect();
            let found = running.into_iter().map(|one| one.join().expect("no panic"));
            complaints.extend(found.flat_map(|found: Vec<String>| found));
        });
        if fixture.contents() != before {
            complaints.push(format!("`{command}` changed something on disk"));
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn every_argument_of_every_command_is_tried() {
    let fixture = Fixture::empty("tried");
    for Leaf { path, options, operands } in leaves(&fixture) {
        let command = path.join(" ");
        let row = SOUND.iter().find(|(of, ..)| *of == command);
        let (_, needs, others) = row.unwrap_or_else(|| panic!("`{command}` has no row"));
        let typed = || needs.split_whitespace().chain(others.split_whitespace());
        for option in options {
            let is_tried = typed().any(|word| {
                word.strip_prefix(&option)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
            });
            assert!(is_tried, "`{command}`: {option} is not tried");
        }
        let tried = typed().filter(|word| !word.starts_with('-') && *word != "|").count();
        assert!(tried >= operands, "`{command}`: {tried} of {operands} operands are tried");
    }
}
