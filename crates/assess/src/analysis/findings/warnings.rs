//! Warnings: what would mislead a reader if it were not told.

use super::super::result::{CutSet, Finding, PropertyResult, ServiceResult, Severity, TrustGraph};
use super::super::situation::{Situation, WEAK_COVERAGE};
use super::super::solve::{self, Grade, Question};
use super::super::sweeps::percent;
use super::finding;
use crate::design::limits::SERVERS_MAX;
use crate::design::units::time_text;
use crate::design::{AtRest, Design, FaultModel, Origin, Property, Root, Service, State, Strategy};
use crate::engines::{EngineError, closed};

/// Everything about one service.
pub(super) fn of_service(
    design: &Design,
    service: &Service,
    result: &ServiceResult,
    found: &mut Vec<Finding>,
) -> Result<(), EngineError> {
    let situation = Situation::of(design, service);
    risk(design, result, found);
    replication(&situation, result, found);
    diversity(&situation, result, found)?;
    labels(result, found);
    wormholes(&situation, result, found);
    recovery(&situation, service, result, found);
    secrets(service, result, found);
    tolerance(service, result, found);
    merged(&situation, result, found);
    Ok(())
}

/// Numbers that stand for servers which are not there, and numbers that are not there.
fn merged(situation: &Situation, result: &ServiceResult, found: &mut Vec<Finding>) {
    if result.is_simulated {
        let text = "Its chains are too large or refused: the risks are those of simulated missions, each with its \
                    interval, and mean times, shares of time, sweeps, causes and sensitivities are left out."
            .to_owned();
        let hint = "more missions make the intervals smaller";
        return found.push(finding(
            "only-simulated",
            Severity::Note,
            Some(&result.name),
            text,
            hint,
        ));
    }
    let is_large = |it: &PropertyResult| {
        solve::is_too_large(situation, Question::Broken(it.property), Grade::Swept)
    };
    if result.properties.iter().any(is_large) {
        let text =
            "It has so many servers that sweeps, causes and sensitivities, which take hundreds of \
                    chains, were left out where they are too large."
                .to_owned();
        let hint = "";
        found.push(finding("sweeps-left-out", Severity::Note, Some(&result.name), text, hint));
    }
    let is_merged = |grade: Grade| {
        let mut promises = result.properties.iter();
        promises.any(|it| {
            let question = Question::Broken(it.property);
            let is_told = grade == Grade::Result && it.availability.is_some();
            solve::is_merged(situation, question, grade)
                || (is_told && solve::is_share_merged(situation, it.property, grade))
        })
    };
    let what = match (is_merged(Grade::Result), is_merged(Grade::Swept)) {
        (true, _) => "some numbers",
        (false, true) => "sweeps, causes and sensitivities",
        (false, false) => return,
    };
    let text = format!(
        "Its servers differ so much that {what} were computed with the mean of all of them, and with \
         shared labels that strike servers at random."
    );
    let hint = "`ravelin assess run --engine monte-carlo` simulates every promise, server by server; `--engine \
                chain` computes the exact chain of every promise, which may take minutes";
    found.push(finding("merged-servers", Severity::Note, Some(&result.name), text, hint));
}

/// More risk than is accepted.
fn risk(design: &Design, result: &ServiceResult, found: &mut Vec<Finding>) {
    if result.is_acceptable {
        return;
    }
    let promise = super::super::service::worst(result).map_or("a promise", Property::name);
    let most = result.simulated.iter().filter(|_| result.is_simulated);
    let most = most.flat_map(|it| &it.promises).map(|it| it.high).fold(0.0, f64::max);
    let most = match result.is_simulated {
        true => format!(" by missions, whose intervals reach {}", percent(most)),
        false => String::new(),
    };
    let text = format!(
        "The risk of losing {promise} within {} is {}{most}; {} is accepted.",
        time_text(design.mission.value.0),
        percent(result.risk_any),
        percent(design.acceptable_risk.value.0)
    );
    let hint = "`ravelin assess advise` looks for the cheapest change that reaches it";
    found.push(finding("risk-too-high", Severity::Grave, Some(&result.name), text, hint));
}

