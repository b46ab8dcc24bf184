use super::build::{executables, verdict};
use super::table::seeds;
use super::*;

fn test(text: &str) -> Test {
    Test::parse(text).unwrap()
}

#[test]
fn a_test_is_found_in_the_executable_of_its_file() {
    let places = [
        ("crates/sim/tests/runs/scenarios.rs::a", "runs", "scenarios::a"),
        ("crates/multicast/tests/cluster/limits.rs::a", "cluster", "limits::a"),
        ("crates/client/src/tests/votes.rs::a", "ravelin_client", "tests::votes::a"),
        ("crates/crypto/src/signing/tests.rs::a", "ravelin_crypto", "signing::tests::a"),
        ("crates/client/src/tally.rs::a", "ravelin_client", "tally::tests::a"),
        ("models/tests/bombs.rs::a", "bombs", "a"),
    ];
    for (text, target, path) in places {
        assert_eq!(test(text).place().unwrap(), (target.to_owned(), path.to_owned()), "{text}");
    }
    assert_eq!(test("crates/multicast/tests/cluster/limits.rs::a").target(), "cluster");
    assert_eq!(test("crates/sim/tests/runs/scenarios.rs::a").target(), "runs");
    assert_eq!(test("crates/client/src/tally.rs::a").target(), "");
    assert!(test("README.rs::a").place().is_err());
    assert!(Test::parse("no test").is_err());
}

#[test]
fn cargo_names_its_executables() {
    let talk = "   Compiling a\n  Executable unittests src/lib.rs (t/release/deps/a-12)\n  \
                Executable tests/views.rs (t/release/deps/views-34)\n";
    let named: Vec<&str> = executables(talk).collect();
    assert_eq!(named, ["t/release/deps/a-12", "t/release/deps/views-34"]);
}

#[test]
fn only_a_test_that_ran_and_failed_kills() {
    let result = |counts| verdict(&format!("running 1 test\n\ntest result: {counts}; finished\n"));
    let failed = "FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 4 filtered out";
    let passed = "ok. 1 passed; 0 failed; 0 ignored; 0 measured; 4 filtered out";
    let aside = "ok. 0 passed; 0 failed; 1 ignored; 0 measured; 4 filtered out";
    let missing = "ok. 0 passed; 0 failed; 0 ignored; 0 measured; 5 filtered out";
    assert_eq!(result(failed), Some(Verdict::Failed));
    assert_eq!(result(passed), Some(Verdict::Passed));
    assert_eq!(result(aside), Some(Verdict::SetAside));
    assert_eq!(result(missing), None, "a name that no test has");
    assert_eq!(verdict("killed by a signal"), None);
}

fn row(verdicts: &[Verdict], hunts: Vec<Hunt>) -> Row {
    let tests = vec![test("models/tests/bombs.rs::a"); verdicts.len()];
    let planted = Planted {
        name: "bug".into(),
        is_core: false,
        breaks: "something".into(),
        scenarios: String::new(),
        tests,
    };
    Row { planted, verdicts: verdicts.to_vec(), hunts }
}

#[test]
fn a_bug_survives_if_one_of_its_tests_passes_or_none_runs() {
    use Verdict::{Failed, Passed, SetAside};
    let killed = || vec![Hunt::Killed { seeds: 3, by: "order".into() }];
    assert_eq!(row(&[Failed, Failed], vec![]).survived(), None);
    assert_eq!(row(&[Failed, SetAside], vec![]).survived(), None);
    assert_eq!(row(&[SetAside], killed()).survived(), None);
    assert!(row(&[Failed, Passed], killed()).survived().is_some());
    assert!(row(&[SetAside], vec![Hunt::Survived { seeds: 100 }]).survived().is_some());
}

#[test]
fn the_median_counts_those_that_found_nothing_as_the_longest() {
    let killed = |seeds| Hunt::Killed { seeds, by: "order".into() };
    let of = |hunts: [Hunt; 5]| seeds(&hunts);
    assert_eq!(
        of([killed(9), killed(2), killed(5), killed(1), Hunt::Survived { seeds: 100 }]),
        "5 (order)"
    );
    let few = of([
        killed(9),
        Hunt::Survived { seeds: 100 },
        Hunt::Survived { seeds: 100 },
        killed(1),
        Hunt::Survived { seeds: 100 },
    ]);
    assert!(few == "not by seeds: 2 of 5 starts in 100", "{few}");
    assert_eq!(seeds(&[]), "not tried");
}

#[test]
fn the_list_is_read_as_it_is_written() {
    let listed =
        "quorum_lowered\tcore\tbreaks it\t5\tmodels/tests/a.rs::b crates/c/tests/d.rs::e\n";
    let planted = parse_list(listed).unwrap();
    assert_eq!(planted.len(), 1);
    assert!(planted[0].is_core && planted[0].tests[0].is_model());
    assert_eq!(planted[0].tests[1].to_string(), "crates/c/tests/d.rs::e");
    assert!(parse_list("no list").is_err());
}

#[test]
fn jobs_keep_their_order() {
    let jobs: Vec<u64> = (0..50).collect();
    let doubled = on_all_cores(&jobs, &|job| Ok(job * 2)).unwrap();
    assert_eq!(doubled, (0..50).map(|job| job * 2).collect::<Vec<_>>());
    assert!(on_all_cores(&jobs, &|job| if *job == 7 { bail!("no") } else { Ok(()) }).is_err());
}

#[test]
fn the_flags_are_read() {
    let wanted = Wanted::parse(&["--seeds", "7", "--output", "x.md"]).unwrap();
    assert_eq!((wanted.is_core, wanted.seeds, wanted.output), (false, 7, "x.md"));
    assert_eq!(wanted.given, " --seeds 7 --output x.md");
    assert!(Wanted::parse(&["--core"]).unwrap().is_core);
    assert_eq!(Wanted::parse(&[]).unwrap().output, KEPT);
    assert!(Wanted::parse(&["--cores"]).is_err());
    assert!(Wanted::parse(&["--seeds"]).is_err());
}
