//! What a model file may say, and what each mistake is answered with.

use crate::design::{Design, Fault, FaultModel, LabelKind, Mistake, Origin, Property};

/// The smallest model with something of everything.
const MODEL: &str = r#"version = 1
name = "small"
currency = "EUR"
[mission]
time = { value = "720h", origin = "assumed" }
acceptable_risk = { value = 0.01, origin = "expert" }
[attacker]
budget = { value = 1000, origin = "assumed" }
[[attacks]]
name = "exploit"
rate = { value = "2/y", origin = "measured", note = "counted" }
cost = { value = 100, origin = "expert" }
exploits = [{ vulnerability = "kernel", success = { value = 0.5, origin = "expert" } }]
[[vulnerabilities]]
name = "kernel"
where = { operating_system = "debian" }
disclosure = { value = "1/y", origin = "measured" }
patch = { value = "0.1/d", origin = "measured" }
[[hosts]]
name = "a"
operating_system = "debian"
wormhole = "process"
[[hosts]]
name = "b"
operating_system = "debian"
wormhole = "process"
[[hosts]]
name = "c"
operating_system = "openbsd"
wormhole = "process"
[common_mode]
operating_system = { value = 0.1, origin = "expert" }
[[wormholes]]
name = "process"
coverage = { value = 0.7, origin = "expert" }
[[services]]
name = "kv"
hosts = ["a", "b", "c"]
f = 1
fault_model = "hybrid"
strategy = "non-stop"
state = "clear"
detection = { value = 0.9, origin = "assumed" }
latency = { value = "1d", origin = "assumed" }
recovery = { value = "4h", origin = "assumed" }
promises = { integrity = { value = 5000, origin = "expert" } }
rejuvenation = { period = { value = "7d", origin = "assumed" }, downtime = { value = "10min", origin = "assumed" }, root = "wormhole" }
[[components]]
name = "ordering"
coverage = { value = 0.99, origin = "expert" }
depends = [{ on = "wormhole", required = { value = 0.9, origin = "expert" } }]
[[components]]
name = "wormhole"
coverage = { value = 0.99, origin = "expert" }
[[attack_trees]]
name = "lie"
service = "kv"
property = "integrity"
root = "goal"
nodes = [
    { name = "goal", gate = "at-least", k = 2, children = ["x", "y"] },
    { name = "x", gate = "leaf", cost = { value = 1, origin = "expert" }, probability = { value = 0.5, origin = "expert" } },
    { name = "y", gate = "all", children = ["x"] },
]
[costs]
server = { value = 10, origin = "assumed" }
"#;

/// Replaces a piece of the model, and expects a fault that says `said` with a hint that has `hint`, in
/// a line of the piece.
#[track_caller]
fn refused(old: &str, new: &str, said: &str, hint: &str) {
    let (before, _) = MODEL.split_once(old).expect("the piece is in the model");
    let line = before.matches('\n').count() + 1;
    let lines = line..=line + new.matches('\n').count().max(old.matches('\n').count());
    let Err(error) = Design::parse("m.toml", &MODEL.replacen(old, new, 1)) else {
        panic!("accepted: {new}");
    };
    let fits =
        |fault: &&Fault| fault.mistake.to_string().contains(said) && fault.hint.contains(hint);
    let Some(fault) = error.faults.iter().find(fits) else { panic!("told instead: {error}") };
    assert!(lines.contains(&fault.line), "line {} is not in {lines:?}: {error}", fault.line);
    assert!(error.to_string().contains(&format!("m.toml:{}: ", fault.line)), "{error}");
}

/// Twice the largest float would be infinite, and so would every sum with it.
#[test]
fn amounts_whose_sums_would_be_infinite_are_refused_as_they_are_given() {
    refused(
        "integrity = { value = 5000,",
        "integrity = { value = 1e308,",
        "is 1e308, outside 0 to 1e15",
        "in thousands",
    );
    refused("value = \"2/y\"", "value = \"1e308/h\"", "is 1e308/h, outside 1e-300 to 1e300", "2/y");
    refused("value = \"2/y\"", "value = \"-2/y\"", "is -2/y, outside", "left out");
    refused("value = \"720h\"", "value = \"1e300y\"", "is 1e300y, outside", "30d");
    refused("value = \"720h\"", "value = \"-30d\"", "is -30d, outside", "30d");
    let most = MODEL.replace("value = 5000,", "value = 1e15,").replace("\"720h\"", "\"1e300h\"");
    assert!(Design::parse("m.toml", &most).is_ok());
}

