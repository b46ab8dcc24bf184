//! `ravelin gateway`: front ends on the client's side, for those who cannot vote themselves.

mod access_log;
mod http;
mod token;

use clap::Subcommand;

use super::Invocation;
use crate::exit::Result;

/// The verbs.
#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Serve the cluster over HTTP to those who have a token
    Http(http::Http),
    /// Say who may use a gateway
    #[command(subcommand)]
    Token(token::Verb),
}

/// Runs a verb.
pub(crate) fn run(invocation: &Invocation, verb: Verb) -> Result<()> {
    match verb {
        Verb::Http(arguments) => http::serve(invocation, &arguments),
        Verb::Token(verb) => token::run(invocation, verb),
    }
}
