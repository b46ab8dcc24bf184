//! Where settings come from: flag before environment before file before default, and the record of
//! it that `ravelin config show` prints.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ArgMatches;
use clap::parser::ValueSource;
use serde::Serialize;

/// Where a value comes from; the first that gives one wins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Flag(String),
    Environment(String),
    File(PathBuf),
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => write!(out, "flag {flag}"),
            Self::Environment(variable) => write!(out, "environment {variable}"),
            Self::File(file) => write!(out, "file {}", file.display()),
            Self::Default => out.write_str("default"),
        }
    }
}

/// Which arguments were given, and how.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sources(BTreeMap<String, ValueSource>);

impl Sources {
    /// What was given to the innermost command, global arguments included.
    pub(crate) fn new(matches: &ArgMatches) -> Self {
        let mut leaf = matches;
        while let Some((_, next)) = leaf.subcommand() {
            leaf = next;
        }
        let source = |id: &clap::Id| Some((id.to_string(), leaf.value_source(id.as_str())?));
        Self(leaf.ids().filter_map(source).collect())
    }

    /// Where the argument called `key` was given; `None` if it was not.
    pub(crate) fn origin(&self, key: &str) -> Option<Origin> {
        match self.0.get(key)? {
            ValueSource::CommandLine => Some(Origin::Flag(format!("--{}", key.replace('_', "-")))),
            ValueSource::EnvVariable => Some(Origin::Environment(variable(key))),
            _ => None,
        }
    }
}

/// The environment variable of an argument.
fn variable(key: &str) -> String {
    format!("RAVELIN_{}", key.to_uppercase())
}

/// One setting, as it is in force.
#[derive(Debug, Serialize)]
pub(crate) struct Shown {
    pub(crate) key: String,
    pub(crate) value: serde_json::Value,
    pub(crate) origin: String,
}

impl fmt::Display for Shown {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} = {}  # {}", self.key, self.value, self.origin)
    }
}

/// Decides settings one by one and remembers where each came from.
pub(crate) struct Layers<'a> {
    file: Option<&'a Path>,
    sources: &'a Sources,
    shown: Vec<Shown>,
}

impl<'a> Layers<'a> {
    /// `file`: where the values of files come from; `None` where there is none.
    pub(crate) fn new(file: Option<&'a Path>, sources: &'a Sources) -> Self {
        Self { file, sources, shown: Vec::new() }
    }

    /// The value of `key`: as an argument gave it, else the file, else the default.
    pub(crate) fn pick<T: Setting>(
        &mut self,
        key: &str,
        argument: Option<T>,
        file: Option<T>,
        default: T,
    ) -> T {
        let given = argument.zip(self.sources.origin(&key.replace('.', "_")));
        let (value, origin) = match (given, file, self.file) {
            (Some(given), _, _) => given,
            (None, Some(value), Some(file)) => (value, Origin::File(file.to_owned())),
            _ => (default, Origin::Default),
        };
        let origin = origin.to_string();
        self.shown.push(Shown { key: key.to_owned(), value: value.shown(), origin });
        value
    }

    /// All settings decided so far, in that order.
    pub(crate) fn shown(self) -> Vec<Shown> {
        self.shown
    }
}

/// What can be a setting: known by how it is shown.
pub(crate) trait Setting {
    /// The value as JSON; a plain string or number.
    fn shown(&self) -> serde_json::Value;
}

impl Setting for Duration {
    fn shown(&self) -> serde_json::Value {
        format!("{}ms", self.as_millis()).into()
    }
}

impl Setting for PathBuf {
    fn shown(&self) -> serde_json::Value {
        self.display().to_string().into()
    }
}

impl Setting for String {
    fn shown(&self) -> serde_json::Value {
        self.as_str().into()
    }
}

impl Setting for u64 {
    fn shown(&self) -> serde_json::Value {
        (*self).into()
    }
}

impl Setting for std::net::SocketAddr {
    fn shown(&self) -> serde_json::Value {
        self.to_string().into()
    }
}

impl<T: Setting> Setting for Option<T> {
    fn shown(&self) -> serde_json::Value {
        self.as_ref().map_or(serde_json::Value::Null, Setting::shown)
    }
}

/// Reads a span of time such as `500ms`, `30s`, `2m` or `1h`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err("write a number with a unit: 500ms, 30s, 2m, 1h".to_owned()),
    };
    let span = number.parse::<u64>().ok().and_then(|number| number.checked_mul(milliseconds));
    match span {
        Some(span) if (1..=SPAN_MAX_MS).contains(&span) => Ok(Duration::from_millis(span)),
        _ => Err(SPAN_BOUNDS.to_owned()),
    }
}

/// What is said of a span that is too short or too long.
pub(crate) const SPAN_BOUNDS: &str = "it must be from 1ms to 24h";
/// The longest span of time that a setting can have.
pub(crate) const SPAN_MAX_MS: u64 = 86_400_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_need_a_unit_and_a_sensible_size() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        for wrong in ["", "5", "ms", "0s", "25h", "-1s", "1.5s", "1 s", "99999999999999999999s"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn flag_beats_environment_beats_file_beats_default() {
        let sources = |source| Sources([("limit".to_owned(), source)].into());
        let file = Path::new("a.toml");
        for (sources, argument, in_file, value, origin) in [
            (sources(ValueSource::CommandLine), Some(1), Some(3), 1, "flag --limit"),
            (sources(ValueSource::EnvVariable), Some(2), Some(3), 2, "environment RAVELIN_LIMIT"),
            (Sources::default(), None, Some(3), 3, "file a.toml"),
            (Sources::default(), None, None, 4_u64, "default"),
        ] {
            let mut layers = Layers::new(Some(file), &sources);
            assert_eq!(layers.pick("limit", argument, in_file, 4), value);
            assert_eq!(layers.shown()[0].origin, origin);
        }
    }
}
