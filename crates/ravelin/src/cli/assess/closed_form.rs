//! `ravelin assess closed-form`: one number from a formula of a line.

use std::fmt;

use clap::{Args, Subcommand};
use ravelin_assess::engines::{EngineError, closed};
use ravelin_assess::report::explain;
use ravelin_assess::report::words;
use serde::Serialize;
use serde_json::{Map, Value};

use super::super::Invocation;
use crate::exit::{Error, Result};

const HELP: &str = "\
Examples:
  ravelin assess closed-form no-repair --n 4 --f 1 --rate 0.01 --time 100
  ravelin assess closed-form repair --n 4 --f 1 --rate 0.01 --repair 1
  ravelin assess closed-form beta --n 7 --f 2 --p 0.05 --beta 0.1
  ravelin assess closed-form crossover --n 4 --f 1
  ravelin assess closed-form crossover --n 3 --f 1 --coverage 0.7
  ravelin assess closed-form recoverable --fall 90 --recover 10
  ravelin assess closed-form coverage --operational 0.99 --environmental 0.95
  ravelin assess closed-form intruded --rate 0.01 --time 100

Times are hours and rates are per hour. `ravelin assess explain NAME` says what each means, where
it comes from, and what it does not say.";

/// The formulas.
#[derive(Subcommand)]
#[command(after_long_help = HELP)]
pub(crate) enum Form {
    /// Probability that more than f of n servers are intruded, without recovery
    NoRepair(NoRepair),
    /// Mean time until more than f of n servers are intruded, with parallel recovery
    Repair(Repair),
    /// The probability of `no-repair` when a share beta of intrusions hits all servers at once
    Beta(Beta),
    /// The probability of intrusion beyond which n servers are worse than one
    Crossover(Crossover),
    /// Share of the time up under a lasting attack: Tc/(Tc+Tr)
    Recoverable(Recoverable),
    /// Coverage of a component on another one: Pr_a = Pr_o x Pr_e
    Coverage(Coverage),
    /// Probability that one server is intruded by a time: 1 - e^(-rate time)
    Intruded(Intruded),
}

/// Servers, and how many may be intruded.
#[derive(Args)]
struct Servers {
    /// Servers
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    n: u32,
    /// Intrusions tolerated
    #[arg(long, value_name = "F", allow_negative_numbers = true)]
    f: u32,
}

/// What `hybrid` rests on.
#[derive(Args)]
struct Wormholes {
    /// Probability that a wormhole holds once its host is intruded, for `hybrid` [default: 1]
    #[arg(long, value_name = "C", allow_negative_numbers = true)]
    coverage: Option<f64>,
}

impl Wormholes {
    fn value(&self) -> f64 {
        self.coverage.unwrap_or(1.0)
    }
}

/// How likely one server is intruded: as a probability, or as a rate over a time.
#[derive(Args)]
struct Chance {
    /// Probability that one server is intruded; or give --rate and --time
    #[arg(long, value_name = "P", allow_negative_numbers = true, conflicts_with_all = ["rate", "time"], required_unless_present = "rate")]
    p: Option<f64>,
    /// Intrusions of one server per hour
    #[arg(long, value_name = "PER_HOUR", allow_negative_numbers = true, requires = "time")]
    rate: Option<f64>,
    /// Hours
    #[arg(long, value_name = "HOURS", allow_negative_numbers = true, requires = "rate")]
    time: Option<f64>,
}

impl Chance {
    fn value(&self) -> Result<f64, EngineError> {
        match (self.p, self.rate, self.time) {
            (None, Some(rate), Some(time)) => closed::intruded_by(rate, time),
            // Given or asked for by the parser.
            (p, ..) => Ok(p.unwrap_or(f64::NAN)),
        }
    }
}

/// Arguments of `closed-form no-repair`.
#[derive(Args)]
pub(crate) struct NoRepair {
    #[command(flatten)]
    servers: Servers,
    #[command(flatten)]
    wormholes: Wormholes,
    #[command(flatten)]
    chance: Chance,
}

/// Arguments of `closed-form repair`.
#[derive(Args)]
pub(crate) struct Repair {
    #[command(flatten)]
    servers: Servers,
    /// Intrusions of one server per hour
    #[arg(long, value_name = "PER_HOUR", allow_negative_numbers = true)]
    rate: f64,
    /// Recoveries of one intruded server per hour; 0 for none
    #[arg(long, value_name = "PER_HOUR", allow_negative_numbers = true)]
    repair: f64,
}

/// Arguments of `closed-form beta`.
#[derive(Args)]
pub(crate) struct Beta {
    #[command(flatten)]
    servers: Servers,
    #[command(flatten)]
    wormholes: Wormholes,
    #[command(flatten)]
    chance: Chance,
    /// Share of intrusions that hits all servers at once
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true)]
    beta: f64,
}

/// Arguments of `closed-form crossover`.
#[derive(Args)]
pub(crate) struct Crossover {
    #[command(flatten)]
    servers: Servers,
    #[command(flatten)]
    wormholes: Wormholes,
}

/// Arguments of `closed-form recoverable`.
#[derive(Args)]
pub(crate) struct Recoverable {
    /// Hours from the beginning of the attack until the service falls: Tc
    #[arg(long, value_name = "HOURS", alias = "tc", allow_negative_numbers = true)]
    fall: f64,
    /// Hours from then until it is back: Tr
    #[arg(long, value_name = "HOURS", alias = "tr", allow_negative_numbers = true)]
    recover: f64,
}

