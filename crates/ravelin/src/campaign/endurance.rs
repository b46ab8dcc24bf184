//! Campaigns of machines: troubles of theirs without end, power that goes everywhere, and long rest.

use std::path::Path;
use std::time::Duration;

use ravelin_model::FaultModel;
use ravelin_sim::Dice;

use super::record::{POWER_LOST, Played, Skipped};
use super::schedule::{self, Drill};
use super::site::Site;
use super::{Campaign, Course, Line, Plan, Workplace, cluster_dir};
use crate::cluster_dir::LocalCluster;
use crate::drill::workload::{Leaving, Observer};
use crate::drill::{Outcome, SERVERS};
use crate::exit::{Error, Exit, Result};
use crate::files::disk::{self, Privacy};
use crate::machine::network::Segment;
use crate::machine::power::Disks;
use crate::machine::soak::{Samples, Slope};
use crate::machine::tpm::Tpms;

/// How long clients work between two losses of power, from and to.
const POWERED_MS: (u64, u64) = (200, 3000);
/// Time between two samples of a soak.
const SAMPLE_EVERY: Duration = Duration::from_secs(10);
/// Samples between two judgements of a soak.
const SAMPLES_JUDGED: u32 = 6;
/// Bytes of log that servers keep in a soak, so that it comes to rest.
const SOAK_LOG_BYTES: u64 = 64 << 20;
/// Bytes of the audit log likewise: those of a quarter of a million operations.
const SOAK_AUDIT_BYTES: u64 = 32 << 20;
/// A soak that is shorter tells slopes, and does not judge them.
const SOAK_JUDGED_MIN: Duration = Duration::from_secs(30 * 60);

