//! `ravelin attack campaign`: every server of a real cluster killed, paused, cut off and taken over
//! in turn, under load, with everything that clients see judged after each step.
//!
//! At most one server is in trouble at a time, so every promise holds, and each is checked: no wrong
//! answer, no lost acknowledged write, every question answered, no long silence, and the server back
//! without an operator. At the end all servers are killed at once, and everything acknowledged must
//! be there again.
//!
//! A server whose key an intruder spent (proof against it comes out, or others hold blocks that it
//! does not know) stays out. The campaign then goes on with a fresh cluster, and says so.

mod endurance;
pub(crate) mod machine;
mod record;
mod relay;
mod report;
pub(crate) mod schedule;
mod site;
mod wormholes;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ravelin_model::FaultModel;

use crate::drill::{self, GAP_MAX, Outcome, Workplace, servers_of};
use crate::exit::{Error, Exit, Result};
use crate::files::disk::{self, Privacy};
use crate::machine::soak::Slope;
use crate::output::{Format, Output};

use machine::Noise;
use record::{Line, Played, Promises, Skipped, Verdict};
use schedule::Step;
use site::Site;

/// How a campaign is run.
pub(crate) struct CampaignOptions {
    /// What the servers assume of each other; in `hybrid` their wormholes are attacked, too.
    pub(crate) fault_model: FaultModel,
    /// Whether wormholes outlive a loss of power, each with a TPM.
    pub(crate) are_wormholes_lasting: bool,
    /// Draws order and lengths.
    pub(crate) seed: u64,
    /// How much is done.
    pub(crate) length: Length,
    /// The names of the only steps to play; empty: all.
    pub(crate) only: Vec<String>,
    /// A run of the simulator whose network is to be had.
    pub(crate) network: Option<PathBuf>,
    /// Where the results go, as Markdown.
    pub(crate) report: Option<PathBuf>,
}

/// How much a campaign does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Length {
    /// Everything to every server.
    Full,
    /// What fits about that time.
    Part(Duration),
    /// What befalls machines, for so long.
    Machine(Duration),
    /// The power goes everywhere, so many times.
    PowerLosses(u32),
    /// Nothing, for so long, with an eye on what servers hold.
    Soak(Duration),
    /// A bad network, for so long.
    Network(Duration),
}

impl Length {
    /// What a run of this kind says nothing about.
    fn not_shown(self) -> &'static str {
        match self {
            Self::PowerLosses(_) => {
                "Not shown: media that lose what they were told to flush, other file systems, other \
                 machines, other builds."
            }
            _ => {
                "Not shown: power loss (a killed process leaves what it wrote to the system), other \
                 machines, other builds."
            }
        }
    }
}

/// What a run came to.
struct Course {
    played: Vec<Played>,
    clusters: usize,
    skipped: Vec<Skipped>,
    slopes: Vec<Slope>,
}

/// Steps to play, and until when.
struct Plan<'a> {
    steps: &'a mut dyn Iterator<Item = Step>,
    /// No step begins that would end later.
    until: Option<Duration>,
    promises: Promises,
}

/// Runs a campaign.
pub(crate) fn run(output: Output, options: &CampaignOptions) -> Result<()> {
    if let Some(path) = &options.report {
        disk::check_replaceable(path)?;
    }
    let mut workplace = Workplace::new("campaign", false)?;
    drill::run(Campaign { output, options, begun: Instant::now() }.run(&mut workplace))
}

struct Campaign<'a> {
    output: Output,
    options: &'a CampaignOptions,
    begun: Instant,
}

