//! `cargo xtask check`: what must hold before a change lands. It never writes to the repository.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::run::{cargo, is_installed, run};
use crate::tidy;

/// How a step ended.
enum Outcome {
    Passed,
    Failed(anyhow::Error),
    Skipped(&'static str),
}

/// One step: its name, and what it does.
type Step = (&'static str, fn(&Path) -> Outcome);

/// In this order: cheap before dear, and the debug build before clippy, so that its time is that
/// of a newcomer's first `cargo test --workspace`.
const STEPS: &[Step] = &[
    ("tidy", |root| tidy::tidy(root).into()),
    ("fmt", |root| steps(root, &["fmt", "--all", "--check"])),
    ("build", |root| steps(root, &["test", "--workspace", "--no-run"])),
    // Runs the doctests too.
    ("test", |root| steps(root, &["test", "--workspace"])),
    ("clippy", |root| {
        steps(root, &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])
    }),
    ("doc", documentation),
    ("deny", deny),
];

/// Runs every step, also after a failure, and closes with a table of outcomes and times.
///
/// # Errors
/// When a step failed; the table names it.
pub(crate) fn check(root: &Path) -> Result<()> {
    let mut ended: Vec<(&str, Outcome, Duration)> = Vec::new();
    for (name, step) in STEPS {
        println!("== {name}");
        let start = Instant::now();
        let outcome = step(root);
        if let Outcome::Failed(error) = &outcome {
            eprintln!("error: {error:#}");
        }
        ended.push((name, outcome, start.elapsed()));
    }
    println!("== check");
    for (name, outcome, took) in &ended {
        println!("{name:<8} {:>7.1} s  {}", took.as_secs_f64(), outcome.as_text());
    }
    let failed = ended.iter().filter(|(_, outcome, _)| matches!(outcome, Outcome::Failed(_)));
    match failed.count() {
        0 => Ok(()),
        count => bail!("{count} of {} steps failed", STEPS.len()),
    }
}

impl Outcome {
    fn as_text(&self) -> String {
        match self {
            Self::Passed => "ok".into(),
            Self::Failed(_) => "FAILED".into(),
            Self::Skipped(why) => format!("skipped: {why}"),
        }
    }
}

impl From<Result<()>> for Outcome {
    fn from(result: Result<()>) -> Self {
        result.map_or_else(Self::Failed, |()| Self::Passed)
    }
}

fn steps(root: &Path, arguments: &[&str]) -> Outcome {
    run(&mut cargo(root, arguments)).into()
}

fn documentation(root: &Path) -> Outcome {
    let mut command = cargo(root, &["doc", "--workspace", "--no-deps"]);
    run(command.env("RUSTDOCFLAGS", "-D warnings")).into()
}

fn deny(root: &Path) -> Outcome {
    if !is_installed(root, "deny") {
        return Outcome::Skipped("cargo-deny is not installed");
    }
    // Advisories need the network; these three do not.
    steps(root, &["deny", "check", "bans", "licenses", "sources"])
}
