//! Campaigns in every form that is read, and in some that are not.

use super::*;
use crate::engines::mission::Estimate as Interval;

const RERUN: Rerun = Rerun { acceleration: 1.0, level: 0.99 };

/// The design of the demonstration: four servers, one intrusion tolerated.
fn design() -> Design {
    let path = format!("{}/../../examples/assess/one-room.toml", env!("CARGO_MANIFEST_DIR"));
    Design::parse("one-room", &std::fs::read_to_string(path).unwrap()).unwrap()
}

fn tested(text: &str, rerun: Rerun) -> Result<Backtest, BacktestError> {
    backtest(&design(), None, "c.json", text, rerun)
}

#[track_caller]
fn row_of<'b>(found: &'b Backtest, event: &str) -> &'b BacktestRow {
    found.rows.iter().find(|row| row.event == event).unwrap_or_else(|| panic!("{found:#?}"))
}

#[test]
fn a_demonstration_is_read() {
    let text = r#"{"event":"started","servers":4,"pids":[1,2,3,4],"dir":"d"}
{"event":"attack_begun","at_ms":1000,"name":"kill","server":1,"what":"w"}
{"event":"attack_over","at_ms":2000,"name":"kill","server":1,"outcome":"recovered","longest_gap_ms":5}
{"event":"attack_begun","at_ms":3000,"name":"equivocator","server":2,"what":"w"}
{"event":"attack_over","at_ms":36000,"name":"equivocator","server":2,"outcome":"refused","longest_gap_ms":5}
{"event":"beyond_begun","servers":[2,3],"what":"w"}
{"event":"verdict","fault_model":"arbitrary","servers":4,"operations":100,"unanswered":0,"wrong":0,"lost":0,"disclosed":null,"longest_gap_ms":7,"attacks":[{"name":"kill","server":1,"outcome":"recovered"},{"name":"equivocator","server":2,"outcome":"refused"}],"beyond":{"operations":3,"wrong":1,"refused":2,"halted":true,"halted_after":2}}
"#;
    let found = tested(text, Rerun { acceleration: 1e6, ..RERUN }).unwrap();
    assert_eq!(found.campaigns, 1);
    let intruded = row_of(&found, "a server was intruded");
    assert_eq!((intruded.hits, intruded.trials), (2, 4));
    // 36 s at a million times the speed are 10,000 hours.
    let rate = Situation::of(&design(), &design().services[0]).mean_rate();
    assert!((intruded.predicted - (1.0 - (-rate * 1e4).exp())).abs() < 1e-9);
    assert_eq!(row_of(&found, "more than f servers were intruded at once").hits, 0);
    let broken = row_of(&found, "a promise was broken with at most f servers intruded");
    assert_eq!((broken.hits, broken.trials), (0, 1));
    assert!((broken.predicted - 0.001).abs() < 1e-12, "1 - Pr_o of the secret store");
    let attacks = row_of(&found, "an attack was not tolerated");
    assert_eq!((attacks.hits, attacks.trials), (0, 2));
}

#[test]
fn attacks_at_the_same_time_exceed_f() {
    let text = r#"{"event":"attack_begun","at_ms":1,"name":"a","server":1}
{"event":"attack_begun","at_ms":2,"name":"b","server":2}
{"event":"verdict","servers":4,"seconds":3600,"wrong":3,"attacks":[]}
{"event":"attack_begun","at_ms":1,"name":"a","server":1}
{"event":"attack_over","at_ms":2,"name":"a","server":1,"outcome":"failed"}
{"event":"attack_begun","at_ms":3,"name":"b","server":2}
{"event":"verdict","servers":4,"seconds":3600,"lost":1,"attacks":[{"name":"a","server":1,"outcome":"failed"}]}
"#;
    let found = tested(text, RERUN).unwrap();
    let exceeded = row_of(&found, "more than f servers were intruded at once");
    assert_eq!((exceeded.hits, exceeded.trials), (1, 2));
    let broken = row_of(&found, "a promise was broken with at most f servers intruded");
    assert_eq!((broken.hits, broken.trials), (1, 1), "what breaks beyond f is no surprise");
    assert_eq!(row_of(&found, "an attack was not tolerated").hits, 1);
}