#[test]
fn a_file_without_a_model_is_told_as_such() {
    for text in ["", "\n\n\n", "# later\n"] {
        let error = Design::parse("m.toml", text).unwrap_err();
        let told = "m.toml:1: there is no model in the file (`ravelin assess example one-room` ";
        assert!(error.to_string().starts_with(told), "{error}");
        assert_eq!(error.faults.len(), 1);
    }
}

#[test]
fn a_whole_model_is_read() {
    let design = Design::parse("m.toml", MODEL).unwrap();
    assert_eq!(design.mission.value.0, 720.0);
    let attack = &design.attacks[0];
    assert!((attack.rate.value.0 - 2.0 / 8760.0).abs() < 1e-12);
    assert_eq!(attack.rate.origin, Origin::Measured);
    assert_eq!(attack.rate.note.as_deref(), Some("counted"));
    assert_eq!(attack.prevented.value.0, 0.0, "absent shares are nothing");
    assert_eq!(design.vulnerabilities[0].hosts, [0, 1], "chosen by label");
    assert!((design.vulnerabilities[0].patch.value.0 - 0.1 / 24.0).abs() < 1e-12);
    assert_eq!(design.hosts[2].label(LabelKind::OperatingSystem), Some("openbsd"));
    assert_eq!(design.common_mode.share(LabelKind::OperatingSystem), 0.1);
    assert_eq!(design.common_mode.share(LabelKind::Site), 0.0);
    let service = &design.services[0];
    assert_eq!((service.n(), service.f, service.fault_model), (3, 1, FaultModel::Hybrid));
    assert_eq!(service.loss(Property::Integrity), Some(5000.0));
    assert_eq!(service.loss(Property::Confidentiality), None);
    assert_eq!(service.line, 36);
    assert_eq!(design.attack_trees[0].root, 0);
}

#[test]
fn syntax_keys_and_types() {
    refused("version = 1", "version = ", "not TOML", "examples/assess");
    refused("name = \"small\"", "name = \"small\"\nname = \"again\"", "duplicate", "once");
    refused("currency", "curency", "unknown key `curency`", "did you mean `currency`?");
    refused(
        "version = 1\nname = \"small\"\ncurrency = \"EUR\"",
        "version = 1\nname = \"small\"",
        "missing key `currency` in the model file",
        "currency",
    );
    refused("version = 1", "version = 2", "is 2, outside", "from 1 to 1");
    refused("name = \"small\"", "name = 7", "is a whole number, but a text", "examples");
    refused("name = \"small\"", "name = \"\"", "empty, or longer than 128 bytes", "short");
    refused("[mission]", "[[mission]]", "is a list, but a table", "");
    refused("hosts = [\"a\", \"b\", \"c\"]", "hosts = []", "has 0 entries", "Its servers");
    refused(
        "strategy = \"non-stop\"",
        "strategy = \"nonstop\"",
        "cannot be `nonstop`",
        "`non-stop`?",
    );
    refused("state = \"clear\"", "state = \"open\"", "cannot be `open`", "sealed, clear");
    refused("root = \"wormhole\"", "roots = \"wormhole\"", "unknown key `roots`", "`root`?");
}

