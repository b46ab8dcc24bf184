//! What each change does, says and costs.

use super::super::situation::Server;
use super::options::{Step, options};
use super::*;
use crate::design::{LabelKind, Property};

const ONE_ROOM: &str = include_str!("../../../../../examples/assess/one-room.toml");
const THREE_CLOUDS: &str = include_str!("../../../../../examples/assess/three-clouds.toml");
const HYBRID: &str = include_str!("../../../../../examples/assess/hybrid-weak-isolation.toml");

fn parsed(text: &str) -> Design {
    Design::parse("model.toml", text).unwrap_or_else(|error| panic!("{error}"))
}

/// The design with a risk that is accepted, so that no plan is looked for.
fn accepted(text: &str) -> Design {
    let mut design = parsed(text);
    design.acceptable_risk.value.0 = 1.0;
    design
}

fn situation(design: &Design) -> Situation {
    Situation::of(design, &design.services[0])
}

fn advised(design: &Design) -> ServiceAdvice {
    advise(design, 2, &|_, _| {}).unwrap().services[0].clone()
}

/// Changes of a kind that are tried on a design as it is.
fn of_kind(design: &Design, kind: &str) -> Vec<Step> {
    let all = options(design, &design.services[0], &situation(design));
    all.into_iter().filter(|step| step.kind == kind).collect()
}

/// The text without the section that begins with `from` and ends before `until`.
fn without(text: &str, from: &str, until: &str) -> String {
    let (start, end) = (text.find(from).unwrap(), text.find(until).unwrap());
    format!("{}{}", &text[..start], &text[end..])
}

#[track_caller]
fn near(found: Option<f64>, wanted: f64) {
    assert!(found.is_some_and(|it| (it - wanted).abs() < 1e-6), "{found:?}, wanted {wanted}");
}

#[test]
fn a_rejuvenation_that_refreshes_the_shares_says_so() {
    let text = |model: &str| of_kind(&parsed(model), "shorter-rejuvenation")[0].text.clone();
    let both = "rejuvenate every server each 15d, and refresh the shares as often";
    assert_eq!(text(ONE_ROOM), both);
    let alone = "rejuvenate every server each 15d";
    let epoch = "share_epoch = { value = \"30d\"";
    // Shares that are refreshed more often already, and none at all.
    assert_eq!(text(&ONE_ROOM.replace(epoch, "share_epoch = { value = \"10d\"")), alone);
    assert_eq!(text(&ONE_ROOM.replace("\"sealed\"", "\"clear\"")), alone);
}

#[test]
fn a_first_rejuvenation_takes_servers_away_and_says_what_it_assumes() {
    let design = accepted(&without(ONE_ROOM, "[services.rejuvenation]", "[services.outages]"));
    let advice = advised(&design);
    let first = advice.changes.iter().find(|it| it.kind == "shorter-rejuvenation").unwrap();
    let assumed = first.assumed.as_ref().unwrap();
    assert!(assumed.contains("absent for 20min") && assumed.contains("new identity"), "{assumed}");
    let turns = of_kind(&design, "shorter-rejuvenation")[0].after.care.rejuvenation.unwrap();
    assert!((turns.downtime - 1.0 / 3.0).abs() < 1e-12);
    // As long as nobody is absent rejuvenation can only help availability.
    let answers = first.promises.iter().find(|it| it.property == Property::Availability).unwrap();
    assert!(answers.is_worse, "{answers:?}");
    // What follows it assumes the same; what a design says is not assumed.
    let after = &of_kind(&design, "shorter-rejuvenation")[0].after;
    let second = options(&design, &design.services[0], after);
    let second = second.iter().find(|step| step.kind == "shorter-rejuvenation").unwrap();
    assert!(second.text.contains("15d") && second.assumed == first.assumed, "{second:?}");
    assert_eq!(of_kind(&parsed(ONE_ROOM), "shorter-rejuvenation")[0].assumed, None);
}

