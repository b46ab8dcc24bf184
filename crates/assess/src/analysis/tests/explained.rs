//! What `explain` says, held against what is computed.

use super::*;
use crate::analysis::economics::{COMBINED_MAX, EXPLOITS_MAX};
use crate::analysis::risk::TOLD_MAX;
use crate::analysis::structures::{self, CUT_SIZE_MAX, CUTS_TOLD_MAX};
use crate::analysis::sweeps::LITTLE;
use crate::calculus::strategy::RejuvenationPlan;
use crate::design::estimate::HOURS_PER_YEAR;
use crate::engines::mission::Estimate;
use crate::report::explain::find;
use crate::report::summary;

#[track_caller]
fn says(quantity: &str, text: &str) {
    let told = find(quantity).unwrap().to_string();
    let told = told.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(told.contains(text), "`{text}` is not in {told}");
}

#[test]
fn exhaustion_is_explained_with_what_a_plan_computes() {
    let plan = |servers| RejuvenationPlan {
        servers,
        tolerated: 1,
        at_once: 1,
        period: 720.0,
        duration: 1.0,
        model: ravelin_model::FaultModel::Arbitrary,
    };
    let six = plan(6).exhaustion().unwrap();
    let (left, needed) = (six.tolerated_meanwhile.unwrap(), six.intrusion_time_min);
    says(
        "exhaustion",
        &format!(
            "6 servers, f = 1, k = 1, period 720 h, downtime 1 h: slack {}, left {left}, {needed} h needed",
            six.slack
        ),
    );
    assert!(six.is_safe_against(needed) && !six.is_safe_against(needed * 0.999));
    let crowded = RejuvenationPlan { period: 5.0, ..plan(6) }.exhaustion().unwrap();
    assert!(!crowded.is_safe_against(1e9), "not every server gets its turn");
    let four = plan(4).exhaustion().unwrap();
    says("exhaustion", &format!("4 servers: slack {}, nothing left", four.slack));
    assert_eq!((four.tolerated_meanwhile, four.intrusion_time_min), (Some(0), f64::INFINITY));
}

/// Each of the conditions that the text lists alone makes a schedule unsafe.
#[test]
fn a_schedule_is_safe_only_with_all_that_the_text_asks_for() {
    let safe = |period: &str, root: &str, labels: bool| {
        let turns = format!(
            "[services.rejuvenation]\nperiod = {{ value = \"{period}\", origin = \"assumed\" }}\n\
             downtime = {{ value = \"1min\", origin = \"assumed\" }}\nroot = \"{root}\"\n"
        );
        let shared = "[common_mode]\nsite = { value = 0.1, origin = \"assumed\" }\n";
        let (shared, host) = if labels { (shared, "site = \"one\"") } else { ("", "") };
        let more = turns + shared;
        let plain = Plain { n: 6, mission: "1y", care: REPAIRED, host, more: &more, ..PLAIN };
        plain.assess().services[0].strategy_numbers.is_exhaustion_safe
    };
    // Six servers are intruded once in 1 / 0.06 = 16.7 hours.
    assert_eq!(safe("16h", "administrators", false), Some(true));
    assert_eq!(safe("17h", "administrators", false), Some(false), "too slow");
    assert_eq!(safe("16h", "none", false), Some(false), "it expels nobody");
    assert_eq!(safe("16h", "administrators", true), Some(false), "one label has them all");
    for condition in
        ["gets its turn", "no less than", "expels for certain", "with a common-mode share"]
    {
        says("exhaustion", condition);
    }
}

#[test]
fn cut_sets_are_explained_with_their_limits_and_what_is_left_out() {
    says("cut-sets", &format!("of up to {CUT_SIZE_MAX} values, and no more than f + 1"));
    says("cut-sets", &format!("the first {CUTS_TOLD_MAX}"));
    says("cut-sets", "a value that only one of several servers has is in no set");
    says("cut-sets", "one without a share is in the sets too");
    let text = PLAIN.text();
    let with = |name: &str, labels: &str, text: &str| {
        text.replacen(&format!("name = \"{name}\"\n"), &format!("name = \"{name}\"\n{labels}\n"), 1)
    };
    let text = with("s0", "site = \"a\"\nbuild = \"x\"", &text);
    let text = with("s1", "site = \"a\"\nbuild = \"y\"", &text);
    let text = with("s2", "site = \"b\"", &text);
    let design = Design::parse("labels", &text).unwrap();
    let (sets, search) = structures::cut_sets(&design, &design.services[0]).unwrap();
    // Of the values that one server has alone, two together would intrude two servers.
    let told: Vec<_> = sets.iter().map(|set| set.labels.clone()).collect();
    assert_eq!(told, [vec![(LabelKind::Site, "a".to_owned())]], "no share is needed");
    assert_eq!(search.labels_max, 2, "f + 1");
}

/// Two servers of one site, attacked once and three times a year.
#[test]
fn unlike_servers_have_in_common_what_the_least_attacked_of_them_meets() {
    let mut design = unlike(&[1.0, 3.0, 0.0001, 0.0001], 1);
    for host in &mut design.hosts[..2] {
        host.labels[LabelKind::Site as usize] = Some("one".to_owned());
    }
    design.common_mode =
        Plain { more: "[common_mode]\nsite = { value = 0.1, origin = \"assumed\" }\n", ..PLAIN }
            .design()
            .common_mode;
    let situation = Situation::of(&design, &design.services[0]);
    let service =
        solve::service(&situation, Question::Exceeded, Grade::Exact, solve::Without::Nothing);
    let yearly = |rate: f64| (rate * HOURS_PER_YEAR * 1e3).round() / 1e3;
    let shocks: Vec<f64> = service.shocks.iter().map(|shock| yearly(shock.rate)).collect();
    let alone: Vec<f64> = service
        .groups
        .iter()
        .map(|group| yearly(group.intrusion_rate))
        .filter(|it| *it > 0.01)
        .collect();
    let told = format!("together {}/y, alone {}/y and {}/y", shocks[0], alone[0], alone[1]);
    says("beta", &format!("2 servers of one site, share 0.1, attacked 1/y and 3/y: {told}"));
    assert_eq!((shocks.len(), alone.len()), (1, 2));
    assert_eq!(service.shocks[0].hits.iter().map(|hit| hit.count).sum::<u32>(), 2);
}