#[test]
fn the_simulators_summary_is_read_in_one_or_many_lines() {
    let text = r#"{"seeds":10000,"violations":0,"trace_hash":"x","events":5,"virtual_seconds":1.0,"faults":{},"commits":1,"operations":1,"counted":9990,"uncounted":{},"pairs":{}}"#;
    for text in [text.to_owned(), text.replace(',', ",\n")] {
        let found = tested(&text, RERUN).unwrap();
        assert_eq!(found.campaigns, 9990);
        let event = "a simulated run broke a promise with at most f servers intruded";
        let row = row_of(&found, event);
        assert_eq!((row.hits, row.trials), (0, 9990));
        let interval = Interval::of_share(0, 9990, 0.99).unwrap();
        assert_eq!((row.low, row.high), (interval.low, interval.high));
        assert!(!row.is_consistent, "10,000 runs without one say more than 1 - 0.999");
        assert!(found.conclusions[0].contains("too pessimistic"), "{:?}", found.conclusions);
    }
}

/// Missions drawn with the design's own probabilities are consistent with it; others are not.
#[test]
fn missions_of_the_design_are_consistent_and_others_are_not() {
    use rand_chacha::ChaCha8Rng;
    use rand_core::{RngCore, SeedableRng};
    let design = design();
    let situation = Situation::of(&design, &design.services[0]);
    let hours = 2000.0;
    let p = closed::intruded_by(situation.mean_rate(), hours).unwrap();
    let mission = Situation { mission: hours, ..situation };
    let exceeded = solve::by_mission(&mission, Question::Exceeded, Grade::Swept).unwrap();
    let mut dice = ChaCha8Rng::seed_from_u64(7);
    let mut draw = |chance: f64| (dice.next_u64() as f64) < chance * u64::MAX as f64;
    let mut campaigns = |factor: f64| {
        let mut text = String::new();
        for _ in 0..4000 {
            let hit: Vec<String> =
                (0..4).filter(|_| draw(p * factor)).map(|it: u32| it.to_string()).collect();
            let exceeded = draw(exceeded * factor);
            text += &format!(
                "{{\"event\":\"mission\",\"hours\":2,\"intruded\":[{}],\"exceeded\":{exceeded}}}\n",
                hit.join(",")
            );
        }
        tested(&text, Rerun { acceleration: 1000.0, ..RERUN }).unwrap()
    };
    let like = campaigns(1.0);
    assert_eq!(like.campaigns, 4000);
    assert!(like.rows[..2].iter().all(|row| row.is_consistent), "{:#?}", like.rows);
    let harder = campaigns(1.6);
    assert!(harder.rows[..2].iter().all(|row| !row.is_consistent), "{:#?}", harder.rows);
    assert!(harder.conclusions[0].contains("too optimistic"));
}

/// Four servers that always fall together are one trial a mission, however many there are.
#[test]
fn servers_of_one_mission_are_no_independent_trials() {
    let line =
        |list: &str| format!("{{\"event\":\"mission\",\"hours\":1,\"intruded\":[{list}]}}\n");
    let together = line("0,1,2,3").repeat(10) + &line("").repeat(30);
    let found = tested(&together, RERUN).unwrap();
    let row = row_of(&found, "a server was intruded");
    assert_eq!((row.hits, row.trials), (40, 160));
    let alone = Interval::of_share(10, 40, 0.99).unwrap();
    assert!((row.low - alone.low).abs() < 1e-12 && (row.high - alone.high).abs() < 1e-12);
    // One at a time they are apart, and worth a trial each.
    let apart = line("0").repeat(40);
    let row = tested(&apart, RERUN).unwrap().rows.remove(0);
    let each = Interval::of_share(40, 160, 0.99).unwrap();
    assert!((row.low - each.low).abs() < 1e-12 && (row.high - each.high).abs() < 1e-12);
    // Where none was intruded nothing tells them apart.
    let row = tested(&line("").repeat(40), RERUN).unwrap().rows.remove(0);
    assert!((row.high - Interval::of_share(0, 40, 0.99).unwrap().high).abs() < 1e-12);
}

/// Servers with different rates: the mean of their probabilities, not the probability of the mean rate.
#[test]
fn the_prediction_is_the_mean_of_the_servers() {
    let mut situation = Situation::of(&design(), &design().services[0]);
    for (server, rate) in situation.servers.iter_mut().zip([0.0, 0.0, 0.0, 1e9]) {
        server.rate = rate;
    }
    assert!((mean_intruded(&situation, 1.0).unwrap() - 0.25).abs() < 1e-12);
}