#[test]
fn numbers_have_origin_unit_and_range() {
    let time = "{ value = \"720h\", origin = \"assumed\" }";
    refused(time, "\"720h\"", "`time` has no origin", "origin = \"assumed\"");
    refused(time, "{ value = \"720h\" }", "`time` has no origin", "{ value = \"30d\"");
    refused(time, "{ origin = \"assumed\" }", "missing key `value`", "\"30d\"");
    refused(
        time,
        "{ value = \"1h\", origin = \"guess\" }",
        "cannot be `guess`",
        "measured, expert",
    );
    refused(
        time,
        "{ value = \"1h\", origin = \"expert\", nota = \"\" }",
        "`nota` in a number",
        "note",
    );
    refused(
        time,
        "{ value = 720, origin = \"assumed\" }",
        "`time` is `720`, but a time",
        "no unit",
    );
    refused(
        time,
        "{ value = \"2/y\", origin = \"assumed\" }",
        "but a time with its unit",
        "this is a rate",
    );
    refused(time, "{ value = \"2 years\", origin = \"assumed\" }", "`2 years`", "ms, s, min, h");
    for bad in ["0h", "-1h", "1e999h", "1e-320h"] {
        let new = format!("{{ value = \"{bad}\", origin = \"assumed\" }}");
        refused(time, &new, "outside 1e-300 to 1e300 hours", "never happens");
    }
    let rate = "{ value = \"1/y\", origin = \"measured\" }";
    refused(rate, "{ value = \"30d\", origin = \"measured\" }", "but a rate", "this is a time");
    refused(
        rate,
        "{ value = 0.1, origin = \"measured\" }",
        "but a rate",
        "a bare number has no unit",
    );
    for bad in ["0/y", "-3/h", "1e999/y", "1e400/h"] {
        let new = format!("{{ value = \"{bad}\", origin = \"measured\" }}");
        refused(rate, &new, "outside 1e-300 to 1e300 per hour", "write \"2/y\"");
    }
    let share = "{ value = 0.5, origin = \"expert\" } }]\n[[v";
    for bad in ["1.5", "-0.1", "nan", "inf", "2"] {
        let new = format!("{{ value = {bad}, origin = \"expert\" }} }}]\n[[v");
        refused(share, &new, "outside 0 to 1", "ten per cent is 0.1");
    }
    let new = "{ value = \"50%\", origin = \"expert\" } }]\n[[v";
    refused(share, new, "`50%`, but a number from 0 to 1", "ten per cent is 0.1");
    let money = "{ value = 1000, origin = \"assumed\" }";
    for bad in ["-1", "inf", "nan"] {
        let new = format!("{{ value = {bad}, origin = \"assumed\" }}");
        refused(money, &new, "outside 0 to 1e15", "a plain amount");
    }
    let new = "{ value = \"1000 USD\", origin = \"assumed\" }";
    refused(money, new, "`1000 USD`, but a plain amount", "250000");
}

#[test]
fn sizes_tolerances_and_fault_models_fit_together() {
    let model = "fault_model = \"hybrid\"";
    let few = "cannot tolerate f = 1 under `arbitrary`: at least 4";
    refused(&format!("f = 1\n{model}"), "f = 1\nfault_model = \"arbitrary\"", few, "name 4 hosts");
    refused(
        &format!("f = 1\n{model}"),
        "f = 2\nfault_model = \"crash\"",
        "at least 5 are needed",
        "name 5 hosts, or lower f to 1",
    );
    refused(&format!("f = 1\n{model}"), "f = 2\nfault_model = \"hybrid\"", "at least 5", "f to 1");
    refused(&format!("f = 1\n{model}"), &format!("f = 0\n{model}"), "does not fit f = 0", "single");
    refused(
        &format!("f = 1\n{model}"),
        "f = 0\nfault_model = \"single\"",
        "does not fit f = 0 with 3 servers",
        "one server",
    );
    refused("f = 1\n", "f = 70000\n", "outside", "from 0 to 100");
}

#[test]
fn names_lead_somewhere_and_stand_once() {
    refused("hosts = [\"a\"", "hosts = [\"z\"", "[[hosts]] has no `z`", "");
    refused("hosts = [\"a\", \"b\"", "hosts = [\"a\", \"a\"", "`a` stands twice", "once");
    refused("name = \"b\"", "name = \"a\"", "`a` stands twice in [[hosts]]", "rename");
    refused("\"kernel\", success", "\"kernal\", success", "no `kernal`", "`kernel`?");
    refused(
        "where = { operating_system = \"debian\" }",
        "where = { operating_system = \"debain\" }",
        "no host has operating_system `debain`",
        "`debian`?",
    );
    refused(
        "where = { operating_system = \"debian\" }",
        "where = { site = \"x\" }",
        "no host has site `x`",
        "hosts have: nothing",
    );
    refused(
        "where = { operating_system = \"debian\" }",
        "where = { operating_system = \"debian\" }\nhosts = [\"a\"]",
        "both `hosts` and `where`",
        "labels",
    );
    refused(
        "wormhole = \"process\"\n[[hosts]]\nname = \"b\"",
        "wormhole = \"tmp\"\n[[hosts]]\nname = \"b\"",
        "[[wormholes]] has no `tmp`",
        "process",
    );
    refused("service = \"kv\"", "service = \"vk\"", "[[services]] has no `vk`", "known there: kv");
    refused("on = \"wormhole\"", "on = \"wormholes\"", "no `wormholes`", "`wormhole`?");
    refused("root = \"goal\"", "root = \"gaol\"", "no `gaol`", "");
    refused(
        "property = \"integrity\"",
        "property = \"availability\"",
        "not promised",
        "drop the tree",
    );
}

