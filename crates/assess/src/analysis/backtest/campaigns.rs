//! Reading campaigns.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::design::Service;

/// Bytes of campaigns that are read.
const CAMPAIGN_BYTES_MAX: usize = 256 << 20;
/// Milliseconds of an hour.
const MS_PER_HOUR: f64 = 3_600_000.0;

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
        found: String,
        /// What the design says.
        wanted: String,
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

/// Reads everything that is a campaign; other events are passed over.
pub(super) fn read(file: &str, text: &str, service: &Service) -> Result<Campaigns, CampaignError> {
    if text.len() > CAMPAIGN_BYTES_MAX {
        return Err(CampaignError::TooLong { file: file.to_owned(), bytes: text.len() });
    }
    let mut reader =
        Reader { file, service, campaigns: Campaigns::default(), running: Running::default() };
    // One object over several lines is what people get who format it.
    if let Ok(whole @ Value::Object(_)) = serde_json::from_str(text) {
        reader.line(1, &whole)?;
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
            reader.line(number, &value)?;
        }
    }
    let found = reader.campaigns;
    if found.missions.is_empty() && found.simulated_runs == 0 {
        return Err(CampaignError::Nothing { file: file.to_owned() });
    }
    Ok(found)
}

struct Reader<'a> {
    file: &'a str,
    service: &'a Service,
    campaigns: Campaigns,
    running: Running,
}

/// A campaign between its first line and its verdict.
#[derive(Default)]
struct Running {
    /// Servers under attack, with the number of attacks that go on.
    under_attack: BTreeMap<u64, u32>,
    /// Attacks that go on, of which is not told yet on which server.
    unnamed: u32,
    intruded: BTreeSet<u64>,
    is_exceeded: bool,
    last_ms: f64,
}