#[test]
fn what_is_no_campaign_is_refused_with_its_line() {
    for (text, told) in [
        ("", "no campaign in it"),
        ("{\"event\":\"written\"}\n[1]\n7\n\"x\"", "no campaign in it"),
        ("{\"event\":\"started\"}\n{oops", "c.json:2: not JSON"),
        ("{\"event\":\"mission\"}", "c.json:1: no `hours`"),
        ("{\"event\":\"mission\",\"hours\":-1,\"intruded\":[]}", "no `hours`"),
        ("{\"event\":\"mission\",\"hours\":1}", "no list `intruded`"),
        ("{\"event\":\"mission\",\"hours\":1,\"intruded\":[0,1,2,3,4]}", "not one of the numbers"),
        (
            "{\"event\":\"mission\",\"hours\":1,\"intruded\":[\"vault-1\"]}",
            "not one of the numbers",
        ),
        ("{\"event\":\"mission\",\"hours\":1,\"intruded\":[4]}", "number from 0"),
        ("{\"event\":\"mission\",\"hours\":1,\"intruded\":[],\"exceeded\":\"yes\"}", "`exceeded`"),
        ("{\"event\":\"mission\",\"hours\":1,\"intruded\":[],\"broken\":1}", "`broken`"),
        ("{\"event\":\"mission\",\"hours\":\"720\",\"intruded\":[]}", "no `hours` above 0"),
        (
            "{\"event\":\"verdict\",\"servers\":7}",
            "a campaign of 7 servers, and the service has 4 servers under `arbitrary`",
        ),
        ("{\"event\":\"started\",\"servers\":7}", "a campaign of 7 servers, and"),
        ("{\"event\":7}", "`event` is 7, and not a text"),
        ("{\"seeds\":-5,\"violations\":0}", "`seeds` is -5, and not a whole number"),
        ("{\"seeds\":5,\"violations\":\"none\"}", "`violations` is \"none\""),
        ("{\"seeds\":5,\"violations\":6}", "`violations` is 6, and there are 5 seeds"),
        ("{\"seeds\":5,\"violations\":0,\"counted\":6}", "`counted` is 6"),
        ("{\"event\":\"verdict\",\"servers\":4,\"fault_model\":\"hybrid\"}", "under `hybrid`"),
    ] {
        let error = tested(text, RERUN).unwrap_err().to_string();
        assert!(error.contains(told), "{text}: {error}");
    }
    let error = backtest(&design(), Some("x"), "c", "", RERUN).unwrap_err().to_string();
    assert!(error.contains("no service `x`; the design has: secrets"), "{error}");
    let text = "{\"event\":\"mission\",\"hours\":1e300,\"intruded\":[]}";
    let error = tested(text, Rerun { acceleration: f64::NAN, ..RERUN }).unwrap_err();
    assert!(matches!(error, BacktestError::Analysis(AnalysisError::Service { .. })), "{error}");
}

