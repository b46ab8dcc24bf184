//! The build with planted bugs, and single tests of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::Verdict;
use crate::run::{cargo, run};

/// Apart from every other build's, whose flags are others.
const TARGET: &str = "target/mutants";
const MODELS: &str = "models/Cargo.toml";

/// A test: the file that holds it, and its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Test {
    pub(super) file: String,
    pub(super) name: String,
}

impl fmt::Display for Test {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}::{}", self.file, self.name)
    }
}

impl Test {
    pub(super) fn parse(text: &str) -> Result<Self> {
        match text.split_once("::") {
            Some((file, name)) if file.ends_with(".rs") => {
                Ok(Self { file: file.to_owned(), name: name.to_owned() })
            }
            _ => bail!("`{text}` is no test: write FILE::NAME"),
        }
    }

    pub(super) fn is_model(&self) -> bool {
        self.file.starts_with("models/")
    }

    /// The directory of its package.
    fn package(&self) -> &str {
        let end = self.file.find("/src/").or_else(|| self.file.find("/tests/"));
        self.file.get(..end.unwrap_or(0)).unwrap_or_default()
    }

    /// The file or directory in `tests` that holds it, or nothing of a test inside the library.
    pub(super) fn target(&self) -> &str {
        let inside = self.file.strip_prefix(self.package()).unwrap_or_default();
        let target = inside.strip_prefix("/tests/").and_then(|inside| inside.split('/').next());
        target.map_or("", |target| target.strip_suffix(".rs").unwrap_or(target))
    }

    /// How the executable that holds it begins, and its path in there.
    pub(super) fn place(&self) -> Result<(String, String)> {
        let inside = self.file.strip_prefix(self.package()).unwrap_or_default();
        let mut parts: Vec<&str> = inside.trim_start_matches('/').split('/').collect();
        let file = parts.pop().and_then(|file| file.strip_suffix(".rs")).unwrap_or_default();
        let path: Vec<&str> = match (parts.as_slice(), file) {
            (["tests"], target) => return Ok((target.to_owned(), self.name.clone())),
            (["tests", target, modules @ ..], file) => {
                let path = [modules, &[file, &self.name]].concat();
                return Ok(((*target).to_owned(), path.join("::")));
            }
            (["src", modules @ ..], "tests") => [modules, &["tests", &self.name]].concat(),
            (["src", modules @ ..], file) if modules.contains(&"tests") => {
                [modules, &[file, &self.name]].concat()
            }
            (["src", modules @ ..], file) => [modules, &[file, "tests", &self.name]].concat(),
            _ => bail!("`{self}` lies neither in src nor in tests"),
        };
        let package = self.package().rsplit('/').next().unwrap_or_default();
        Ok((format!("ravelin_{package}"), path.join("::")))
    }
}

/// The executables of a build with planted bugs.
pub(super) struct Build {
    root: PathBuf,
    /// Hunts with the simulator, once [`hunter`] has built it.
    pub(super) hunter: PathBuf,
    /// By whether it is of the models, and how it begins: both have a `brm`.
    executables: BTreeMap<(bool, String), PathBuf>,
}

/// The example of the simulator that lists what is planted, and hunts.
const EXAMPLE: [&str; 4] = ["--package", "ravelin-sim", "--example", "mutants"];

/// The list of planted bugs. Every build has it, so it is asked from the one that developers have.
pub(super) fn list(root: &Path) -> Result<String> {
    let mut command = cargo(root, &["run", "--quiet"]);
    let output = command.args(EXAMPLE).args(["--", "list"]).stderr(Stdio::inherit()).output();
    let output = output.context("cannot list the planted bugs")?;
    if !output.status.success() {
        bail!("the list of planted bugs ended with {}", output.status);
    }
    String::from_utf8(output.stdout).context("the list of planted bugs is no text")
}

/// Builds what hunts with the simulator.
pub(super) fn hunter(root: &Path) -> Result<()> {
    run(planting(cargo(root, &["build", "--release"]).args(EXAMPLE)))
}

