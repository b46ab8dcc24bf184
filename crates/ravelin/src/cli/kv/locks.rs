//! Locks: taking one, running a command under it, giving it up.
//!
//! **Guarantee:** the command runs only while the lease behind the lock lives by this host's
//! reckoning, and is told to end when it does not. What the command writes should carry the fencing
//! token: that alone protects against a command that goes on after all.

mod guarded;

use std::ffi::OsString;
use std::fmt;
use std::time::{Duration, Instant};

use clap::Args;
use ravelin_model::ServiceId;
use ravelin_model::requests::kv::{KvReply, KvRequest, LeaseId, Token};
use serde::Serialize;

use super::bytes::Shown;
use super::{Invocation, key, lease, leases, refused};
use crate::client_command::{self, Client, Interruption, Speaker};
use crate::exit::{Error, Exit, Result};

/// Pause before the first look whether the lock came to us; it doubles from there on.
const LOOK_MIN: Duration = Duration::from_millis(20);
/// Longest pause between two looks.
const LOOK_MAX: Duration = Duration::from_millis(500);
/// A lease is renewed so often in its time.
const RENEWALS: u32 = 3;

/// Arguments of `kv lock`.
#[derive(Args)]
#[command(after_long_help = HELP)]
pub(crate) struct Lock {
    /// The lock's name
    name: String,
    /// Hold it under this lease, and leave the lease as it is afterwards
    #[arg(long, value_name = "ID", value_parser = lease, conflicts_with = "ttl")]
    lease: Option<LeaseId>,
    /// How long the lock survives this host, as 30s
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = leases::ttl)]
    ttl: Duration,
    /// The command to run under the lock, with its arguments
    #[arg(last = true)]
    command: Vec<OsString>,
}

const HELP: &str = "\
The command finds the fencing token in RAVELIN_LOCK_TOKEN and the lease in RAVELIN_LOCK_LEASE. The
lease is kept alive while the command runs; afterwards the lock is free, and the exit code is the
command's. If the lease is lost meanwhile, the command is told to end (SIGTERM).

Without a command, prints the token and the lease. The lock is then held until the lease ends:
renew it with `ravelin kv lease renew`, give the lock up with `ravelin kv unlock`.

While another holds the lock it is waited for, without end unless --timeout (RAVELIN_TIMEOUT) is
given: after that time the place in the queue is given up, and the exit code is 5 (in JSON the
code is `locked`; `no_quorum` says that the servers did not answer). A lock that is lost while
the command runs ends with 9.

Examples:
  ravelin kv lock backup -- ./backup.sh
  ravelin kv lock leader --ttl 30s --timeout 10s --output json";

/// Arguments of `kv unlock`.
#[derive(Args)]
pub(crate) struct Unlock {
    /// The lock's name
    name: String,
    /// The lease that it is held or awaited under
    #[arg(long, value_name = "ID", value_parser = lease)]
    lease: LeaseId,
}

/// A lock that is held.
struct Held {
    name: Vec<u8>,
    token: Token,
    lease: Kept,
}

/// A lease that must be renewed from time to time.
struct Kept {
    id: LeaseId,
    /// Whether it was granted for this lock only.
    is_own: bool,
    ttl: Duration,
    /// When it was last asked to be renewed: it lives for its time from then on at least.
    renewed: Instant,
}

impl Kept {
    /// When to renew it.
    fn due(&self) -> Instant {
        self.renewed + self.ttl / RENEWALS
    }

    /// When it may have ended.
    fn end(&self) -> Instant {
        self.renewed + self.ttl
    }

    async fn renew(&mut self, client: &Client) -> Result<()> {
        let asked = Instant::now();
        self.ttl = leases::renew(client, self.id).await?;
        self.renewed = asked;
        Ok(())
    }
}

/// Takes a lock.
pub(super) fn lock(invocation: &Invocation, arguments: Lock) -> Result<()> {
    let name = key(&arguments.name)?;
    let ended = client_command::run(invocation, &Speaker::Client, async |client| {
        let mut interruption = Interruption::listen()?;
        let mut lease = match arguments.lease {
            Some(id) => {
                let (is_own, ttl) = (false, Duration::ZERO);
                let mut lease = Kept { id, is_own, ttl, renewed: Instant::now() };
                lease.renew(client).await?;
                lease
            }
            None => {
                let (renewed, ttl) = (Instant::now(), arguments.ttl);
                let id = leases::grant(client, ttl).await?;
                Kept { id, is_own: true, ttl, renewed }
            }
        };
        let token = tokio::select! {
            token = acquire(client, &name, &mut lease, invocation.globals.timeout) => Some(token),
            _ = interruption.next() => None,
        };
        let token = match token {
            Some(Ok(token)) => token,
            Some(Err(error)) => return Err(give_back(client, &name, &lease, error).await),
            None => {
                let error = Interruption::error("the lock was not taken");
                return Err(give_back(client, &name, &lease, error).await);
            }
        };
        let held = Held { name, token, lease };
        match arguments.command.split_first() {
            None => {
                let (token, lease) = (held.token.0, held.lease.id.0);
                invocation.output.print(&Taken { lock: arguments.name, token, lease })?;
                Ok(0)
            }
            Some((program, arguments)) => {
                guarded::run(client, held, &mut interruption, program, arguments).await
            }
        }
    })?;
    match ended {
        0 => Ok(()),
        // The command said itself what was wrong: its own exit code is all there is to add.
        code => std::process::exit(code),
    }
}