/// Arguments of `closed-form coverage`.
#[derive(Args)]
pub(crate) struct Coverage {
    /// Coverage of the component itself, given what it relies on: Pr_o
    #[arg(long, value_name = "P", alias = "po", allow_negative_numbers = true)]
    operational: f64,
    /// Coverage of what it relies on: Pr_e
    #[arg(long, value_name = "P", alias = "pe", allow_negative_numbers = true)]
    environmental: f64,
}

/// Arguments of `closed-form intruded`.
#[derive(Args)]
pub(crate) struct Intruded {
    /// Intrusions of one server per hour
    #[arg(long, value_name = "PER_HOUR", allow_negative_numbers = true)]
    rate: f64,
    /// Hours
    #[arg(long, value_name = "HOURS", allow_negative_numbers = true)]
    time: f64,
}

/// Computes and prints.
pub(crate) fn run(invocation: &Invocation, form: &Form) -> Result<()> {
    let number = computed(form).map_err(|error| {
        let explained = quantity(form);
        let hint = format!("`ravelin assess explain {explained}` says what goes in");
        Error::usage(error, hint)
    })?;
    invocation.output.print(&number)
}

/// What `assess explain` calls it.
fn quantity(form: &Form) -> &'static str {
    match form {
        Form::NoRepair(_) => "no-repair",
        Form::Repair(_) => "repair",
        Form::Beta(_) => "beta",
        Form::Crossover(_) => "crossover",
        Form::Recoverable(_) => "recoverable",
        Form::Coverage(_) => "coverage",
        Form::Intruded(_) => "intruded",
    }
}

fn computed(form: &Form) -> Result<Number, EngineError> {
    let name = quantity(form);
    let with = |servers: &Servers| Number::new(name).input("n", servers.n).input("f", servers.f);
    Ok(match form {
        Form::NoRepair(NoRepair { servers, wormholes, chance }) => {
            let p = chance.value()?;
            let result = closed::hybrid(servers.n, servers.f, p, wormholes.value())?;
            with(servers).coverage(wormholes).input("p", p).probability(result)
        }
        Form::Repair(Repair { servers, rate, repair }) => {
            let result = closed::mttf(servers.n, servers.f, *rate, *repair)?;
            with(servers).input("rate", *rate).input("repair", *repair).mttf(result)
        }
        Form::Beta(Beta { servers, wormholes, chance, beta }) => {
            let p = chance.value()?;
            let result = match wormholes.coverage {
                None => closed::beta(servers.n, servers.f, p, *beta)?,
                Some(held) => closed::hybrid_beta(servers.n, servers.f, p, *beta, held)?,
            };
            with(servers).coverage(wormholes).input("p", p).input("beta", *beta).probability(result)
        }
        Form::Crossover(Crossover { servers, wormholes }) => {
            let result = closed::hybrid_crossover(servers.n, servers.f, wormholes.value())?;
            with(servers).coverage(wormholes).probability(result)
        }
        Form::Recoverable(Recoverable { fall, recover }) => {
            let result = closed::recoverable(*fall, *recover)?;
            Number::new(name).input("fall", *fall).input("recover", *recover).probability(result)
        }
        Form::Coverage(Coverage { operational, environmental }) => {
            let result = closed::coverage(*operational, *environmental)?;
            Number::new(name)
                .input("operational", *operational)
                .input("environmental", *environmental)
                .probability(result)
        }
        Form::Intruded(Intruded { rate, time }) => {
            let result = closed::intruded_by(*rate, *time)?;
            Number::new(name).input("rate", *rate).input("time", *time).probability(result)
        }
    })
}

/// What scripts read: its fields are stable.
#[derive(Serialize)]
struct Number {
    form: &'static str,
    #[serde(flatten)]
    inputs: Map<String, Value>,
    /// Between 0 and 1; of `recoverable` the share of the time up.
    #[serde(skip_serializing_if = "Option::is_none")]
    probability: Option<f64>,
    /// In hours.
    #[serde(skip_serializing_if = "Option::is_none")]
    mttf: Option<f64>,
}

impl Number {
    fn new(form: &'static str) -> Self {
        Self { form, inputs: Map::new(), probability: None, mttf: None }
    }

    fn input(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.inputs.insert(name.to_owned(), value.into());
        self
    }

    /// Only where it was given.
    fn coverage(self, wormholes: &Wormholes) -> Self {
        match wormholes.coverage {
            Some(coverage) => self.input("coverage", coverage),
            None => self,
        }
    }

    fn probability(self, probability: f64) -> Self {
        Self { probability: Some(probability), ..self }
    }

    fn mttf(self, hours: f64) -> Self {
        Self { mttf: Some(hours), ..self }
    }
}

impl fmt::Display for Number {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.probability, self.mttf) {
            (Some(probability), _) => write!(out, "{probability}")?,
            (_, Some(hours)) => write!(out, "{hours} h ({})", words::time(hours))?,
            _ => {}
        }
        match explain::find(self.form) {
            Some(quantity) => write!(out, "\n{}", quantity.meaning),
            None => Ok(()),
        }
    }
}
