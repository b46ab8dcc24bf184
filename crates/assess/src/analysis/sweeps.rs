//! How the risk changes with one property of the design, all else kept.

use super::result::{Point, Series, Sweep, Unit};
use super::risk::{decisive, risk};
use super::situation::{Situation, Turns};
use super::solve::Grade;
use crate::design::limits::SERVERS_MAX;
use crate::design::units::time_text;
use crate::design::{FaultModel, Property};
use crate::engines::EngineError;

/// Servers of a sweep at most.
const SWEPT_SERVERS_MAX: usize = 25;
/// The largest `f` of a sweep.
const SWEPT_F_MAX: usize = 6;
/// Coverages at which hybrid is compared with arbitrary.
const COVERAGES: [f64; 12] = [0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 0.9999, 1.0];

/// A factor below which a change of the risk is little.
pub(super) const LITTLE: f64 = 1.5;
/// A factor by which a risk must differ to be told as another.
const MATTERS: f64 = 1.01;
/// Decades below the largest risk of a sweep beyond which smaller ones count alike, as on the charts.
const KNEE_DECADES: f64 = 15.0;

/// All sweeps of a service that mean something for it.
pub(super) fn sweeps(situation: &Situation) -> Result<Vec<Sweep>, EngineError> {
    let mut sweeps = vec![tolerated(situation)?];
    if situation.model != FaultModel::Single {
        sweeps.push(servers(situation)?);
        sweeps.extend(diversity(situation)?);
    }
    sweeps.extend(rejuvenation(situation)?);
    // What no cluster can have is not compared.
    let f = u16::try_from(situation.f).unwrap_or(u16::MAX);
    let is_possible = FaultModel::Arbitrary.servers_min(f, 0) <= SERVERS_MAX;
    if situation.model != FaultModel::Crash && is_possible {
        sweeps.push(coverage(situation)?);
    }
    Ok(sweeps)
}

