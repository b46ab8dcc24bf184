//! `ravelin assess`: closed forms, words, model files, pages.

use serde_json::Value;

use crate::cli::fixture::Fixture;

fn json(fixture: &Fixture, arguments: &str) -> Value {
    let arguments: Vec<&str> = arguments.split(' ').chain(["--output", "json"]).collect();
    let text = fixture.done(&arguments);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {text}"))
}

fn number(value: &Value, name: &str) -> f64 {
    value.get(name).and_then(Value::as_f64).unwrap_or_else(|| panic!("no {name} in {value}"))
}

#[test]
fn closed_forms_have_their_printed_values() {
    let fixture = Fixture::empty("closed_forms");
    let printed: [(&str, &str, f64); 16] = [
        ("no-repair --n 4 --f 1 --rate 0.01 --time 100", "probability", 0.855_798_6),
        ("no-repair --n 4 --f 1 --p 0.05", "probability", 0.014_019_0),
        ("repair --n 4 --f 1 --rate 0.01 --repair 0", "mttf", 58.333_333_3),
        ("repair --n 4 --f 1 --rate 0.01 --repair 1", "mttf", 891.666_666_7),
        ("repair --n 7 --f 2 --rate 0.01 --repair 1", "mttf", 10_479.523_809_5),
        ("repair --n 3 --f 1 --rate 0.01 --repair 1", "mttf", 1750.0),
        ("beta --n 4 --f 1 --p 0.05 --beta 0", "probability", 0.014_019_0),
        ("beta --n 4 --f 1 --p 0.05 --beta 0.1", "probability", 0.016_376_1),
        ("beta --n 4 --f 1 --p 0.05 --beta 0.5", "probability", 0.028_535_5),
        ("beta --n 4 --f 1 --p 0.05 --beta 1", "probability", 0.05),
        ("beta --n 7 --f 2 --p 0.05 --beta 0.1", "probability", 0.007_767_6),
        ("beta --n 10 --f 3 --p 0.05 --beta 0.1", "probability", 0.005_688_2),
        ("crossover --n 4 --f 1", "probability", 0.232_408_1),
        ("recoverable --fall 90 --recover 10", "probability", 0.9),
        ("coverage --operational 0.9 --environmental 0.8", "probability", 0.72),
        ("intruded --rate 0.01 --time 100", "probability", 0.632_120_6),
    ];
    for (arguments, name, expected) in printed {
        let value = json(&fixture, &format!("assess closed-form {arguments}"));
        let found = number(&value, name);
        let tolerance = expected.abs().max(1.0) * 1e-6;
        assert!((found - expected).abs() < tolerance, "{arguments}: {found}, not {expected}");
    }
}

#[test]
fn four_servers_are_worse_than_one_beyond_the_crossover_and_not_before() {
    let fixture = Fixture::empty("crossover");
    for (p, is_worse) in [("0.2323", false), ("0.2325", true)] {
        let four = json(&fixture, &format!("assess closed-form no-repair --n 4 --f 1 --p {p}"));
        let one: f64 = p.parse().expect("a number");
        assert_eq!(number(&four, "probability") > one, is_worse, "{p}");
    }
}

#[test]
fn every_quantity_is_explained_with_its_limits() {
    let fixture = Fixture::empty("explain");
    let all = json(&fixture, "assess explain");
    let all = all.get("quantities").and_then(Value::as_array).expect("a list");
    assert!(all.len() > 15);
    for quantity in all {
        let name = quantity.get("name").and_then(Value::as_str).expect("a name");
        let text = fixture.done(&["assess", "explain", name]);
        for heading in ["Formula:", "Unit:", "Source:", "Assumes:", "Does not say:"] {
            assert!(text.contains(heading), "{name}: {heading}");
        }
    }
    let run = fixture.run(&["assess", "explain", "crosover"], &[]);
    assert_eq!(run.exit, 4);
    assert!(run.stderr.contains("did you mean `crossover`?"), "{}", run.stderr);
}

/// A command of the guide, and what the guide says that it prints.
struct Transcript {
    command: String,
    printed: Vec<String>,
}