#[test]
fn no_schedule_that_takes_all_time_is_proposed() {
    let period = "period = { value = \"30d\"";
    let with = |period_told: &str, downtime: &str| {
        let text = ONE_ROOM.replace(period, &format!("period = {{ value = \"{period_told}\""));
        parsed(&text.replace("value = \"20min\"", &format!("value = \"{downtime}\"")))
    };
    let counts = |design: &Design| {
        ["more-servers", "spare-servers", "shorter-rejuvenation"]
            .map(|kind| of_kind(design, kind).len())
    };
    assert_eq!(counts(&with("100h", "29min")), [1, 1, 1]);
    // A round of four takes 116 minutes of 120, and one of six or seven would take more than all.
    assert_eq!(counts(&with("2h", "29min")), [0, 0, 0]);
    // Exactly all of it is too much, too.
    assert_eq!(counts(&with("210min", "30min")), [0, 1, 0]);
    // A first one in half of a mission of two hours, with four turns of 20 minutes.
    let first = without(ONE_ROOM, "[services.rejuvenation]", "[services.outages]");
    let mission =
        |time: &str| parsed(&first.replacen("value = \"1y\"", &format!("value = \"{time}\""), 1));
    assert_eq!(counts(&mission("2h")), [1, 1, 0]);
    assert_eq!(counts(&mission("160min")), [1, 1, 0]);
    assert_eq!(counts(&mission("3h")), [1, 1, 1]);
}

/// Servers of 6000, rejuvenated each week for 10, with a wormhole of 500 whose isolation takes 1500.
#[test]
fn one_more_server_costs_what_the_present_ones_cost() {
    let turns = 10.0 * 365.0 / 7.0;
    let design = parsed(HYBRID);
    near(of_kind(&design, "more-servers")[0].cost, 2.0 * (6500.0 + turns));
    near(of_kind(&design, "spare-servers")[0].cost, 2.0 * (6500.0 + turns));
    // No wormhole is counted on, and the one more has none.
    near(of_kind(&design, "arbitrary")[0].cost, 6000.0 + turns);
    let isolated = &of_kind(&design, "isolation")[0].after;
    let all = options(&design, &design.services[0], isolated);
    let more = all.iter().find(|step| step.kind == "more-servers").unwrap();
    near(more.cost, 2.0 * (8000.0 + turns));
    // In either order the price is the same.
    let grown = options(&design, &design.services[0], &of_kind(&design, "more-servers")[0].after);
    let isolation = grown.iter().find(|step| step.kind == "isolation").unwrap();
    near(isolation.cost, 5.0 * 1500.0);
    // What has no price for the present servers has none for others; without that of a server there is none.
    let free = without(HYBRID, "rejuvenation = { value = 10", "wormhole = { value = 500");
    near(of_kind(&parsed(&free), "more-servers")[0].cost, 2.0 * 6500.0);
    let unknown = without(HYBRID, "server = { value", "diversity = { value");
    assert_eq!(of_kind(&parsed(&unknown), "more-servers")[0].cost, None);
}

/// Recovery by a wormhole takes one on every server, whatever the fault model.
#[test]
fn a_wormhole_that_roots_recovery_is_paid_for() {
    let rooted = HYBRID.replace("root = \"none\"", "root = \"wormhole\"");
    let rooted = rooted.replace("\"hybrid\"\nstrategy", "\"crash\"\nstrategy");
    let turns = 10.0 * 365.0 / 7.0;
    near(of_kind(&parsed(&rooted), "more-servers")[0].cost, 2.0 * (6500.0 + turns));
    let tpm = rooted.replace("root = \"wormhole\"", "root = \"tpm\"");
    near(of_kind(&parsed(&tpm), "more-servers")[0].cost, 2.0 * (6000.0 + turns));
}

#[test]
fn servers_are_copied_from_those_that_share_least() {
    let design = parsed(THREE_CLOUDS);
    let now = situation(&design);
    let name = |server: &Server| server.host.map(|at| design.hosts[at].name.clone());
    let alike = |copy: &Server| {
        let of = now.servers.iter().find(|it| it.labels == copy.labels && it.rate == copy.rate);
        of.and_then(name).unwrap()
    };
    let copies = now.copies(3);
    assert!(copies.iter().all(|copy| copy.host.is_none()));
    // Nobody shares the administrator, the system and the build of c2; then cloud b has fewest.
    assert_eq!(alike(&copies[0]), "c2");
    assert!(alike(&copies[1]).starts_with('b'), "{}", alike(&copies[1]));
    let ten = now.with_servers(10);
    let site = LabelKind::Site as usize;
    let sites = ten.servers.iter().map(|it| it.labels[site]);
    let most = sites.clone().map(|value| sites.clone().filter(|it| *it == value).count()).max();
    assert_eq!(most, Some(4), "three clouds cannot do better");
    // What is not shared, or shared by all alike, is copied evenly.
    let room = situation(&parsed(ONE_ROOM));
    for n in [4, 7, 8, 11] {
        let hosts = room.copies(n - 4).len();
        assert_eq!((hosts, room.with_servers(n).n()), (n - 4, n));
    }
    let mut unlike = now.clone();
    unlike.shares = [0.0; LabelKind::ALL.len()];
    let twice = unlike.with_servers(14);
    let count = |of: &Server| twice.servers.iter().filter(|it| it.labels == of.labels).count();
    assert!(unlike.servers.iter().all(|server| count(server) == 2));
}

