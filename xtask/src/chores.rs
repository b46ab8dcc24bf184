//! The chores that write files or take long: `fix`, `sim`, `models`, `fuzz`.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::run::{cargo, is_installed, run};

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

/// Runs every fuzz target for `seconds` on the stable toolchain.
pub(crate) fn fuzz(root: &Path, seconds: &str) -> Result<()> {
    let seconds: u32 = seconds.parse().context("SECONDS must be a whole number")?;
    let targets = fuzz_targets(&root.join("fuzz/fuzz_targets"))?;
    if !is_installed(root, "fuzz") {
        bail!("cargo-fuzz is not installed; `cargo install cargo-fuzz` installs it");
    }
    let limit = format!("-max_total_time={seconds}");
    for target in &targets {
        let mut command = cargo(root, &["fuzz", "run", target, "--", &limit]);
        // The sanitizer's flags are unstable; this lets the stable compiler take them.
        run(command.env("RUSTC_BOOTSTRAP", "1"))?;
    }
    Ok(())
}

/// The names of the targets in `directory`, sorted.
fn fuzz_targets(directory: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(directory)
        .with_context(|| format!("no fuzz targets in `{}`", directory.display()))?;
    let mut targets = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            targets.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
        }
    }
    targets.sort();
    Ok(targets)
}
