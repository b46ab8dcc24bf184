//! Help, manual and completions.

use std::fs;
use std::path::Path;

use crate::fixture::Fixture;

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
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/help.txt");
    if std::env::var_os("BLESS").is_some() {
        fs::write(&golden, &shown).expect("written");
    }
    let golden = fs::read_to_string(&golden).unwrap_or_default();
    let differing = shown.lines().zip(golden.lines()).find(|(shown, golden)| shown != golden);
    let advice = "if that is meant: BLESS=1 cargo test -p ravelin --test cli";
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
