//! The plan in force: from a file, or from servers that need not be trusted.
//!
//! **Guarantee:** a plan that comes out leads from the trusted fingerprint, whoever handed it over;
//! one that servers handed over came from a member that it names.

use std::time::Duration;

use ravelin_client::chain::{FollowError, follow};
use ravelin_model::wire::{ClientMessage, ServerMessage};
use ravelin_model::{ClusterId, Decode as _, Encode as _, SignedPlan};
use ravelin_runtime::transport::TransportKey;
use ravelin_runtime::transport::ask::{AskError, ask};
use tokio::task::JoinSet;

use crate::exit::{Error, Exit, Result};
use crate::files::client::{ClientFile, ServerAddress, Whereabouts};
use crate::files::plan;

/// The plan of the cluster that `client` trusts.
pub(crate) async fn find(
    client: &ClientFile,
    key: &TransportKey,
    patience: Duration,
) -> Result<SignedPlan> {
    match &client.whereabouts {
        Whereabouts::Plan(_) => client.plan(),
        Whereabouts::Servers(servers) => fetch(servers, client.fingerprint, key, patience).await,
    }
}

/// Asks `servers` all at once for the plan with `fingerprint`; the first that shows it will do.
pub(crate) async fn fetch(
    servers: &[ServerAddress],
    fingerprint: ClusterId,
    key: &TransportKey,
    patience: Duration,
) -> Result<SignedPlan> {
    let mut chain = fetch_chain(servers, fingerprint, key, patience).await?;
    Ok(chain.pop().expect("a chain that was followed has a plan"))
}

/// The same, with all plans from the first one to that in force.
pub(crate) async fn fetch_chain(
    servers: &[ServerAddress],
    fingerprint: ClusterId,
    key: &TransportKey,
    patience: Duration,
) -> Result<Vec<SignedPlan>> {
    let mut asked = JoinSet::new();
    for server in servers {
        let (server, key) = (server.clone(), key.clone());
        asked.spawn(async move {
            let shown = show(&server, fingerprint, &key, patience).await;
            shown.map_err(|error| error.context(server.address))
        });
    }
    let mut failure = None;
    while let Some(shown) = asked.join_next().await {
        match shown {
            Ok(Ok(chain)) => return Ok(chain),
            // What is wrong says more than what is missing.
            Ok(Err(error)) if error.exit() == Exit::VerificationFailed => failure = Some(error),
            Ok(Err(error)) => failure = failure.or(Some(error)),
            Err(_) => {}
        }
    }
    Err(failure.unwrap_or_else(|| {
        Error::new(Exit::NoQuorum, "no server was asked for its plan", "name some with --address")
    }))
}

/// The chain of plans as one server shows it.
async fn show(
    server: &ServerAddress,
    fingerprint: ClusterId,
    key: &TransportKey,
    patience: Duration,
) -> Result<Vec<SignedPlan>> {
    let question = ClientMessage::Plans.encode();
    let answer = ask(key, &server.address, &question, patience).await.map_err(unreachable)?;
    let unbelievable = |cause: &str| {
        let hint = "check address and fingerprint with an administrator, or name another server";
        Error::new(Exit::VerificationFailed, cause, hint)
    };
    let Ok(ServerMessage::Plans(chain)) = ServerMessage::decode("server message", &answer.bytes)
    else {
        return Err(unbelievable("this server's answer is no plan"));
    };
    let (_, signed) = follow(fingerprint.0, &chain, &plan::scheme()?).map_err(refused)?;
    plan::check_fit(&signed.plan)?;
    let presented = answer.server_key;
    if server.transport.is_some_and(|expected| expected != presented) {
        return Err(unbelievable("this server holds another key than the client file names"));
    }
    if !signed.plan.members.iter().any(|member| member.transport == presented) {
        return Err(unbelievable("this server holds the key of no member of the cluster"));
    }
    Ok(chain)
}

fn unreachable(error: AskError) -> Error {
    let hint = "check the address and that the server runs, or name another server";
    Error::caused(Exit::NoQuorum, error, hint)
}

fn refused(error: FollowError) -> Error {
    let hint = match &error {
        FollowError::Empty | FollowError::Later(_) => "name another server",
        FollowError::AnotherCluster { .. } | FollowError::First(_) => {
            "check address and fingerprint with an administrator"
        }
    };
    Error::caused(Exit::VerificationFailed, error, hint)
}