impl Campaign<'_> {
    async fn run(&self, workplace: &mut Workplace) -> Result<()> {
        let before = Noise::measure().await;
        let course = match self.options.length {
            Length::Full | Length::Part(_) => self.play_listed(workplace).await?,
            Length::Machine(most) => self.play_machine(workplace, most).await?,
            Length::PowerLosses(times) => self.lose_power(workplace, times).await?,
            Length::Soak(span) => self.soak(workplace, span).await?,
            Length::Network(span) => self.bear_network(workplace, span).await?,
        };
        let gap_max = self.promises().gap_max;
        let verdict = Verdict {
            fault_model: self.options.fault_model.name(),
            servers: self.servers(),
            seed: self.options.seed,
            seconds: self.begun.elapsed().as_secs(),
            clusters: course.clusters,
            gap_max_ms: gap_max.map(record::milliseconds),
            totals: record::Totals::of(&course.played),
            skipped: &course.skipped,
            slopes: &course.slopes,
            attacks: &course.played,
        };
        if let Some(path) = &self.options.report {
            let facts = report::Facts {
                length: self.options.length,
                command: self.command(path),
                before,
                after: Noise::measure().await,
                verdict: &verdict,
                wormholes: (self.options.fault_model == FaultModel::Hybrid)
                    .then_some(self.options.are_wormholes_lasting),
            };
            disk::replace(path, &report::markdown(&facts), Privacy::Public)?;
            self.say(&format!("Results: {}", path.display()));
        }
        self.finish(&verdict, workplace)
    }

    /// What is enforced beside answers and writes: gaps only where nothing else takes time.
    fn promises(&self) -> Promises {
        let is_full = self.options.length == Length::Full;
        Promises { gap_max: is_full.then_some(GAP_MAX) }
    }

    /// Plays a full campaign, or a part of one.
    async fn play_listed(&self, workplace: &mut Workplace) -> Result<Course> {
        let mut steps = match self.options.length {
            Length::Part(most) => schedule::part(self.options.seed, self.options.fault_model, most),
            _ => schedule::full(self.options.seed, self.options.fault_model),
        };
        steps.retain(|step| self.is_wanted(step.drill.name()));
        self.say(&format!(
            "{} steps on {} real servers, one in trouble at a time, then all killed at once.",
            steps.len(),
            self.servers()
        ));
        self.started(Some(steps.len() + 1))?;
        let steps = &mut steps.into_iter();
        let plan = Plan { steps, until: None, promises: self.promises() };
        let (played, clusters) = self.play_all(workplace, plan).await?;
        Ok(Course { played, clusters, skipped: Vec::new(), slopes: Vec::new() })
    }

    fn servers(&self) -> u16 {
        servers_of(self.options.fault_model)
    }

    /// A cluster at work.
    async fn open(&self, workplace: &Workplace, number: usize) -> Result<Site> {
        Site::open(&cluster_dir(workplace, number), self.options.fault_model).await
    }

    fn is_wanted(&self, name: &str) -> bool {
        let only = &self.options.only;
        only.is_empty() || only.iter().any(|wanted| wanted == name)
    }

    /// Plays all steps, then kills all servers, and says on how many clusters.
    async fn play_all(
        &self,
        workplace: &mut Workplace,
        plan: Plan<'_>,
    ) -> Result<(Vec<Played>, usize)> {
        let mut played = Vec::new();
        let mut clusters = 1;
        let mut site = self.open(workplace, clusters).await?;
        for step in plan.steps {
            if plan.until.is_some_and(|until| self.begun.elapsed() + step.cost() > until) {
                break;
            }
            self.begin(step.drill.name(), &format!("server {}: {step}", step.server))?;
            let done = site.play(&step, plan.promises).await?;
            self.end(&done)?;
            let needs_another = matches!(done.outcome, Outcome::Exposed | Outcome::Failed);
            if done.outcome == Outcome::Failed {
                workplace.keep();
                self.say(&format!("           kept for a closer look: {}", site.dir().display()));
            }
            let is_failed = done.outcome == Outcome::Failed;
            played.push(done);
            if needs_another {
                let dir = site.close().await;
                workplace.clear(&dir, is_failed);
                clusters += 1;
                site = self.open(workplace, clusters).await?;
                self.line(&Line::FreshCluster { clusters })?;
                self.say("           a fresh cluster from here on");
            }
        }
        let what = match self.options.fault_model {
            FaultModel::Hybrid => {
                "all servers at once: kill -9, started again, and opened by the administrator"
            }
            _ => "all servers at once: kill -9, and started again",
        };
        self.begin(record::ALL_KILLED, what)?;
        let done = site.kill_all(what).await?;
        self.end(&done)?;
        let is_failed = done.outcome == Outcome::Failed;
        if is_failed {
            workplace.keep();
        }
        played.push(done);
        let dir = site.close().await;
        workplace.clear(&dir, is_failed);
        Ok((played, clusters))
    }

    fn started(&self, steps: Option<usize>) -> Result<()> {
        self.line(&Line::Started { seed: self.options.seed, servers: self.servers(), steps })
    }

    fn begin(&self, name: &str, what: &str) -> Result<()> {
        let at = self.begun.elapsed();
        self.line(&Line::AttackBegun { at_ms: record::milliseconds(at), name, what })?;
        self.say(&format!("  {:>6.1} s  {name:<20} {what}", at.as_secs_f64()));
        Ok(())
    }

    fn end(&self, played: &Played) -> Result<()> {
        let at_ms = record::milliseconds(self.begun.elapsed());
        self.line(&Line::AttackOver { at_ms, attack: played })?;
        self.say(&format!("            -> {}", played.in_words()));
        Ok(())
    }

    /// The command that does the same again.
    fn command(&self, report: &Path) -> String {
        let length = match self.options.length {
            Length::Full => "campaign --full".to_owned(),
            Length::Part(most) => format!("campaign --seconds {}", most.as_secs()),
            Length::Machine(most) => format!("machine --minutes {}", most.as_secs() / 60),
            Length::Soak(span) => format!("machine --soak {}", span.as_secs() / 60),
            Length::PowerLosses(times) => format!("power-loss --times {times}"),
            Length::Network(span) => {
                let file = self.options.network.as_ref().map(|path| path.display().to_string());
                let file = file.unwrap_or_default();
                format!("machine --minutes {} --network {file}", span.as_secs() / 60)
            }
        };
        let mut command = format!("ravelin attack {length} --seed {}", self.options.seed);
        if self.options.fault_model == FaultModel::Hybrid {
            command.push_str(" --fault-model hybrid");
        }
        if self.options.are_wormholes_lasting {
            command.push_str(" --rollback-proof");
        }
        for name in &self.options.only {
            command.push_str(&format!(" --only {name}"));
        }
        format!("{command} --report {}", report.display())
    }

    fn finish(&self, verdict: &Verdict<'_>, workplace: &Workplace) -> Result<()> {
        self.line(&Line::Verdict(verdict))?;
        if self.output.format() == Format::Text {
            self.output.write(&format!("Verdict: {}\n", verdict.totals.in_words()))?;
        }
        self.say(self.options.length.not_shown());
        let Some(broken) = verdict.attacks.iter().find_map(|played| played.why.as_deref()) else {
            return Ok(());
        };
        let hint = format!("this is a bug: keep the logs in {}", workplace.root.display());
        Err(Error::new(Exit::VerificationFailed, broken, hint))
    }

    fn say(&self, what: &str) {
        if self.output.format() == Format::Text {
            let _ = self.output.write(&format!("{what}\n")); // a closed pipe must not stop the run
        }
    }

    fn line(&self, line: &Line<'_>) -> Result<()> {
        match self.output.format() {
            Format::Json => self.output.write(&format!("{}\n", line.to_json())),
            Format::Text => Ok(()),
        }
    }
}

fn cluster_dir(workplace: &Workplace, number: usize) -> PathBuf {
    workplace.root.join(format!("cluster-{number}"))
}
