//! Tokens of a gateway.

use std::fmt;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use ravelin_gateway::tokens::Token;
use serde::Serialize;

use super::Invocation;
use crate::exit::{Error, Exit, Result};
use crate::files::tokens::{TokenEntry, TokenFile, check_name};
use crate::files::{date, disk};

/// The verbs.
#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Make a token for one client's key; prints it once
    Add(Add),
    /// List the tokens
    List(Which),
    /// Remove a token; a running gateway ends what goes on under it
    Remove(Remove),
}

const ADD_HELP: &str = "\
Example:
  ravelin auth keygen --out alice.key
  ravelin auth enroll alice PUBLIC_KEY --key admin.key
  ravelin gateway token add alice --tokens tokens.toml --key alice.key

Prints the token, which is written down nowhere: give it to its user. The file holds a digest of
it, and is made if it is not there. Each token has a client key of its own, so that the cluster
can tell users apart, limit them and shut them out.";

/// Arguments of `gateway token add`.
#[derive(Args)]
#[command(after_long_help = ADD_HELP)]
pub(crate) struct Add {
    /// What to call it
    name: String,
    /// The token file
    #[arg(long, value_name = "FILE")]
    tokens: PathBuf,
    /// The key file of the client that it stands for
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
}

/// Arguments of `gateway token list`.
#[derive(Args)]
pub(crate) struct Which {
    /// The token file
    #[arg(long, value_name = "FILE")]
    tokens: PathBuf,
}

/// Arguments of `gateway token remove`.
#[derive(Args)]
pub(crate) struct Remove {
    /// The token's name
    name: String,
    /// The token file
    #[arg(long, value_name = "FILE")]
    tokens: PathBuf,
}

/// Runs a verb.
pub(crate) fn run(invocation: &Invocation, verb: Verb) -> Result<()> {
    match verb {
        Verb::Add(arguments) => add(invocation, arguments),
        Verb::List(arguments) => {
            let file = TokenFile::read(&arguments.tokens)?;
            invocation.output.print(&List::of(file))
        }
        Verb::Remove(arguments) => remove(invocation, arguments),
    }
}

fn add(invocation: &Invocation, arguments: Add) -> Result<()> {
    let Add { name, tokens: path, key } = arguments;
    check_name(&name)?;
    let mut file = if is_there(&path)? { TokenFile::read(&path)? } else { TokenFile::default() };
    if file.tokens.iter().any(|entry| entry.name == name) {
        let cause = format!("there is a token `{name}` already");
        return Err(Error::new(Exit::Conflict, cause, "choose another name, or remove it first"));
    }
    let token =
        Token::draw().map_err(|error| Error::caused(Exit::Failed, error, "try again later"))?;
    let (digest, created, key) = (token.digest(), date::now(), disk::plain(&key));
    file.tokens.push(TokenEntry { name: name.clone(), digest, key, created });
    file.bearers()?;
    file.write(&path)?;
    invocation.output.note("the token is written down nowhere else: give it to its user");
    if file.tokens.len() == 2 {
        let what = "a gateway with more than one token is a trusted node: whoever controls it acts \
                    as all its users";
        invocation.output.note(what);
    }
    invocation.output.print(&Made { name, token: token.text() })
}

/// Whether a file is there, of whatever kind.
fn is_there(path: &Path) -> Result<bool> {
    std::fs::exists(path).map_err(|error| Error::system("read", path, &error))
}

fn remove(invocation: &Invocation, arguments: Remove) -> Result<()> {
    let Remove { name, tokens: path } = arguments;
    let mut file = TokenFile::read(&path)?;
    let before = file.tokens.len();
    file.tokens.retain(|entry| entry.name != name);
    if file.tokens.len() == before {
        let cause = format!("there is no token `{name}` in {}", path.display());
        let hint = "`ravelin gateway token list` names them";
        return Err(Error::new(Exit::NotFound, cause, hint));
    }
    file.write(&path)?;
    invocation.output.print(&Removed { removed: name })
}

#[derive(Serialize)]
struct Made<'a> {
    name: String,
    token: &'a str,
}

impl fmt::Display for Made<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.token)
    }
}

#[derive(Serialize)]
struct Removed {
    removed: String,
}

impl fmt::Display for Removed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "the token {} is removed", self.removed)
    }
}

#[derive(Serialize)]
struct List {
    tokens: Vec<Shown>,
}

#[derive(Serialize)]
struct Shown {
    name: String,
    key: PathBuf,
    created: String,
}

impl List {
    fn of(file: TokenFile) -> Self {
        let shown = |entry: TokenEntry| {
            let TokenEntry { name, key, created, .. } = entry;
            Shown { name, key, created }
        };
        Self { tokens: file.tokens.into_iter().map(shown).collect() }
    }
}

impl fmt::Display for List {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line =
            |shown: &Shown| format!("{}  {}  {}", shown.created, shown.name, shown.key.display());
        let lines: Vec<String> = self.tokens.iter().map(line).collect();
        out.write_str(if lines.is_empty() { "there is no token" } else { "" })?;
        out.write_str(&lines.join("\n"))
    }
}
