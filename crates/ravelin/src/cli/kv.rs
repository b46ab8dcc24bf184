//! `ravelin kv`: keys and values, leases and locks.
//!
//! Keys and values are bytes: text in arguments, anything in files. What does not fit the limits is
//! refused before anything is sent.

pub(crate) mod bytes;
mod entries;
pub(crate) mod entry_file;
pub(crate) mod export;
pub(crate) mod import;
mod leases;
mod locks;
mod transaction_file;
mod transactions;
mod values;
mod watch;
mod write;

#[cfg(test)]
mod corpus;

use clap::Subcommand;
use ravelin_model::limits::KV_KEY_BYTES_MAX;
use ravelin_model::requests::kv::{KvReply, LeaseId};

use self::bytes::{bounded, key};
use super::Invocation;
use crate::client_command::trouble::senseless;
use crate::exit::{Error, Exit, Result};

/// The verbs.
#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Set a key
    Put(write::Put),
    /// Print the value of a key
    Get(entries::Get),
    /// Remove a key
    Delete(write::Delete),
    /// Set a key if it has the value that it is believed to have
    Cas(write::Cas),
    /// List keys and values in key order
    List(entries::List),
    /// Write entries to a file
    Export(export::Export),
    /// Set the entries of a file
    Import(import::Import),
    /// Print changes as they happen, until interrupted
    Watch(watch::Watch),
    /// Do several things in one step, if conditions hold
    Txn(transactions::Txn),
    /// Grant and keep leases: what hangs on one goes when it ends
    #[command(subcommand)]
    Lease(leases::Verb),
    /// Take a lock, waiting for it, and run a command under it
    Lock(locks::Lock),
    /// Give a lock up
    Unlock(locks::Unlock),
}

/// Runs a verb.
pub(crate) fn run(invocation: &Invocation, verb: Verb) -> Result<()> {
    match verb {
        Verb::Put(arguments) => write::put(invocation, arguments),
        Verb::Get(arguments) => entries::get(invocation, arguments),
        Verb::Delete(arguments) => write::delete(invocation, arguments),
        Verb::Cas(arguments) => write::cas(invocation, arguments),
        Verb::List(arguments) => entries::list(invocation, arguments),
        Verb::Export(arguments) => export::export(invocation, &arguments),
        Verb::Import(arguments) => import::import(invocation, &arguments),
        Verb::Watch(arguments) => watch::watch(invocation, arguments),
        Verb::Txn(arguments) => transactions::txn(invocation, &arguments),
        Verb::Lease(verb) => leases::run(invocation, verb),
        Verb::Lock(arguments) => locks::lock(invocation, arguments),
        Verb::Unlock(arguments) => locks::unlock(invocation, &arguments),
    }
}

/// The bytes with which keys begin.
fn prefix(text: &str) -> Result<Vec<u8>> {
    bounded("the beginning of a key", text.as_bytes().to_vec(), KV_KEY_BYTES_MAX)
}

/// A reply that is not what was asked for, as an error.
fn refused(reply: KvReply) -> Error {
    let (exit, cause, hint) = match reply {
        KvReply::NoLease => (
            Exit::NotFound,
            "there is no such lease: it ended, or belongs to another client, or never was",
            "grant one with `ravelin kv lease grant TTL`",
        ),
        KvReply::NotHolder => (
            Exit::Conflict,
            "this lease neither holds the lock nor waits for it",
            "name the lease that `ravelin kv lock` printed",
        ),
        KvReply::LeaseFull => (
            Exit::Conflict,
            "as many keys and locks hang on the lease as may",
            "grant another lease",
        ),
        KvReply::QueueFull => {
            (Exit::Conflict, "as many wait for the lock as may", "try again later")
        }
        KvReply::TooLarge => (
            Exit::Usage,
            "too much for one step, and nothing was done",
            "read or change less at once",
        ),
        KvReply::Invalid => (
            Exit::Usage,
            "a key, value, list or time is outside the cluster's limits",
            "client and servers may be of different versions: see `ravelin version`",
        ),
        other => return senseless(format_args!("{other:?}")),
    };
    Error::new(exit, cause, hint)
}

/// A lease, as an argument.
fn lease(text: &str) -> Result<LeaseId, String> {
    text.parse().map(LeaseId).map_err(|_| "a lease is a number, as `lease grant` prints".to_owned())
}
