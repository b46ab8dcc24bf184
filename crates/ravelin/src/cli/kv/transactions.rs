//! Several changes as one step.

use std::fmt;
use std::path::PathBuf;

use clap::Args;
use ravelin_model::ServiceId;
use ravelin_model::limits::ENVELOPE_BYTES_MAX;
use ravelin_model::requests::kv::{KvReply, Step, StepResult};
use serde::Serialize;

use super::bytes::{Named, Shown};
use super::entries::Shape;
use super::transaction_file::{FORMAT, Transaction};
use super::{Invocation, refused, values};
use crate::client_command::{self, Speaker};
use crate::exit::{Error, Exit, Result};

/// Arguments of `kv txn`.
#[derive(Args)]
#[command(after_long_help = FORMAT)]
pub(crate) struct Txn {
    /// The file that says what to do, `-` for standard input; `--help` shows its format
    file: PathBuf,
}

/// Carries out the transaction in a file.
pub(super) fn txn(invocation: &Invocation, arguments: &Txn) -> Result<()> {
    let path = &arguments.file;
    // In text, bytes may take more room than they need.
    let text = values::from_file("a transaction", path, 2 * ENVELOPE_BYTES_MAX)?;
    let text = String::from_utf8(text).map_err(|_| {
        let hint = "write bytes that are no text as base64:...";
        Error::usage(format!("{}: it is not text", path.display()), hint)
    })?;
    let transaction = Transaction::parse(&path.display().to_string(), &text)?;
    let branches = [transaction.then.clone(), transaction.otherwise.clone()];
    let request = transaction.into_request();
    let (reply, position) = client_command::run(invocation, &Speaker::Client, async |client| {
        client.order_at(ServiceId::KV, &request).await
    })?;
    let KvReply::Transaction { held, results } = reply else { return Err(refused(reply)) };
    let [then, otherwise] = branches;
    let steps = if held { then } else { otherwise };
    let results = steps.into_iter().zip(results);
    let results = results.map(|(step, result)| Done::of(step, result)).collect();
    let position = position.map(|position| position.0);
    invocation.output.print(&Outcome { held, position, results })?;
    if held {
        return Ok(());
    }
    let hint = "what `else` says was done; read again and decide anew";
    Err(Error::new(Exit::Conflict, "the conditions did not hold", hint))
}

/// What came of a transaction.
#[derive(Serialize)]
struct Outcome {
    held: bool,
    /// Where it stands in the total order, as of the changes that it made.
    position: Option<u64>,
    results: Vec<Done>,
}

/// What came of one step.
#[derive(Serialize)]
struct Done {
    step: &'static str,
    #[serde(flatten)]
    key: Named,
    /// Of a change: whether the key had a value before.
    #[serde(skip_serializing_if = "Option::is_none")]
    existed: Option<bool>,
    /// Of a read: what was there.
    #[serde(skip_serializing_if = "Option::is_none")]
    entry: Option<Option<Shape>>,
    #[serde(skip)]
    line: String,
}

impl Done {
    fn of(step: Step, result: StepResult) -> Self {
        let (step, key) = match step {
            Step::Get(key) => ("get", key),
            Step::Put { key, .. } => ("put", key),
            Step::Delete(key) => ("delete", key),
        };
        let shown = Shown(&key).to_string();
        let key = Named("key", key);
        match result {
            StepResult::Entry(None) => {
                let line = format!("get\t{shown}");
                Self { step, key, existed: None, entry: Some(None), line }
            }
            StepResult::Entry(Some(entry)) => {
                let line = format!("get\t{shown}\t{}", Shown(&entry.value));
                Self { step, key, existed: None, entry: Some(Some(entry.into())), line }
            }
            StepResult::Done { existed } => {
                let what = match (step, existed) {
                    ("delete", false) => "there was nothing",
                    ("delete", true) => "deleted",
                    (_, true) => "changed",
                    (_, false) => "created",
                };
                let line = format!("{step}\t{shown}\t{what}");
                Self { step, key, existed: Some(existed), entry: None, line }
            }
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(if self.held { "then" } else { "else" })?;
        self.results.iter().try_for_each(|done| write!(out, "\n  {}", done.line))
    }
}