#[test]
fn circles_are_named() {
    refused(
        "[[components]]\nname = \"ordering\"\ncoverage = { value = 0.99, origin = \"expert\" }\n\
         depends = [{ on = \"wormhole\"",
        "[[components]]\nname = \"ordering\"\ncoverage = { value = 0.99, origin = \"expert\" }\n\
         depends = [{ on = \"ordering\"",
        "depend on each other in a circle: ordering -> ordering",
        "remove one of these steps",
    );
    refused(
        "children = [\"x\", \"y\"]",
        "children = [\"x\", \"goal\"]",
        "circle: goal -> goal",
        "remove",
    );
    refused("children = [\"x\"]", "children = [\"y\"]", "circle: y -> y", "remove");
}

#[test]
fn what_cannot_both_be_so() {
    refused(
        "gate = \"all\", children = [\"x\"]",
        "gate = \"all\", k = 1, children = [\"x\"]",
        "has no `k`",
        "",
    );
    refused("gate = \"all\", children = [\"x\"]", "gate = \"all\"", "needs `children`", "");
    refused("k = 2", "k = 3", "k = 3 of 2 children", "lower k");
    refused(
        "[common_mode]\noperating_system = { value = 0.1,",
        "[common_mode]\nsite = { value = 0.95, origin = \"expert\" }\noperating_system = { value = 0.1,",
        "more than 1",
        "lower them",
    );
    refused(
        "promises = { integrity = { value = 5000, origin = \"expert\" } }",
        "promises = {}",
        "promises nothing",
        "confidentiality",
    );
    refused("value = \"7d\"", "value = \"20min\"", "its turn within one period", "3 turns");
    refused(
        "root = \"wormhole\"",
        "root = \"wormhole\", at_once = 4",
        "4 servers are rejuvenated at once",
        "at_once",
    );
    refused(
        "strategy = \"non-stop\"",
        "strategy = \"recoverable\"",
        "has no times",
        "time_to_fall",
    );
    refused(
        "name = \"kv\"\nhosts = [\"a\", \"b\", \"c\"]",
        "name = \"kv\"\nhosts = [\"a\", \"b\", \"d\"]\n",
        "no `d`",
        "known there: a, b, c",
    );
}

#[test]
fn many_faults_are_told_together_in_order_and_cut() {
    let text = MODEL.replace("origin", "origine");
    let error = Design::parse("m.toml", &text).unwrap_err();
    assert_eq!(error.faults.len(), crate::design::limits::FAULTS_TOLD_MAX);
    assert!(error.faults.is_sorted_by_key(|fault| fault.line));
    assert!(error.faults.iter().any(|fault| matches!(fault.mistake, Mistake::NoOrigin { .. })));
}

#[test]
fn hostile_texts_are_refused_quickly() {
    let deep = format!("{MODEL}x = {}", "[".repeat(100_000));
    let long = " ".repeat(crate::design::limits::MODEL_BYTES_MAX + 1);
    let many = format!("a = [{}]", "{},".repeat(100_000));
    let names = format!("a = \"{}\"", "x\u{202e}".repeat(10_000));
    let word = format!("{} = 1", "k".repeat(500_000));
    for text in ["", "\0", "\u{feff}", "= 1", "[[[", &deep, &long, &many, &names, &word] {
        let error = Design::parse("m.toml", text).unwrap_err();
        assert!(error.to_string().len() < 20_000, "{}", error.to_string().len());
    }
}

#[test]
fn any_cut_of_a_model_is_refused_without_a_panic() {
    let examples = ["one-room", "three-clouds", "hybrid-weak-isolation", "single-hsm"];
    for name in examples {
        let path = format!("{}/../../examples/assess/{name}.toml", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(path).unwrap();
        Design::parse(name, &text).unwrap_or_else(|error| panic!("{error}"));
        for end in (0..text.len()).step_by(37).filter(|end| text.is_char_boundary(*end)) {
            let _ = Design::parse(name, &text[..end]);
            let _ = Design::parse(name, &text[end..]);
        }
    }
}