/// The first fact: beyond some probability of intrusion replication makes things worse.
fn replication(situation: &Situation, result: &ServiceResult, found: &mut Vec<Finding>) {
    let Some(crossover) = result.crossover else {
        let text =
            "One server, nothing tolerated: a single intrusion breaks every promise.".to_owned();
        let hint =
            "four servers that tolerate one intrusion, if few of them are intruded at a time";
        return found.push(finding(
            "single-server",
            Severity::Warning,
            Some(&result.name),
            text,
            hint,
        ));
    };
    let p = result.intrusion_probability;
    let law = format!(
        "Without recovery, {} servers that tolerate {} are worse than one server as soon as the \
         probability of intruding one passes {crossover:.3}; over this mission it is {p:.3}",
        result.n, result.f
    );
    if result.risk_any > result.one_server {
        let promise = super::super::service::worst(result).map_or("a promise", Property::name);
        let text = format!(
            "Replication makes things worse: with {} servers {promise} is lost with probability {}, \
             and a single server is intruded with {}. {law}.",
            result.n,
            percent(result.risk_any),
            percent(result.one_server)
        );
        let hint =
            "lower the rate of intrusions or shorten their length first; more servers do not help";
        found.push(finding(
            "replication-makes-worse",
            Severity::Grave,
            Some(&result.name),
            text,
            hint,
        ));
    } else {
        let by = match (p > crossover, situation.care.expelling().is_some()) {
            (true, _) => {
                "; only detection and rejuvenation keep this design better than one server"
            }
            (false, true) => ", and rejuvenation keeps each window shorter than that",
            (false, false) => "",
        };
        let severity = if p > crossover { Severity::Warning } else { Severity::Note };
        let hint = "keep recovery working: without it this is the limit";
        let text = format!("{law}{by}.");
        found.push(finding("replication-crossover", severity, Some(&result.name), text, hint));
    }
}

/// The second fact: with common modes diversity is the lever, not n.
fn diversity(
    situation: &Situation,
    result: &ServiceResult,
    found: &mut Vec<Finding>,
) -> Result<(), EngineError> {
    let beta = result.no_repair.beta;
    if result.fault_model == FaultModel::Single || beta <= 0.0 {
        return Ok(());
    }
    // One more f with its servers, against the same servers with nothing in common.
    let number = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
    let further = situation.with_tolerance(situation.model, result.f + 1);
    // A cluster that is as large as any can be is compared with itself.
    let more = if further.n() > SERVERS_MAX { situation.clone() } else { further };
    let p = result.intrusion_probability;
    let coverage = situation.mean_coverage();
    let at = |n: usize, f: usize, beta: f64| {
        closed::hybrid_beta(number(n), number(f), p, beta, coverage)
    };
    let bare =
        [at(result.n, result.f, beta)?, at(more.n(), more.f, beta)?, at(result.n, result.f, 0.0)?];
    let diverse = situation.with_values(situation.n());
    let designed = match result.is_simulated {
        true => None,
        false => designed(result, [situation, &more, &diverse])?,
    };
    let lever = |[now, more, diverse]: [f64; 3]| match (diverse < more, diverse < now) {
        (true, true) => "diversity, not more servers, is the lever",
        (_, false) => "neither is the lever, as long as so many servers are intruded",
        (false, true) => "more servers gain more",
    };
    let told = |it: [f64; 3]| {
        let [now, with_more, diverse] = it.map(percent);
        format!("{now}, with {} servers {with_more}, with nothing shared {diverse}", more.n())
    };
    let mut text = format!(
        "All servers share labels with a common-mode share of {beta:.2}: no number of servers gets the \
         risk below {}. Without recovery it is {}: {}.",
        percent(beta * p),
        told(bare),
        lever(bare)
    );
    if let Some(designed) = designed {
        text.push_str(&format!(
            " With recovery as designed it is {}: {}.",
            told(designed),
            lever(designed)
        ));
    }
    let hint = "give servers different sites, administrators, systems and builds";
    found.push(finding(
        "diversity-over-servers",
        Severity::Warning,
        Some(&result.name),
        text,
        hint,
    ));
    Ok(())
}

