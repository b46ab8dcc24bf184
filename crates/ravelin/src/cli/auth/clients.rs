//! Who may use the cluster, and as whom it knows us.

use std::fmt;

use ravelin_model::ServiceId;
use ravelin_model::limits::CLIENTS_LISTED_MAX;
use ravelin_model::requests::auth::{AuthReply, AuthRequest, ClientRecord};
use serde::Serialize;

use super::Invocation;
use crate::client_command::trouble::senseless;
use crate::client_command::{self, Speaker};
use crate::exit::Result;

/// A client as people and scripts see it.
#[derive(Serialize)]
struct Shape {
    name: String,
    key: String,
    /// Where it was enrolled; 0 by the plan.
    since: u64,
}

impl From<ClientRecord> for Shape {
    fn from(record: ClientRecord) -> Self {
        Self { name: record.name, key: record.key.to_string(), since: record.since.0 }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}  {}", self.key, self.name)
    }
}

#[derive(Serialize)]
struct List {
    clients: Vec<Shape>,
}

impl fmt::Display for List {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.clients.iter().map(ToString::to_string).collect();
        out.write_str(if lines.is_empty() { "no client is enrolled" } else { "" })?;
        out.write_str(&lines.join("\n"))
    }
}

/// Lists the clients, page after page.
pub(super) fn list(invocation: &Invocation) -> Result<()> {
    let clients = client_command::run(invocation, &Speaker::Client, async |client| {
        let mut all: Vec<Shape> = Vec::new();
        loop {
            let after = all.last().map(|last| last.name.clone()).unwrap_or_default();
            let page = AuthRequest::List { after, limit: CLIENTS_LISTED_MAX };
            match client.read(ServiceId::AUTH, &page).await? {
                AuthReply::Clients { clients, more, .. } => {
                    let is_last = !more || clients.is_empty();
                    all.extend(clients.into_iter().map(Shape::from));
                    if is_last {
                        return Ok(all);
                    }
                }
                other => return Err(senseless(format_args!("{other:?}"))),
            }
        }
    })?;
    invocation.output.print(&List { clients })
}

#[derive(Serialize)]
struct You {
    key: String,
    client: Option<Shape>,
    administrator: bool,
}

impl fmt::Display for You {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.client {
            Some(client) => client.name.fmt(out)?,
            None => write!(out, "{}, no client", self.key)?,
        }
        out.write_str(if self.administrator { " (administrator)" } else { "" })
    }
}

/// Says as whom the cluster knows us.
pub(super) fn whoami(invocation: &Invocation) -> Result<()> {
    let you = client_command::run(invocation, &Speaker::Client, async |client| {
        match client.read(ServiceId::AUTH, &AuthRequest::WhoAmI).await? {
            AuthReply::You { client: record, administrator, .. } => {
                let key = client.public().to_string();
                Ok(You { key, client: record.map(Shape::from), administrator })
            }
            other => Err(senseless(format_args!("{other:?}"))),
        }
    })?;
    invocation.output.print(&you)
}