/// The risk at each `x`, leaving out what is impossible.
fn line(name: &str, xs: impl IntoIterator<Item = (f64, Situation)>) -> Result<Series, EngineError> {
    let mut points = Vec::new();
    for (x, situation) in xs {
        // Not every server would get its turn.
        if !situation.has_turns_for_all() {
            continue;
        }
        match risk(&situation, Grade::Swept) {
            Ok(y) => points.push(Point { x, y }),
            Err(EngineError::NoUptime { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Series { name: name.to_owned(), points })
}

fn replicated(situation: &Situation) -> FaultModel {
    match situation.model {
        FaultModel::Single => FaultModel::Arbitrary,
        model => model,
    }
}

/// f, with as many servers as it takes; f = 0 is a single server.
fn tolerated(situation: &Situation) -> Result<Sweep, EngineError> {
    let model = replicated(situation);
    let most = SWEPT_F_MAX.max(situation.f);
    let series = line(
        "least servers for f",
        (0..=most).map(|f| (f as f64, situation.with_tolerance(model, f))),
    )?;
    let knee = knee(&series.points, Across::Steps);
    let text = tolerated_text(&series.points, knee);
    Ok(Sweep {
        parameter: "tolerated".to_owned(),
        label: "intrusions tolerated f, with the least servers for it".to_owned(),
        unit: Unit::Number,
        current: Some(situation.f as f64),
        series: vec![series],
        knee,
        text,
    })
}

/// What the line of [`tolerated`] shows.
fn tolerated_text(points: &[Point], knee: Option<Point>) -> String {
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return String::new() };
    let best = points.iter().min_by(|a, b| a.y.total_cmp(&b.y)).unwrap_or(first);
    let most = points.iter().map(|point| point.y).fold(first.y, f64::max);
    let now = percent(first.y);
    if most <= best.y * MATTERS {
        return format!(
            "f makes no difference that matters: the risk is {now} with one server, too."
        );
    }
    if best.x == 0.0 {
        let others = points.iter().filter(|point| point.x > 0.0);
        let least = others.map(|point| point.y).fold(f64::INFINITY, f64::min);
        let end = if least > best.y * MATTERS {
            "every f > 0 with its servers makes it worse"
        } else {
            "no f > 0 with its servers makes it better"
        };
        return format!("One server has the least risk ({now}): {end}.");
    }
    let Some(knee) = knee else {
        let (best, at) = (percent(best.y), best.x);
        return format!("The risk is {now} with one server and least, {best}, with f = {at}.");
    };
    let end = if best.x > knee.x {
        beyond(knee, *best)
    } else if last.y > knee.y * MATTERS {
        "beyond, more servers make it worse".to_owned()
    } else {
        "beyond, more servers gain nothing".to_owned()
    };
    format!(
        "From one server to f = {} the risk falls from {now} to {}; {end}.",
        knee.x,
        percent(knee.y)
    )
}

/// What more servers gain from the knee of [`tolerated`] to its least risk.
fn beyond(knee: Point, best: Point) -> String {
    let (least, at) = (percent(best.y), best.x);
    if knee.y < best.y * LITTLE {
        return format!("beyond, more servers gain little: it is least, {least}, with f = {at}");
    }
    let end = match knee.y / best.y {
        times if times < 1000.0 => format!(", {times:.1} times less"),
        times if times.is_finite() => format!(", {times:.1e} times less"),
        _ => String::new(),
    };
    format!("beyond, it falls further: it is least, {least}, with f = {at}{end}")
}

/// n, with the largest f that it tolerates and, for comparison, with the f of the design.
fn servers(situation: &Situation) -> Result<Sweep, EngineError> {
    let model = situation.model;
    let least = model.servers_min(1, 0);
    let most = (situation.n() + 6).clamp(least, SWEPT_SERVERS_MAX.max(situation.n()));
    let largest = |n: usize| {
        let f = Situation::f_max(model, n);
        (n as f64, Situation { f, ..situation.with_servers(n) })
    };
    let fixed = |n: usize| (n as f64, situation.with_servers(n));
    let floor = model.servers_min(u16::try_from(situation.f).unwrap_or(u16::MAX), 0);
    let series = vec![
        line("largest f", (least..=most).map(largest))?,
        line(&format!("f = {}", situation.f), (floor..=most).map(fixed))?,
    ];
    let knee = series.first().and_then(|it| knee(&it.points, Across::Steps));
    let text = servers_text(situation, &series);
    Ok(Sweep {
        parameter: "servers".to_owned(),
        label: "servers n".to_owned(),
        unit: Unit::Number,
        current: Some(situation.n() as f64),
        series,
        knee,
        text,
    })
}

/// What both lines of [`servers`] show: the largest f that fits, and the f of the design.
fn servers_text(situation: &Situation, series: &[Series]) -> String {
    let now = situation.n();
    let more = now + if situation.model == FaultModel::Hybrid { 2 } else { 3 };
    let at = |line: usize, x: usize| {
        let points = series.get(line).map_or(&[][..], |it| &it.points);
        points.iter().find(|point| point.x == x as f64).map(|point| point.y)
    };
    // Of a few points merged with the mean of all servers no conclusion is drawn, if better can be had.
    let largest = |n: usize| {
        let f = Situation::f_max(situation.model, n);
        let of = Situation { f, ..situation.with_servers(n) };
        risk(&of, Grade::Result).ok().or_else(|| at(0, n))
    };
    let mut told = Vec::new();
    if let (Some(_), Some(_)) = (at(0, now), at(0, more))
        && let (Some(now_at), Some(then)) = (largest(now), largest(more))
    {
        let (now_at, then) = (percent(now_at), percent(then));
        told.push(format!("From {now} to {more} servers the risk goes from {now_at} to {then}."));
    }
    let last = series.get(1).and_then(|it| it.points.last());
    if let (Some(same), Some(last)) = (at(1, now), last)
        && last.x > now as f64
    {
        let (f, from, to) = (situation.f, percent(same), percent(last.y));
        let end = if last.y > same * MATTERS {
            "they only give an intruder more to choose from"
        } else if last.y * MATTERS < same && decisive(situation) == [Property::Availability] {
            "more of them may be absent"
        } else if last.y * MATTERS < same {
            "they help"
        } else {
            "they change nothing that matters"
        };
        told.push(format!(
            "With {} servers at the same f = {f} it goes from {from} to {to}: {end}.",
            last.x
        ));
    }
    told.join(" ")
}

/// Different values of every label with a beta factor.
fn diversity(situation: &Situation) -> Result<Option<Sweep>, EngineError> {
    let Some(current) = situation.values_min() else { return Ok(None) };
    let values = 1..=situation.n();
    let series = line(
        "different values of each label",
        values.map(|count| (count as f64, situation.with_values(count))),
    )?;
    let knee = knee(&series.points, Across::Steps);
    let ends = (series.points.first().copied(), series.points.last().copied());
    let text = match ends {
        (Some(same), Some(different)) => {
            let worse = series.points.iter().filter(|point| point.y > same.y * 1.01);
            let worst = worse.max_by(|a, b| a.y.total_cmp(&b.y));
            let halfway = worst.map_or_else(String::new, |worst| {
                format!(
                    " Halfway is no gain: with {} values it is {}, since each value that more than f \
                     servers share is one more thing that breaks all.",
                    worst.x,
                    percent(worst.y)
                )
            });
            format!(
                "With all servers alike the risk is {}; were all of them different it would be {}.\
                 {halfway}",
                percent(same.y),
                percent(different.y)
            )
        }
        _ => String::new(),
    };
    Ok(Some(Sweep {
        parameter: "diversity".to_owned(),
        label: "different values of each label with a common-mode share".to_owned(),
        unit: Unit::Number,
        current: Some(current as f64),
        series: vec![series],
        knee,
        text,
    }))
}

/// The period of rejuvenation, which must expel intruders.
fn rejuvenation(situation: &Situation) -> Result<Option<Sweep>, EngineError> {
    // Where one intrusion is enough, its length does not matter.
    if decisive(situation).iter().all(|promise| situation.tolerated(*promise) == 0) {
        return Ok(None);
    }
    let turns = match situation.care.rejuvenation {
        // What a restart cannot do, no period can.
        Some(turns) if !turns.is_recovery() => return Ok(None),
        Some(turns) => turns,
        None => Turns::first(situation.mission),
    };
    let periods = (-5..=5).map(|power| turns.period * 2.0_f64.powi(power));
    let with = |period: f64| {
        let mut changed = situation.clone();
        changed.care.rejuvenation = Some(Turns { period, ..turns });
        // Shares are refreshed at least as often: a clean server with an old share gains nothing.
        changed.care.epoch = changed.care.epoch.map(|epoch| epoch.min(period));
        (period, changed)
    };
    let series = line("risk", periods.filter(|it| *it <= situation.mission * 2.0).map(with))?;
    let knee = knee(&series.points, Across::Factors);
    let mut text = rejuvenation_text(&series.points, knee);
    if turns.is_assumed {
        text.push_str(&format!(" A downtime of {} is assumed.", time_text(turns.downtime)));
    }
    Ok(Some(Sweep {
        parameter: "rejuvenation_period".to_owned(),
        label: "time between two rejuvenations of a server".to_owned(),
        unit: Unit::Hours,
        current: situation.care.rejuvenation.map(|it| it.period),
        series: vec![series],
        knee,
        text,
    }))
}

/// What the line of [`rejuvenation`] shows, from the shortest period to the longest.
fn rejuvenation_text(points: &[Point], knee: Option<Point>) -> String {
    let (Some(shortest), Some(longest)) = (points.first(), points.last()) else {
        return "No other period leaves time for every server's turn.".to_owned();
    };
    let best = points.iter().min_by(|a, b| a.y.total_cmp(&b.y)).unwrap_or(shortest);
    let at =
        |point: &Point| format!("{} with a period of {}", percent(point.y), time_text(point.x));
    if shortest.y.max(longest.y) <= best.y * MATTERS {
        return format!("The period makes no difference that matters: {}.", at(best));
    }
    let (low, least) = (percent(best.y), at(best));
    if shortest.y > best.y * MATTERS {
        // Servers that are absent too often: shorter is not better.
        let short = at(shortest);
        let end = if longest.y > best.y * MATTERS {
            format!(", and {} with {}", percent(longest.y), time_text(longest.x))
        } else {
            String::new()
        };
        return format!("The risk is least, {least}; shorter ones make it worse: {short}{end}.");
    }
    match knee.filter(|knee| knee.x > shortest.x && knee.y < best.y * LITTLE) {
        Some(knee) => format!(
            "Below a period of {} shorter ones gain little: the risk there is {}, and least {low}.",
            time_text(knee.x),
            percent(knee.y)
        ),
        None => format!("The shorter the better: the risk is {least}, and {}.", at(longest)),
    }
}

/// Hybrid against arbitrary, as a function of the wormhole's coverage.
fn coverage(situation: &Situation) -> Result<Sweep, EngineError> {
    let f = situation.f.max(1);
    let arbitrary = situation.with_tolerance(FaultModel::Arbitrary, f);
    let hybrid = line(
        &format!("hybrid, {} servers", FaultModel::Hybrid.servers_min(f as u16, 0)),
        COVERAGES.map(|coverage| (coverage, situation.with_coverage(coverage))),
    )?;
    let level = risk(&arbitrary, Grade::Swept)?;
    let name = format!("arbitrary, {} servers", arbitrary.n());
    let flat = COVERAGES.map(|x| Point { x, y: level }).to_vec();
    let better = hybrid.points.iter().find(|point| point.y < level).map(|point| point.x);
    let text = match better {
        Some(coverage) if Some(coverage) == hybrid.points.first().map(|point| point.x) => {
            format!("Hybrid is better than arbitrary at every coverage from {coverage} on.")
        }
        Some(coverage) => format!(
            "Hybrid is better than arbitrary from a wormhole coverage of about {coverage} on; below, \
             one intruded host whose wormhole falls breaks the whole cluster too often."
        ),
        None => "Hybrid is not better than arbitrary at any wormhole coverage here.".to_owned(),
    };
    let coverages = situation.servers.iter().map(|server| server.coverage);
    let is_hybrid = situation.model == FaultModel::Hybrid;
    Ok(Sweep {
        parameter: "wormhole_coverage".to_owned(),
        label: "probability that a wormhole is intact once its host is intruded".to_owned(),
        unit: Unit::Probability,
        current: is_hybrid.then(|| coverages.fold(1.0, f64::min)),
        series: vec![hybrid, Series { name, points: flat }],
        knee: None,
        text,
    })
}

/// How the points of a sweep follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Across {
    /// One more each, as servers.
    Steps,
    /// A multiple each, as periods.
    Factors,
}

/// Where a line bends most: the point farthest below the straight line between its ends, if that is a
/// tenth of the height or more. Risks span decades, and so they are compared by their logarithms, as charts draw
/// them; one of zero counts as a decade below the least that is not.
///
/// # Source
/// V. Satopaa and others, *Finding a "Kneedle" in a Haystack*, ICDCS Workshops 2011, section II.
fn knee(points: &[Point], across: Across) -> Option<Point> {
    let (first, last) = (points.first()?, points.last()?);
    let risks = points.iter().map(|point| point.y);
    let positive = risks.clone().filter(|risk| *risk > 0.0);
    let (least, most) = positive.fold((f64::INFINITY, 0.0_f64), |(a, b), y| (a.min(y), b.max(y)));
    if points.len() < 3 || most <= 0.0 {
        return None;
    }
    let floor = (least.log10() - 1.0).max(most.log10() - KNEE_DECADES);
    let height = |y: f64| if y > 0.0 { y.log10().max(floor) } else { floor };
    let (low, high) = risks
        .map(height)
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), y| (a.min(y), b.max(y)));
    let width = |x: f64| match across {
        Across::Steps => x,
        Across::Factors => x.ln(),
    };
    let (x0, x1) = (width(first.x), width(last.x));
    let (y0, y1) = (height(first.y), height(last.y));
    let rise = high - low;
    if x1 <= x0 || rise <= MATTERS.log10() {
        return None;
    }
    let distance = |point: &Point| {
        let along = (width(point.x) - x0) / (x1 - x0);
        (y0 + along * (y1 - y0) - height(point.y)) / rise
    };
    let (distance, knee) = points
        .iter()
        .map(|point| (distance(point), *point))
        .max_by(|(a, _), (b, _)| a.total_cmp(b))?;
    (distance >= 0.1).then_some(knee)
}

