//! `ravelin auth`: make keys of clients and administrators, say who may use the cluster, and give a
//! server another block key.

mod clients;
mod orders;

use std::fmt;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use ravelin_model::PublicKey;
use serde::Serialize;

use super::Invocation;
use crate::exit::Result;
use crate::files::hex;
use crate::files::key::KeyFile;

/// The verbs.
#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Make a key for a client or an administrator; prints its public half
    Keygen(Keygen),
    /// Let a client in
    Enroll(orders::Enroll),
    /// Shut a client out
    Revoke(orders::Revoke),
    /// Give a server another block key, which begins a new epoch
    Rekey(orders::Rekey),
    /// Sign an order, for clusters in which several administrators must
    #[command(subcommand, after_long_help = orders::APPROVE_HELP)]
    Approve(orders::Approve),
    /// List the clients
    List,
    /// Say as whom the cluster knows us
    Whoami,
}

const KEYGEN_HELP: &str = "\
Example:
  ravelin auth keygen --out client.key

Prints the public key: give that to an administrator for `ravelin auth enroll`, or name it in
`ravelin cluster plan`. The file stays where it is, and is named by `key` in the client file or
by `ravelin trust add --key`.";

/// Arguments of `auth keygen`.
#[derive(Args)]
#[command(after_long_help = KEYGEN_HELP)]
pub(crate) struct Keygen {
    /// The key file to write; readable by its owner only
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Runs a verb.
pub(crate) fn run(invocation: &Invocation, verb: Verb) -> Result<()> {
    match verb {
        Verb::Keygen(arguments) => {
            let key = KeyFile::generate()?;
            key.create(&arguments.out)?;
            invocation
                .output
                .note(format_args!("the secret half is in {}", arguments.out.display()));
            invocation.output.print(&Key { public: key.public().to_string(), file: arguments.out })
        }
        Verb::Enroll(arguments) => orders::enroll(invocation, &arguments),
        Verb::Revoke(arguments) => orders::revoke(invocation, &arguments),
        Verb::Rekey(arguments) => orders::rekey(invocation, &arguments),
        Verb::Approve(arguments) => orders::approve(invocation, &arguments),
        Verb::List => clients::list(invocation),
        Verb::Whoami => clients::whoami(invocation),
    }
}

/// Reads a public key as an argument.
fn public_key(text: &str) -> Result<PublicKey, String> {
    let key = hex::decode(text).map(PublicKey);
    key.ok_or_else(|| "a public key is 64 hexadecimal digits, as `auth keygen` prints".to_owned())
}

/// Reads a server's block key as an argument.
fn block_key(text: &str) -> Result<PublicKey, String> {
    let key = hex::decode(text).map(PublicKey);
    key.ok_or_else(|| "a block key is 64 hexadecimal digits, as `node check` prints".to_owned())
}

#[derive(Serialize)]
struct Key {
    public: String,
    file: PathBuf,
}

impl fmt::Display for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.public)
    }
}
