//! Backups by the clock, which is systemd's business.

use std::fmt;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::Invocation;
use crate::client_settings::ClientSettings;
use crate::exit::{Error, Exit, Result};
use crate::files::disk;

const HELP: &str = "\
Example:
  ravelin backup schedule --dir /var/backups/ravelin --every daily

Prints a service and a timer for systemd; install them as the text says. A file that is there
is never overwritten, and none is removed.";

/// Arguments of `backup schedule`.
#[derive(Args)]
#[command(after_long_help = HELP)]
pub(crate) struct Schedule {
    /// The directory for the backups
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// When, as systemd's OnCalendar has it: hourly, daily, weekly, `*-*-* 03:00`
    #[arg(long, value_name = "WHEN", default_value = "daily")]
    every: String,
}

/// The units.
#[derive(Serialize)]
struct Units {
    service: String,
    timer: String,
}

/// Prints the units.
pub(super) fn print(invocation: &Invocation, arguments: &Schedule) -> Result<()> {
    let settings = ClientSettings::load(invocation)?;
    settings.cluster()?;
    let config = settings.path().map(|path| disk::plain(path).display().to_string());
    let dir = disk::plain(&arguments.dir).display().to_string();
    let program = std::env::current_exe().map_err(|error| {
        Error::caused(Exit::Failed, error, "call it by its whole path").context("where am I?")
    })?;
    let (program, config) = (program.display().to_string(), config.unwrap_or_default());
    for text in [&program, &config, &dir, &arguments.every] {
        let is_plain = |letter: char| letter.is_alphanumeric() || "/._-*:, ".contains(letter);
        if text.is_empty() || !text.chars().all(is_plain) {
            let cause = format!("`{text}` does not fit into a unit of systemd");
            return Err(Error::usage(cause, "use letters, digits, blanks and / . _ - * : ,"));
        }
    }
    let when = &arguments.every;
    let service = format!(
        "# /etc/systemd/system/ravelin-backup.service; set User= to who may read the key\n\
         [Unit]\nDescription=Backup of what a Ravelin cluster holds\n\n\
         [Service]\nType=oneshot\n\
         ExecStart=/bin/sh -c 'exec \"{program}\" --config \"{config}\" backup create \
         --out \"{dir}/$(date -u +%%Y%%m%%dT%%H%%M%%SZ).jsonl\"'\n"
    );
    let timer = format!(
        "# /etc/systemd/system/ravelin-backup.timer; then: systemctl enable --now ravelin-backup.timer\n\
         [Unit]\nDescription=When the Ravelin cluster is backed up\n\n\
         [Timer]\nOnCalendar={when}\nPersistent=true\n\n[Install]\nWantedBy=timers.target\n"
    );
    invocation.output.print(&Units { service, timer })
}

impl fmt::Display for Units {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}\n{}", self.service, self.timer.trim_end())
    }
}
