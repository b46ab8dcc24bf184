//! Who may use the cluster, and as whom it knows a token.

use ravelin_model::ServiceId;
use ravelin_model::limits::{CLIENTS_LISTED_MAX, NAME_BYTES_MAX};
use ravelin_model::requests::auth::{AuthReply, AuthRequest};
use serde::Serialize;

use super::answer::Answer;
use super::request::Asked;
use super::shapes::ClientShape;
use crate::customer::Customer;
use crate::problem::Problem;

#[derive(Serialize)]
struct You {
    /// What the gateway calls the token.
    token: String,
    key: String,
    client: Option<ClientShape>,
    administrator: bool,
}

/// Says as whom the cluster knows a token.
pub(crate) async fn whoami(
    customer: &Customer,
    name: &str,
    asked: &Asked,
) -> Result<Answer, Problem> {
    asked.check_query(&[])?;
    match customer.read(ServiceId::AUTH, &AuthRequest::WhoAmI).await? {
        AuthReply::You { client, administrator, .. } => {
            let (token, key) = (name.to_owned(), customer.public().to_string());
            let you = You { token, key, client: client.map(ClientShape::from), administrator };
            Ok(Answer::json(&you).at(customer.seen()))
        }
        other => Err(Problem::senseless(other)),
    }
}

#[derive(Serialize)]
struct Clients {
    clients: Vec<ClientShape>,
    more: bool,
}

/// One page of the clients.
pub(crate) async fn clients(customer: &Customer, asked: &Asked) -> Result<Answer, Problem> {
    asked.check_query(&["after", "limit"])?;
    let after = String::from_utf8(asked.bytes("after").unwrap_or_default().to_vec());
    let after = after.ok().filter(|after| after.len() <= NAME_BYTES_MAX);
    let wrong = || Problem::invalid("`after` is no name of a client", "take the last one's name");
    let after = after.ok_or_else(wrong)?;
    let limit = asked.number("limit")?.unwrap_or_else(|| CLIENTS_LISTED_MAX.into());
    let limit = u16::try_from(limit).ok().filter(|limit| (1..=CLIENTS_LISTED_MAX).contains(limit));
    let wrong =
        || Problem::invalid("`limit` is out of range", format!("1 to {CLIENTS_LISTED_MAX}"));
    let request = AuthRequest::List { after, limit: limit.ok_or_else(wrong)? };
    match customer.read(ServiceId::AUTH, &request).await? {
        AuthReply::Clients { clients, more, .. } => {
            let clients = clients.into_iter().map(ClientShape::from).collect();
            Ok(Answer::json(&Clients { clients, more }).at(customer.seen()))
        }
        other => Err(Problem::senseless(other)),
    }
}
