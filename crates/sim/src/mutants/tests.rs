use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::*;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The names in all calls of `mutants::is_active` below `directory`.
fn asked_in(directory: &Path, names: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            asked_in(&path, names);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let calls = text.split("is_active(\"").skip(1);
            names.extend(calls.filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())));
        }
    }
}

#[test]
fn the_list_names_exactly_what_is_planted() {
    let mut asked = BTreeSet::new();
    for entry in std::fs::read_dir(root().join("crates")).unwrap() {
        let source = entry.unwrap().path().join("src");
        if source.is_dir() && !source.ends_with("sim/src") {
            asked_in(&source, &mut asked);
        }
    }
    let listed: BTreeSet<String> = ALL.iter().map(|planted| planted.name.to_owned()).collect();
    assert_eq!(listed, asked);
    assert!(ALL.is_sorted_by_key(|planted| planted.name));
}

#[test]
fn each_has_a_test_that_exists_and_no_scenario_names_another() {
    for planted in ALL {
        assert!(planted.killers().next().is_some(), "nothing finds {}", planted.name);
        for (file, test) in planted.killers() {
            let text = std::fs::read_to_string(root().join(file)).unwrap();
            assert!(text.contains(&format!("fn {test}(")), "{file} has no {test}");
        }
    }
    for scenario in scenarios::ALL {
        if let Mutant::Planted(name) = scenario.mutant {
            assert!(ALL.iter().any(|planted| planted.name == name), "{name} is not planted");
        }
    }
}

#[test]
fn what_breaks_the_commit_rule_is_core() {
    let mut asked = BTreeSet::new();
    let committer = std::fs::read_to_string(root().join("crates/multicast/src/committer.rs"));
    for rest in committer.unwrap().split("is_active(\"").skip(1) {
        asked.extend(rest.split_once('"').map(|(name, _)| name.to_owned()));
    }
    for harms_liveness_alone in ["last_leader_shown_alone", "leader_rotation_fixed"] {
        asked.remove(harms_liveness_alone);
    }
    let core: BTreeSet<String> =
        ALL.iter().filter(|p| p.is_core).map(|planted| planted.name.to_owned()).collect();
    assert_eq!(core, asked);
}
