//! Several runs of each configuration, and what they have in common: the median and the spread.
//!
//! Configurations are measured in turn, round by round, so that what else the machine does meets all.

use std::fmt;
use std::path::Path;

use serde::Serialize;

use super::door::PREFIX;
use super::figures::{Figures, durability, median};
use super::load::{self, Shape};
use super::page;
use super::target::{RunningCluster, Target};
use super::testbed::Layout;
use crate::exit::{Exit, Result};
use crate::files::disk::{self, Privacy};
use crate::output::{Format, Output};

/// Where loads are put.
pub(super) enum Site {
    /// On a new throw-away cluster each.
    ThrowAway(Layout),
    /// On one cluster that runs already.
    Running(RunningCluster),
}

/// What is measured.
pub(super) struct Plan {
    pub(super) site: Site,
    /// With their names, if they have one.
    pub(super) configurations: Vec<(Option<&'static str>, Shape)>,
    pub(super) runs: usize,
}

/// What several runs have in common, and what scripts read. The fields of a run are those of the one
/// of median throughput.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    #[serde(flatten)]
    figures: Figures,
    configuration: Option<&'static str>,
    runs: usize,
    throughput_min: f64,
    throughput_max: f64,
    /// Operations a second of each run.
    throughputs: Vec<f64>,
}

/// What was measured of each configuration, in the order of the plan.
pub(super) struct Summaries(Vec<Summary>);

/// Measures, and leaves nothing behind.
pub(super) async fn measure(output: Output, plan: &Plan) -> Result<Summaries> {
    let Site::Running(cluster) = &plan.site else {
        return measure_in_turn(output, plan).await;
    };
    output.note(format_args!(
        "this writes keys that begin with `{PREFIX}`, and removes them in the end"
    ));
    let target = Target::Running(cluster);
    let measured = measure_in_turn(output, plan).await;
    if measured.as_ref().is_err_and(|error| error.exit() == Exit::NoQuorum) {
        return measured; // nobody is there to remove anything
    }
    let keys = plan.configurations.iter().map(|(_, shape)| shape.keys(target)).max();
    let removed = load::clear(target, keys.unwrap_or_default()).await;
    measured.and_then(|summaries| removed.map(|()| summaries))
}

/// Measures, round by round.
async fn measure_in_turn(output: Output, plan: &Plan) -> Result<Summaries> {
    let mut figures: Vec<Vec<Figures>> = plan.configurations.iter().map(|_| Vec::new()).collect();
    let is_alone = plan.runs * plan.configurations.len() == 1;
    for run in 1..=plan.runs {
        for ((name, shape), figures) in plan.configurations.iter().zip(&mut figures) {
            let name = name.map(|name| format!("{name}, ")).unwrap_or_default();
            let which = format!("{name}run {run} of {}", plan.runs);
            let measured = match plan.site.measure(*shape).await {
                Err(error) if !is_alone => Err(error.context(&which)),
                outcome => outcome,
            }?;
            let operations = measured.measured.operations_per_second;
            if !is_alone {
                output.note(format_args!("{which}: {operations:.0} operations/s"));
            }
            figures.push(measured);
        }
    }
    let named = plan.configurations.iter().zip(figures);
    Ok(Summaries(named.map(|((name, _), figures)| Summary::of(*name, figures)).collect()))
}

impl Site {
    async fn measure(&self, shape: Shape) -> Result<Figures> {
        match self {
            Self::ThrowAway(layout) => load::measure_on_new(*layout, shape).await,
            Self::Running(cluster) => load::measure(Target::Running(cluster), shape).await,
        }
    }
}

impl Summary {
    fn of(configuration: Option<&'static str>, runs: Vec<Figures>) -> Self {
        let throughputs: Vec<f64> =
            runs.iter().map(|run| run.measured.operations_per_second).collect();
        Self {
            configuration,
            runs: runs.len(),
            throughput_min: throughputs.iter().copied().fold(f64::INFINITY, f64::min),
            throughput_max: throughputs.iter().copied().fold(0.0, f64::max),
            throughputs,
            figures: median(runs),
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = self.configuration {
            write!(out, "{name}: ")?;
        }
        write!(out, "{}", self.figures)?;
        if self.runs > 1 {
            write!(
                out,
                "\n{:>12.0} to {:.0} operations/s in {} runs, of which this is the median",
                self.throughput_min, self.throughput_max, self.runs
            )?;
        }
        Ok(())
    }
}

impl Summaries {
    /// Prints them: for people as a table if there are several, for scripts a line each, the first last.
    pub(super) fn print(&self, output: Output) -> Result<()> {
        match (self.0.as_slice(), output.format()) {
            ([one], _) => output.print(one),
            (several, Format::Json) => several.iter().rev().try_for_each(|one| output.print(one)),
            (_, Format::Text) => output.write(&format!("{self}\n")),
        }
    }

