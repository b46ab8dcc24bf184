//! The events of campaigns, one line after the other.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::line::shortened;
use super::{CampaignError, Campaigns, Cluster, Line, Mission};
use crate::design::Service;

/// Milliseconds of an hour.
const MS_PER_HOUR: f64 = 3_600_000.0;
/// A campaign tells its whole seconds.
const MS_ROUNDED: f64 = 1000.0;
/// Counts of a verdict that break a promise.
const BROKEN: [&str; 4] = ["wrong", "lost", "disclosed", "failed"];
/// Counts of a verdict that say nothing about promises.
const COUNTED: [&str; 3] = ["operations", "unanswered", "longest_gap_ms"];

/// Reads lines of campaigns.
pub(super) struct Reader<'a> {
    service: &'a Service,
    campaigns: Campaigns,
    running: Running,
}

/// A campaign between its first line and its verdict.
#[derive(Default)]
struct Running {
    /// The line of its first event; `None`: none came yet.
    first_line: Option<usize>,
    /// Attacks that go on, by name and server, with the number of those that are alike.
    attacks: BTreeMap<(String, Option<u64>), u32>,
    /// Servers under attack, with the number of attacks that go on.
    under_attack: BTreeMap<u64, u32>,
    intruded: BTreeSet<u64>,
    is_exceeded: bool,
    last_ms: f64,
    /// Attacks that are over.
    over: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(service: &'a Service) -> Self {
        Self { service, campaigns: Campaigns::default(), running: Running::default() }
    }

    /// What was read.
    pub(super) fn finish(self, file: &str) -> Result<Campaigns, CampaignError> {
        match self.running.first_line {
            None => Ok(self.campaigns),
            Some(line) => {
                let what = "the campaign that begins here has no verdict".to_owned();
                Err(CampaignError::Event { file: file.to_owned(), line, what })
            }
        }
    }

    pub(super) fn line(&mut self, line: &Line) -> Result<(), CampaignError> {
        match line.word("event")? {
            Some("started") => self.started(line),
            Some("attack_begun") => self.attack_begun(line),
            Some("attack_over") => self.attack_over(line),
            Some("beyond_begun") => self.beyond(line),
            Some("verdict") => self.verdict(line),
            Some("mission") => self.mission(line),
            None if !line.value["seeds"].is_null() && !line.value["violations"].is_null() => {
                self.summary(line)
            }
            _ => Ok(()),
        }
    }

    fn started(&mut self, line: &Line) -> Result<(), CampaignError> {
        if let Some(first) = self.running.first_line {
            let what = format!("a campaign begins, and that of line {first} has no verdict");
            return Err(line.wrong(what));
        }
        self.check_cluster(line)?;
        self.running.first_line = Some(line.number);
        Ok(())
    }

    /// Goes on to the time of an event.
    fn clock(&mut self, line: &Line) -> Result<(), CampaignError> {
        self.running.first_line.get_or_insert(line.number);
        let Some(at) = line.amount("at_ms")? else { return Ok(()) };
        let last = self.running.last_ms;
        if at < last {
            return Err(
                line.wrong(format!("`at_ms` is {at}, and an event before it was at {last}"))
            );
        }
        self.running.last_ms = at;
        Ok(())
    }

    fn attack_begun(&mut self, line: &Line) -> Result<(), CampaignError> {
        self.clock(line)?;
        let server = line.server("server", self.service.n())?;
        let name = line.word("name")?.unwrap_or_default().to_owned();
        let running = &mut self.running;
        *running.attacks.entry((name, server)).or_default() += 1;
        if let Some(server) = server {
            *running.under_attack.entry(server).or_default() += 1;
            running.intruded.insert(server);
        }
        running.is_exceeded |= running.under_attack.len() > usize::from(self.service.f);
        Ok(())
    }

    fn attack_over(&mut self, line: &Line) -> Result<(), CampaignError> {
        self.clock(line)?;
        let server = line.server("server", self.service.n())?;
        let name = line.word("name")?.unwrap_or_default();
        let running = &mut self.running;
        let Some(begun) = running.begun(name, server) else {
            let name = shortened(name);
            let whom = server.map_or_else(String::new, |it| format!(" on server {it}"));
            return Err(line.wrong(format!("the attack `{name}`{whom} is over and had not begun")));
        };
        if let Some(server) = begun {
            take_one(&mut running.under_attack, &server);
        }
        running.intruded.extend(server);
        running.over += 1;
        Ok(())
    }

