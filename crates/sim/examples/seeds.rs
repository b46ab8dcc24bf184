//! Runs seeds and prints what came of them.

use ravelin_sim::runner::{run_seeds, shrink};
use ravelin_sim::{Mode, Settings};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let mode = if args[0] == "safety" { Mode::Safety } else { Mode::Liveness };
    let from: u64 = args[1].parse().unwrap();
    let count: u64 = args[2].parse().unwrap();
    let group = args.get(3).map(|g| match g.as_str() {
        "7" => (7, 2),
        "5" => (5, 1),
        _ => (4, 1),
    });
    let intruder = args.get(4).and_then(|name| {
        ravelin_sim::intruder::all().iter().find(|d| d.name == name).map(|d| d.name)
    });
    let verbose = std::env::var("V").is_ok();
    let start = std::time::Instant::now();
    let settings = Settings { group, intruder };
    let report = run_seeds(from, count, mode, settings, &mut |options, outcome| {
        if verbose || outcome.violation.is_some() {
            let v = outcome.violation.as_ref().map(ToString::to_string).unwrap_or_default();
            let v: String = v.chars().take(700).collect();
            println!(
                "seed {} n {} commits {} ops {}/{} virt {:.1}s slow {:.2}s events {} intr {:?} cls {:?} {}",
                options.seed,
                options.n,
                outcome.commits,
                outcome.history.answered_count(),
                outcome.history.operations().len(),
                outcome.virtual_us as f64 / 1e6,
                outcome.slowest_us as f64 / 1e6,
                outcome.events,
                options.intruders,
                options.classes,
                v
            );
        }
    });
    let took = start.elapsed().as_secs_f64();
    let mut shown = report.clone();
    shown.violations.clear();
    let pairs = std::mem::take(&mut shown.pairs);
    println!("{shown:#?}");
    println!("pairs {} min {:?}", pairs.len(), pairs.iter().min_by_key(|(_, c)| **c));
    println!(
        "{} violations; {:.1} seeds/s, {:.0} commits/s",
        report.violations.len(),
        count as f64 / took,
        report.commits as f64 / took
    );
    if std::env::var("SHRINK").is_ok() {
        for failure in report.violations.iter().take(3) {
            println!("{}", shrink(failure).to_file());
        }
    }
}