#[test]
fn a_single_server_is_moved_where_that_lowers_the_risk() {
    let design = parsed(THREE_CLOUDS);
    let moves = of_kind(&design, "move");
    assert_eq!(moves.len(), 4, "{moves:?}");
    let site = moves.iter().find(|step| step.label == Some(LabelKind::Site)).unwrap();
    assert_eq!(site.text, "another site for a1 (3 share cloud a)");
    assert_eq!(site.cost, Some(6000.0));
    let changed =
        |a: &Server, b: &Server| a.labels.iter().zip(&b.labels).filter(|(a, b)| a != b).count();
    let now = situation(&design);
    let differ: usize =
        now.servers.iter().zip(&site.after.servers).map(|(a, b)| changed(a, b)).sum();
    assert_eq!(differ, 1);
    // Cheaper than other sites for all, it is what reaches a thousandth.
    let strict = parsed(&THREE_CLOUDS.replace("risk = { value = 0.005", "risk = { value = 0.001"));
    let advice = advised(&strict);
    let plan: Vec<&str> = advice.plan.iter().map(|it| it.kind.as_str()).collect();
    assert!(advice.is_reached && plan == ["move"], "{:?}", advice.plan);
    let listed = advice.changes.iter().filter(|it| it.kind == "move");
    assert!(listed.clone().all(|it| it.risk_after * WORSE_BY < it.risk_before));
    // Of four servers in one room three stay there, and three are too many: no move of one helps.
    let room = accepted(ONE_ROOM);
    assert!(!of_kind(&room, "move").is_empty());
    assert!(advised(&room).changes.iter().all(|it| it.kind != "move"));
    // Without a price it is no change.
    let unpriced = without(THREE_CLOUDS, "diversity = { value", "rejuvenation = { value = 5,");
    assert!(of_kind(&parsed(&unpriced), "move").is_empty());
}

/// Vulnerabilities of a label's value stay with a server that gets another one, and every such change says so.
#[test]
fn other_values_are_taken_to_be_as_vulnerable_and_this_is_told() {
    let design = accepted(ONE_ROOM);
    let now = situation(&design);
    let others = of_kind(&design, "diversity").into_iter().chain(of_kind(&design, "move"));
    for step in others {
        let rates =
            |it: &Situation| it.servers.iter().map(|server| server.rate).collect::<Vec<_>>();
        assert_eq!(rates(&step.after), rates(&now));
        assert!(step.assumed.is_some_and(|it| it.contains("as vulnerable as what is there")));
    }
    let told =
        crate::report::summary::Summary(&advise(&design, 2, &|_, _| {}).unwrap()).to_string();
    let assumed = "  assumed: what is new is as vulnerable as what is there";
    assert!(told.contains(assumed), "{told}");
}

/// Without prices the shares alone are refreshed for nothing, and a way that has no price reaches what is accepted.
#[test]
fn the_source_is_all_that_is_left_only_where_no_other_way_reaches_it() {
    let mut design = parsed(ONE_ROOM);
    design.costs = crate::design::Costs::default();
    let source = "What is left has to be lowered at its source";
    let told = advised(&design).text.join(" ");
    assert!(told.contains("is not reached with what has a price in the design. From"), "{told}");
    assert!(
        told.contains("Another way reaches it") && told.contains("prices in `[costs]`"),
        "{told}"
    );
    assert!(!told.contains(source), "{told}");
    design.acceptable_risk.value.0 = 1e-12;
    let told = advised(&design).text.join(" ");
    assert!(told.contains("Another way goes further"), "{told}");
    assert!(told.contains("is not reached. From") && told.contains(source), "{told}");
}