    /// What is shown beyond `f` is outside every promise, and no campaign.
    fn beyond(&mut self, line: &Line) -> Result<(), CampaignError> {
        self.clock(line)?;
        line.servers("servers", self.service.n())?;
        Ok(())
    }

    fn verdict(&mut self, line: &Line) -> Result<(), CampaignError> {
        self.check_cluster(line)?;
        for key in COUNTED {
            line.count(key)?;
        }
        let mut is_broken = false;
        for key in BROKEN {
            is_broken |= line.count(key)?.unwrap_or_default() > 0;
        }
        let attacks = line.list("attacks")?;
        let mut running = std::mem::take(&mut self.running);
        if attacks.len() < running.over {
            let (told, over) = (attacks.len(), running.over);
            return Err(line.wrong(format!("a verdict on {told} attacks, and {over} were over")));
        }
        // A verdict by itself names its attacks; they came one after the other.
        for attack in attacks {
            let attack = line.within(attack);
            running.intruded.extend(attack.server("server", self.service.n())?);
            let is_failed = attack.word("outcome")? == Some("failed");
            self.campaigns.attacks_failed += u64::from(is_failed);
        }
        self.campaigns.attacks += attacks.len() as u64;
        let ms = match line.amount("seconds")? {
            Some(seconds) => seconds * 1000.0,
            None => running.last_ms,
        };
        if ms + MS_ROUNDED < running.last_ms {
            let last = running.last_ms / 1000.0;
            let what = format!("`seconds` is {}, and an event was at {last} s", ms / 1000.0);
            return Err(line.wrong(what));
        }
        self.campaigns.missions.push(Mission {
            hours: ms / MS_PER_HOUR,
            intruded: running.intruded.len(),
            is_exceeded: running.is_exceeded,
            is_broken,
        });
        Ok(())
    }

    fn check_cluster(&self, line: &Line) -> Result<(), CampaignError> {
        let found = Cluster {
            servers: line.count("servers")?,
            fault_model: line.word("fault_model")?.map(shortened),
        };
        let wanted = Cluster {
            servers: Some(self.service.n() as u64),
            fault_model: Some(self.service.fault_model.name().to_owned()),
        };
        // What the campaign does not say is as it is designed.
        let is_other = (found.servers.is_some() && found.servers != wanted.servers)
            || (found.fault_model.is_some() && found.fault_model != wanted.fault_model);
        if !is_other {
            return Ok(());
        }
        let (file, line) = (line.file.to_owned(), line.number);
        Err(CampaignError::OtherCluster { file, line, found, wanted })
    }

    fn mission(&mut self, line: &Line) -> Result<(), CampaignError> {
        let n = self.service.n();
        let (file, value) = (line.file, line.value);
        let number = line.number;
        let wrong = |what| CampaignError::Mission { file: file.to_owned(), line: number, what, n };
        let hours = value["hours"].as_f64().filter(|it| it.is_finite() && *it > 0.0);
        let hours = hours.ok_or_else(|| wrong("no `hours` above 0"))?;
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
    fn summary(&mut self, line: &Line) -> Result<(), CampaignError> {
        let seeds = line.count("seeds")?.unwrap_or_default();
        let violations = line.count("violations")?.unwrap_or_default();
        let counted = line.count("counted")?.unwrap_or(seeds);
        for (key, count) in [("violations", violations), ("counted", counted)] {
            if count > seeds {
                return Err(line.wrong(format!("`{key}` is {count}, and there are {seeds} seeds")));
            }
        }
        self.campaigns.simulated_runs += counted.max(violations);
        self.campaigns.violations += violations;
        Ok(())
    }
}

impl Running {
    /// Takes an attack from those that go on: the server that it began with, which it may not have told;
    /// `None`: there is none like it.
    fn begun(&mut self, name: &str, server: Option<u64>) -> Option<Option<u64>> {
        let exact = (name.to_owned(), server);
        let silent = (name.to_owned(), None);
        let mut known = [exact, silent].into_iter().filter(|it| self.attacks.contains_key(it));
        let found = match (known.next(), server) {
            (Some(found), _) => found,
            (None, Some(_)) => return None,
            // One that ends without a server is the first of that name.
            (None, None) => {
                let from = (name.to_owned(), None);
                let next = self.attacks.range(from..).next().map(|(key, _)| key.clone());
                next.filter(|(known, _)| known == name)?
            }
        };
        take_one(&mut self.attacks, &found);
        Some(found.1)
    }
}

/// One less of what is counted, and none at all when none is left.
fn take_one<K: Ord>(counts: &mut BTreeMap<K, u32>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(key);
        }
    }
}