/// A risk for people.
pub(super) fn percent(risk: f64) -> String {
    match risk * 100.0 {
        0.0 => "0 %".to_owned(),
        small if small < 0.01 => format!("{small:.1e} %"),
        small if small < 1.0 => format!("{small:.3} %"),
        other => format!("{other:.1} %"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(ys: &[f64]) -> Vec<Point> {
        ys.iter().enumerate().map(|(x, y)| Point { x: x as f64, y: *y }).collect()
    }

    #[test]
    fn what_is_told_of_f_is_what_the_line_shows() {
        for (ys, told) in [
            (&[0.2, 0.2, 0.2][..], "f makes no difference that matters: the risk is 20.0 %"),
            (&[0.1, 0.2, 0.3], "every f > 0 with its servers makes it worse"),
            (&[0.1, 0.1, 0.3], "no f > 0 with its servers makes it better"),
            (&[0.5, 0.05, 0.04, 0.03], "least, 3.0 %, with f = 3"),
            (
                &[0.5, 0.05, 0.1, 0.2],
                "to f = 1 the risk falls from 50.0 % to 5.0 %; beyond, more servers make it worse",
            ),
            (&[0.5, 0.05, 0.05, 0.05], "beyond, more servers gain nothing"),
            (
                &[0.5, 0.006, 0.005, 0.0045],
                "to f = 1 the risk falls from 50.0 % to 0.600 %; beyond, more servers gain little: it is \
                 least, 0.450 %, with f = 3",
            ),
            // Twelve times less is not little, nor is nothing at all.
            (
                &[0.06, 0.00338, 0.001, 0.00028],
                "beyond, it falls further: it is least, 0.028 %, with f = 3, 12.1 times less.",
            ),
            (&[0.9, 1e-6, 1e-9, 1e-10], "with f = 3, 1.0e4 times less."),
            (&[0.5, 1e-9, 1e-10, 0.0], "beyond, it falls further: it is least, 0 %, with f = 3."),
        ] {
            let points = points(ys);
            let text = tolerated_text(&points, knee(&points, Across::Steps));
            assert!(text.contains(told), "{ys:?}: {text}");
        }
    }

    #[test]
    fn what_is_told_of_periods_is_what_the_line_shows() {
        for (ys, told) in [
            (&[][..], "No other period leaves time"),
            (&[0.2, 0.2, 0.2], "The period makes no difference that matters: 20.0 %"),
            (&[0.1, 0.2, 0.4], "The shorter the better: the risk is 10.0 % with a period of 1h"),
            (
                &[0.1, 0.11, 0.12, 0.5],
                "shorter ones gain little: the risk there is 12.0 %, and least 10.0 %",
            ),
            (
                &[0.9, 0.3, 0.2],
                "The risk is least, 20.0 % with a period of 3h; shorter ones make it worse: 90.0 % with a period of 1h.",
            ),
            (&[0.9, 0.2, 0.4], "90.0 % with a period of 1h, and 40.0 % with 3h."),
        ] {
            let points: Vec<Point> =
                points(ys).iter().map(|it| Point { x: it.x + 1.0, ..*it }).collect();
            let text = rejuvenation_text(&points, knee(&points, Across::Factors));
            assert!(text.contains(told), "{ys:?}: {text}");
        }
    }

    #[test]
    fn the_knee_is_where_the_line_bends() {
        let at = |ys: &[f64]| knee(&points(ys), Across::Steps).map(|point| point.x);
        assert_eq!(at(&[1.0, 0.5, 0.2, 0.19, 0.18, 0.17]), Some(2.0));
        for none in [&[][..], &[1.0], &[1.0, 0.5], &[0.3; 5], &[0.0; 4], &[0.3, 0.3, 0.301]] {
            assert_eq!(at(none), None, "{none:?}");
        }
    }

    /// On raw probabilities the first step of each of these would be the knee, or bend enough for one.
    #[test]
    fn the_knee_is_sought_on_orders_of_magnitude() {
        let at = |ys: &[f64]| knee(&points(ys), Across::Steps).map(|point| point.x);
        assert_eq!(at(&[1e-1, 1e-3, 1e-5, 0.9e-5, 0.8e-5]), Some(2.0), "by orders of magnitude");
        assert_eq!(at(&[1e-1, 1e-2, 1e-3, 1e-4]), None, "straight by magnitude");
        assert_eq!(at(&[0.8, 0.4, 0.2, 0.1]), None, "straight within a decade too");
        let decay: Vec<f64> = (0..4).map(|step| 0.9 * 0.5_f64.powi(step)).collect();
        assert_eq!(at(&decay), None, "each step halves the risk, and none is the last that pays");
    }

    #[test]
    fn a_risk_of_zero_has_its_place_a_decade_below_the_least() {
        let at = |ys: &[f64]| knee(&points(ys), Across::Steps).map(|point| point.x);
        assert_eq!(at(&[1e-1, 1e-2, 1e-3, 0.0]), None, "straight down to zero");
        assert_eq!(at(&[1e-1, 0.0, 0.0, 0.0]), Some(1.0));
        assert_eq!(
            at(&[1e-1, 1e-300, 1e-301, 0.0]),
            Some(1.0),
            "what is too small to draw is alike"
        );
    }

    #[test]
    fn periods_are_compared_by_factors_however_few() {
        let points = [1.0, 2.0, 4.0, 8.0, 16.0].map(|x: f64| Point { x, y: 0.01 * x.sqrt() });
        assert_eq!(knee(&points, Across::Factors), None, "straight by factors");
        let falling = points.map(|it| Point { y: 0.01 / it.x, ..it });
        assert_eq!(knee(&falling, Across::Factors), None, "straight by factors");
        assert!(knee(&falling, Across::Steps).is_some(), "and bent by steps");
        let bent = [0.01, 0.0101, 0.0102, 0.1, 1.0].into_iter().zip(points);
        let bent: Vec<Point> = bent.map(|(y, it)| Point { y, ..it }).collect();
        assert_eq!(knee(&bent, Across::Factors).map(|point| point.x), Some(4.0));
    }
}