fn transcripts(guide: &str) -> Vec<Transcript> {
    let mut found: Vec<Transcript> = Vec::new();
    let mut is_open = false;
    for line in guide.lines() {
        if line.starts_with("```") {
            is_open = line == "```text";
        } else if let (true, Some(command)) = (is_open, line.strip_prefix("$ ravelin ")) {
            found.push(Transcript { command: command.to_owned(), printed: Vec::new() });
        } else if let (true, Some(last)) = (is_open, found.last_mut()) {
            last.printed.push(line.to_owned());
        }
    }
    found
}

/// An empty directory with the example models.
fn with_examples(name: &str) -> Fixture {
    let fixture = Fixture::empty(name);
    for example in ["one-room", "three-clouds", "hybrid-weak-isolation", "single-hsm"] {
        let text = fixture.done(&["assess", "example", example]);
        fixture.write(&format!("{example}.toml"), &text);
    }
    fixture
}

#[test]
fn the_guide_shows_what_the_program_prints() {
    let fixture = with_examples("assess_guide");
    let guide = include_str!("../../../../../docs/guide/assess.md");
    let all = transcripts(guide);
    assert!(all.len() > 5, "{} transcripts", all.len());
    for Transcript { command, printed } in all {
        let arguments: Vec<&str> = command.split(' ').collect();
        let now = fixture.done(&arguments);
        let now: Vec<&str> = now.trim_end().lines().collect();
        let differing = now.iter().zip(&printed).find(|(now, printed)| now != printed);
        assert!(
            now.iter().eq(&printed),
            "`{command}` prints {} lines, the guide has {}; the first that differ: {differing:?}",
            now.len(),
            printed.len()
        );
    }
}

/// The names of warnings and conclusions.
fn findings(assessment: &Value) -> Vec<&str> {
    let lists =
        ["warnings", "conclusions"].map(|list| assessment.get(list).and_then(Value::as_array));
    let all = lists.into_iter().flatten().flatten();
    all.filter_map(|finding| finding.get("id").and_then(Value::as_str)).collect()
}

#[test]
fn each_example_leads_to_the_conclusions_that_the_guide_tells() {
    let fixture = with_examples("assess_examples");
    let told: [(&str, f64, bool, &[&str]); 4] = [
        (
            "one-room",
            0.070_749,
            false,
            &["risk-too-high", "diversity-over-servers", "one-label-breaks", "over-trusted"],
        ),
        ("three-clouds", 0.003_044, true, &["risk-accepted", "one-label-breaks", "no-slack"]),
        (
            "hybrid-weak-isolation",
            0.191_258,
            false,
            &["weak-isolation", "hybrid-worse-than-arbitrary", "over-trusted"],
        ),
        ("single-hsm", 0.055_970, false, &["single-server", "risk-too-high", "over-trusted"]),
    ];
    for (example, risk, is_acceptable, expected) in told {
        let assessment = json(&fixture, &format!("assess run {example}.toml"));
        let found = findings(&assessment);
        for id in expected {
            assert!(found.contains(id), "{example}: no {id} in {found:?}");
        }
        let service = assessment.get("services").and_then(|all| all.get(0)).expect("a service");
        let found_risk = number(service, "risk_any");
        assert!((found_risk / risk - 1.0).abs() < 1e-3, "{example}: {found_risk}, not {risk}");
        let verdict = service.get("is_acceptable").and_then(Value::as_bool);
        assert_eq!(verdict, Some(is_acceptable), "{example}");
        let rejected = ["risk-too-high", "risk-not-accepted"].iter().any(|id| found.contains(id));
        assert_eq!(rejected, !is_acceptable, "{example}: {found:?}");
    }
}

#[test]
fn every_number_of_an_assessment_is_explained() {
    let fixture = with_examples("assess_quantities");
    let assessment = json(&fixture, "assess run one-room.toml");
    let quantities = assessment.get("quantities").and_then(Value::as_array).expect("a list");
    let names = quantities.iter().filter_map(|it| it.get("quantity").and_then(Value::as_str));
    let names: std::collections::BTreeSet<&str> = names.collect();
    assert!(names.len() > 10, "{names:?}");
    for name in names {
        fixture.done(&["assess", "explain", name]);
    }
}