/// A demonstration as it was written, with one event changed: refused at that line.
#[test]
fn events_that_cannot_be_are_refused_at_their_line() {
    let begun =
        "{\"event\":\"attack_begun\",\"at_ms\":3004,\"name\":\"kill\",\"server\":1,\"what\":\"w\"}";
    let over = "{\"event\":\"attack_over\",\"at_ms\":7723,\"name\":\"kill\",\"server\":1,\"outcome\":\"recovered\"}";
    let verdict = "{\"event\":\"verdict\",\"servers\":4,\"wrong\":0,\"lost\":0,\"disclosed\":null,\
                   \"seconds\":7,\"attacks\":[{\"name\":\"kill\",\"server\":1,\"outcome\":\"recovered\"}]}";
    let started = "{\"event\":\"started\",\"servers\":4,\"pids\":[1,2,3,4]}";
    let beyond = "{\"event\":\"beyond_begun\",\"servers\":[2,3],\"what\":\"w\"}";
    let right = [started, begun, over, beyond, verdict].join("\n");
    tested(&right, RERUN).unwrap();
    for (line, old, new, told) in [
        (1, "\"servers\":4,\"pids\"", "\"servers\":-4,\"pids\"", "`servers` is -4"),
        (2, "3004", "-1", "`at_ms` is -1, and not a number of at least 0"),
        (2, "3004", "\"soon\"", "`at_ms` is \"soon\""),
        (
            2,
            "\"server\":1,\"what\"",
            "\"server\":4,\"what\"",
            "`server` is 4, and not one of the servers' numbers 0 to 3",
        ),
        (2, "\"server\":1,\"what\"", "\"server\":-1,\"what\"", "`server` is -1"),
        (2, "\"server\":1,\"what\"", "\"server\":\"vault-1\",\"what\"", "`server` is \"vault-1\""),
        (2, "\"name\":\"kill\"", "\"name\":7", "`name` is 7"),
        (3, "7723", "3003", "`at_ms` is 3003, and an event before it was at 3004"),
        (
            3,
            "\"kill\",\"server\":1,\"outcome\":\"recovered\"}\n",
            "\"liar\",\"server\":1}\n",
            "the attack `liar` on server 1 is over and had not begun",
        ),
        (
            3,
            "\"server\":1,\"outcome\":\"recovered\"}\n",
            "\"server\":2}\n",
            "`kill` on server 2 is over",
        ),
        (4, "[2,3]", "[2,9]", "`servers` is 9"),
        (4, "[2,3]", "2", "`servers` is 2, and not a list"),
        (5, "\"wrong\":0", "\"wrong\":-1", "`wrong` is -1"),
        (5, "\"wrong\":0", "\"wrong\":0.5", "`wrong` is 0.5"),
        (5, "\"lost\":0", "\"lost\":\"no\"", "`lost` is \"no\""),
        (5, "\"seconds\":7", "\"seconds\":-7", "`seconds` is -7"),
        (5, "\"seconds\":7", "\"seconds\":6", "`seconds` is 6, and an event was at 7.723 s"),
        (
            5,
            "[{\"name\":\"kill\",\"server\":1",
            "[{\"name\":\"kill\",\"server\":5",
            "`server` is 5",
        ),
        (
            5,
            "[{\"name\":\"kill\",\"server\":1,\"outcome\":\"recovered\"}]",
            "[]",
            "a verdict on 0 attacks, and 1 were over",
        ),
        (5, "[{\"name\":\"kill\",\"server\":1,\"outcome\":\"recovered\"}]", "1", "`attacks` is 1"),
        (1, verdict, "", "the campaign that begins here has no verdict"),
        (5, verdict, started, "a campaign begins, and that of line 1 has no verdict"),
    ] {
        let changed = right.replacen(old, new, 1);
        assert_ne!(changed, right, "{old}");
        let error = tested(&changed, RERUN).unwrap_err().to_string();
        assert!(error.starts_with(&format!("c.json:{line}: ")) && error.contains(told), "{error}");
        assert!(error.ends_with("as `--output json` wrote them"), "{error}");
    }
}

/// `ravelin attack campaign` names the server when an attack is over, and steps without one.
#[test]
fn a_campaign_names_servers_when_attacks_are_over() {
    let text = r#"{"event":"started","seed":1,"servers":4,"steps":2}
{"event":"attack_begun","at_ms":10,"name":"mute","what":"server 2: owned"}
{"event":"attack_over","at_ms":20,"name":"mute","server":2,"what":"owned","outcome":"masked","wrong":0}
{"event":"fresh_cluster","clusters":2}
{"event":"attack_begun","at_ms":30,"name":"kill all","what":"all"}
{"event":"attack_over","at_ms":40,"name":"kill all","server":null,"what":"all","outcome":"recovered"}
{"event":"verdict","fault_model":"arbitrary","servers":4,"seed":1,"seconds":3600,"clusters":2,"gap_max_ms":null,"operations":9,"unanswered":0,"wrong":0,"lost":0,"failed":0,"exposed":0,"longest_gap_ms":3,"attacks":[{"name":"mute","server":2,"outcome":"masked"},{"name":"kill all","server":null,"outcome":"recovered"}]}
"#;
    let found = tested(text, RERUN).unwrap();
    let intruded = row_of(&found, "a server was intruded");
    assert_eq!((intruded.hits, intruded.trials), (1, 4));
    let attacks = row_of(&found, "an attack was not tolerated");
    assert_eq!((attacks.hits, attacks.trials), (0, 2));
}

/// The first line of a demonstration does not name its fault model; its verdict does.
#[test]
fn a_campaign_of_another_cluster_is_named_by_its_own_fault_model() {
    let started = "{\"event\":\"started\",\"servers\":3}\n{\"event\":\"written\"}\n";
    let verdict = "{\"event\":\"verdict\",\"servers\":3,\"fault_model\":\"hybrid\"}\n";
    for (text, found) in [
        (format!("{started}{verdict}"), "c.json:1: a campaign of 3 servers under `hybrid`, and"),
        (verdict.to_owned(), "c.json:1: a campaign of 3 servers under `hybrid`, and"),
        (verdict.replace("\"servers\":3,", ""), "a campaign of servers under `hybrid`, and"),
        (started.to_owned(), "c.json:1: a campaign of 3 servers, and"),
        // The verdict of another campaign says nothing of this one.
        (format!("{started}{started}{verdict}"), "c.json:1: a campaign of 3 servers, and"),
    ] {
        let error = tested(&text, RERUN).unwrap_err().to_string();
        assert!(error.contains(found), "{text}: {error}");
        assert!(error.contains("the service has 4 servers under `arbitrary`:"), "{error}");
    }
}

