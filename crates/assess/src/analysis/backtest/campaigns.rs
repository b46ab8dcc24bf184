//! Reading campaigns.

mod events;
mod line;

use std::fmt;

use serde_json::Value;

use crate::design::Service;
use events::Reader;
use line::Line;

/// Bytes of campaigns that are read.
const CAMPAIGN_BYTES_MAX: usize = 256 << 20;

/// What campaigns measured.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Campaigns {
    pub(super) missions: Vec<Mission>,
    /// Attacks of all of them, and how many the cluster did not tolerate.
    pub(super) attacks: u64,
    pub(super) attacks_failed: u64,
    /// Runs of the simulator that count, and those that broke a promise.
    pub(super) simulated_runs: u64,
    pub(super) violations: u64,
}

/// One campaign.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Mission {
    /// Hours of the campaign; 0 if it does not say.
    pub(super) hours: f64,
    /// Servers that were intruded at some time.
    pub(super) intruded: usize,
    /// Whether more than `f` were at once.
    pub(super) is_exceeded: bool,
    /// Whether a promise was broken.
    pub(super) is_broken: bool,
}

/// Why campaigns cannot be read. Retrying does not help.
#[derive(Debug, thiserror::Error)]
pub enum CampaignError {
    /// Too much text.
    #[error(
        "{file}: {bytes} bytes of campaigns are more than {CAMPAIGN_BYTES_MAX}; read them in parts"
    )]
    TooLong {
        /// The file.
        file: String,
        /// Its bytes.
        bytes: usize,
    },
    /// A line that is not JSON.
    #[error("{file}:{line}: not JSON ({source}); write it with `--output json`, one object a line")]
    Json {
        /// The file.
        file: String,
        /// The line, from 1.
        line: usize,
        /// What the parser says.
        source: serde_json::Error,
    },
    /// Servers or lengths that cannot be.
    #[error(
        "{file}:{line}: {what}; a mission has `hours` above 0, and lists of the service's {n} servers by \
         number from 0, such as `\"intruded\":[0]`"
    )]
    Mission {
        /// The file.
        file: String,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        what: &'static str,
        /// Servers of the service.
        n: usize,
    },
    /// A number, a list or an order of events that no campaign has.
    #[error(
        "{file}:{line}: {what}; give the lines of a campaign whole and in their order, as `--output json` wrote \
         them"
    )]
    Event {
        /// The file.
        file: String,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        what: String,
    },
    /// A campaign of a cluster with another number of servers or another fault model.
    #[error(
        "{file}:{line}: a campaign of {found}, and the service has {wanted}: compare it with a design \
         of the same cluster"
    )]
    OtherCluster {
        /// The file.
        file: String,
        /// The line, from 1.
        line: usize,
        /// What the campaign says.
        found: Cluster,
        /// What the design says.
        wanted: Cluster,
    },
    /// JSON without any campaign in it.
    #[error(
        "{file}: no campaign in it; give the JSON lines of `ravelin demo`, `ravelin attack campaign` or \
         `ravelin sim run`, or lines with `\"event\":\"mission\"`"
    )]
    Nothing {
        /// The file.
        file: String,
    },
}

/// What is said of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// Its servers.
    pub servers: Option<u64>,
    /// The name of its fault model.
    pub fault_model: Option<String>,
}

impl fmt::Display for Cluster {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.servers {
            Some(1) => write!(out, "1 server")?,
            Some(n) => write!(out, "{n} servers")?,
            None => write!(out, "servers")?,
        }
        self.fault_model.as_ref().map_or(Ok(()), |model| write!(out, " under `{model}`"))
    }
}

/// The same error with the fault model that the campaign tells later, in its verdict.
fn told_whole<'t>(error: CampaignError, rest: impl Iterator<Item = &'t str>) -> CampaignError {
    let CampaignError::OtherCluster { file, line, mut found, wanted } = error else { return error };
    if found.fault_model.is_none() {
        let values = rest.map_while(|line| serde_json::from_str::<Value>(line).ok());
        let mut own = values.take_while(|value| value["event"] != "started");
        let verdict = own.find(|value| value["event"] == "verdict");
        let model = verdict.as_ref().and_then(|value| value["fault_model"].as_str());
        found.fault_model = model.map(line::shortened);
    }
    CampaignError::OtherCluster { file, line, found, wanted }
}

/// Reads everything that is a campaign; other events are passed over.
pub(super) fn read(file: &str, text: &str, service: &Service) -> Result<Campaigns, CampaignError> {
    if text.len() > CAMPAIGN_BYTES_MAX {
        return Err(CampaignError::TooLong { file: file.to_owned(), bytes: text.len() });
    }
    let mut reader = Reader::new(service);
    // One object over several lines is what people get who format it.
    if let Ok(whole @ Value::Object(_)) = serde_json::from_str(text) {
        reader.line(&Line { file, number: 1, value: &whole })?;
    } else {
        for (line, number) in text.lines().zip(1..) {
            if line.trim().is_empty() {
                continue;
            }
            let value = serde_json::from_str(line).map_err(|source| CampaignError::Json {
                file: file.to_owned(),
                line: number,
                source,
            })?;
            let line = Line { file, number, value: &value };
            reader.line(&line).map_err(|error| told_whole(error, text.lines().skip(number)))?;
        }
    }
    let found = reader.finish(file)?;
    if found.missions.is_empty() && found.simulated_runs == 0 {
        return Err(CampaignError::Nothing { file: file.to_owned() });
    }
    Ok(found)
}
