//! What each change does, says and costs.

use super::super::situation::Server;
use super::super::tests::Edited;
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
    all.into_iter().filter(|step| step.kind.name() == kind).collect()
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

/// What is dropped from a plan or put in another order is found again as what it was.
#[test]
fn no_two_changes_of_a_situation_are_taken_for_each_other() {
    let room = parsed(ONE_ROOM);
    let five = situation(&room).with_servers(5);
    let clouds = parsed(THREE_CLOUDS);
    for (design, now) in [(&clouds, situation(&clouds)), (&room, situation(&room)), (&room, five)] {
        let all = options(design, &design.services[0], &now);
        assert!(all.len() > 10, "{all:?}");
        for (i, a) in all.iter().enumerate() {
            for (j, b) in all.iter().enumerate() {
                assert_eq!(a.kind == b.kind, i == j, "{} and {}", a.text, b.text);
            }
        }
    }
    let fewer = |it: &Situation| {
        let all = options(&room, &room.services[0], it);
        all.iter().filter(|step| step.kind.name() == "fewer-servers").count()
    };
    assert_eq!(fewer(&situation(&room).with_servers(5)), 2, "four servers, and one");
}

#[test]
fn a_rejuvenation_that_refreshes_the_shares_says_so() {
    let text = |model: &str| of_kind(&parsed(model), "shorter-rejuvenation")[0].text.clone();
    let both = "rejuvenate every server each 15d, and refresh the shares as often";
    assert_eq!(text(ONE_ROOM), both);
    let alone = "rejuvenate every server each 15d";
    let epoch = "share_epoch = { value = \"30d\"";
    // Shares that are refreshed more often already, and none at all.
    assert_eq!(text(&ONE_ROOM.edited(epoch, "share_epoch = { value = \"10d\"")), alone);
    assert_eq!(text(&ONE_ROOM.edited("\"sealed\"", "\"clear\"")), alone);
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
    let second = second.iter().find(|step| step.kind.name() == "shorter-rejuvenation").unwrap();
    assert!(second.text.contains("15d") && second.assumed == first.assumed, "{second:?}");
    assert_eq!(of_kind(&parsed(ONE_ROOM), "shorter-rejuvenation")[0].assumed, None);
}

