//! How the servers fare, and whose word that is.

use std::time::Instant;

use ravelin_model::{Group, Member};
use serde::Serialize;
use tokio::time::{Duration, sleep};

use super::answer::Answer;
use super::request::Asked;
use crate::customer::{Cluster, Customer};
use crate::limits::STATUS_WAIT_MAX;
use crate::picture::{self, ServerView, View};
use crate::problem::Problem;

/// Pause between two rounds of questions.
const ASK_EVERY: Duration = Duration::from_millis(50);

/// How a gateway stands to those who use it.
#[derive(Serialize)]
pub(crate) struct GatewayShape {
    /// `own_gateway` or `shared_gateway`.
    pub(crate) trust: &'static str,
    /// What that means.
    pub(crate) statement: &'static str,
    pub(crate) tokens: usize,
    pub(crate) version: &'static str,
}

#[derive(Serialize)]
struct Shape {
    cluster: String,
    name: String,
    fault_model: &'static str,
    f: usize,
    state: View,
    answered: usize,
    fault_budget_remaining: i64,
    commit_index: u64,
    commit_told_by: usize,
    servers: Vec<ServerShape>,
    gateway: GatewayShape,
}

#[derive(Serialize)]
struct ServerShape {
    id: usize,
    name: String,
    #[serde(flatten)]
    view: ServerView,
}

/// Asks until all have answered, or long enough.
pub(crate) async fn status(
    customer: &Customer,
    asked: &Asked,
    cluster: &Cluster,
    gateway: GatewayShape,
) -> Result<Answer, Problem> {
    asked.check_query(&[])?;
    let group: Group = cluster.keyring.group();
    let mut answered_at: Option<Instant> = None;
    let reports = loop {
        let reports = customer.reports().await?;
        if !reports.is_empty() {
            answered_at = answered_at.or_else(|| Some(Instant::now()));
        }
        let is_enough = answered_at.is_some_and(|first| first.elapsed() >= STATUS_WAIT_MAX);
        if reports.len() == group.size() || is_enough {
            break reports;
        }
        sleep(ASK_EVERY).await;
    };
    let picture = picture::merge(group, &reports);
    let plan = &cluster.plan.plan;
    let servers = plan.members.iter().zip(picture.servers).enumerate();
    let server = |(id, (member, view)): (usize, (&Member, ServerView))| ServerShape {
        id,
        name: member.name.clone(),
        view,
    };
    Ok(Answer::json(&Shape {
        cluster: cluster.keyring.cluster().0.to_string(),
        name: plan.name.clone(),
        fault_model: plan.fault_model.name(),
        f: group.faults(),
        state: picture.state,
        answered: picture.answered,
        fault_budget_remaining: picture.fault_budget_remaining,
        commit_index: picture.commit_index,
        commit_told_by: picture.commit_told_by,
        servers: servers.map(server).collect(),
        gateway,
    }))
}