#[test]
fn the_page_needs_nothing_and_is_written_whole() {
    let fixture = with_examples("assess_page");
    fixture.write("page.html", "old");
    let run = fixture.run(&["assess", "run", "one-room.toml", "--html", "page.html"], &[]);
    assert_eq!(run.exit, 0, "{}", run.stderr);
    assert_eq!(run.stderr, "written: page.html\n");
    let page = fixture.read("page.html");
    assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>\n"));
    for loaded in ["<script", "http:", "https:", "url(", "@import", "<link", "<img", "<iframe"] {
        assert!(!page.contains(loaded), "{loaded}");
    }
    for picture in [
        "risk over time",
        "what the risk depends on",
        "what falls together",
        "From attacks to failures",
        "Trust and trustworthiness",
        "attack tree",
    ] {
        assert!(page.contains(picture), "{picture}");
    }
    assert!(page.contains("class=\"edge-bad\""), "over-trusted edges are red");
    assert!(page.contains(">knee "), "sweeps show their knee");
    assert_eq!(page.matches("<svg").count(), page.matches("<desc>").count());
}

#[test]
fn the_same_seed_gives_the_same_missions_and_their_interval_holds_the_number() {
    let fixture = with_examples("assess_missions");
    let run = |seed: &str| {
        let command = "assess run single-hsm.toml --engine monte-carlo --missions 20000 --seed";
        let assessment = json(&fixture, &format!("{command} {seed}"));
        assessment.get("services").and_then(|all| all.get(0)).expect("a service").clone()
    };
    let (first, again, other) = (run("5"), run("5"), run("6"));
    assert_eq!(first, again);
    let simulated = |service: &Value| service.get("simulated").expect("simulated").clone();
    assert_ne!(simulated(&first), simulated(&other));
    let exact = number(&first, "risk");
    let missions = simulated(&first);
    assert_eq!(number(&missions, "missions"), 20_000.0);
    let interval = number(&missions, "low")..=number(&missions, "high");
    assert!(interval.contains(&exact), "{exact} in {interval:?}");
}

#[test]
fn advice_reaches_what_is_accepted_and_says_what_makes_things_worse() {
    let fixture = with_examples("assess_advice");
    let advice = json(&fixture, "assess advise one-room.toml");
    let service = advice.get("services").and_then(|all| all.get(0)).expect("a service");
    assert_eq!(service.get("is_reached").and_then(Value::as_bool), Some(true));
    assert!(number(service, "risk_after") <= number(service, "acceptable_risk"));
    let changes = service.get("changes").and_then(Value::as_array).expect("a list");
    let is_worse = |change: &&Value| number(change, "risk_after") > number(change, "risk_before");
    assert!(changes.iter().any(|change| is_worse(&change)), "{changes:?}");
    let text = fixture.done(&["assess", "advise", "one-room.toml"]);
    assert!(text.contains("worse") && text.contains("Cheapest way"), "{text}");
}

#[test]
fn two_designs_are_held_against_each_other() {
    let fixture = with_examples("assess_compare");
    let comparison = json(&fixture, "assess compare one-room.toml three-clouds.toml");
    let rows = comparison.get("rows").and_then(Value::as_array).expect("a list");
    let risk = rows.iter().find(|row| {
        row.get("quantity").and_then(Value::as_str) == Some("risk")
            && row.get("property").and_then(Value::as_str) == Some("confidentiality")
    });
    let risk = risk.expect("the risk of confidentiality");
    assert!(number(risk, "second") < number(risk, "first") / 10.0, "{risk}");
    assert_eq!(risk.get("better").and_then(Value::as_str), Some("second"));
    let same = json(&fixture, "assess compare one-room.toml one-room.toml");
    let rows = same.get("rows").and_then(Value::as_array).expect("a list");
    let betters = rows.iter().map(|row| row.get("better").and_then(Value::as_str));
    assert!(betters.into_iter().all(|better| better == Some("equal")));
    // The only services of both, whatever they are called: both names are told.
    let other = fixture.done(&["assess", "compare", "one-room.toml", "single-hsm.toml"]);
    for told in
        ["confidentiality of secrets against signing ", "Risk of `secrets` against `signing`: "]
    {
        assert!(other.contains(told), "{other}");
    }
}

fn line_of(model: &str, text: &str) -> usize {
    model.lines().position(|line| line.contains(text)).expect("there") + 1
}

