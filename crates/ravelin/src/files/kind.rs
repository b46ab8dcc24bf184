//! The kinds of file that people write: telling them apart, checking them, and an example of each.

use std::path::Path;

use clap::ValueEnum;
use serde::Serialize;

use super::client::ClientFile;
use super::disk::{self, Privacy};
use super::node::NodeConfig;
use super::{card, plan, syntax};
use crate::exit::{Error, Result};

/// A kind of file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// A server's host: node.toml
    Node,
    /// A cluster: plan.toml
    Plan,
    /// A client: client.toml
    Client,
    /// A server's card
    Card,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Node, Self::Plan, Self::Client, Self::Card];

    /// The name used in outputs.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Plan => "plan",
            Self::Client => "client",
            Self::Card => "card",
        }
    }

    /// An example with comments, which [`Kind::check`] accepts.
    pub(crate) fn example(self) -> &'static str {
        match self {
            Self::Node => include_str!("examples/node.toml"),
            Self::Plan => include_str!("examples/plan.toml"),
            Self::Client => include_str!("examples/client.toml"),
            Self::Card => include_str!("examples/card.toml"),
        }
    }

    /// Whether the file at `path` is plainly of this kind.
    pub(crate) fn is_of(self, path: &Path) -> bool {
        let text = disk::read(path, Privacy::Public).unwrap_or_default();
        Self::recognise(path, &text).is_ok_and(|kind| kind == self)
    }

    /// The kind whose keys `text`, the text of `path`, uses most.
    pub(crate) fn recognise(path: &Path, text: &str) -> Result<Self> {
        let table: toml::Table = syntax::parse(path, text)?;
        let known = |kind: &Self| {
            let example: toml::Table =
                toml::from_str(kind.example()).expect("the examples are tested");
            table.keys().filter(|key| example.contains_key(*key)).count()
        };
        let counts = Self::ALL.map(|kind| (known(&kind), kind));
        let most = counts.iter().map(|(count, _)| *count).max().unwrap_or_default();
        let mut best = counts.iter().filter(|(count, _)| *count == most);
        match (most, best.next(), best.next()) {
            (1.., Some((_, kind)), None) => Ok(*kind),
            _ => Err(Error::usage(
                format!("{}: cannot tell what kind of file this is", path.display()),
                "say it with --kind, or compare it with `ravelin config example client` or `node`",
            )),
        }
    }

    /// Checks everything about the file that can be known from its text.
    pub(crate) fn check(self, path: &Path, text: &str) -> Result<()> {
        match self {
            Self::Node => NodeConfig::checked(path, text).map(drop),
            Self::Plan => {
                let signed = plan::plan(path, text)?;
                plan::check_fit(&signed.plan)
                    .and_then(|_| plan::check_signatures(&signed))
                    .map_err(|error| error.context(path.display()))
            }
            Self::Client => ClientFile::checked(path, text).map(drop),
            Self::Card => card::card(path, text).map(drop),
        }
    }
}