    /// Writes what was measured as a page of its own.
    pub(super) fn write_report(&self, path: &Path) -> Result<()> {
        let mut page = format!(
            "{}{}\n\n\
             | configuration | operations/s | least, most | p50 | p99 | CPU us an operation | memory a server | fsyncs an operation |\n\
             |---|---|---|---|---|---|---|---|\n",
            page::head("Loads"),
            self.heading(),
        );
        for Summary { figures, configuration, throughput_min, throughput_max, .. } in &self.0 {
            let measured = figures.measured;
            page.push_str(&format!(
                "| {} | {:.0} | {throughput_min:.0}, {throughput_max:.0} | {:.2} ms | {:.2} ms | {} | {} | {} |\n",
                configuration.unwrap_or("as asked for"),
                measured.operations_per_second,
                measured.p50_ms,
                measured.p99_ms,
                shown(measured.cpu_us_per_op, 1, ""),
                shown(measured.memory_mib_per_server, 0, " MiB"),
                shown(measured.fsyncs_per_op, 4, ""),
            ));
        }
        disk::replace(path, &page, Privacy::Public)
    }

    /// What holds of all of them.
    fn heading(&self) -> String {
        let Some(Summary { figures, runs, .. }) = self.0.first() else { return String::new() };
        format!(
            "{} servers (f = {}), {}; authenticated: {}; {}; figures of the run of median throughput, of \
             {runs}",
            figures.servers,
            figures.tolerated,
            figures.fault_model,
            figures.authenticated,
            durability(figures.durable)
        )
    }
}

/// A figure, or that it is not known.
fn shown(figure: Option<f64>, digits: usize, unit: &str) -> String {
    figure.map_or_else(|| "-".to_owned(), |figure| format!("{figure:.digits$}{unit}"))
}

impl fmt::Display for Summaries {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "{}", self.heading())?;
        write!(
            out,
            "{:<16} {:>8} {:>8} {:>8} {:>9} {:>9} {:>8} {:>8}",
            "", "op/s", "least", "most", "p50 ms", "p99 ms", "CPU us", "MiB"
        )?;
        for Summary { figures, configuration, throughput_min, throughput_max, .. } in &self.0 {
            let measured = figures.measured;
            write!(
                out,
                "\n{:<16} {:>8.0} {throughput_min:>8.0} {throughput_max:>8.0} {:>9.2} {:>9.2} {:>8} {:>8}",
                configuration.unwrap_or_default(),
                measured.operations_per_second,
                measured.p50_ms,
                measured.p99_ms,
                shown(measured.cpu_us_per_op, 1, ""),
                shown(measured.memory_mib_per_server, 1, ""),
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::figures::tests::figures;
    use super::*;

    #[test]
    fn a_summary_has_the_median_and_the_spread() {
        let of = |runs: &[f64]| {
            let runs = runs.iter().map(|operations| figures(*operations)).collect();
            serde_json::to_value(Summary::of(Some("default"), runs)).expect("plain fields")
        };
        let three = of(&[30.0, 10.0, 20.0]);
        for (field, value) in
            [("operations_per_second", 20.0), ("throughput_min", 10.0), ("throughput_max", 30.0)]
        {
            assert_eq!(
                three.get(field).and_then(serde_json::Value::as_f64),
                Some(value),
                "{field}"
            );
        }
        assert_eq!(three.get("runs"), Some(&3.into()));
        assert_eq!(three.get("configuration"), Some(&"default".into()));
        let one = of(&[7.0]);
        assert_eq!(one.get("throughput_min"), one.get("operations_per_second"));
    }

    #[test]
    fn spread_is_shown_where_there_is_one() {
        let runs = |count| Summary::of(None, vec![figures(10.0); count]).to_string();
        assert!(!runs(1).contains("runs"));
        assert!(runs(3).contains("10 to 10 operations/s in 3 runs"));
    }
}
