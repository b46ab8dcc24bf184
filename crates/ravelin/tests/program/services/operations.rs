//! The operators' guide, typed as it stands there: four servers, the commands, exit codes and output.
//!
//! Not typed is what only a machine with systemd and a network has: `systemctl` starts and stops the
//! same program as the unit does, `journalctl` prints its log, `scp` copies, and the addresses of
//! hosts are those of this one. What happens to hardware, an event of the guide says.

mod guide;
mod site;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Instant;

use guide::Step;
use site::Site;

/// The headings that say what to do, by the cluster on which they are tried, one after the other.
const TRIED: [(&str, &[&str]); 4] = [
    ("upkeep", &["First look", "Monitoring", "Upgrade", "Clients", "A server's key", "Audit"]),
    ("losses", &["A lost server", "A lost disk", "An old disk comes back", "A damaged disk"]),
    ("quorum", &["A lost quorum", "A full disk", "A state that differs"]),
    ("judged", &["A server proven faulty", "Backups", "Fail-safe", "Restore"]),
];

fn text() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/guide/operations.md");
    fs::read_to_string(path).expect("the guide")
}

fn sections() -> Vec<(String, Vec<Step>)> {
    guide::sections(&text()).unwrap_or_else(|error| panic!("docs/guide/operations.md: {error}"))
}

#[test]
fn every_step_of_the_guide_is_tried() {
    let told: Vec<String> = sections().into_iter().map(|(title, _)| title).collect();
    let tried: Vec<&str> = TRIED.iter().flat_map(|(_, titles)| titles.iter().copied()).collect();
    assert_eq!(
        BTreeSet::from_iter(told.iter().map(String::as_str)),
        BTreeSet::from_iter(tried.iter().copied())
    );
    assert_eq!(told.len(), tried.len(), "no heading has steps in two places: {told:?}");
}

#[test]
fn every_exit_code_is_in_the_guide() {
    let help = std::process::Command::new(env!("CARGO_BIN_EXE_ravelin")).arg("--help").output();
    let help = String::from_utf8(help.expect("run").stdout).expect("text");
    let codes = help.split("Exit codes:").nth(1).expect("a list").lines();
    let codes = codes.filter_map(|line| line.split_whitespace().next()?.parse::<u8>().ok());
    let guide = text();
    let codes: Vec<u8> = codes.collect();
    assert!(codes.len() >= 12, "{codes:?}");
    for code in codes {
        assert!(guide.contains(&format!("\n| {code} |")), "exit code {code} has no row");
    }
}

/// Does what is told under the headings of a cluster, and counts.
fn try_all(name: &str) {
    let (_, titles) = TRIED.iter().find(|(of, _)| *of == name).expect("in the list");
    let sections = sections();
    let mut site = Site::start(name);
    for title in *titles {
        let begun = Instant::now();
        let (_, steps) = sections.iter().find(|(of, _)| of == title).expect("in the guide");
        let mut done = 0;
        for step in steps {
            match step {
                Step::Event(words) if !site.happen(words) => {
                    eprintln!("SKIPPED from here: {title}: `{words:?}` needs root");
                    break;
                }
                Step::Event(_) => {}
                Step::Command(typed) => site.enter(title, typed),
            }
            done += 1;
        }
        let (all, took) = (steps.len(), begun.elapsed());
        println!("{title}: {done} of {all} steps done in {took:.1?}");
        assert!(done == all || !rustix::process::geteuid().is_root(), "{title}: {done} of {all}");
    }
}

#[test]
fn upkeep_goes_as_the_guide_says() {
    try_all("upkeep");
}

#[test]
fn what_is_lost_comes_back_as_the_guide_says() {
    try_all("losses");
}

#[test]
fn a_quorum_and_room_come_back_as_the_guide_says() {
    try_all("quorum");
}

#[test]
fn intrusions_are_met_as_the_guide_says() {
    try_all("judged");
}
