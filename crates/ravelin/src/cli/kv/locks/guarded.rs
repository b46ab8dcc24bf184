//! A command that runs under a lock.

use std::ffi::{OsStr, OsString};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::process::{Child, Command};

use super::super::leases;
use super::{Held, Kept, give_back, release};
use crate::child::{code, tell, wait};
use crate::client_command::{Client, Interruption};
use crate::exit::{Error, Exit, Result};

/// Pause before a renewal that failed is tried again.
const RETRY: Duration = Duration::from_millis(500);
/// How long a command has to end once it was told to.
const END_MAX: Duration = Duration::from_secs(10);

/// Runs `program` while the lock is held, gives the lock up, and returns the program's exit code.
pub(super) async fn run(
    client: &Client,
    mut held: Held,
    interruption: &mut Interruption,
    program: &OsStr,
    arguments: &[OsString],
) -> Result<i32> {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env("RAVELIN_LOCK_TOKEN", held.token.0.to_string())
        .env("RAVELIN_LOCK_LEASE", held.lease.id.0.to_string());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            let error = Error::system("start", program.as_ref(), &error);
            return Err(give_back(client, &held.name, &held.lease, error).await);
        }
    };
    let outcome = tokio::select! {
        outcome = wait(&mut child, interruption) => outcome.map(Some),
        lost = keep(client, &mut held.lease) => {
            client.output().note(lost);
            end(&mut child).await.map(|()| None)
        }
    };
    if let Err(error) = release(client, &held.name, &held.lease).await {
        client.output().note(format_args!("the lease ends by itself: {}", error.message()));
    }
    match outcome? {
        Some(status) => Ok(code(status)),
        None => {
            let cause = "the lock was lost while the command ran, and the command was ended";
            let hint =
                "another may hold the lock: look at what the command did before it runs again";
            Err(Error::new(Exit::Conflict, cause, hint))
        }
    }
}

/// Renews the lease until it is lost; says how.
async fn keep(client: &Client, lease: &mut Kept) -> String {
    loop {
        tokio::time::sleep_until(lease.due().into()).await;
        // Until the lease may have ended, silence is no loss.
        while let Err(error) = renew(client, lease).await {
            let is_gone = error.exit() == Exit::NotFound || lease.end() <= Instant::now();
            if is_gone {
                return leases::lost(lease.id, &error);
            }
            tokio::time::sleep(RETRY).await;
        }
    }
}

async fn renew(client: &Client, lease: &mut Kept) -> Result<()> {
    let until = lease.end();
    let late = || {
        let cause = "it could not be renewed in time";
        Error::new(Exit::NoQuorum, cause, "`ravelin status` shows the servers")
    };
    match tokio::time::timeout_at(until.into(), lease.renew(client)).await {
        Ok(renewed) => renewed,
        Err(_) => Err(late()),
    }
}

/// Tells the command to end, and makes it end.
async fn end(child: &mut Child) -> Result<()> {
    tell(child, Signal::TERM);
    if tokio::time::timeout(END_MAX, child.wait()).await.is_err() {
        child.kill().await.map_err(|error| {
            Error::caused(Exit::Failed, error, "look whether it still runs")
                .context("cannot end the command")
        })?;
    }
    Ok(())
}