/// Missions of which so many broke a promise within `f`, and as many again beyond it.
fn broken(count: usize, of: usize) -> String {
    let line = |broken: bool, exceeded: bool| {
        format!(
            "{{\"event\":\"mission\",\"hours\":1,\"intruded\":[],\"broken\":{broken},\"exceeded\":{exceeded}}}\n"
        )
    };
    line(true, false).repeat(count)
        + &line(false, false).repeat(of - count)
        + &line(true, true).repeat(count)
}

/// The design's secret store is covered with 0.999, so that a promise breaks within `f` with 0.001.
#[test]
fn broken_promises_are_predicted_by_the_coverage_of_what_is_on_top() {
    let event = "a promise was broken with at most f servers intruded";
    for (count, of, place) in [
        (2, 2000, "the prediction is consistent with that"),
        (0, 2000, "the prediction is consistent with that"),
        (20, 2000, "the design is too optimistic"),
        (0, 10_000, "the design is too pessimistic, or the campaign too gentle"),
        (1, 12_000, "the design is too pessimistic, or the campaign too gentle"),
    ] {
        let found = tested(&broken(count, of), RERUN).unwrap();
        let row = row_of(&found, event);
        assert!((row.predicted - 0.001).abs() < 1e-12, "{row:?}");
        assert_eq!(
            (row.hits, row.trials),
            (count as u64, of as u64),
            "what breaks beyond f is none"
        );
        let interval = Interval::of_share(count as u64, of as u64, 0.99).unwrap();
        assert_eq!((row.low, row.high), (interval.low, interval.high));
        assert_eq!(row.is_consistent, (row.low..=row.high).contains(&row.predicted));
        let told = found.conclusions.iter().find(|it| it.starts_with(event)).unwrap();
        assert!(told.ends_with(&format!("predicted 0.00100: {place}.")), "{told}");
    }
}

#[test]
fn a_prediction_follows_the_components_on_top_and_no_others() {
    let event = "a promise was broken with at most f servers intruded";
    let predicted = |design: &Design, count: usize| {
        let found = backtest(design, None, "c.json", &broken(count, 100), RERUN).unwrap();
        let row = row_of(&found, event);
        (row.predicted, row.is_consistent)
    };
    let mut design = design();
    let (top, below) = design.components.split_first_mut().unwrap();
    for component in below {
        component.coverage.value.0 = 0.2;
    }
    top.coverage.value.0 = 0.75;
    assert_eq!(predicted(&design, 25), (0.25, true));
    assert_eq!(predicted(&design, 60), (0.25, false));
    // Without a trust graph no algorithm is doubted, and one broken promise refutes that.
    design.components.clear();
    assert_eq!(predicted(&design, 0), (0.0, true));
    assert_eq!(predicted(&design, 1), (0.0, false));
}

#[test]
fn attacks_and_simulated_runs_are_held_against_the_same_prediction() {
    let verdict = |failed: usize| {
        let attack = |outcome: &str| format!("{{\"name\":\"a\",\"outcome\":\"{outcome}\"}},");
        let attacks = attack("failed").repeat(failed) + &attack("masked").repeat(100 - failed);
        let attacks = attacks.trim_end_matches(',');
        format!("{{\"event\":\"verdict\",\"seconds\":1,\"attacks\":[{attacks}]}}\n")
    };
    let runs = |count: usize| format!("{{\"seeds\":100,\"violations\":{count}}}\n");
    for (count, is_consistent) in [(0, true), (5, false)] {
        let found = tested(&(verdict(count) + &runs(count)), RERUN).unwrap();
        for event in [
            "an attack was not tolerated",
            "a simulated run broke a promise with at most f servers intruded",
        ] {
            let row = row_of(&found, event);
            assert_eq!((row.hits, row.trials), (count as u64, 100), "{event}");
            assert!((row.predicted - 0.001).abs() < 1e-12, "{event}");
            assert_eq!(row.is_consistent, is_consistent, "{event}: {row:?}");
        }
    }
}
