//! `ravelin assess`: how far may a system be trusted, in numbers and pictures. Needs no cluster.

mod backtest;
mod closed_form;
mod explain;
mod model;
mod prism;
mod run;

use clap::Subcommand;

use super::Invocation;
use crate::exit::Result;

/// The verbs.
#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Compute all that a model file gives rise to
    Run(run::Run),
    /// Hold two designs against each other
    Compare(run::Compare),
    /// Look for the cheapest changes that reach the acceptable risk
    Advise(run::Advise),
    /// Compute one number from a formula of a line
    #[command(subcommand)]
    ClosedForm(closed_form::Form),
    /// Compare what was predicted with what intrusion campaigns measured
    Backtest(backtest::Backtest),
    /// Write a service for the model checkers PRISM and Storm
    Prism(prism::Prism),
    /// Make a model file of a cluster's plan
    FromPlan(model::FromPlan),
    /// Print a model file to begin with
    Example(model::ExampleArguments),
    /// Print the JSON schema of model files, for editors
    Schema,
    /// Say what a quantity means, where it comes from, and what it does not say
    Explain(explain::Explain),
}

/// Runs a verb.
pub(crate) fn run(invocation: &Invocation, verb: Verb) -> Result<()> {
    match verb {
        Verb::Run(arguments) => run::run(invocation, &arguments),
        Verb::Compare(arguments) => run::compare(invocation, &arguments),
        Verb::Advise(arguments) => run::advise(invocation, &arguments),
        Verb::ClosedForm(form) => closed_form::run(invocation, &form),
        Verb::Backtest(arguments) => backtest::run(invocation, &arguments),
        Verb::Prism(arguments) => prism::run(invocation, &arguments),
        Verb::FromPlan(arguments) => model::from_plan(invocation, &arguments),
        Verb::Example(arguments) => model::example(invocation, &arguments),
        Verb::Schema => model::schema(invocation),
        Verb::Explain(arguments) => explain::run(invocation, &arguments),
    }
}