/// Plants the bugs in what `command` builds. Tests need unwinding, so all of it unwinds: nothing is
/// built twice.
fn planting(command: &mut Command) -> &mut Command {
    command
        .env("RUSTFLAGS", "--cfg ravelin_mutants")
        .env("CARGO_PROFILE_RELEASE_PANIC", "unwind")
        .env("CARGO_PROFILE_RELEASE_DEBUG", "0")
        .args(["--target-dir", TARGET])
}

/// Builds the executables that hold `tests`.
pub(super) fn tests(root: &Path, tests: &[&Test]) -> Result<Build> {
    let hunter = root.join(TARGET).join("release/examples/mutants");
    let mut build = Build { root: root.to_owned(), hunter, executables: BTreeMap::new() };
    let (models, ours): (Vec<&Test>, Vec<&Test>) = tests.iter().partition(|test| test.is_model());
    let base = ["test", "--no-run", "--release"];
    if !ours.is_empty() {
        let packages: BTreeSet<&str> = ours.iter().map(|test| test.package()).collect();
        let mut command = cargo(root, &base);
        for package in packages {
            let name = package.rsplit('/').next().unwrap_or_default();
            command.arg("--package").arg(format!("ravelin-{name}"));
        }
        let targets: BTreeSet<&str> = ours.iter().map(|test| test.target()).collect();
        for target in targets {
            match target {
                "" => command.arg("--lib"),
                target => command.args(["--test", target]),
            };
        }
        build.add(&mut command, false)?;
    }
    if !models.is_empty() {
        build.add(cargo(root, &base).args(["--manifest-path", MODELS]), true)?;
    }
    Ok(build)
}

/// Runs all models where nothing is planted.
///
/// # Errors
/// When one fails.
pub(super) fn models(root: &Path) -> Result<()> {
    let mut command = cargo(root, &["test", "--release", "--manifest-path", MODELS]);
    run(planting(&mut command).env_remove("RAVELIN_MUTANT"))
}

impl Build {
    /// Builds, and notes the executables that cargo names.
    fn add(&mut self, command: &mut Command, are_models: bool) -> Result<()> {
        let output = planting(command).stdout(Stdio::null()).stderr(Stdio::piped()).output();
        let output = output.context("cannot start cargo")?;
        let talk = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            bail!("the build with planted bugs failed:\n{talk}");
        }
        for path in executables(&talk) {
            let file = Path::new(path).file_name().unwrap_or_default().to_string_lossy();
            let Some((name, _)) = file.rsplit_once('-') else { continue };
            self.executables.insert((are_models, name.to_owned()), self.root.join(path));
        }
        Ok(())
    }

    /// Runs one test with `mutant` planted, or nothing if it is empty.
    pub(super) fn run(&self, mutant: &str, test: &Test) -> Result<Verdict> {
        let (target, path) = test.place()?;
        let executable = self.executables.get(&(test.is_model(), target));
        let executable = executable.with_context(|| format!("no executable holds {test}"))?;
        let mut command = Command::new(executable);
        command.current_dir(self.root.join(test.package())).args(["--exact", &path]);
        let output = command.env("RAVELIN_MUTANT", mutant).output();
        let output = output.with_context(|| format!("cannot run {test}"))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let verdict = verdict(&text);
        verdict.with_context(|| format!("{test} with `{mutant}` said nothing clear:\n{text}"))
    }
}

/// The executables in what cargo says of a build.
pub(super) fn executables(talk: &str) -> impl Iterator<Item = &str> {
    let lines = talk.lines().filter(|line| line.trim_start().starts_with("Executable"));
    lines.filter_map(|line| line.rsplit_once('(')?.1.strip_suffix(')'))
}

/// How the one test ended, by the harness's last line.
pub(super) fn verdict(text: &str) -> Option<Verdict> {
    let result = text.lines().rev().find_map(|line| line.strip_prefix("test result: "))?;
    let says = |what| result.contains(what);
    if says(" 0 passed; 1 failed; 0 ignored;") {
        Some(Verdict::Failed)
    } else if says(" 1 passed; 0 failed; 0 ignored;") {
        Some(Verdict::Passed)
    } else if says(" 0 passed; 0 failed; 1 ignored;") {
        Some(Verdict::SetAside)
    } else {
        None
    }
}