impl Campaign<'_> {
    /// Lets everything befall machines that can here, for `most`.
    pub(super) async fn play_machine(
        &self,
        workplace: &mut Workplace,
        most: Duration,
    ) -> Result<Course> {
        let wanted = |drill: &Drill| self.is_wanted(drill.name());
        let skipped: Vec<Skipped> = schedule::machine_drills()
            .into_iter()
            .filter(wanted)
            .filter_map(|drill| Some(Skipped { name: drill.name(), why: drill.missing()? }))
            .collect();
        self.say(&format!(
            "{SERVERS} real servers, the machine of one in trouble at a time, for {} s; then all \
             killed at once.",
            most.as_secs()
        ));
        self.started(None)?;
        for skip in &skipped {
            self.line(&Line::Skipped(skip))?;
            self.say(&format!("  SKIPPED  {}, which needs {}", skip.name, skip.why));
        }
        let can = |drill: Drill| skipped.iter().all(|skip| skip.name != drill.name());
        if !schedule::machine_drills().into_iter().any(|drill| wanted(&drill) && can(drill)) {
            let cause = "nothing that was asked for can be played on this machine";
            return Err(Error::new(Exit::Denied, cause, "see what is missing above"));
        }
        let steps = schedule::endless(self.options.seed, SERVERS);
        let mut steps = steps.filter(|step| wanted(&step.drill) && can(step.drill));
        let plan = Plan { steps: &mut steps, until: Some(most), promises: self.promises() };
        let (played, clusters) = self.play_all(workplace, plan).await?;
        Ok(Course { played, clusters, skipped, slopes: Vec::new() })
    }

    /// Cuts the power of all disks `times` times, each at a random moment under load.
    pub(super) async fn lose_power(&self, workplace: &mut Workplace, times: u32) -> Result<Course> {
        let has_tpms = self.options.are_wormholes_lasting;
        if let Some(why) = Disks::missing().or_else(|| Tpms::missing().filter(|_| has_tpms)) {
            let cause = format!("SKIPPED: the power of disks cannot be cut here; it needs {why}");
            let hint = "run it as root on Linux with ext4, loop devices and what it names";
            return Err(Error::new(Exit::Denied, cause, hint));
        }
        self.say(&format!(
            "{times} losses of power at {} real servers at once, under load.",
            self.servers()
        ));
        self.started(usize::try_from(times).ok())?;
        let mut dice = Dice::new(self.options.seed, POWER_LOST);
        let (mut disks, mut tpms) = (None, None);
        let insert = |cluster: &LocalCluster| {
            if has_tpms {
                tpms = Some(Tpms::insert(cluster)?);
            }
            disks = Some(Disks::insert(cluster, &cluster.dir)?);
            Ok(())
        };
        let dir = cluster_dir(workplace, 1);
        let model = self.options.fault_model;
        let mut site = Site::open_prepared(&dir, model, Observer::new(), insert).await?;
        let disks = disks.expect("they were inserted before the servers started");
        let mut played = Vec::new();
        for _ in 0..times {
            let moment = Duration::from_millis(dice.between(POWERED_MS.0, POWERED_MS.1));
            let what = format!("all disks and servers after {} ms", moment.as_millis());
            self.begin(POWER_LOST, &what)?;
            let lost = Played::new(POWER_LOST, what);
            let cut = || disks.cut().map(|()| Vec::new());
            let revive = || {
                if let Some(tpms) = &mut tpms {
                    tpms.cut();
                    tpms.revive()?;
                }
                disks.revive()
            };
            let done = site.strike_all(lost, moment, cut, revive).await?;
            self.end(&done)?;
            let is_over = done.outcome == Outcome::Failed;
            played.push(done);
            if is_over {
                workplace.keep();
                break;
            }
        }
        let is_failed = played.iter().any(|step| step.outcome == Outcome::Failed);
        let dir = site.close().await;
        workplace.clear(&dir, true); // the servers end, and let go of their disks
        drop(disks);
        workplace.clear(&dir, is_failed);
        Ok(Course { played, clusters: 1, skipped: Vec::new(), slopes: Vec::new() })
    }

    /// Gives all servers a bad network for `span`, then a good one.
    pub(super) async fn bear_network(
        &self,
        workplace: &mut Workplace,
        span: Duration,
    ) -> Result<Course> {
        let file = self.options.network.as_deref().unwrap_or_else(|| Path::new("-"));
        let text = disk::read(file, Privacy::Public)?;
        let options = ravelin_sim::Options::parse(&text).map_err(|error| {
            Error::caused(Exit::Usage, error, "`ravelin sim replay --help` has the format")
                .context(file.display())
        })?;
        if options.n != SERVERS {
            let cause = format!("{}: {} servers instead of {SERVERS}", file.display(), options.n);
            return Err(Error::usage(cause, "name a run of four servers"));
        }
        if let Some(why) = Segment::missing() {
            let cause = format!("SKIPPED: there can be no network of our own here; it needs {why}");
            return Err(Error::new(Exit::Denied, cause, "run it as root on Linux"));
        }
        let others = options.classes.iter().filter(|class| !Segment::has(**class));
        let why = "virtual time: `ravelin sim replay` plays it".to_owned();
        let skipped: Vec<Skipped> =
            others.map(|class| Skipped { name: class.name(), why: why.clone() }).collect();
        self.started(Some(1))?;
        for skip in &skipped {
            self.line(&Line::Skipped(skip))?;
            self.say(&format!("  SKIPPED  {}, which needs {}", skip.name, skip.why));
        }
        let segment = Segment::build(&options, span)?;
        let mut site = Site::open_in(&cluster_dir(workplace, 1), &segment).await?;
        self.begin("network", &format!("as in {}, for {} s", file.display(), span.as_secs()))?;
        let done = site.bear(span, &segment).await?;
        self.say(&format!("            {}", done.what));
        self.end(&done)?;
        let is_failed = done.outcome == Outcome::Failed;
        if is_failed {
            workplace.keep();
        }
        let dir = site.close().await;
        workplace.clear(&dir, is_failed);
        Ok(Course { played: vec![done], clusters: 1, skipped, slopes: Vec::new() })
    }

    /// Lets clients work for `span`, and looks what servers hold.
    pub(super) async fn soak(&self, workplace: &mut Workplace, span: Duration) -> Result<Course> {
        self.say(&format!("{SERVERS} real servers under load for {} s.", span.as_secs()));
        self.started(Some(1))?;
        let observer = Observer::of_clients(Leaving::Little);
        let dir = cluster_dir(workplace, 1);
        let mut site =
            Site::open_prepared(&dir, FaultModel::Arbitrary, observer, keep_short_logs).await?;
        let mut samples = Samples::of(site.cluster());
        self.begin("soak", "nothing befalls anybody")?;
        let mut whole: Option<Played> = None;
        while self.begun.elapsed() < span {
            let part = site.work((SAMPLES_JUDGED, SAMPLE_EVERY), &mut samples).await?;
            whole = Some(match whole {
                Some(so_far) => so_far.and(part),
                None => part,
            });
        }
        let slopes = samples.slopes();
        let mut whole = whole.unwrap_or_else(|| Played::new("soak", String::new()));
        for slope in &slopes {
            self.line(&Line::Slope(slope))?;
            self.say(&format!("  {}", slope.in_words()));
        }
        if let Some(growing) = slopes.iter().find(|slope| span >= SOAK_JUDGED_MIN && !slope.flat) {
            whole.outcome = Outcome::Failed;
            whole.why = Some(growing.in_words());
        }
        self.end(&whole)?;
        let dir = site.close().await;
        workplace.clear(&dir, false);
        Ok(Course { played: vec![whole], clusters: 1, skipped: Vec::new(), slopes })
    }
}

/// Lets the servers of a cluster keep little of their logs: they are full long before the end.
fn keep_short_logs(cluster: &LocalCluster) -> Result<()> {
    for server in &cluster.servers {
        let failed = |error| Error::system("change", &server.node_file, &error);
        let text = std::fs::read_to_string(&server.node_file).map_err(failed)?;
        let limits = format!(
            "\n[limits]\nlog_retention_bytes = {SOAK_LOG_BYTES}\n\
             audit_retention_bytes = {SOAK_AUDIT_BYTES}\n"
        );
        std::fs::write(&server.node_file, text + &limits).map_err(failed)?;
    }
    Ok(())
}

impl Slope {
    /// For people.
    fn in_words(&self) -> String {
        format!(
            "server {}: {}: {:.1} now, {:+.1} an hour, spread {:.2}, {}",
            self.server,
            self.holding.word(),
            self.value,
            self.per_hour,
            self.spread,
            if self.flat { "flat" } else { "growing" }
        )
    }
}
