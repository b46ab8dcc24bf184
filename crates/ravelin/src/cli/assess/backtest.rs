//! `ravelin assess backtest`: predictions beside what intrusion campaigns measured.

use std::path::PathBuf;

use clap::Args;
use ravelin_assess::analysis::{self, BacktestError, Rerun};

use super::super::Invocation;
use super::model;
use super::run::{Shown, refused};
use crate::exit::{Error, Result};
use crate::files::disk::{self, Privacy};

const HELP: &str = "\
Examples:
  ravelin assess backtest model.toml campaign.json
  ravelin assess backtest model.toml demo.json --acceleration 100000

A campaign is what `ravelin sim run`, `demo --headless` or `attack campaign` print with
--output json. Lines of any other experiment count too, one a mission:

  {\"event\":\"mission\",\"hours\":720,\"intruded\":[2],\"exceeded\":false,\"broken\":false}";

/// Arguments of `assess backtest`.
#[derive(Args)]
#[command(after_long_help = HELP)]
pub(crate) struct Backtest {
    /// The model file
    file: PathBuf,
    /// What `ravelin demo`, `attack campaign` or `sim run` printed with --output json
    campaign: PathBuf,
    /// The service, where the file has several
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// Hours of the design for each hour of the campaign, whose attacks come so much faster
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, value_parser = acceleration)]
    acceleration: f64,
    /// Confidence level of the intervals
    #[arg(long, value_name = "LEVEL", default_value_t = 0.99, value_parser = level)]
    level: f64,
}

fn acceleration(text: &str) -> Result<f64, String> {
    let factor: f64 = text.parse().map_err(|_| "it is no number")?;
    let is_sound = factor.is_finite() && factor > 0.0;
    is_sound.then_some(factor).ok_or_else(|| "it must be finite and above 0".to_owned())
}

fn level(text: &str) -> Result<f64, String> {
    let level: f64 = text.parse().map_err(|_| "it is no number")?;
    let is_sound = (0.5..=0.9999).contains(&level);
    is_sound.then_some(level).ok_or_else(|| "it must be between 0.5 and 0.9999".to_owned())
}

/// Compares and prints.
pub(super) fn run(invocation: &Invocation, arguments: &Backtest) -> Result<()> {
    let design = model::read(&arguments.file)?;
    let text = disk::read(&arguments.campaign, Privacy::Public)?;
    let file = arguments.campaign.display().to_string();
    let rerun = Rerun { acceleration: arguments.acceleration, level: arguments.level };
    let service = arguments.service.as_deref();
    let tested = analysis::backtest(&design, service, &file, &text, rerun);
    let tested = tested.map_err(|error| match error {
        BacktestError::Analysis(error) => refused(&error),
        BacktestError::Campaigns(error) => {
            Error::usage(error, "`ravelin assess backtest --help` says what is read")
        }
    })?;
    invocation.output.print(&Shown(tested))
}