/// The risks of these, by chains; `None` where one is too large, or refused beside missions.
fn designed(
    result: &ServiceResult,
    situations: [&Situation; 3],
) -> Result<Option<[f64; 3]>, EngineError> {
    let mut risks = [0.0; 3];
    for (situation, risk) in situations.into_iter().zip(&mut risks) {
        match solve::by_mission(situation, Question::Exceeded, Grade::Swept) {
            Ok(solved) => *risk = solved,
            Err(EngineError::TooManyStates { .. }) => return Ok(None),
            Err(error) if result.simulated.is_some() && error.is_of_chains() => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    Ok(Some(risks))
}

/// Single label values whose fall breaks the service.
fn labels(result: &ServiceResult, found: &mut Vec<Finding>) {
    if result.fault_model == FaultModel::Single {
        return;
    }
    let alone: Vec<&CutSet> = result.cuts.iter().filter(|cut| cut.labels.len() == 1).collect();
    if alone.is_empty() {
        return;
    }
    let names = alone
        .iter()
        .flat_map(|cut| &cut.labels)
        .map(|(kind, value)| format!("{} `{value}`", kind.name().replace('_', " ")));
    let text = format!(
        "The fall of one thing intrudes more than f = {} servers: {}.",
        result.f,
        names.collect::<Vec<_>>().join(", ")
    );
    let hint = "no value of a label may be shared by more than f servers";
    found.push(finding("one-label-breaks", Severity::Warning, Some(&result.name), text, hint));
}

/// What hybrid rests on.
fn wormholes(situation: &Situation, result: &ServiceResult, found: &mut Vec<Finding>) {
    if situation.model != FaultModel::Hybrid {
        return;
    }
    let name = Some(result.name.as_str());
    let least = situation.servers.iter().map(|it| it.coverage).fold(1.0, f64::min);
    let text = format!(
        "In hybrid one intruded server whose wormhole falls breaks the whole cluster, its secrets \
         included; wormholes hold with probability {least} once their host is intruded."
    );
    let hint = "assess the wormhole's isolation before anything else";
    found.push(finding("wormhole-breaks-all", Severity::Warning, name, text, hint));
    if least < WEAK_COVERAGE {
        let text = "With such isolation the service trusts every payload's kernel.".to_owned();
        let hint = "a TPM, a micro-VM or a TEE behind the same interface; or arbitrary with 3f+1";
        found.push(finding("weak-isolation", Severity::Grave, name, text, hint));
    }
    let sweep = result.sweeps.iter().find(|it| it.parameter == "wormhole_coverage");
    let lines = sweep.map_or(&[][..], |it| &it.series);
    if let [hybrid, arbitrary] = lines {
        let needed = hybrid.points.iter().zip(&arbitrary.points).find(|(a, b)| a.y < b.y);
        let is_short = needed.is_none_or(|(point, _)| point.x > least);
        if is_short {
            let text = format!(
                "At this coverage arbitrary with {} servers would have less risk than hybrid with {}.",
                3 * result.f + 1,
                2 * result.f + 1
            );
            let hint = "raise the coverage, or use arbitrary";
            found.push(finding("hybrid-worse-than-arbitrary", Severity::Warning, name, text, hint));
        }
    }
}

/// Intrusions that last.
fn recovery(
    situation: &Situation,
    service: &Service,
    result: &ServiceResult,
    found: &mut Vec<Finding>,
) {
    let name = Some(result.name.as_str());
    let turns = service.rejuvenation.as_ref();
    let is_restart = situation.care.rejuvenation.is_some_and(|it| !it.is_recovery());
    let least = situation.servers.iter().map(|it| it.coverage).fold(1.0, f64::min);
    if turns.is_some_and(|it| it.root == Root::Wormhole) && least < 1.0 {
        let counted = if is_restart {
            "It was not counted."
        } else {
            "Each turn was counted as expelling an intruder with that probability, anew each time; one who \
             keeps the wormhole for good stays longer."
        };
        let text = format!(
            "Its rejuvenation is rooted in the wormhole, which holds with probability {least} once its \
             host is intruded: an intruder who has both keeps the new identity too. {counted}"
        );
        let hint = "a TPM or administrators as root, or a better isolated wormhole";
        found.push(finding("wormhole-is-the-root", Severity::Warning, name, text, hint));
    } else if is_restart {
        let text = "Its rejuvenation is restart, not recovery: nothing gives a clean server a new \
                    identity, so who copied the old one stays. It was not counted."
            .to_owned();
        let hint = "a root that the payload cannot reach: administrators, wormhole or TPM";
        found.push(finding("restart-not-recovery", Severity::Warning, name, text, hint));
    }
    if service.detection.value.0 < 1.0 && (turns.is_none() || is_restart) {
        let text = format!(
            "{} of intrusions are never noticed, and without rejuvenation they never end: in the long \
             run all servers are intruded.",
            percent(1.0 - service.detection.value.0)
        );
        let hint = "rejuvenate every server in turn with a root of recovery";
        found.push(finding("hidden-intrusions-stay", Severity::Warning, name, text, hint));
    }
    if result.strategy_numbers.is_exhaustion_safe == Some(false) && !is_restart {
        let text = format!("Its rejuvenation can be outrun: {}", result.strategy_numbers.text);
        let hint = "shorten the period, or add servers for those that are absent";
        found.push(finding("exhaustion", Severity::Warning, name, text, hint));
    }
}

/// How secrets are held.
fn secrets(service: &Service, result: &ServiceResult, found: &mut Vec<Finding>) {
    let name = Some(result.name.as_str());
    if service.loss(Property::Confidentiality).is_none() {
        return;
    }
    if service.state == State::Clear {
        let text = "Every server holds the secrets in clear: one intruded server discloses them, \
                    whatever f is."
            .to_owned();
        let hint = "seal the state and share the key by a threshold";
        return found.push(finding("secrets-in-clear", Severity::Grave, name, text, hint));
    }
    if service.n() > 1 && service.share_epoch.is_none() {
        let text =
            "Shares are never refreshed: one that leaked years ago counts as much as one that \
                    leaks today, and recovery of its server does not help."
                .to_owned();
        let hint = "refresh shares at least as often as servers are rejuvenated";
        found.push(finding("shares-never-refreshed", Severity::Warning, name, text, hint));
    }
    if service.n() > 1 && service.at_rest == AtRest::File {
        let text =
            "Shares at rest are in a file: a refresh erases the old ones logically only, and \
                    whoever reads the raw disk or a backup of it may find them. The numbers assume \
                    that they are gone."
                .to_owned();
        let hint = "at_rest = \"tpm\" shreds them; `unseal` needs operators at each restart";
        found.push(finding("at-rest-file", Severity::Note, name, text, hint));
    }
}

/// Strategies and fault models that cannot carry what is promised.
fn tolerance(service: &Service, result: &ServiceResult, found: &mut Vec<Finding>) {
    let name = Some(result.name.as_str());
    let slack = result.strategy_numbers.slack;
    if slack < 0 && service.fault_model != FaultModel::Single {
        let (severity, promised) = match service.strategy {
            Strategy::NonStop => (Severity::Grave, "promises to mask without a pause"),
            _ => (Severity::Warning, "does not promise to mask without a pause"),
        };
        let text = format!(
            "{} servers are {} short of what f = {} and the servers absent for rejuvenation need: \
             each rejuvenation spends one of f. The strategy `{}` {promised}.",
            result.n,
            -slack,
            result.f,
            service.strategy.name()
        );
        let hint = "n >= 3f+2k+1, or 2f+2k+1 with wormholes";
        found.push(finding("no-slack", severity, name, text, hint));
    }
    if service.fault_model == FaultModel::Crash && service.loss(Property::Integrity).is_some() {
        let text = "Under `crash` servers believe each other: one intruded server is enough for a \
                    wrong answer."
            .to_owned();
        let hint = "use `arbitrary` or `hybrid` where answers must be right";
        found.push(finding("crash-trusts-all", Severity::Grave, name, text, hint));
    }
    if service.strategy == Strategy::Confidential && service.state == State::Clear {
        let text =
            "The strategy `confidential` needs sealed state, and this one is clear.".to_owned();
        let hint = "state = \"sealed\"";
        found.push(finding("strategy-not-carried", Severity::Grave, name, text, hint));
    }
}

/// Trust beyond trustworthiness.
pub(super) fn of_trust(trust: &TrustGraph, found: &mut Vec<Finding>) {
    for edge in trust.edges.iter().filter(|edge| edge.is_over_trusted) {
        let text = format!(
            "`{}` is trusted beyond its trustworthiness: `{}` counts on {}, and {:.6} is what it \
             deserves.",
            edge.to, edge.from, edge.required, edge.assessed
        );
        let hint = "make it better, depend on less of it, or expect its failures";
        found.push(finding("over-trusted", Severity::Warning, None, text, hint));
    }
}

/// What the numbers rest on.
pub(super) fn of_origins(design: &Design, services: &[ServiceResult], found: &mut Vec<Finding>) {
    let origins = design.origins();
    let total: usize = origins.iter().map(|(_, count)| count).sum();
    let assumed: usize =
        origins.iter().filter(|(origin, _)| *origin == Origin::Assumed).map(|(_, it)| it).sum();
    if assumed == 0 {
        return;
    }
    let strongest = services
        .iter()
        .flat_map(|service| &service.tornado)
        .filter(|input| input.origin == Origin::Assumed && !input.input.starts_with("mission."))
        .max_by(|a, b| a.elasticity.abs().total_cmp(&b.elasticity.abs()));
    let measure = strongest.map_or_else(String::new, |input| {
        format!(
            " The strongest of them is {}: one per cent more changes the risk by {:.2} per cent.",
            input.input, input.elasticity
        )
    });
    let text = format!("{assumed} of {total} numbers are only assumed.{measure}");
    let hint = "measure the strongest first";
    found.push(finding("assumed-numbers", Severity::Note, None, text, hint));
}
