//! The changes that can be tried on a situation.

use super::super::situation::{Server, Situation, Turns};
use super::kind::Kind;
use super::moves::{diversity, moved};
use super::prices::{isolation_price, price, server_price, stronger_price};
use crate::design::units::time_text;
use crate::design::{Design, FaultModel, LabelKind, Property, Root, Service, State};

/// Servers that are advised at most.
const ADVISED_SERVERS_MAX: usize = 25;
/// Coverage that stronger isolation is taken to have where the design names none.
const STRONG_COVERAGE: f64 = 0.99;
/// Period of a rejuvenation that is begun: a month.
const FIRST_PERIOD: f64 = 720.0;
/// Shares are not refreshed more often than each day.
const SHORTEST_EPOCH: f64 = 24.0;
/// Rejuvenations of a server in a mission at most.
const TURNS_MAX: f64 = 5_000.0;

/// A change that can be tried.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) kind: Kind,
    /// In words, as an order.
    pub(super) text: String,
    /// What is taken for granted, beyond what the design says.
    pub(super) assumed: Option<String>,
    /// Over one mission; `None`: the design gives no price.
    pub(super) cost: Option<f64>,
    pub(super) after: Situation,
}

/// Every change that makes sense. None leaves so little time for rejuvenations that they
/// never end, unless there is none left already.
pub(super) fn options(design: &Design, service: &Service, now: &Situation) -> Vec<Step> {
    let mut steps = Vec::new();
    steps.extend(more_servers(design, now));
    steps.extend(spare_servers(design, now));
    steps.extend(fewer_servers(now));
    for kind in LabelKind::ALL {
        steps.extend(diversity(&design.costs, now, kind));
        steps.extend(moved(design, service, now, kind));
    }
    steps.extend(rejuvenation(design, now));
    steps.extend(root(now));
    steps.extend(epoch(now));
    steps.extend(sealing(now));
    steps.extend(hybrid(design, now));
    steps.extend(arbitrary(design, now));
    steps.extend(isolation(design, now));
    // Where nothing is left of a period already, others need leave none.
    let is_full = !now.has_time_between_turns();
    let is_possible = |after: &Situation| {
        after.has_time_between_turns() || (is_full && after.has_turns_for_all())
    };
    steps.retain(|step| is_possible(&step.after));
    steps
}

/// What so many servers more cost in a service that is like `after`; `None`: a server has no price.
fn servers_price(design: &Design, after: &Situation, added: &[Server]) -> Option<f64> {
    added.iter().map(|server| server_price(design, after, server)).sum()
}

/// One more intrusion tolerated, with the servers that it takes.
fn more_servers(design: &Design, now: &Situation) -> Option<Step> {
    let model = match now.model {
        FaultModel::Single => FaultModel::Arbitrary,
        model => model,
    };
    let least = |f: usize| model.servers_min(u16::try_from(f).unwrap_or(u16::MAX), 0);
    let (f, slack) = (now.f + 1, now.n().saturating_sub(least(now.f)));
    let n = least(f) + slack;
    if n > ADVISED_SERVERS_MAX {
        return None;
    }
    let after = Situation { f, model, ..now.with_servers(n) };
    Some(Step {
        kind: Kind::MoreServers,
        assumed: None,
        text: format!("{n} servers that tolerate f = {f} (with the labels of the present ones)"),
        cost: servers_price(design, &after, &now.copies(n - now.n())),
        after,
    })
}

/// More servers at the same f, so that one more may be absent: what availability gains by.
fn spare_servers(design: &Design, now: &Situation) -> Option<Step> {
    if now.model == FaultModel::Single || !now.promises.contains(&Property::Availability) {
        return None;
    }
    let absent = now.tolerated(Property::Availability);
    let larger = (now.n() + 1..=ADVISED_SERVERS_MAX).map(|n| now.with_servers(n));
    let after = larger.into_iter().find(|it| it.tolerated(Property::Availability) > absent)?;
    Some(Step {
        kind: Kind::SpareServers,
        assumed: None,
        text: format!(
            "{} servers at the same f = {}, so that {} may be absent",
            after.n(),
            now.f,
            absent + 1
        ),
        cost: servers_price(design, &after, &now.copies(after.n() - now.n())),
        after,
    })
}

/// The least servers for the same f, or a single one.
fn fewer_servers(now: &Situation) -> Vec<Step> {
    let least = now.model.servers_min(u16::try_from(now.f).unwrap_or(u16::MAX), 0);
    let mut steps = Vec::new();
    let step = |kind: Kind, text: String, after: Situation| Step {
        kind,
        assumed: None,
        text,
        cost: Some(0.0),
        after,
    };
    if least < now.n() {
        let text = format!("only the {least} servers that f = {} takes", now.f);
        steps.push(step(Kind::LeastServers, text, now.with_servers(least)));
    }
    if now.n() > 1 {
        let text = "one server instead of all".to_owned();
        steps.push(step(Kind::OneServer, text, now.with_tolerance(FaultModel::Single, 0)));
    }
    steps
}