#[test]
fn the_row_of_the_common_share_is_the_formula_of_its_explanation() {
    says(
        "common-mode",
        "p of the servers' mean rate, beta the sum of the shares of those labels of which all servers have the same value",
    );
    let more = "[common_mode]\nsite = { value = 0.1, origin = \"assumed\" }\n\
                administrator = { value = 0.2, origin = \"assumed\" }\nbuild = { value = 0.4, origin = \"assumed\" }\n";
    let mut design = unlike(&[0.05, 0.05, 0.2, 0.1], 1);
    design.common_mode = Plain { more, ..PLAIN }.design().common_mode;
    for (at, host) in design.hosts.iter_mut().enumerate() {
        host.labels[LabelKind::Site as usize] = Some("one".to_owned());
        host.labels[LabelKind::Administrator as usize] = Some("alice".to_owned());
        // Three of four share it: no part of the row.
        let build = if at == 3 { "own" } else { "same" };
        host.labels[LabelKind::Build as usize] = Some(build.to_owned());
    }
    let found = assessed(&design);
    let row = found.services[0].no_repair;
    near(row.beta, 0.3);
    let p = 1.0 - (-0.1_f64).exp();
    let open = 1.0 / (1.0 + 1e-4);
    assert!((found.services[0].intrusion_probability / p - 1.0).abs() < (1.0 - open) * 2.0);
    let p = found.services[0].intrusion_probability;
    near(row.common_mode, closed::beta(4, 1, p, 0.3).unwrap());
}

#[test]
fn limits_and_bounds_in_the_texts_are_those_of_the_code() {
    says("sensitivity", &format!("the {TOLD_MAX} strongest inputs"));
    says("cost-of-intruding", &format!("up to {COMBINED_MAX} of the {EXPLOITS_MAX} cheapest"));
    says("knee", &format!("less than {LITTLE} times smaller"));
    let missions = 1e6;
    let bound = Estimate::of_share(0, missions as u64, 0.99).unwrap().high * missions;
    says("confidence-interval", &format!("near {bound:.1}/m at 99 %"));
    says(
        "crossover",
        &format!("{:.4} for 3 servers", closed::hybrid_crossover(3, 1, 0.7).unwrap()),
    );
    says("crossover", &format!("{:.3} for 4 servers", closed::crossover(4, 1).unwrap()));
    for (n, f) in [(4, 1), (7, 2), (10, 3)] {
        says("beta", &format!("{:.7} for {n}", closed::beta(n, f, 0.05, 0.1).unwrap()));
    }
}

/// The share of time and both times of a service without `[services.recoverable]`.
#[test]
fn the_duty_cycle_of_a_service_without_times_is_its_share_without_too_many_intrusions() {
    says("duty-cycle", "Tc (1 - A) / A, A the share of time without it");
    let found = Plain { care: REPAIRED, ..PLAIN }.assess();
    let numbers = &found.services[0].strategy_numbers;
    near(numbers.time_to_fall_h.unwrap(), found.services[0].mttf_h.unwrap());
    near(numbers.duty_cycle.unwrap(), found.services[0].properties[0].availability.unwrap());
    let never = PLAIN.assess();
    assert_eq!(never.services[0].strategy_numbers.duty_cycle, None, "intrusions never end");
}

/// Whether `explain` knows the words with which one of the parts of a printed name begins: what follows them are
/// numbers.
fn is_explained(printed: &str) -> bool {
    let known = |part: &str| {
        let words: Vec<&str> = part.split_whitespace().collect();
        (1..=words.len()).any(|count| find(&words[..count].join(" ")).is_some())
    };
    find(&printed.replace(',', "")).is_some() || printed.split(',').any(known)
}

#[test]
fn what_the_tables_of_a_report_print_is_known_to_explain() {
    let path = format!("{}/../../examples/assess/one-room.toml", env!("CARGO_MANIFEST_DIR"));
    let design = Design::parse("one room", &std::fs::read_to_string(path).unwrap()).unwrap();
    let effort = Effort { missions: 100, ..Effort::default() };
    let found = assess(&design, &effort, &|_, _| {}, &AtomicBool::new(false)).unwrap();
    let service = &found.services[0];
    let rows = [summary::promises(&found, service), summary::comparison_with_one(service)];
    let names: Vec<&str> = rows.iter().flat_map(|it| it.names()).collect();
    assert!(names.len() > 10 && names.iter().any(|it| it.contains("simulated")), "{names:?}");
    let more = [
        summary::causes(service),
        summary::sensitivity(service, "EUR", 1),
        summary::components(&found),
        summary::dependences(&found),
        summary::trees(&found),
    ];
    let columns = rows.iter().chain(&more).flat_map(|it| it.numbers());
    for name in columns.chain(names.iter().copied()) {
        assert!(is_explained(name), "`{name}` is printed, and not explained");
    }
    // Not by a part of them: these have another meaning.
    for (printed, name) in [
        ("mean time to it", "mttf"),
        ("share of time held", "availability"),
        ("common share", "beta"),
        ("loss", "acceptable-risk"),
        ("share", "causes"),
    ] {
        assert_eq!(find(printed).unwrap().name, name, "{printed}");
    }
}