#[test]
fn no_schedule_that_takes_all_time_is_proposed() {
    let period = "period = { value = \"30d\"";
    let with = |period_told: &str, downtime: &str| {
        let text = ONE_ROOM.edited(period, &format!("period = {{ value = \"{period_told}\""));
        parsed(&text.edited("value = \"20min\"", &format!("value = \"{downtime}\"")))
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
    let mission = |time: &str| {
        parsed(&first.edited("time = { value = \"1y\"", &format!("time = {{ value = \"{time}\"")))
    };
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
    let more = all.iter().find(|step| step.kind.name() == "more-servers").unwrap();
    near(more.cost, 2.0 * (8000.0 + turns));
    // In either order the price is the same.
    let grown = options(&design, &design.services[0], &of_kind(&design, "more-servers")[0].after);
    let isolation = grown.iter().find(|step| step.kind.name() == "isolation").unwrap();
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
    let rooted = HYBRID.edited("root = \"none\"", "root = \"wormhole\"");
    let rooted = rooted.edited("\"hybrid\"\nstrategy", "\"crash\"\nstrategy");
    let turns = 10.0 * 365.0 / 7.0;
    near(of_kind(&parsed(&rooted), "more-servers")[0].cost, 2.0 * (6500.0 + turns));
    let tpm = rooted.edited("root = \"wormhole\"", "root = \"tpm\"");
    near(of_kind(&parsed(&tpm), "more-servers")[0].cost, 2.0 * (6000.0 + turns));
}

/// Recovery that wormholes root gets as strong as they do, whatever makes them so, and an assessment agrees.
#[test]
fn stronger_wormholes_make_what_they_root_stronger() {
    let rooted = accepted(&HYBRID.edited("root = \"none\"", "root = \"wormhole\""));
    let expels = |it: &Situation| it.care.rejuvenation.unwrap().expels;
    assert_eq!(expels(&situation(&rooted)), 0.7);
    assert_eq!(expels(&situation(&rooted).with_coverage(0.9)), 0.9);
    assert_eq!(expels(&of_kind(&rooted, "isolation")[0].after), 0.995);
    let told = advised(&rooted).changes.into_iter().find(|it| it.kind == "isolation").unwrap();
    let mut edited = rooted.clone();
    edited.wormholes[0].coverage.value.0 = 0.995;
    near(Some(told.risk_after), advised(&edited).risk);
    assert!(told.risk_after < told.risk_before / 2.0, "{told:?}");
    // The weakest decides, and it may go.
    let mut mixed = situation(&rooted);
    mixed.servers[0].coverage = 0.1;
    assert_eq!(expels(&mixed.with_servers(4)), 0.1);
    near(Some(expels(&mixed.with_servers(1))), 0.5);
    assert_eq!(expels(&mixed.with_coverages(|own| own.max(0.2))), 0.2);
    mixed.servers.swap(0, 1);
    assert_eq!(expels(&mixed.with_servers(2)), 0.7);
    // Only what always holds is better.
    let roots = |design: &Design| of_kind(design, "recovery-root").len();
    assert_eq!((roots(&rooted), roots(&edited), roots(&parsed(HYBRID))), (1, 1, 1));
    let after = &of_kind(&rooted, "recovery-root")[0].after;
    assert_eq!(expels(after), 1.0);
    let then = options(&rooted, &rooted.services[0], after);
    assert!(then.iter().all(|step| step.kind != Kind::RecoveryRoot));
}

/// What there are already, whether the order or recovery needs them, nobody pays again.
#[test]
fn wormholes_that_are_there_are_only_isolated() {
    let turns = 10.0 * 365.0 / 7.0;
    let plain = parsed(HYBRID);
    let rooted = parsed(&HYBRID.edited("root = \"none\"", "root = \"wormhole\""));
    let back = |design: &Design| {
        let arbitrary = of_kind(design, "arbitrary").remove(0);
        let all = options(design, &design.services[0], &arbitrary.after);
        (arbitrary, all)
    };
    let cost = |all: &[Step], kind: &str| {
        all.iter().find(|step| step.kind.name() == kind).and_then(|step| step.cost)
    };
    let (arbitrary, all) = back(&plain);
    assert_eq!(arbitrary.text, "count on no wormhole: 4 servers for the same f = 1");
    near(arbitrary.cost, 6000.0 + turns);
    near(cost(&all, "hybrid"), 3.0 * (500.0 + 1500.0));
    assert_eq!(cost(&all, "isolation"), None);
    let (arbitrary, all) = back(&rooted);
    let text = "count on wormholes for recovery only: 4 servers for the same f = 1";
    assert_eq!(arbitrary.text, text);
    near(arbitrary.cost, 6500.0 + turns);
    near(cost(&all, "hybrid"), 3.0 * 1500.0);
    near(cost(&all, "isolation"), 4.0 * 1500.0);
    // Those that hold as well as any do not even take that.
    let strong = of_kind(&rooted, "isolation").remove(0).after;
    let strong = Situation { model: FaultModel::Arbitrary, ..strong.with_servers(4) };
    near(cost(&options(&rooted, &rooted.services[0], &strong), "hybrid"), 0.0);
    // More servers than it takes stay.
    let five = options(&plain, &plain.services[0], &situation(&plain).with_servers(5));
    let text = "count on no wormhole: 5 servers for the same f = 1";
    assert!(five.iter().any(|step| step.text == text), "{five:?}");
}

/// Isolation that has no price makes no plan cheaper that rests on it.
#[test]
fn wormholes_whose_isolation_has_no_price_have_none() {
    let unpriced = HYBRID[..HYBRID.find("isolation = { value = 1500").unwrap()].to_owned();
    let hybrid = |text: &str| {
        let mut design = parsed(text);
        let first = design.services[0].hosts[0];
        design.services[0].hosts.push(first);
        design.services[0].fault_model = FaultModel::Arbitrary;
        of_kind(&design, "hybrid")[0].cost
    };
    near(hybrid(HYBRID), 3.0 * (500.0 + 1500.0));
    assert_eq!(hybrid(&unpriced), None);
    // Present servers are not charged either for what has no price.
    let turns = 10.0 * 365.0 / 7.0;
    let design = parsed(&unpriced);
    let all = options(&design, &design.services[0], &of_kind(&design, "isolation")[0].after);
    let more = all.iter().find(|step| step.kind == Kind::MoreServers).unwrap();
    near(more.cost, 2.0 * (6500.0 + turns));
    // Where wormholes are as they are, none has to be isolated.
    let one_kind =
        without(&unpriced, "[[wormholes]]\nname = \"process\"", "[[wormholes]]\nname = \"tpm\"");
    near(hybrid(&one_kind.edited("\"process\"", "\"tpm\"")), 3.0 * 500.0);
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
    let mut unlike = now.clone();
    unlike.shares = [0.0; LabelKind::ALL.len()];
    let mut alike = now;
    for (at, server) in alike.servers.iter_mut().enumerate() {
        server.labels = [Some(0); LabelKind::ALL.len()];
        server.rate = (at + 1) as f64;
    }
    for present in [unlike, alike] {
        for n in 7..=22 {
            let all = present.with_servers(n);
            assert_eq!(all.n(), n);
            let is_like = |a: &Server, b: &Server| a.labels == b.labels && a.rate == b.rate;
            let count = |of: &Server| all.servers.iter().filter(|it| is_like(it, of)).count();
            let counts: Vec<usize> = present.servers.iter().map(count).collect();
            let (most, least) = (counts.iter().max().unwrap(), counts.iter().min().unwrap());
            assert!(most - least <= 1, "{counts:?} of {n}");
        }
    }
}

#[test]
fn a_single_server_is_moved_where_that_lowers_the_risk() {
    let design = parsed(THREE_CLOUDS);
    let moves = of_kind(&design, "move");
    assert_eq!(moves.len(), 4, "{moves:?}");
    let site = moves.iter().find(|step| step.kind == Kind::Move(LabelKind::Site)).unwrap();
    assert_eq!(site.text, "another site for a1 (3 share cloud a)");
    assert_eq!(site.cost, Some(6000.0));
    // A value that no file names was new in an earlier change.
    let room = parsed(ONE_ROOM);
    let mut unnamed = situation(&room);
    for server in &mut unnamed.servers {
        server.labels[LabelKind::Site as usize] = Some(1000);
    }
    let all = options(&room, &room.services[0], &unnamed);
    let told = all.iter().find(|step| step.kind == Kind::Move(LabelKind::Site)).unwrap();
    assert!(told.text.ends_with("(4 share a new one)"), "{}", told.text);
    let changed =
        |a: &Server, b: &Server| a.labels.iter().zip(&b.labels).filter(|(a, b)| a != b).count();
    let now = situation(&design);
    let differ: usize =
        now.servers.iter().zip(&site.after.servers).map(|(a, b)| changed(a, b)).sum();
    assert_eq!(differ, 1);
    // Cheaper than other sites for all, it is what reaches a thousandth.
    let strict = parsed(&THREE_CLOUDS.edited("risk = { value = 0.005", "risk = { value = 0.001"));
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
