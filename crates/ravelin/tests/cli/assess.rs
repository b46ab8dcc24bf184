//! `ravelin assess`: closed forms, words, model files, pages.

use serde_json::Value;

use crate::fixture::Fixture;

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
    let guide = include_str!("../../../../docs/guide/assess.md");
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
