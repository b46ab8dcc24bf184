//! The chores that write files or take long: `fix`, `sim`, `models`.

use std::path::Path;

use anyhow::Result;

use crate::run::{cargo, run};

/// Formats, and applies what clippy can apply by itself.
pub(crate) fn fix(root: &Path) -> Result<()> {
    let clippy = ["clippy", "--fix", "--allow-dirty", "--allow-staged"];
    let scope = ["--workspace", "--all-targets"];
    run(cargo(root, &clippy).args(scope))?;
    run(&mut cargo(root, &["fmt", "--all"]))
}

/// Runs `ravelin sim` from a release build; without arguments, 500 seeds in each mode.
pub(crate) fn sim(root: &Path, arguments: &[&str]) -> Result<()> {
    let ravelin_sim = ["run", "--release", "--package", "ravelin", "--", "sim"];
    if !arguments.is_empty() {
        return run(cargo(root, &ravelin_sim).args(arguments));
    }
    for mode in ["safety", "liveness"] {
        run(cargo(root, &ravelin_sim).args(["run", "--seeds", "500", "--mode", mode]))?;
    }
    Ok(())
}

/// Runs the exhaustive models, which are a workspace of their own.
pub(crate) fn models(root: &Path, arguments: &[&str]) -> Result<()> {
    let models = ["test", "--release", "--manifest-path", "models/Cargo.toml"];
    run(cargo(root, &models).args(arguments))
}
