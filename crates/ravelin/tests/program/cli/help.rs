//! Help, manual and completions.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::cli::bad_drills::DRILLS;
use crate::cli::bad_input::FAILED;
use crate::cli::fixture::Fixture;

/// A command that has none below it, as its help shows it.
pub(crate) struct Leaf {
    pub(crate) path: Vec<String>,
    /// The options of its own, as `--name`.
    pub(crate) options: Vec<String>,
    /// How many operands it takes.
    pub(crate) operands: usize,
}

/// All such commands.
pub(crate) fn leaves(fixture: &Fixture) -> Vec<Leaf> {
    let mut leaves = Vec::new();
    let mut open = vec![Vec::<String>::new()];
    while let Some(path) = open.pop() {
        let mut arguments: Vec<&str> = path.iter().map(String::as_str).collect();
        arguments.push("-h");
        let help = fixture.done(&arguments);
        let below = listed(&help, "Commands:").filter(|name| *name != "help");
        let before = open.len();
        open.extend(below.map(|name| [&path[..], &[name.to_owned()]].concat()));
        if open.len() == before {
            let options = listed(&help, "Options:").filter(|name| name.starts_with("--"));
            let options = options.map(str::to_owned).collect();
            leaves.push(Leaf { path, options, operands: listed(&help, "Arguments:").count() });
        }
    }
    leaves
}

/// The first word of each entry under a heading of a help text.
fn listed<'a>(help: &'a str, heading: &'a str) -> impl Iterator<Item = &'a str> {
    let lines = help.lines().skip_while(move |line| *line != heading).skip(1);
    let lines = lines.take_while(|line| line.starts_with("  "));
    // Options without a short form are indented by six; what is deeper goes on from a line before.
    let entries = lines.filter(|line| !line.starts_with("        "));
    entries.filter_map(|line| line.split_whitespace().next())
}

/// Run with `BLESS=1` to write what is printed today.
#[test]
fn help_is_as_written_down() {
    let fixture = Fixture::empty("help");
    let help = fixture.done(&["-h"]);
    let mut shown = format!("$ ravelin -h\n{help}");
    let nouns: Vec<&str> = listed(&help, "Commands:").collect();
    assert!(nouns.contains(&"node"));
    for noun in nouns.iter().filter(|noun| **noun != "help") {
        let help = fixture.done(&[noun, "-h"]);
        // Options that every command has are shown once.
        let own = help.split("\nGlobal options:").next().unwrap_or(&help);
        shown.push_str(&format!("\n$ ravelin {noun} -h\n{own}"));
    }
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/program/cli/help.txt");
    if std::env::var_os("BLESS").is_some() {
        fs::write(&golden, &shown).expect("written");
    }
    let golden = fs::read_to_string(&golden).unwrap_or_default();
    let differing = shown.lines().zip(golden.lines()).find(|(shown, golden)| shown != golden);
    let advice = "if that is meant: BLESS=1 cargo test -p ravelin --test program cli::help";
    assert!(shown == golden, "shown and written down: {differing:?}; {advice}");
}

#[test]
fn every_command_has_a_manual_page_and_completions() {
    let fixture = Fixture::empty("manual");
    fixture.done(&["man", "--dir", "man"]);
    for leaf in leaves(&fixture) {
        let page = fixture.read(&format!("man/ravelin-{}.1", leaf.path.join("-")));
        assert!(page.contains(".SH SYNOPSIS"), "{:?}", leaf.path);
    }
    let first = fixture.done(&["man"]);
    assert!(first.contains("Exit codes"), "{first}");
    for shell in ["bash", "zsh", "fish"] {
        let script = fixture.done(&["completion", shell]);
        for leaf in leaves(&fixture) {
            let verb = leaf.path.last().map(String::as_str).unwrap_or_default();
            assert!(script.contains(verb), "{shell}: {verb}");
        }
    }
}