impl Reader<'_> {
    fn line(&mut self, line: usize, value: &Value) -> Result<(), CampaignError> {
        match value["event"].as_str() {
            Some("started") => self.running = Running::default(),
            Some("attack_begun") => self.attack_begun(line, value)?,
            Some("attack_over") => self.attack_over(line, value)?,
            Some("beyond_begun") => self.clock(line, value)?,
            Some("verdict") => self.verdict(line, value)?,
            Some("mission") => self.mission(line, value)?,
            None if value["seeds"].is_u64() && value["violations"].is_u64() => self.summary(value),
            _ => {}
        }
        Ok(())
    }

    fn wrong(&self, line: usize, what: &'static str) -> CampaignError {
        let (file, n) = (self.file.to_owned(), self.service.n());
        CampaignError::Mission { file, line, what, n }
    }

    /// The number of a server, if the line has one: campaigns on files and links have none.
    fn server(&self, line: usize, value: &Value) -> Result<Option<u64>, CampaignError> {
        let server = &value["server"];
        if server.is_null() {
            return Ok(None);
        }
        let number = server.as_u64().filter(|number| *number < self.service.n() as u64);
        let what = "a `server` that is not one of the numbers 0 to n - 1";
        number.map(Some).ok_or_else(|| self.wrong(line, what))
    }

    /// A count of the verdict; what is left out or unknown is 0.
    fn count(&self, line: usize, value: &Value) -> Result<u64, CampaignError> {
        let what = "a count in the verdict that is no whole number of at least 0";
        if value.is_null() { Ok(0) } else { value.as_u64().ok_or_else(|| self.wrong(line, what)) }
    }

    fn clock(&mut self, line: usize, value: &Value) -> Result<(), CampaignError> {
        if value["at_ms"].is_null() {
            return Ok(());
        }
        let at = value["at_ms"].as_f64().filter(|at| *at >= 0.0);
        let at = at.ok_or_else(|| self.wrong(line, "`at_ms` that is no number of at least 0"))?;
        if at < self.running.last_ms {
            return Err(self.wrong(line, "an event that is earlier than the one before it"));
        }
        self.running.last_ms = at;
        Ok(())
    }

    fn attack_begun(&mut self, line: usize, value: &Value) -> Result<(), CampaignError> {
        self.clock(line, value)?;
        match self.server(line, value)? {
            Some(server) => {
                *self.running.under_attack.entry(server).or_default() += 1;
                self.running.intruded.insert(server);
            }
            None => self.running.unnamed += 1,
        }
        let at_once = self.running.under_attack.len();
        self.running.is_exceeded |= at_once > usize::from(self.service.f);
        Ok(())
    }

    fn attack_over(&mut self, line: usize, value: &Value) -> Result<(), CampaignError> {
        self.clock(line, value)?;
        let server = self.server(line, value)?;
        let found = server.and_then(|it| self.running.under_attack.get_mut(&it));
        match (server, found) {
            (Some(server), Some(attacks)) => {
                *attacks -= 1;
                if *attacks == 0 {
                    self.running.under_attack.remove(&server);
                }
            }
            // A campaign names the server only when it is over.
            _ if self.running.unnamed > 0 => {
                self.running.unnamed -= 1;
                self.running.intruded.extend(server);
            }
            _ => return Err(self.wrong(line, "the end of an attack that did not begin")),
        }
        Ok(())
    }

    fn verdict(&mut self, line: usize, value: &Value) -> Result<(), CampaignError> {
        self.check_cluster(line, value)?;
        let attacks = match &value["attacks"] {
            Value::Null => &[][..],
            Value::Array(attacks) => attacks.as_slice(),
            _ => return Err(self.wrong(line, "`attacks` of the verdict that is no list")),
        };
        let failed = attacks.iter().filter(|attack| attack["outcome"] == "failed").count();
        self.campaigns.attacks += attacks.len() as u64;
        self.campaigns.attacks_failed += failed as u64;
        let mut running = std::mem::take(&mut self.running);
        // A verdict by itself names its attacks; they came one after the other.
        for attack in attacks {
            running.intruded.extend(self.server(line, attack)?);
        }
        let mut broken = 0_u64;
        for count in ["wrong", "lost", "disclosed", "failed"] {
            broken = broken.saturating_add(self.count(line, &value[count])?);
        }
        let what = "`seconds` that is no number of at least 0";
        let seconds = match &value["seconds"] {
            Value::Null => None,
            told => {
                Some(told.as_f64().filter(|it| *it >= 0.0).ok_or_else(|| self.wrong(line, what))?)
            }
        };
        self.campaigns.missions.push(Mission {
            hours: seconds.map_or(running.last_ms / MS_PER_HOUR, |seconds| seconds / 3600.0),
            intruded: running.intruded.len(),
            is_exceeded: running.is_exceeded,
            is_broken: broken > 0,
        });
        Ok(())
    }

    fn check_cluster(&self, line: usize, value: &Value) -> Result<(), CampaignError> {
        let n = match &value["servers"] {
            Value::Null => None,
            told => {
                let what = "`servers` of the verdict that is no whole number";
                Some(told.as_u64().ok_or_else(|| self.wrong(line, what))?)
            }
        };
        let model = value["fault_model"].as_str();
        let wanted = (self.service.n() as u64, self.service.fault_model.name());
        let is_other = n.is_some_and(|n| n != wanted.0) || model.is_some_and(|it| it != wanted.1);
        if !is_other {
            return Ok(());
        }
        let told = |n: u64, model: &str| format!("{n} servers under `{model}`");
        let model: String = model.unwrap_or(wanted.1).chars().take(40).collect();
        Err(CampaignError::OtherCluster {
            file: self.file.to_owned(),
            line,
            found: told(n.unwrap_or(wanted.0), &model),
            wanted: told(wanted.0, wanted.1),
        })
    }

    fn mission(&mut self, line: usize, value: &Value) -> Result<(), CampaignError> {
        let n = self.service.n();
        let wrong = |what| CampaignError::Mission { file: self.file.to_owned(), line, what, n };
        let hours = value["hours"].as_f64().filter(|hours| *hours > 0.0);
        let hours = hours.ok_or_else(|| wrong("no `hours`"))?;
        let servers = value["intruded"].as_array().ok_or_else(|| wrong("no list `intruded`"))?;
        let mut intruded = BTreeSet::new();
        for server in servers {
            let number = server.as_u64().filter(|number| *number < n as u64);
            let what = "a server in `intruded` that is not one of the numbers 0 to n - 1";
            intruded.insert(number.ok_or_else(|| wrong(what))?);
        }
        // What is left out did not happen; what is no yes or no is a mistake.
        let told = |key: &str, what| match &value[key] {
            Value::Null => Ok(false),
            Value::Bool(is_so) => Ok(*is_so),
            _ => Err(wrong(what)),
        };
        self.campaigns.missions.push(Mission {
            hours,
            intruded: intruded.len(),
            is_exceeded: told("exceeded", "`exceeded` that is neither true nor false")?,
            is_broken: told("broken", "`broken` that is neither true nor false")?,
        });
        Ok(())
    }

    /// The summary of the simulator: seeds of which too little can be said do not count.
    fn summary(&mut self, value: &Value) {
        let runs =
            value["counted"].as_u64().or_else(|| value["seeds"].as_u64()).unwrap_or_default();
        let violations = value["violations"].as_u64().unwrap_or_default();
        self.campaigns.simulated_runs += runs.max(violations);
        self.campaigns.violations += violations;
    }
}
