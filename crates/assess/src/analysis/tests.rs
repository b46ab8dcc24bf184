//! What an assessment says, against closed forms and against what it must not hide.

mod explained;

use std::sync::atomic::AtomicBool;

use super::situation::Situation;
use super::solve::{self, Grade, Question};
use super::*;
use crate::design::{Design, FaultModel, LabelKind, Property, Strategy};
use crate::engines::closed;

/// A design of one service. Each server is intruded 0.01 times an hour: attacked 0.02 times an hour,
/// with a vulnerability that is open half of the time.
struct Plain<'a> {
    n: usize,
    f: usize,
    model: &'static str,
    mission: &'static str,
    /// Further lines of the service.
    care: &'static str,
    promises: &'static str,
    /// Labels of every host, and anything else.
    host: &'static str,
    more: &'a str,
}

/// Four servers that nobody watches.
const PLAIN: Plain<'static> = Plain {
    n: 4,
    f: 1,
    model: "arbitrary",
    mission: "100h",
    care: NO_CARE,
    promises: "integrity",
    host: "",
    more: "",
};

const NO_CARE: &str = "state = \"sealed\"
detection = { value = 0, origin = \"assumed\" }
latency = { value = \"1h\", origin = \"assumed\" }
recovery = { value = \"1h\", origin = \"assumed\" }";

/// Every intrusion ends after an hour on average.
const REPAIRED: &str = "state = \"sealed\"
detection = { value = 1, origin = \"assumed\" }
latency = { value = \"30min\", origin = \"assumed\" }
recovery = { value = \"30min\", origin = \"assumed\" }";

impl Plain<'_> {
    fn text(&self) -> String {
        let Self { n, f, model, mission, care, promises, host, more } = self;
        let names: Vec<String> = (0..*n).map(|at| format!("\"s{at}\"")).collect();
        let hosts: String =
            names.iter().map(|name| format!("[[hosts]]\nname = {name}\n{host}\n")).collect();
        let promises: String = promises
            .split(' ')
            .map(|promise| format!("{promise} = {{ value = 100, origin = \"assumed\" }}, "))
            .collect();
        format!(
            "version = 1\nname = \"plain\"\ncurrency = \"EUR\"\n[mission]\n\
             time = {{ value = \"{mission}\", origin = \"assumed\" }}\n\
             acceptable_risk = {{ value = 0.01, origin = \"assumed\" }}\n[attacker]\n\
             budget = {{ value = 1000, origin = \"assumed\" }}\n[[attacks]]\nname = \"a\"\n\
             rate = {{ value = \"0.02/h\", origin = \"assumed\" }}\n\
             cost = {{ value = 10, origin = \"assumed\" }}\n\
             exploits = [{{ vulnerability = \"v\", success = {{ value = 1, origin = \"assumed\" }} }}]\n\
             [[vulnerabilities]]\nname = \"v\"\n\
             disclosure = {{ value = \"1/h\", origin = \"assumed\" }}\n\
             patch = {{ value = \"1/h\", origin = \"assumed\" }}\n{hosts}\
             [[services]]\nname = \"s\"\nhosts = [{}]\nf = {f}\nfault_model = \"{model}\"\n\
             strategy = \"non-stop\"\npromises = {{ {} }}\n{care}\n{more}\n",
            names.join(", "),
            promises.trim_end_matches(", ")
        )
    }

    fn design(&self) -> Design {
        let text = self.text();
        Design::parse("plain.toml", &text).unwrap_or_else(|error| panic!("{error}\n{text}"))
    }

    fn situation(&self) -> Situation {
        let design = self.design();
        Situation::of(&design, &design.services[0])
    }

    fn assess(&self) -> Assessment {
        assessed(&self.design())
    }
}

fn assessed(design: &Design) -> Assessment {
    assess(design, &Effort::default(), &|_, _| {}, &AtomicBool::new(false)).unwrap()
}

/// Texts that tests change.
pub(super) trait Edited {
    /// The text with `to` wherever it has `from`.
    ///
    /// # Panics
    /// It has none: the test would try what is there already.
    fn edited(&self, from: &str, to: &str) -> String;
}

impl Edited for str {
    #[track_caller]
    fn edited(&self, from: &str, to: &str) -> String {
        assert!(self.contains(from), "no {from:?}");
        self.replace(from, to)
    }
}

#[track_caller]
fn near(found: f64, wanted: f64) {
    assert!((found - wanted).abs() <= 1e-6 * wanted.abs().max(1e-3), "{found}, wanted {wanted}");
}

#[track_caller]
fn warning<'a>(assessment: &'a Assessment, id: &str) -> &'a Finding {
    let found = assessment.warnings.iter().find(|it| it.id == id);
    found.unwrap_or_else(|| panic!("no {id} in {:#?}", assessment.warnings))
}

fn warns(assessment: &Assessment, id: &str) -> bool {
    assessment.warnings.iter().any(|it| it.id == id)
}

#[test]
fn the_closed_forms_come_out_of_model_files() {
    let four = PLAIN.assess();
    let service = &four.services[0];
    near(service.intrusion_rate, 0.01);
    near(service.risk, 0.855_798_6);
    near(service.no_repair.independent, service.risk);
    near(service.mttf_h.unwrap(), 58.333_333);
    near(service.crossover.unwrap(), 0.232_408);
    for (n, f, model, mean) in
        [(4, 1, "arbitrary", 891.666_67), (7, 2, "arbitrary", 10_479.524), (3, 1, "crash", 1750.0)]
    {
        let situation = Plain { n, f, model, care: REPAIRED, ..PLAIN }.situation();
        near(
            solve::mean_time(&situation, Question::Exceeded, Grade::Result).unwrap().unwrap(),
            mean,
        );
    }
}

/// With secrets in clear one of four is enough: whether replication pays is judged by that promise, not by
/// more than `f` intruded at once.
#[test]
fn replication_is_judged_by_the_promise_that_breaks_first() {
    let care = REPAIRED.edited("sealed", "clear");
    let care: &'static str = care.leak();
    let clear = Plain { care, promises: "confidentiality integrity", ..PLAIN }.assess();
    let service = &clear.services[0];
    assert!(service.risk < service.one_server && service.risk_any > service.one_server);
    let told = warning(&clear, "replication-makes-worse");
    assert!(told.text.contains("confidentiality is lost"), "{}", told.text);
    assert!(clear.conclusions.iter().any(|it| it.id == "replication-does-not-pay"));
    assert_eq!(service.economics.servers_to_intrude, 1);
}

/// Seven servers with two short turns each hour outrun a slow intruder, unless one label gives all away.
#[test]
fn no_schedule_is_safe_from_a_label_that_too_many_share() {
    let more = "[services.rejuvenation]\nperiod = { value = \"2h\", origin = \"assumed\" }\n\
                downtime = { value = \"1min\", origin = \"assumed\" }\nroot = \"administrators\"\n";
    let alone = Plain { n: 7, host: "site = \"x\"", care: REPAIRED, more, ..PLAIN };
    let alone = alone.text();
    let told = |text: &str| {
        let found = assessed(&Design::parse("turns", text).unwrap());
        found.services[0].strategy_numbers.clone()
    };
    let safe = told(&alone);
    assert_eq!(safe.is_exhaustion_safe, Some(true), "{}", safe.text);
    assert!(safe.text.contains("on average"), "{}", safe.text);
    assert!(safe.text.contains("within the mission with probability"), "{}", safe.text);
    let shared = "[common_mode]\nsite = { value = 0.1, origin = \"assumed\" }\n";
    let common = told(&(alone + shared));
    assert_eq!(common.is_exhaustion_safe, Some(false), "{}", common.text);
    assert!(common.text.contains("share lets one intrusion"), "{}", common.text);
}

/// Two of four servers are back when one of both is: the time to notice counts as much as the repair, and
/// without anything that ends unnoticed intrusions nobody comes back.
#[test]
fn the_duty_cycle_has_latency_and_unnoticed_intrusions_in_it() {
    let alike = |latency: &str, recovery: &str| {
        let care = REPAIRED.replacen("30min", latency, 1).replacen("30min", recovery, 1);
        let care: &'static str = care.leak();
        Plain { care, ..PLAIN }.assess().services[0].strategy_numbers.clone()
    };
    let (fast, slow) = (alike("1min", "59min"), alike("59min", "1min"));
    near(fast.duty_cycle.unwrap(), slow.duty_cycle.unwrap());
    // A chain of birth and death: P(more than one of four) with shares 1/101 of time intruded.
    let p: f64 = 1.0 / 101.0;
    let held = (1.0 - p).powi(4) + 4.0 * p * (1.0 - p).powi(3);
    near(fast.duty_cycle.unwrap(), held);
    near(fast.time_to_recover_h.unwrap(), 891.666_67 * (1.0 - held) / held);
    let care = REPAIRED.edited("detection = { value = 1,", "detection = { value = 0.9,");
    let care: &'static str = care.leak();
    let unnoticed = Plain { care, ..PLAIN }.assess().services[0].strategy_numbers.clone();
    assert_eq!((unnoticed.duty_cycle, unnoticed.time_to_recover_h), (None, None));
}

/// A wormhole that may fall with its host is a root of recovery as far as it holds.
#[test]
fn a_weak_wormhole_is_no_root_of_recovery() {
    let more = "[services.rejuvenation]\nperiod = { value = \"1d\", origin = \"assumed\" }\n\
                downtime = { value = \"1min\", origin = \"assumed\" }\nroot = \"ROOT\"\n\
                [[wormholes]]\nname = \"tee\"\ncoverage = { value = COVERAGE, origin = \"assumed\" }\n";
    let told = |root: &str, coverage: &str| {
        let more = more.edited("ROOT", root).edited("COVERAGE", coverage);
        let host = "wormhole = \"tee\"";
        let plain = Plain { n: 3, model: "hybrid", host, more: &more, ..PLAIN };
        assessed(&Design::parse("root", &plain.text()).unwrap())
    };
    let id = "wormhole-is-the-root";
    let (never, none) = (told("wormhole", "0"), told("none", "0"));
    near(never.services[0].risk, none.services[0].risk);
    assert!(warning(&never, id).text.contains("not counted"));
    let (strong, tpm) = (told("wormhole", "0.99"), told("tpm", "0.99"));
    assert!(strong.services[0].risk > tpm.services[0].risk);
    assert!(strong.services[0].risk < told("none", "0.99").services[0].risk * 0.9);
    assert!(warning(&strong, id).text.contains("with that probability"));
    assert!(!warns(&told("wormhole", "1"), id) && !warns(&tpm, id));
}

/// What more servers or more diversity gain in `hybrid` counts the wormholes that fall.
#[test]
fn diversity_is_weighed_with_the_wormholes() {
    let host = "site = \"x\"\nwormhole = \"tee\"";
    let more = "[common_mode]\nsite = { value = 0.2, origin = \"assumed\" }\n\
                [[wormholes]]\nname = \"tee\"\ncoverage = { value = 0.7, origin = \"assumed\" }\n";
    let found = Plain { n: 3, model: "hybrid", mission: "10h", host, more, ..PLAIN }.assess();
    let no_repair = found.services[0].no_repair;
    let sure = closed::beta(3, 1, found.services[0].intrusion_probability, no_repair.beta).unwrap();
    assert!(no_repair.common_mode > sure * 1.5, "wormholes count: {no_repair:?} and {sure}");
    let told = format!("Without recovery it is {},", sweeps::percent(no_repair.common_mode));
    let text = &warning(&found, "diversity-over-servers").text;
    assert!(text.contains(&told), "{text}: {told}");
}

/// Nobody notices anything and every second turn expels: that is repair at half the rate of turns. Absences stay
/// as frequent as turns are.
#[test]
fn turns_that_expel_now_and_then_are_repair_at_that_share_of_their_rate() {
    let more = "[services.rejuvenation]\nperiod = { value = \"1h\", origin = \"assumed\" }\n\
                downtime = { value = \"1min\", origin = \"assumed\" }\nroot = \"wormhole\"\n\
                [[wormholes]]\nname = \"tee\"\ncoverage = { value = 0.5, origin = \"assumed\" }\n";
    let host = "wormhole = \"tee\"";
    let half = Plain { host, more, promises: "integrity availability", ..PLAIN };
    let found = half.assess();
    let service = &found.services[0];
    near(service.mttf_h.unwrap(), closed::mttf(4, 1, 0.01, 0.5).unwrap());
    assert_eq!(service.strategy_numbers.is_exhaustion_safe, Some(false));
    assert!(service.strategy_numbers.text.contains("with probability 50.0 % only"));
    let effort = Effort { missions: 20_000, ..Effort::default() };
    let simulated = assess(&half.design(), &effort, &|_, _| {}, &AtomicBool::new(false)).unwrap();
    for (chain, missions) in
        service.properties.iter().zip(&simulated.services[0].simulated.as_ref().unwrap().promises)
    {
        let holds = (missions.low..=missions.high).contains(&chain.risk);
        assert!(holds, "{chain:?} {missions:?}");
    }
    // Two absent at once break availability here, however few turns expel.
    let away = |coverage: &str| {
        let text =
            half.text().edited("0.02/h", "1e-9/h").edited("coverage = { value = 0.5", coverage);
        let text =
            text.edited("mission]\ntime = { value = \"100h\"", "mission]\ntime = { value = \"1h\"");
        let found = assessed(&Design::parse("away", &text).unwrap());
        let risks = found.services[0].properties.iter();
        risks.filter(|it| it.property == Property::Availability).map(|it| it.risk).sum::<f64>()
    };
    let (all, few) = (away("coverage = { value = 1"), away("coverage = { value = 0.1"));
    assert!(all > 1e-3 && (few / all - 1.0).abs() < 0.05, "{all} {few}");
}

#[test]
fn beta_factors_of_labels_that_all_share_are_the_closed_form() {
    let host = "site = \"x\"";
    for (share, n, f) in [(0.1, 7, 2), (0.1, 10, 3), (0.5, 4, 1), (1.0, 4, 1)] {
        let more = "[common_mode]\nsite = { value = SHARE, origin = \"assumed\" }";
        let more = more.edited("SHARE", &share.to_string());
        // p = 0.05 within the mission.
        let plain = Plain { n, f, mission: "5.129329438755058h", host, ..PLAIN };
        let text = plain.text() + &more;
        let assessment = assessed(&Design::parse("beta", &text).unwrap());
        let service = &assessment.services[0];
        near(service.no_repair.common_mode, closed::beta(n as u32, f as u32, 0.05, share).unwrap());
        // The chain has shocks and intrusions as rates, the formula shares of p: p is small.
        let difference = service.risk / service.no_repair.common_mode - 1.0;
        assert!(difference.abs() < 0.03, "{share} {n}: {difference}");
    }
}

/// The first fact: four servers are worse than one beyond p = 0.232, and this is told always.
#[test]
fn replication_that_makes_things_worse_is_told() {
    // p = 0.25.
    let worse = Plain { mission: "28.768207245178093h", ..PLAIN }.assess();
    let told = warning(&worse, "replication-makes-worse");
    assert_eq!(told.severity, Severity::Grave);
    assert!(told.text.contains("passes 0.232") && told.text.contains("25.0 %"), "{}", told.text);
    let advice =
        advise(&Plain { mission: "28.768207245178093h", ..PLAIN }.design(), 2, &|_, _| {}).unwrap();
    let text = advice.services[0].text.join("\n");
    assert!(text.contains("Replication makes things worse"), "{text}");
    // p = 0.4: seven servers are even worse than four.
    let advice =
        advise(&Plain { mission: "51.0825623765991h", ..PLAIN }.design(), 2, &|_, _| {}).unwrap();
    let text = advice.services[0].text.join("\n");
    assert!(text.contains("More servers make things worse"), "{text}");
    // p = 0.2: better, and the limit is told all the same.
    let better = Plain { mission: "22.314355131420974h", ..PLAIN }.assess();
    assert!(!warns(&better, "replication-makes-worse"));
    assert!(warning(&better, "replication-crossover").text.contains("0.232"));
}

/// How grave a lack of servers is hangs on the strategy, and so the strategy is told.
#[test]
fn servers_that_are_short_are_told_with_what_the_strategy_promises() {
    let turns = "[services.rejuvenation]\nperiod = { value = \"50h\", origin = \"assumed\" }\n\
                 downtime = { value = \"1min\", origin = \"assumed\" }\nroot = \"administrators\"\n";
    let mut design = Plain { care: REPAIRED, more: turns, ..PLAIN }.design();
    for (strategy, severity, told) in [
        (Strategy::NonStop, Severity::Grave, "`non-stop` promises to mask without a pause."),
        (
            Strategy::Recoverable,
            Severity::Warning,
            "`recoverable` does not promise to mask without a pause.",
        ),
    ] {
        design.services[0].strategy = strategy;
        let found = assessed(&design);
        let short = warning(&found, "no-slack");
        assert_eq!(short.severity, severity);
        assert!(short.text.ends_with(told), "{}", short.text);
    }
}

/// The second fact: with a shared 0.1, three more servers gain little, diversity more.
#[test]
fn diversity_over_more_servers_is_told() {
    let more = "[common_mode]\nsite = { value = 0.1, origin = \"assumed\" }";
    let host = "site = \"x\"";
    let seven = Plain { n: 7, f: 2, mission: "5.129329438755058h", host, more, ..PLAIN }.assess();
    let told = &warning(&seven, "diversity-over-servers").text;
    assert!(told.contains("share of 0.10"), "{told}");
    assert!(told.contains("0.777 %") && told.contains("0.569 %"), "{told}");
    assert!(told.contains("diversity, not more servers, is the lever"), "{told}");
    let unlike = Plain { n: 7, f: 2, mission: "5.129329438755058h", more, ..PLAIN }.assess();
    assert!(!warns(&unlike, "diversity-over-servers"), "nothing is shared");
}

#[test]
fn one_broken_wormhole_breaks_the_whole_cluster() {
    let host = "wormhole = \"process\"";
    let with = |coverage: &str| {
        let more =
            "[[wormholes]]\nname = \"process\"\ncoverage = { value = C, origin = \"expert\" }";
        let text = Plain { n: 3, model: "hybrid", mission: "10h", host, ..PLAIN }.text();
        let text = text + &more.edited("C", coverage);
        Design::parse("hybrid", &text).unwrap()
    };
    let risk = |coverage: &str| {
        let design = with(coverage);
        let situation = Situation::of(&design, &design.services[0]);
        solve::by_mission(&situation, Question::Exceeded, Grade::Result).unwrap()
    };
    let p = closed::intruded_by(0.01, 10.0).unwrap();
    near(risk("1"), closed::no_repair(3, 1, p).unwrap());
    near(risk("0"), closed::intruded_by(0.03, 10.0).unwrap());
    let weak = assessed(&with("0.7"));
    for id in ["wormhole-breaks-all", "weak-isolation", "hybrid-worse-than-arbitrary"] {
        warning(&weak, id);
    }
    let service = &weak.services[0];
    // The chain tries the wormholes of intruded servers again, the formula does not.
    assert!((service.no_repair.independent / service.risk - 1.0).abs() < 0.03);
    near(service.crossover.unwrap(), 0.1 / 1.1);
    let p = service.intrusion_probability;
    near(service.no_repair.common_mode, closed::hybrid(3, 1, p, 0.7).unwrap());
    let strong = assessed(&with("0.9999"));
    assert!(!warns(&strong, "weak-isolation") && !warns(&strong, "hybrid-worse-than-arbitrary"));
    let secrets = Plain { n: 3, model: "hybrid", mission: "10h", host, ..PLAIN };
    let text = Plain { promises: "confidentiality", ..secrets }.text()
        + "[[wormholes]]\nname = \"process\"\ncoverage = { value = 0, origin = \"expert\" }";
    let disclosed = assessed(&Design::parse("h", &text).unwrap()).services[0].risk_any;
    near(disclosed, closed::intruded_by(0.03, 10.0).unwrap());
}

#[test]
fn a_restart_is_no_recovery_and_does_not_count() {
    let turns = |root: &str| {
        let text = Plain { care: REPAIRED, ..PLAIN }.text().edited(
            "value = 1, origin = \"assumed\" }\nlatency",
            "value = 0.5, origin = \"assumed\" }\nlatency",
        ) + "[services.rejuvenation]\nperiod = { value = \"10h\", origin = \"assumed\" }\n\
               downtime = { value = \"1min\", origin = \"assumed\" }\n";
        let design = Design::parse("r", &(text + &format!("root = \"{root}\"\n"))).unwrap();
        assessed(&design)
    };
    let (restart, recovery) = (turns("none"), turns("tpm"));
    let none = Plain { care: REPAIRED, ..PLAIN }.text().edited(
        "value = 1, origin = \"assumed\" }\nlatency",
        "value = 0.5, origin = \"assumed\" }\nlatency",
    );
    let none = assessed(&Design::parse("n", &none).unwrap());
    near(restart.services[0].risk, none.services[0].risk);
    assert!(recovery.services[0].risk < restart.services[0].risk * 0.9);
    assert!(warning(&restart, "restart-not-recovery").text.contains("restart, not recovery"));
    assert!(!warns(&recovery, "restart-not-recovery"));
    warning(&restart, "hidden-intrusions-stay");
}

#[test]
fn what_leaked_stays_leaked_until_the_shares_are_refreshed() {
    let promises = "confidentiality integrity";
    let never = Plain { care: REPAIRED, promises, ..PLAIN }.assess();
    let service = &never.services[0];
    let of = |service: &ServiceResult, property: Property| {
        service.properties.iter().find(|it| it.property == property).unwrap().clone()
    };
    // Recovery does not help a share that was seen.
    near(of(service, Property::Confidentiality).risk, 0.855_798_6);
    assert!(of(service, Property::Integrity).risk < 0.2);
    assert_eq!(of(service, Property::Confidentiality).availability, None);
    warning(&never, "shares-never-refreshed");
    let care = "share_epoch = { value = \"1h\", origin = \"assumed\" }";
    let text = Plain { care: REPAIRED, promises, more: care, ..PLAIN }.text();
    let often = assessed(&Design::parse("often", &text).unwrap());
    let risk = of(&often.services[0], Property::Confidentiality).risk;
    assert!(risk < 0.4, "{risk}");
    assert!(risk >= of(&often.services[0], Property::Integrity).risk);
    let clear = Plain { care: REPAIRED, promises, ..PLAIN }.text().edited("sealed", "clear");
    let clear = assessed(&Design::parse("clear", &clear).unwrap());
    near(of(&clear.services[0], Property::Confidentiality).risk, 1.0 - (-4.0_f64).exp());
    warning(&clear, "secrets-in-clear");
}

#[test]
fn servers_that_only_stop_do_not_check_each_other() {
    let crash = Plain { n: 3, model: "crash", ..PLAIN }.assess();
    near(crash.services[0].risk_any, 1.0 - (-3.0_f64).exp());
    warning(&crash, "crash-trusts-all");
}

#[test]
fn shared_labels_leave_every_server_its_rate() {
    let path = format!("{}/../../examples/assess/three-clouds.toml", env!("CARGO_MANIFEST_DIR"));
    let design = Design::parse("three", &std::fs::read_to_string(path).unwrap()).unwrap();
    let situation = Situation::of(&design, &design.services[0]);
    let service =
        solve::service(&situation, Question::Exceeded, Grade::Result, solve::Without::Nothing);
    let singles: f64 =
        service.groups.iter().map(|it| it.intrusion_rate * f64::from(it.count)).sum();
    let shared: f64 = service
        .shocks
        .iter()
        .map(|shock| shock.rate * shock.hits.iter().map(|hit| f64::from(hit.count)).sum::<f64>())
        .sum();
    let total: f64 = situation.servers.iter().map(|server| server.rate).sum();
    near(singles + shared, total);
    for set in situation.shared() {
        let least = set.servers.iter().map(|at| situation.servers[*at].rate);
        let least = least.fold(f64::INFINITY, f64::min);
        assert!(set.rate <= situation.shares[set.kind as usize] * least * (1.0 + 1e-12));
    }
    assert!(situation.shared().iter().any(|set| set.kind == LabelKind::Site));
}

#[test]
fn the_merged_form_is_near_the_exact_one() {
    let path = format!("{}/../../examples/assess/three-clouds.toml", env!("CARGO_MANIFEST_DIR"));
    let design = Design::parse("three", &std::fs::read_to_string(path).unwrap()).unwrap();
    let now = Situation::of(&design, &design.services[0]);
    let situation = now.with_tolerance(FaultModel::Arbitrary, 3);
    let question = Question::Broken(Property::Confidentiality);
    assert!(!solve::is_merged(&situation, question, Grade::Result));
    assert!(solve::is_merged(&situation, question, Grade::Swept));
    let exact = solve::by_mission(&situation, question, Grade::Result).unwrap();
    let merged = solve::by_mission(&situation, question, Grade::Swept).unwrap();
    assert!((merged / exact - 1.0).abs() < 0.05, "{question:?}: {exact} and {merged}");
}

#[test]
fn elasticities_are_those_of_small_risks() {
    let tornado = &Plain { mission: "1h", ..PLAIN }.assess().services[0].tornado;
    let of = |input: &str| tornado.iter().find(|it| it.input == input).unwrap();
    // Two intrusions: the square of rate and time.
    assert!((of("attacks.a.rate").elasticity - 2.0).abs() < 0.05);
    assert!((of("mission.time").elasticity - 2.0).abs() < 0.05);
    assert!((of("vulnerabilities.v.patch").elasticity + 1.0).abs() < 0.05, "half of it is open");
    assert!(of("attacks.a.rate").high > 3.8 * of("attacks.a.rate").low);
    assert!(tornado.is_sorted_by(|a, b| a.elasticity.abs() >= b.elasticity.abs()));
}

#[test]
fn nothing_attacks_and_nothing_is_at_risk() {
    let text = PLAIN.text().edited("success = { value = 1", "success = { value = 0");
    let calm = assessed(&Design::parse("calm", &text).unwrap());
    let service = &calm.services[0];
    assert_eq!((service.risk, service.mttf_h, service.risk_any), (0.0, None, 0.0));
    assert_eq!(service.economics.cost_of_intruding, None);
    assert!(service.is_acceptable && service.tornado.is_empty());
    let text = serde_json::to_string(&calm).unwrap();
    assert!(text.contains("\"mttf_h\":null"));
}

#[test]
fn what_no_engine_computes_is_refused_with_its_line() {
    let refused = |text: &str, told: &str| {
        let design = Design::parse("plain.toml", text).unwrap();
        let found = assess(&design, &Effort::default(), &|_, _| {}, &AtomicBool::new(false));
        let Err(error) = found else { panic!("computed: {told}") };
        let (error, line) = (error.to_string(), design.services[0].line);
        assert!(error.starts_with(&format!("plain.toml:{line}: service `s`")), "{error}");
        assert!(error.contains(told), "{error}");
    };
    let outages = "[services.outages]\nrate = { value = \"1/y\", origin = \"assumed\" }\n\
                   duration = { value = \"1h\", origin = \"assumed\" }\n";
    let many = Plain { n: 100, f: 33, promises: "availability", more: outages, ..PLAIN };
    // Milliseconds over centuries, in a chain that is too large for a shorter way.
    let turns = "[services.rejuvenation]\nperiod = { value = \"30d\", origin = \"assumed\" }\n\
                 downtime = { value = \"1s\", origin = \"assumed\" }\nroot = \"tpm\"\n";
    let more = outages.to_owned() + turns;
    let all = Plain { more: &more, ..many }.text();
    let noticed = "repairers = \"single\"\ndetection = { value = 0.5";
    refused(&all.edited("detection = { value = 0", noticed), "501943 states");
    let stiff = Plain { n: 31, f: 10, mission: "1000y", more: &more, ..many };
    let stiff = stiff.text().edited("= \"1h\"", "= \"1ms\"");
    refused(&stiff.edited("detection = { value = 0", "detection = { value = 0.5"), "stiff chain");
}

#[test]
fn the_largest_services_are_assessed() {
    let host = "wormhole = \"process\"\nsite = \"x\"";
    let more = "[[wormholes]]\nname = \"process\"\n\
                coverage = { value = 0.99, origin = \"expert\" }\n\
                [common_mode]\nsite = { value = 0.1, origin = \"expert\" }";
    for (n, f, model) in [(100, 33, "arbitrary"), (99, 49, "hybrid"), (99, 49, "crash")] {
        let large = Plain { n, f, model, mission: "1h", host, more, ..PLAIN };
        let found = large.assess();
        warning(&found, "diversity-over-servers");
        assert!(found.services[0].risk > 0.0);
        advise(&large.design(), 2, &|_, _| {}).unwrap();
    }
}

#[test]
fn missions_are_simulated_beside_the_chain_and_can_be_cancelled() {
    let effort = Effort { missions: 20_000, ..Effort::default() };
    let design = PLAIN.design();
    let stop = AtomicBool::new(false);
    let told = std::cell::Cell::new((0, 0));
    let found = assess(&design, &effort, &|done, total| told.set((done, total)), &stop).unwrap();
    let simulated = found.services[0].simulated.as_ref().unwrap();
    assert_eq!(told.get(), (20_000, 20_000));
    assert!((simulated.low..=simulated.high).contains(&0.855_798_6), "{simulated:?}");
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let cancelled = assess(&design, &effort, &|_, _| {}, &stop).unwrap_err();
    assert!(matches!(cancelled, AnalysisError::Cancelled), "{cancelled}");
}

/// A design of servers that are each attacked at a rate of their own, per year.
fn unlike(rates: &[f64], f: usize) -> Design {
    let mut text = Plain { n: rates.len(), f, mission: "1y", ..PLAIN }.text();
    let attacks = text.find("[[attacks]]").unwrap();
    let hosts = text.find("[[hosts]]").unwrap();
    let own = |(at, rate): (usize, &f64)| {
        format!(
            "[[attacks]]\nname = \"a{at}\"\n\
             rate = {{ value = \"{rate}/y\", origin = \"assumed\" }}\n\
             cost = {{ value = 10, origin = \"assumed\" }}\n\
             exploits = [{{ vulnerability = \"v{at}\", \
             success = {{ value = 1, origin = \"assumed\" }} }}]\n\
             [[vulnerabilities]]\nname = \"v{at}\"\nhosts = [\"s{at}\"]\n\
             disclosure = {{ value = \"1/h\", origin = \"assumed\" }}\n\
             patch = {{ value = \"1e-4/h\", origin = \"assumed\" }}\n"
        )
    };
    let own: String = rates.iter().enumerate().map(own).collect();
    text.replace_range(attacks..hosts, &own);
    Design::parse("unlike", &text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// Twenty-two kinds of server are too many for a chain: missions must not merge them, or they would confirm what
/// the merged chain gets wrong.
#[test]
fn missions_simulate_each_server_where_the_chain_merges_them() {
    let fast = (50..57).map(f64::from);
    let slow = (1..=15).map(|number| f64::from(number) * 1e-6);
    let rates: Vec<f64> = fast.chain(slow).collect();
    let effort = Effort { missions: 2_000, ..Effort::default() };
    let design = unlike(&rates, 7);
    let found = assess(&design, &effort, &|_, _| {}, &AtomicBool::new(false)).unwrap();
    let service = &found.services[0];
    let simulated = service.simulated.as_ref().unwrap();
    assert!(simulated.high < 0.01, "seven fall, and nearly never an eighth: {simulated:?}");
    // What missions say decides: the merged chain would say nearly 1.
    warning(&found, "only-simulated");
    assert!(service.is_simulated && service.risk == simulated.risk, "{}", service.risk);
    assert!(assessed(&design).services[0].risk > 0.9, "the mean of all servers");
    // Nothing was seen in 2,000 missions: that is no proof of less than one in a thousand.
    let verdict = |acceptable: f64| {
        let mut design = design.clone();
        design.acceptable_risk.value.0 = acceptable;
        let found = assess(&design, &effort, &|_, _| {}, &AtomicBool::new(false)).unwrap();
        (found.services[0].risk_any, found.services[0].is_acceptable)
    };
    assert_eq!((verdict(0.001), verdict(0.01)), ((0.0, false), (0.0, true)));
}

/// Rates too far apart for a chain, or too many ways for a label to strike: missions answer all the same.
#[test]
fn missions_answer_where_a_chain_is_refused() {
    let many = "[common_mode]\nsite = { value = 0.1, origin = \"assumed\" }";
    let host = "site = \"x\"";
    let stiff = Plain { n: 31, f: 10, mission: "1y", host, more: many, ..PLAIN };
    let stiff = stiff.text().edited("= \"1h\"", "= \"1ms\"");
    let stiff = stiff.edited("detection = { value = 0", "detection = { value = 0.5");
    let design = Design::parse("stiff", &stiff).unwrap();
    let run = |missions| {
        let effort = Effort { missions, ..Effort::default() };
        assess(&design, &effort, &|_, _| {}, &AtomicBool::new(false))
    };
    let refused = run(0).unwrap_err().to_string();
    assert!(refused.contains("stiff chain"), "{refused}");
    let found = run(10).unwrap();
    assert!(found.services[0].is_simulated);
    warning(&found, "only-simulated");
    // Diversity over n is told without a chain too.
    let told = &warning(&found, "diversity-over-servers").text;
    assert!(told.contains("share of 0.10") && !told.contains("as designed"), "{told}");
}

/// Seven kinds of server: advice and sweeps start from the risk that an assessment gives, and say so where
/// they cannot compute each change like it.
#[test]
fn advice_starts_from_the_risk_of_the_assessment() {
    for rates in [&[50.0, 51.0, 1e-6, 2e-6, 3e-6, 4e-6, 5e-6][..], &[50.0, 51.0, 1e-6, 2e-6]] {
        let design = unlike(rates, (rates.len() - 1) / 3);
        let found = assessed(&design);
        let advice = &advise(&design, 2, &|_, _| {}).unwrap().services[0];
        assert_eq!(advice.risk, found.services[0].risk_any);
        let swept = &found.services[0].sweeps.iter().find(|it| it.parameter == "servers").unwrap();
        let at = swept.series[0].points.iter().find(|it| Some(it.x) == swept.current).unwrap();
        near(at.y, advice.risk);
        assert!(!warns(&found, "merged-servers"));
    }
    // Fourteen kinds are computed exactly, but not for each of many points.
    let slow = (1..=12).map(|number| f64::from(number) * 1e-6);
    let rates: Vec<f64> = [50.0, 51.0].into_iter().chain(slow).collect();
    let mut design = unlike(&rates, 4);
    let found = assessed(&design);
    assert!(warning(&found, "merged-servers").text.contains("sweeps, causes"));
    design.acceptable_risk.value.0 = 1e-7;
    let advice = &advise(&design, 2, &|_, _| {}).unwrap().services[0];
    assert_eq!(advice.risk, found.services[0].risk_any);
    assert!(advice.risk < 1e-3, "{}", advice.risk);
    assert!(advice.text.iter().any(|it| it.contains("the mean of all servers")), "{advice:?}");
}

/// Whichever host is named first: sweeps, advice and conclusions are the same.
#[test]
fn the_order_of_hosts_does_not_matter() {
    let path = format!("{}/../../examples/assess/three-clouds.toml", env!("CARGO_MANIFEST_DIR"));
    let mut design = Design::parse("three", &std::fs::read_to_string(path).unwrap()).unwrap();
    let told = |design: &Design| {
        let found = assessed(design);
        let risks = found.services[0].sweeps.iter().flat_map(|it| &it.series);
        let risks: Vec<f64> = risks.flat_map(|it| &it.points).map(|it| it.y).collect();
        let told = found.conclusions.iter().chain(&found.warnings).map(|it| it.text.clone());
        (
            risks,
            told.collect::<Vec<_>>(),
            advise(design, 2, &|_, _| {}).unwrap().services[0].text.clone(),
        )
    };
    let (risks, texts, advice) = told(&design);
    // The table of labels alone keeps the order of the file.
    let sorted = |texts: &[String]| {
        let kept = texts.iter().filter(|it| !it.starts_with("The fall of"));
        kept.cloned().collect::<Vec<_>>()
    };
    // Reversed alone would not do: what is spread evenly is spread the same from both ends.
    for order in [[6, 5, 4, 3, 2, 1, 0], [2, 0, 1, 3, 4, 5, 6], [3, 6, 0, 5, 1, 4, 2]] {
        let hosts = design.services[0].hosts.clone();
        design.services[0].hosts = order.map(|at: usize| hosts[at]).to_vec();
        let (other_risks, other_texts, other_advice) = told(&design);
        assert_eq!(risks.len(), other_risks.len());
        risks.iter().zip(other_risks).for_each(|(a, b)| near(b, *a));
        assert_eq!(sorted(&texts), sorted(&other_texts));
        assert_eq!(advice, other_advice);
    }
    // One server is the mean of all.
    let situation = Situation::of(&design, &design.services[0]);
    near(situation.with_servers(1).servers[0].rate, situation.mean_rate());
}

/// Of four servers three must answer, and two are rejuvenated at once: every turn is one too many, whether it expels
/// anybody or not, by chains as by missions.
#[test]
fn servers_that_are_rejuvenated_at_once_are_missed_at_once() {
    let with = |at_once: usize, root: &str| {
        let more = format!(
            "[services.rejuvenation]\nperiod = {{ value = \"10h\", origin = \"assumed\" }}\n\
             downtime = {{ value = \"1min\", origin = \"assumed\" }}\n\
             at_once = {at_once}\nroot = \"{root}\"\n"
        );
        let text = Plain { promises: "availability", more: &more, ..PLAIN }.text();
        Design::parse("at once", &text.edited("0.02/h", "1e-9/h")).unwrap()
    };
    let effort = Effort { missions: 1_000, ..Effort::default() };
    for root in ["tpm", "none"] {
        let risks = |at_once| {
            let found = assess(&with(at_once, root), &effort, &|_, _| {}, &AtomicBool::new(false));
            let service = found.unwrap().services[0].clone();
            (service.risk_any, service.simulated.unwrap().promises[0].risk)
        };
        let ((one, one_by_one), (two, together)) = (risks(1), risks(2));
        assert!(one < 0.2 && one_by_one == 0.0, "{root}: {one} {one_by_one}");
        assert!(two > 0.999 && together >= 1.0, "{root}: {two} {together}");
    }
    // One server of all is never absent with another.
    let alone = |at_once| {
        let design = with(at_once, "tpm");
        let one = Situation::of(&design, &design.services[0]);
        let one = Situation { mission: 10.0, ..one.with_tolerance(FaultModel::Single, 0) };
        solve::by_mission(&one, Question::Broken(Property::Availability), Grade::Result).unwrap()
    };
    near(alone(2), alone(1));
}

/// A round of four takes 116 minutes of two hours, and with a fifth not every server has its turn.
#[test]
fn sweeps_leave_out_schedules_that_are_impossible_and_say_what_they_assume() {
    let turns = "[services.rejuvenation]\nperiod = { value = \"2h\", origin = \"assumed\" }\n\
                 downtime = { value = \"29min\", origin = \"assumed\" }\nroot = \"tpm\"\n";
    let sweeps = |more| sweeps::sweeps(&Plain { more, care: REPAIRED, ..PLAIN }.situation());
    let found = sweeps(turns).unwrap();
    let of = |name: &str| found.iter().find(|it| it.parameter == name).unwrap();
    let xs: Vec<f64> = of("servers").series[0].points.iter().map(|it| it.x).collect();
    assert_eq!(xs, [4.0]);
    let xs: Vec<f64> = of("tolerated").series[0].points.iter().map(|it| it.x).collect();
    assert_eq!(xs, [0.0, 1.0]);
    assert!(!of("rejuvenation_period").text.contains("assumed"));
    let found = sweeps("").unwrap();
    let first = found.iter().find(|it| it.parameter == "rejuvenation_period").unwrap();
    assert!(first.text.ends_with("A downtime of 20min is assumed."), "{}", first.text);
    // Four turns of 20 minutes fit into no shorter period.
    assert!(first.series[0].points.iter().all(|point| point.x >= 4.0 / 3.0));
}

/// A round of four takes 116 minutes of two hours: half the period is impossible.
#[test]
fn no_sensitivity_counts_on_schedules_that_are_impossible() {
    let turns = "[services.rejuvenation]\nperiod = { value = \"2h\", origin = \"assumed\" }\n\
                 downtime = { value = \"29min\", origin = \"assumed\" }\nroot = \"tpm\"\n";
    let design = Plain { more: turns, care: REPAIRED, ..PLAIN }.design();
    let found = risk::elasticities(&design, 0).unwrap();
    let base = risk::risk(&Situation::of(&design, &design.services[0]), Grade::Swept).unwrap();
    let period = found.iter().find(|it| it.input.ends_with("rejuvenation.period")).unwrap();
    assert!((period.low / base - 1.0).abs() < 0.02, "{period:?}, {base}");
    assert!(period.high / base > 1.02, "{period:?}, {base}");
}

/// Where every way goes through a step that never succeeds there is none, and this is told in words.
#[test]
fn an_attack_tree_without_a_way_is_told_as_one() {
    let text = include_str!("../../../../examples/assess/single-hsm.toml");
    let never = text.edited(
        "origin = \"expert\" }, probability = { value = 0.05",
        "origin = \"expert\" }, probability = { value = 0",
    );
    let told = |text: &str| {
        let found = assessed(&Design::parse("tree", text).unwrap());
        let tree = found.attack_trees[0].clone();
        let all = found.conclusions.iter().map(|it| (it.id.clone(), it.text.clone()));
        let text = crate::report::summary::Summary(&found).to_string();
        (tree, all.collect::<Vec<_>>(), text, crate::report::document::html(&found))
    };
    // The dear way is left where the cheap one never succeeds.
    let (tree, ..) = told(&never);
    assert_eq!((tree.cost, tree.path), (Some(150_000.0), vec!["bribed operator".to_owned()]));
    let (tree, all, text, page) =
        told(&never.edited("probability = { value = 0.02", "probability = { value = 0"));
    assert_eq!((tree.cost, tree.path.len(), tree.probability), (None, 0, 0.0));
    assert!(!tree.is_affordable && !tree.is_worthwhile && !tree.nodes[0].is_on_path);
    let wanted = "There is no way to `sign something false`";
    assert!(all.iter().any(|(id, it)| id == "no-path" && it.contains(wanted)), "{all:?}");
    assert!(!all.iter().any(|(id, _)| id == "cheapest-path"));
    assert!(text.contains("no way") && page.contains("No path has steps that can all succeed"));
}

/// A change without a price is not the cheapest one, and wormholes are as good as the design says.
#[test]
fn advice_prefers_what_has_a_price() {
    let promises = "confidentiality";
    let host = "site = \"x\"\nwormhole = \"process\"";
    let more = "[common_mode]\nsite = { value = 0.5, origin = \"assumed\" }\n[costs]\n\
                diversity = { value = 1000, origin = \"assumed\" }\n\
                [[wormholes]]\nname = \"process\"\ncoverage = { value = 0.7, origin = \"expert\" }";
    // Sealing the state has no price, and other sites do not help secrets in clear.
    let plain = Plain { mission: "1h", promises, host, more, ..PLAIN };
    let mut design = Design::parse("p", &plain.text()).unwrap();
    design.acceptable_risk.value.0 = 0.004;
    let advice = advise(&design, 2, &|_, _| {}).unwrap().services[0].clone();
    assert!(advice.is_reached && !advice.plan.is_empty(), "{advice:?}");
    assert!(advice.plan.iter().all(|it| it.cost.is_some()), "{:?}", advice.plan);
    let hybrid = advice.changes.iter().find(|it| it.kind == "hybrid").unwrap();
    assert!(hybrid.text.contains("coverage 0.7"), "{}", hybrid.text);
    assert_eq!(hybrid.cost, None);
}

/// A way whose price is not known is told beside the cheapest, and never as it.
#[test]
fn ways_without_a_price_stand_apart() {
    let path = format!("{}/../../examples/assess/", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path + "hybrid-weak-isolation.toml").unwrap();
    let mut design = Design::parse("weak", &text).unwrap();
    let is_priced = |it: &Change| it.cost.is_some();
    let both = advise(&design, 2, &|_, _| {}).unwrap().services[0].clone();
    assert!(both.is_reached && both.plan.iter().all(is_priced), "{:?}", both.plan);
    assert!(!both.unpriced_plan.is_empty() && !both.unpriced_plan.iter().all(is_priced));
    assert!(both.unpriced_risk_after.unwrap() <= both.acceptable_risk);
    // Without any price only what is free is left.
    design.costs = crate::design::Costs::default();
    let none = advise(&design, 2, &|_, _| {}).unwrap().services[0].clone();
    assert!(!none.is_reached && none.plan.iter().all(|it| it.cost == Some(0.0)), "{none:?}");
    assert!(none.unpriced_risk_after.unwrap() <= none.acceptable_risk, "{none:?}");
    assert!(none.text.iter().any(|it| it.contains("Another way reaches it")), "{:?}", none.text);
}

/// Where only availability is promised, more servers at the same f help, and the sweep says so; where answers
/// must be right they do not.
#[test]
fn the_sweep_over_servers_tells_what_it_computed() {
    let told = |promises| {
        let found = Plain { promises, care: REPAIRED, mission: "1h", ..PLAIN }.assess();
        let sweeps = &found.services[0].sweeps;
        sweeps.iter().find(|it| it.parameter == "servers").unwrap().text.clone()
    };
    let (answers, time) = (told("integrity"), told("availability"));
    assert!(answers.contains("more to choose from"), "{answers}");
    assert!(time.contains("more of them may be absent"), "{time}");
}

/// Six intrusions tolerated take sets of seven labels, and only four are looked for.
#[test]
fn sets_of_labels_that_are_not_looked_for_are_told() {
    let host = "site = \"x\"";
    let search = |f, n| {
        let found = Plain { n, f, host, mission: "1h", ..PLAIN }.assess();
        let text = crate::report::summary::Summary(&found).to_string();
        let page = crate::report::document::html(&found);
        let is_told = |text: &str| {
            text.split_whitespace()
                .collect::<Vec<_>>()
                .join(" ")
                .contains("not surely all such sets")
        };
        (found.services[0].cut_search, is_told(&text), is_told(&page))
    };
    let (small, in_text, on_page) = search(1, 4);
    assert!(small.is_complete && !in_text && !on_page);
    // One label that all share is the only one, so that there is no larger set.
    assert!(search(6, 19).0.is_complete);
    // Four of nine sites with two servers each are more than six: 126 sets.
    let site = |text: String, at: usize| {
        text.replacen("site = \"x\"", &format!("site = \"room {}\"", at / 2), 1)
    };
    let pairs = Plain { n: 19, f: 6, host, mission: "1h", ..PLAIN }.text();
    let pairs = (0..19).fold(pairs, site);
    let found = assessed(&Design::parse("pairs", &pairs).unwrap());
    let search = found.services[0].cut_search;
    assert_eq!((search.found, search.labels_max, search.is_complete), (126, 4, false));
    let text = crate::report::summary::Summary(&found).to_string();
    assert!(text.contains("not surely all such"), "{text}");
    assert!(crate::report::document::html(&found).contains("not surely all such sets"));
}

#[test]
fn the_same_design_gives_the_same_bytes() {
    let json = || serde_json::to_string(&Plain { care: REPAIRED, ..PLAIN }.assess()).unwrap();
    assert_eq!(json(), json());
}

/// Every promise by missions of its own, beside its chain: with recovery after detection, undetected
/// intrusions, single repairers, outages, shared labels, secrets in clear, and servers that only stop.
#[test]
fn missions_hold_the_chain_of_every_promise() {
    let clear = REPAIRED.edited("sealed", "clear");
    let half = REPAIRED.edited("value = 1,", "value = 0.9,");
    let single = format!("{REPAIRED}\nrepairers = \"single\"");
    let outages = format!(
        "{REPAIRED}\noutages = {{ rate = {{ value = \"0.01/h\", origin = \"assumed\" }}, \
         duration = {{ value = \"2h\", origin = \"assumed\" }} }}"
    );
    let shared = "site = \"here\"";
    let share = "[common_mode]\nsite = { value = 0.1, origin = \"assumed\" }\n";
    let cares = [REPAIRED, &clear, &half, &single, &outages];
    for (care, model) in cares.into_iter().flat_map(|it| [(it, "arbitrary"), (it, "crash")]) {
        for (host, more) in [("", ""), (shared, share)] {
            let plain = Plain { n: 4, f: 1, model, mission: "50h", host, more, ..PLAIN };
            let promises = "confidentiality integrity availability";
            let text = Plain { promises, ..plain }.text().edited(NO_CARE, care);
            let design = Design::parse("each", &text).unwrap_or_else(|it| panic!("{it}\n{text}"));
            let situation = Situation::of(&design, &design.services[0]);
            let effort = Effort { missions: 20_000, level: 0.9999, ..Effort::default() };
            let watch: (&dyn Fn(u64, u64), &AtomicBool) = (&|_, _| {}, &AtomicBool::new(false));
            let found = simulate::simulate(&situation, &effort, &[], watch).unwrap().unwrap().told;
            assert_eq!(found.promises.len(), 3);
            for it in found.promises {
                let question = Question::Broken(it.property);
                let wanted = solve::by_mission(&situation, question, Grade::Exact).unwrap();
                assert!((it.low..=it.high).contains(&wanted), "{wanted}: {it:?}\n{text}");
            }
        }
    }
}

/// A hundred servers of as many kinds: missions build no chain, and chains are refused with their size
/// before anything is built.
#[test]
fn a_hundred_unlike_servers_are_simulated_or_refused_at_once() {
    let rates: Vec<f64> = (0..100).map(|it| 0.1 + f64::from(it) / 1e3).collect();
    let mut design = unlike(&rates, 33);
    let begun = std::time::Instant::now();
    let exact = Effort { is_exact: true, ..Effort::default() };
    let refused = assess(&design, &exact, &|_, _| {}, &AtomicBool::new(false)).unwrap_err();
    assert!(refused.to_string().contains("at most 1000000 are computed"), "{refused}");
    assert!(!refused.to_string().contains("group") && !refused.to_string().contains("stage"));
    let few = Effort { missions: 200, is_exact: true, ..Effort::default() };
    let found = assess(&design, &few, &|_, _| {}, &AtomicBool::new(false)).unwrap();
    let service = &found.services[0];
    let simulated = service.simulated.as_ref().unwrap();
    assert!(service.is_simulated && service.risk == simulated.risk && service.mttf_h.is_none());
    assert_eq!(service.properties[0].risk, simulated.promises[0].risk);
    warning(&found, "only-simulated");
    // A merged chain of them is small: without `is_exact` it stands beside the missions.
    design.mission.value.0 = 10.0;
    let merged = assess(&design, &Effort::default(), &|_, _| {}, &AtomicBool::new(false)).unwrap();
    assert!(!merged.services[0].is_simulated);
    assert!(begun.elapsed().as_secs() < 120, "{:?}", begun.elapsed());
}

/// Ten servers of many kinds are too many for every change to be computed one by one, and what is said of them is
/// what the exact chain says. Where servers stay intruded and most of them are in the end, more of them are worse,
/// whichever are copied.
#[test]
fn more_servers_are_said_to_be_worse_where_the_exact_chain_says_so() {
    let text = include_str!("../../../../examples/assess/three-clouds.toml");
    // Nearly as often intruded as each other, seldom noticed, and never expelled.
    let changes = [
        ("detection = { value = 0.9", "detection = { value = 0.1"),
        ("root = \"tpm\"", "root = \"none\""),
        ("openbsd 7", "debian 13"),
        ("risk = { value = 0.005", "risk = { value = 0.99"),
        ("success = { value = 0.4", "success = { value = 0.5"),
        ("disclosure = { value = \"2/y\"", "disclosure = { value = \"3.8/y\""),
        ("patch = { value = \"0.5/d\"", "patch = { value = \"0.25/d\""),
        ("time = { value = \"1y\"", "time = { value = \"10y\""),
    ];
    let text = changes.iter().fold(text.to_owned(), |text, (from, to)| text.edited(from, to));
    let design = Design::parse("three-clouds.toml", &text).unwrap();
    let now = Situation::of(&design, &design.services[0]);
    let more = now.with_tolerance(FaultModel::Arbitrary, 3);
    assert!(solve::is_merged(&more, Question::Broken(Property::Confidentiality), Grade::Swept));
    let exact = |it: &Situation| risk::risk(it, Grade::Exact).unwrap();
    let (with_seven, with_ten) = (exact(&now), exact(&more));
    let (before, after) = (sweeps::percent(with_seven), sweeps::percent(with_ten));
    assert!(with_ten > with_seven, "{before} to {after}");
    let mut best = Situation { f: 3, ..now.clone() };
    best.servers.extend(vec![now.servers[0].clone(); 3]);
    let rates = now.servers.iter().map(|server| server.rate);
    assert_eq!(rates.fold(f64::INFINITY, f64::min), now.servers[0].rate, "the strongest");
    let with_best = exact(&best);
    assert!(with_best > with_seven, "{before} to {with_best}");
    let advice = advise(&design, 2, &|_, _| {}).unwrap();
    let wanted = format!("takes the risk from {before} to {after}.");
    let told = &advice.services[0].text;
    assert!(
        told.iter().any(|it| it.starts_with("More servers") && it.ends_with(&wanted)),
        "{told:?}"
    );
    let swept = format!("From 7 to 10 servers the risk goes from {before} to {after}.");
    let sweeps = sweeps::sweeps(&now).unwrap();
    assert!(sweeps.iter().any(|it| it.text.starts_with(&swept)), "{swept}");
}