#[test]
fn help_and_version_are_results() {
    let fixture = Fixture::empty("version");
    for arguments in
        [&["--help"][..], &["node", "init", "--help"], &["--version"], &["help", "node"]]
    {
        let run = fixture.run(arguments, &[]);
        assert_eq!((run.exit, run.stderr.as_str()), (0, ""), "{arguments:?}");
        assert!(!run.stdout.is_empty());
    }
    let help = fixture.done(&["--help"]);
    for code in ["  0  done", "  5  no quorum reachable", "130  interrupted"] {
        assert!(help.contains(code), "{help}");
    }
    let json = fixture.done(&["version", "--output", "json"]);
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json.get("version"), Some(&env!("CARGO_PKG_VERSION").into()));
}

#[test]
fn approving_says_how_the_order_is_carried_out_then() {
    let fixture = Fixture::empty("approve_help");
    for order in [&[][..], &["enroll"], &["revoke"], &["rekey"]] {
        let help = fixture.done(&[&["auth", "approve"], order, &["--help"]].concat());
        let steps = [
            "approve enroll ci PUBLIC_KEY --key bob.key --out from-bob.toml",
            "--approval from-bob",
        ];
        assert!(steps.iter().all(|step| help.contains(step)), "{help}");
    }
}

/// The numbers of a text.
fn numbers(text: &str) -> BTreeSet<i32> {
    let words = text.split(|letter: char| !letter.is_ascii_digit());
    words.filter_map(|word| word.parse().ok()).collect()
}

/// What `systemd-analyze security` counts, from 0 to 10; the guide names the command, too.
#[test]
fn the_unit_leaves_little_exposed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let judge = ["security", "--offline=true", "--no-pager", "tools/systemd/ravelin.service"];
    let judged = Command::new("systemd-analyze").args(judge).current_dir(&root).output();
    let Ok(judged) = judged else {
        return println!("SKIPPED: the unit's exposure needs systemd-analyze");
    };
    let text = String::from_utf8_lossy(&judged.stdout);
    let level = text.split_once("Overall exposure level for ravelin.service: ");
    let level = level.and_then(|(_, after)| after.split_whitespace().next()?.parse::<f64>().ok());
    let Some(level) = level else {
        let errors = String::from_utf8_lossy(&judged.stderr);
        return println!("SKIPPED: this systemd-analyze judges no file: {errors}");
    };
    assert!(level <= 2.0, "{text}");
    let guide = fs::read_to_string(root.join("docs/guide/wormhole.md")).expect("there");
    assert!(guide.contains(&judge.join(" ").replace("--no-pager ", "")), "the guide names it");
}

#[test]
fn what_a_person_must_mend_is_not_started_again_by_a_unit() {
    // How starts end that were refused: with these they do, as the table's own test sees.
    let starts = DRILLS.iter().filter(|(command, ..)| command.starts_with("node start"));
    let mut hopeless: BTreeSet<i32> = starts.map(|(_, exit, _)| *exit).collect();
    hopeless.remove(&FAILED); // the next start may succeed
    hopeless.insert(10); // a full disk
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for file in ["tools/systemd/ravelin.service", "docs/guide/operations.md"] {
        let text = fs::read_to_string(root.join(file)).expect("there");
        let mut lists =
            text.lines().filter_map(|line| line.split_once("RestartPreventExitStatus="));
        let (_, list) = lists.next().expect("a unit stands there");
        assert_eq!(numbers(list), hopeless, "{file}");
    }
    let guide = fs::read_to_string(root.join("docs/guide/operations.md")).expect("there");
    let (_, after) = guide.split_once("Why did it end? After exit codes ").expect("a step asks");
    let (list, _) = after.split_once(" the last lines").expect("it says where to look");
    assert_eq!(numbers(list), hopeless);

    // Lines end anywhere.
    let help = Fixture::empty("start_help").done(&["node", "start", "--help"]).replace('\n', " ");
    let (_, codes) = help.split_once("Exit codes: ").expect("they are listed");
    let (_, list) = codes.rsplit_once("After ").expect("it says when nobody need look");
    let (list, _) = list.split_once(" a person must look").expect("and when somebody must");
    assert_eq!(numbers(list), hopeless, "{help}");
    for code in hopeless {
        assert!(codes.contains(&format!("; {code} ")), "{code}: {help}");
    }
}