#[test]
fn a_circle_of_trust_is_told_with_a_component_on_it() {
    let fixture = with_examples("assess_circle");
    let model = fixture.read("one-room.toml");
    let depends = "{ on = \"administration\"";
    fixture.write("circle.toml", &model.replacen(depends, "{ on = \"secret store\"", 1));
    let run = fixture.run(&["assess", "run", "circle.toml"], &[]);
    let place = format!("error: circle.toml:{}: ", line_of(&model, "name = \"secret store\"") - 1);
    assert_eq!(run.exit, 2);
    assert!(run.stderr.starts_with(&place), "{}", run.stderr);
    assert!(run.stderr.contains("secret store -> secret store"), "{}", run.stderr);
}

#[test]
fn each_mistake_of_a_model_file_is_told_with_its_line_and_what_to_try() {
    let fixture = with_examples("assess_mistakes");
    let model = fixture.read("one-room.toml");
    for (old, new, cause) in [
        ("detection = { value = 0.8", "detection = { value = 1.8", "outside"),
        ("detection = { value = 0.8", "detection = { value = nan", "outside"),
        ("f = 1", "f = 2", "f"),
        ("rate = { value = \"6/y\"", "rate = { value = \"0/y\"", "outside"),
        ("rate = { value = \"6/y\"", "rate = { value = \"inf/y\"", "outside"),
        ("rate = { value = \"6/y\"", "rate = { value = \"6d\"", "`6d`"),
        ("recovery = { value = \"8h\"", "recovery = { value = \"8/h\"", "`8/h`"),
        ("recovery = { value = \"8h\"", "recovery = { value = 8", "expected"),
        ("where = { administrator = \"alice\"", "where = { administrator = \"bob\"", "bob"),
        ("root = \"master key\"", "root = \"mastre key\"", "mastre key"),
        (
            "acceptable_risk = { value = 0.01, origin",
            "acceptable_risk = { value = 0.01, orign",
            "orign",
        ),
        ("strategy = \"confidential\"", "strategy = \"hopeful\"", "hopeful"),
        ("version = 1", "version = 9", "version"),
        ("share_epoch =", "share_epok =", "share_epok"),
    ] {
        let changed = model.replacen(old, new, 1);
        assert_ne!(changed, model, "{old}");
        let line = line_of(&model, old);
        fixture.write("model.toml", &changed);
        for verb in [&["assess", "run", "model.toml"][..], &["assess", "advise", "model.toml"]] {
            let run = fixture.run(verb, &[]);
            let lines: Vec<&str> = run.stderr.lines().collect();
            let [error, hint] = lines.as_slice() else { panic!("{new}: {}", run.stderr) };
            assert_eq!((run.exit, run.stdout.as_str()), (2, ""), "{new}: {error}");
            let place = format!("error: model.toml:{line}: ");
            assert!(error.starts_with(&place), "{new}: {error}, not {place}");
            assert!(error.contains(cause), "{new}: {error}, not {cause}");
            assert!(hint.starts_with("hint: ") && hint.len() > 12, "{new}: {hint}");
        }
    }
}

#[test]
fn a_plan_becomes_a_model_that_can_be_computed() {
    let fixture = Fixture::cluster("assess_plan");
    let printed = fixture.done(&["assess", "from-plan", "plan.toml"]);
    let run = fixture.run(&["assess", "from-plan", "plan.toml", "--out", "model.toml"], &[]);
    assert_eq!((run.exit, run.stdout.as_str()), (0, ""), "{}", run.stderr);
    assert_eq!(fixture.read("model.toml"), printed);
    let assessment = json(&fixture, "assess run model.toml");
    let service = assessment.get("services").and_then(|all| all.get(0)).expect("a service");
    assert_eq!((number(service, "n"), number(service, "f")), (4.0, 1.0));
    assert_eq!(service.get("fault_model").and_then(Value::as_str), Some("arbitrary"));
    let origins = assessment.pointer("/design/origins").and_then(Value::as_array).expect("a list");
    let counted = |origin: &&Value| origin.get(1).and_then(Value::as_u64) != Some(0);
    let kinds: Vec<_> = origins.iter().filter(counted).filter_map(|it| it.get(0)).collect();
    assert_eq!(kinds, ["assumed"], "what a plan does not say is a guess, and says so");
}

