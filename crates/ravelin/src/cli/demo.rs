//! `ravelin demo`: the main job, shown on this machine.

use std::path::PathBuf;

use clap::Args;

use super::{Invocation, ModelName};
use crate::demo::{self, DemoOptions};
use crate::exit::Result;

/// Arguments of `demo`.
#[derive(Args)]
pub(crate) struct Demo {
    /// Draw nothing on the terminal, print lines only
    #[arg(long)]
    headless: bool,
    /// Where to put report.html and history.jsonl [default: a temporary directory]
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    /// Keep the servers' directories
    #[arg(long)]
    keep: bool,
    /// What is assumed of intruded servers: `hybrid` has three, each with a wormhole
    #[arg(long, value_name = "MODEL", default_value = "arbitrary")]
    fault_model: ModelName,
}

/// Runs the demonstration.
pub(crate) fn run(invocation: &Invocation, arguments: Demo) -> Result<()> {
    let Demo { headless, report, keep, fault_model } = arguments;
    let fault_model = fault_model.into();
    let options = DemoOptions { report_dir: report, keep, is_headless: headless, fault_model };
    demo::run(invocation.output, &options)
}