/// Waits for the lock, at most for `most`.
async fn acquire(
    client: &Client,
    name: &[u8],
    lease: &mut Kept,
    most: Option<Duration>,
) -> Result<Token> {
    let begun = Instant::now();
    let ask = KvRequest::Lock { name: name.to_vec(), lease: lease.id };
    match client.order(ServiceId::KV, &ask).await? {
        KvReply::Locked { token } => return Ok(token),
        KvReply::Queued { ahead } => {
            client.output().note(format_args!("waiting for the lock, {ahead} before us"));
        }
        other => return Err(refused(other)),
    }
    let look = KvRequest::LockShow { name: name.to_vec() };
    let mut pause = LOOK_MIN;
    loop {
        tokio::time::sleep(pause).await;
        if lease.due() <= Instant::now() {
            lease.renew(client).await?; // without the lease we would wait in vain
        }
        match client.read(ServiceId::KV, &look).await? {
            KvReply::Lock { holder: Some((holder, token)), .. } if holder == lease.id => {
                return Ok(token);
            }
            KvReply::Lock { holder, .. } => {
                if let Some(most) = most.filter(|most| begun.elapsed() >= *most) {
                    return Err(not_free(name, holder, most));
                }
            }
            other => return Err(refused(other)),
        }
        let left = most.map(|most| most.saturating_sub(begun.elapsed()));
        pause = (pause * 2).min(LOOK_MAX).min(left.unwrap_or(LOOK_MAX));
    }
}

/// Another had the lock for longer than we were to wait.
fn not_free(name: &[u8], holder: Option<(LeaseId, Token)>, waited: Duration) -> Error {
    let name = Shown(name);
    let (held, hint) = match holder {
        Some((LeaseId(lease), _)) => (
            format!("lease {lease} holds it"),
            format!(
                "`ravelin kv lease show {lease}` tells how long that lasts; --timeout waits longer"
            ),
        ),
        None => ("others wait for it".to_owned(), "--timeout waits longer".to_owned()),
    };
    Error::new(
        Exit::NoQuorum,
        format!("the lock `{name}` was not free within {waited:?}: {held}"),
        hint,
    )
    .code("locked")
}

/// Leaves the queue, or the lock, after `error`.
async fn give_back(client: &Client, name: &[u8], lease: &Kept, error: Error) -> Error {
    if let Err(left) = release(client, name, lease).await {
        client.output().note(format_args!("the lease ends by itself: {}", left.message()));
    }
    error
}

/// Gives the lock up: with the lease, if that was granted for it.
async fn release(client: &Client, name: &[u8], lease: &Kept) -> Result<()> {
    if lease.is_own {
        return leases::revoke(client, lease.id).await;
    }
    let request = KvRequest::Unlock { name: name.to_vec(), lease: lease.id };
    match client.order(ServiceId::KV, &request).await? {
        KvReply::Unlocked | KvReply::NotHolder | KvReply::NoLease => Ok(()),
        other => Err(refused(other)),
    }
}

/// Gives a lock up.
pub(super) fn unlock(invocation: &Invocation, arguments: &Unlock) -> Result<()> {
    let request = KvRequest::Unlock { name: key(&arguments.name)?, lease: arguments.lease };
    let reply = client_command::run(invocation, &Speaker::Client, async |client| {
        client.order(ServiceId::KV, &request).await
    })?;
    match reply {
        KvReply::Unlocked => {
            let (lock, lease) = (arguments.name.clone(), arguments.lease.0);
            invocation.output.print(&Free { lock, lease })
        }
        other => Err(refused(other)),
    }
}

#[derive(Serialize)]
struct Taken {
    lock: String,
    token: u64,
    lease: u64,
}

impl fmt::Display for Taken {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "token {} lease {}", self.token, self.lease)
    }
}

#[derive(Serialize)]
struct Free {
    lock: String,
    lease: u64,
}

impl fmt::Display for Free {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "lease {} no longer holds or awaits the lock", self.lease)
    }
}