#[test]
fn a_service_is_written_for_model_checkers() {
    let fixture = with_examples("assess_prism");
    let model = fixture.done(&["assess", "prism", "one-room.toml"]);
    assert!(
        model.contains("\nctmc\n") && model.matches("\nmodule server_").count() == 4,
        "{model}"
    );
    let questions = fixture.done(&["assess", "prism", "one-room.toml", "--questions"]);
    assert!(questions.contains("P=? [ F<=T \"failed\" ];"), "{questions}");
    let both = json(&fixture, "assess prism one-room.toml");
    assert_eq!(
        both.get("model").and_then(Value::as_str).map(str::trim_end),
        Some(model.trim_end())
    );
    assert!(both.get("properties").is_some());
}

#[test]
fn campaigns_agree_or_disagree_with_a_prediction() {
    let fixture = with_examples("assess_backtest");
    // One server is intruded with probability 0.056 in a year: 28 of 500.
    for (hits, agrees) in [(28, true), (90, false), (3, false)] {
        let mission = |number: u32| {
            let intruded = if number < hits { "[0]" } else { "[]" };
            let (hours, is_over) = (8.76, number < hits);
            format!(
                "{{\"event\":\"mission\",\"hours\":{hours},\"intruded\":{intruded},\
                 \"exceeded\":{is_over},\"broken\":{is_over}}}\n"
            )
        };
        fixture.write("campaign.json", &(0..500).map(mission).collect::<String>());
        let command = "assess backtest single-hsm.toml campaign.json --acceleration 1000";
        let tested = json(&fixture, command);
        let rows = tested.get("rows").and_then(Value::as_array).expect("a list");
        let row = rows.first().expect("a row");
        assert_eq!(row.get("hits").and_then(Value::as_u64), Some(hits.into()), "{row}");
        assert_eq!(row.get("is_consistent").and_then(Value::as_bool), Some(agrees), "{row}");
        let arguments: Vec<&str> = command.split(' ').collect();
        let text = fixture.done(&arguments);
        assert_eq!(text.contains("DISAGREES"), !agrees, "{text}");
    }
}

#[test]
fn the_simulator_is_a_campaign() {
    let fixture = with_examples("assess_simulated");
    let summary = fixture.done(&["sim", "run", "--seeds", "2", "--output", "json"]);
    fixture.write("campaign.json", &summary);
    let tested = json(&fixture, "assess backtest one-room.toml campaign.json");
    assert_eq!(tested.get("campaigns").and_then(Value::as_u64), Some(2));
}

#[test]
fn a_page_that_cannot_be_written_costs_no_computing_and_leaves_nothing() {
    let fixture = with_examples("assess_unwritable");
    fixture.write("page.html", "old");
    let before = fixture.contents();
    for (out, exit) in [("nowhere/page.html", 4), (".", 2), ("page.html/below", 1)] {
        let run = fixture.run(&["assess", "run", "one-room.toml", "--html", out], &[]);
        assert_eq!((run.exit, run.stdout.as_str()), (exit, ""), "{out}: {}", run.stderr);
        assert!(fixture.contents() == before, "{out}");
    }
    fixture.write("broken.toml", "version = 1\n");
    let before = fixture.contents();
    let run = fixture.run(&["assess", "run", "broken.toml", "--html", "page.html"], &[]);
    assert_eq!((run.exit, run.stdout.as_str()), (2, ""), "{}", run.stderr);
    assert!(fixture.contents() == before, "the old page stays");
}

/// Three servers with wormholes of coverage 0.7: worse than one server beyond 1/11.
#[test]
fn closed_forms_take_the_coverage_of_wormholes() {
    let fixture = with_examples("assess_coverage");
    let form = |text: &str| {
        number(&json(&fixture, &format!("assess closed-form {text} --n 3 --f 1")), "probability")
    };
    let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-6, "{a} {b}");
    near(form("crossover --coverage 0.7"), 1.0 / 11.0);
    // 1 - (0.8^3 + 3 x 0.2 x 0.8^2 x 0.7).
    near(form("no-repair --p 0.2 --coverage 0.7"), 0.2192);
    near(form("beta --p 0.2 --beta 0 --coverage 0.7"), 0.2192);
    near(form("no-repair --p 0.2"), form("no-repair --p 0.2 --coverage 1"));
}
