//! How the servers fare, and whose word that is.

use std::time::Instant;

use ravelin_model::Group;
use serde::Serialize;
use tokio::time::{Duration, sleep};

use super::answer::Answer;
use super::request::Asked;
use crate::customer::{Cluster, Customer};
use crate::limits::STATUS_WAIT_MAX;
use crate::picture::{self, Report};
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
    #[serde(flatten)]
    report: Report,
    gateway: GatewayShape,
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
    let report = Report::of(cluster.keyring.cluster(), &cluster.plan.plan, picture);
    Ok(Answer::json(&Shape { report, gateway }))
}
