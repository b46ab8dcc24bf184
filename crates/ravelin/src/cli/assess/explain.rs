//! `ravelin assess explain`: what a quantity means, where it comes from, and what it does not say.

use std::fmt;

use clap::Args;
use ravelin_assess::report::explain::{self, QUANTITIES, Quantity};
use serde::Serialize;

use super::super::Invocation;
use crate::exit::{Error, Exit, Result};
use crate::suggest;

const HELP: &str = "\
Examples:
  ravelin assess explain
  ravelin assess explain crossover
  ravelin assess explain over-trust";

/// Arguments of `assess explain`.
#[derive(Args)]
#[command(after_long_help = HELP)]
pub(crate) struct Explain {
    /// The quantity; without one, all are listed
    quantity: Option<String>,
}

/// Prints one quantity, or the list of all.
pub(crate) fn run(invocation: &Invocation, arguments: &Explain) -> Result<()> {
    let Some(name) = &arguments.quantity else {
        let all = QUANTITIES.iter().map(Explained).collect();
        return invocation.output.print(&List { quantities: all });
    };
    let quantity = explain::find(name).ok_or_else(|| {
        let hint = suggest::nearest(name, explain::names()).map_or_else(
            || "`ravelin assess explain` lists them".to_owned(),
            |near| format!("did you mean `{near}`?"),
        );
        Error::new(Exit::NotFound, format!("there is no quantity `{name}`"), hint)
    })?;
    invocation.output.print(&Explained(quantity))
}

/// A quantity with its fields for scripts.
struct Explained(&'static Quantity);

impl Serialize for Explained {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Quantity { name, also, meaning, formula, unit, source, assumes, is_silent_on } = self.0;
        let fields = serde_json::json!({
            "name": name,
            "also": also,
            "meaning": meaning,
            "formula": formula,
            "unit": unit,
            "source": source,
            "assumes": assumes,
            "does_not_say": is_silent_on,
        });
        fields.serialize(serializer)
    }
}

impl fmt::Display for Explained {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.0)
    }
}

#[derive(Serialize)]
struct List {
    quantities: Vec<Explained>,
}

impl fmt::Display for List {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = self.quantities.iter().map(|quantity| {
            let Quantity { name, meaning, .. } = quantity.0;
            format!("{name:<22}{}", explain::wrapped(meaning, 22))
        });
        out.write_str(&lines.collect::<Vec<_>>().join("\n"))
    }
}