/// Half the period, or a first rejuvenation.
fn rejuvenation(design: &Design, now: &Situation) -> Option<Step> {
    let turns = match now.care.rejuvenation {
        Some(turns) if !turns.is_recovery() => return None,
        Some(turns) => Turns { period: turns.period / 2.0, ..turns },
        None => Turns::first(FIRST_PERIOD.min(now.mission / 2.0)),
    };
    if now.mission / turns.period > TURNS_MAX {
        return None;
    }
    let before = now.care.rejuvenation.map_or(0.0, |it| now.mission / it.period);
    let further = (now.mission / turns.period - before) * now.n() as f64;
    let mut after = now.clone();
    after.care.rejuvenation = Some(turns);
    after.care.epoch = now.care.epoch.map(|epoch| epoch.min(turns.period));
    let mut text = format!("rejuvenate every server each {}", time_text(turns.period));
    if has_shares(now) && after.care.epoch < now.care.epoch {
        text.push_str(", and refresh the shares as often");
    }
    let cost = price(&design.costs.rejuvenation, further);
    let assumed = turns.is_assumed.then(|| {
        let downtime = time_text(turns.downtime);
        format!("each is absent for {downtime}, and comes back with a new identity")
    });
    Some(Step { kind: Kind::Rejuvenation, text, assumed, cost, after })
}

/// A root of recovery that always holds, so that rejuvenation counts in full.
fn root(now: &Situation) -> Option<Step> {
    let turns = now.care.rejuvenation.filter(|turns| turns.expels < 1.0)?;
    let mut after = now.clone();
    after.care.rejuvenation = Some(Turns { expels: 1.0, root: Root::Tpm, ..turns });
    Some(Step {
        kind: Kind::RecoveryRoot,
        assumed: None,
        text: "give rejuvenated servers a new identity that the payload cannot reach".to_owned(),
        cost: None,
        after,
    })
}

/// Whether its servers keep shares of secrets.
fn has_shares(now: &Situation) -> bool {
    now.state == State::Sealed && now.n() > 1
}

/// Shares that are refreshed with every rejuvenation.
fn epoch(now: &Situation) -> Option<Step> {
    if !has_shares(now) || !now.promises.contains(&Property::Confidentiality) {
        return None;
    }
    let least = now.care.expelling().map_or(FIRST_PERIOD, |turns| turns.period);
    let epoch = match now.care.epoch {
        Some(epoch) if epoch > least => least,
        Some(epoch) if epoch / 2.0 >= SHORTEST_EPOCH => epoch / 2.0,
        Some(_) => return None,
        None => least,
    };
    let mut after = now.clone();
    after.care.epoch = Some(epoch);
    Some(Step {
        kind: Kind::ShareEpoch,
        assumed: None,
        text: format!("refresh the shares each {}", time_text(epoch)),
        cost: Some(0.0),
        after,
    })
}

/// State that one server cannot read.
fn sealing(now: &Situation) -> Option<Step> {
    let is_read = now.state == State::Clear && now.promises.contains(&Property::Confidentiality);
    (is_read && now.n() > 1).then(|| Step {
        kind: Kind::SealState,
        assumed: None,
        text: "seal the state under a key that servers share by a threshold".to_owned(),
        cost: None,
        after: Situation { state: State::Sealed, ..now.clone() },
    })
}

/// The best coverage that the design knows of, or a usual one where it names none.
fn best_coverage(design: &Design) -> f64 {
    let known = design.wormholes.iter().map(|it| it.coverage.value.0);
    known.reduce(f64::max).unwrap_or(STRONG_COVERAGE)
}

/// Wormholes: the same servers tolerate more, or fewer servers as much.
fn hybrid(design: &Design, now: &Situation) -> Option<Step> {
    if !matches!(now.model, FaultModel::Arbitrary | FaultModel::Asynchronous) {
        return None;
    }
    let f = Situation::f_max(FaultModel::Hybrid, now.n());
    let coverage = best_coverage(design);
    let least = FaultModel::Hybrid.servers_min(u16::try_from(now.f).unwrap_or(u16::MAX), 0);
    let n = if f > now.f { now.n() } else { least };
    let kept = now.with_servers(n);
    let cost = match now.needs_wormholes() {
        true => stronger_price(design, &kept, coverage),
        false => price(&design.costs.wormhole, 1.0)
            .zip(isolation_price(design, coverage))
            .map(|(wormhole, isolation)| (wormhole + isolation) * n as f64),
    };
    let after =
        Situation { f, model: FaultModel::Hybrid, ..kept.with_coverages(|own| own.max(coverage)) };
    Some(Step {
        kind: Kind::Hybrid,
        assumed: None,
        text: format!("wormholes of coverage {coverage}, with which {n} servers tolerate f = {f}"),
        cost,
        after,
    })
}

/// No wormholes but those that recovery is rooted in, and more servers instead.
fn arbitrary(design: &Design, now: &Situation) -> Option<Step> {
    let n = FaultModel::Arbitrary.servers_min(u16::try_from(now.f).unwrap_or(u16::MAX), 0);
    let is_possible = now.model == FaultModel::Hybrid && n <= ADVISED_SERVERS_MAX;
    is_possible.then(|| {
        let n_after = n.max(now.n());
        let after = Situation { model: FaultModel::Arbitrary, ..now.with_servers(n_after) };
        let wormholes = match after.needs_wormholes() {
            true => "count on wormholes for recovery only",
            false => "count on no wormhole",
        };
        Step {
            kind: Kind::Arbitrary,
            assumed: None,
            text: format!("{wormholes}: {n_after} servers for the same f = {}", now.f),
            cost: servers_price(design, &after, &now.copies(n_after - now.n())),
            after,
        }
    })
}

/// Wormholes that are harder to reach from their payload.
fn isolation(design: &Design, now: &Situation) -> Option<Step> {
    let coverage = best_coverage(design);
    (now.needs_wormholes() && now.weaker(coverage) > 0).then(|| Step {
        kind: Kind::Isolation,
        assumed: None,
        text: format!("isolate wormholes so that they hold with probability {coverage}"),
        cost: stronger_price(design, now, coverage),
        after: now.with_coverages(|own| own.max(coverage)),
    })
}
