//! Help, manual and completions.

use std::fs;
use std::path::Path;

use crate::fixture::Fixture;

/// The nouns and verbs that have no commands below them.
pub(crate) fn leaves(fixture: &Fixture) -> Vec<Vec<String>> {
    let mut leaves = Vec::new();
    let mut open = vec![Vec::<String>::new()];
    while let Some(path) = open.pop() {
        let mut arguments: Vec<&str> = path.iter().map(String::as_str).collect();
        arguments.push("-h");
        let help = fixture.done(&arguments);
        let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
        let listed = listed.take_while(|line| line.starts_with("  "));
        let names = listed.filter(|line| !line.starts_with("   "));
        let names = names.filter_map(|line| line.split_whitespace().next());
        let below: Vec<_> = names.filter(|name| *name != "help").collect();
        if below.is_empty() {
            leaves.push(path);
        } else {
            open.extend(below.iter().map(|name| [&path[..], &[(*name).to_owned()]].concat()));
        }
    }
    leaves
}

/// Run with `BLESS=1` to write what is printed today.
#[test]
fn help_is_as_written_down() {
    let fixture = Fixture::empty("help");
    let help = fixture.done(&["-h"]);
    let mut shown = format!("$ ravelin -h\n{help}");
    let nouns = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let nouns = nouns.take_while(|line| line.starts_with("  "));
    let nouns: Vec<&str> = nouns.filter_map(|line| line.split_whitespace().next()).collect();
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
        let page = fixture.read(&format!("man/ravelin-{}.1", leaf.join("-")));
        assert!(page.contains(".SH SYNOPSIS"), "{leaf:?}");
    }
    let first = fixture.done(&["man"]);
    assert!(first.contains("Exit codes"), "{first}");
    for shell in ["bash", "zsh", "fish"] {
        let script = fixture.done(&["completion", shell]);
        for leaf in leaves(&fixture) {
            let verb = leaf.last().map(String::as_str).unwrap_or_default();
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
