//! A program that a command runs and waits for.

use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Child;
use tokio::signal::unix::SignalKind;

use crate::client_command::Interruption;
use crate::exit::{Error, Exit, Result};

/// Waits for the command's end, and passes on what we are told.
pub(crate) async fn wait(child: &mut Child, interruption: &mut Interruption) -> Result<ExitStatus> {
    loop {
        tokio::select! {
            status = child.wait() => {
                return status.map_err(|error| {
                    Error::caused(Exit::Failed, error, "look whether it still runs")
                        .context("cannot wait for the command")
                });
            }
            // A terminal interrupts the command as well: only what it did not see is passed on.
            kind = interruption.next() => if kind == SignalKind::terminate() {
                tell(child, Signal::TERM);
            }
        }
    }
}

/// Sends it a signal.
pub(crate) fn tell(child: &Child, signal: Signal) {
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    if let Some(pid) = pid {
        // It may have ended meanwhile; it was not waited for, so its id is nobody else's.
        let _ = kill_process(pid, signal);
    }
}

/// The exit code with which shells report how a process ended.
pub(crate) fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
}
