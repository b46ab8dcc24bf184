//! `ravelin attack machine` and `power-loss`: what befalls machines, for real.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use ravelin_model::FaultModel;

use super::super::Invocation;
use super::{ModelName, check_names};
use crate::campaign::{self, CampaignOptions, Length, schedule};
use crate::exit::{Error, Result};

/// Minutes of a run, unless said otherwise.
const MINUTES_DEFAULT: u64 = 20;
/// Minutes of the longest run.
const MINUTES_MAX: u64 = 24 * 60;
/// Losses of power, unless said otherwise.
const POWER_LOSSES_DEFAULT: u32 = 20;
/// The most.
const POWER_LOSSES_MAX: i64 = 10_000;

const MACHINE_HELP: &str = "\
The cluster is a temporary one. One server at a time, while clients work, has one of these:

  kill, wipe, pause             kill -9; its data deleted too; SIGSTOP
  cut, cut-incoming,            its connections closed; nothing reaches it; nothing leaves it;
  cut-outgoing, flap            these two in turn, for moments
  rot, rollback                 one byte flipped in every 4 KiB; a copy some checkpoints old
  twin                          a second process with its key and a copy of its data
  swapped                       another server's data, which has its: two refuse to start
  throttle, squeeze             5 % of a processor; 256 MiB of memory
  day-ahead, day-behind,        a wrong clock; clocks that run twice as fast
  fast-clock
  slow-disk, failed-sync,       50 ms more for each sync; a sync that fails; a disk that takes
  full-disk                     nothing more

in an order and on servers that the seed draws. After each all answers are checked and every
acknowledged write is read back, and the server must be back by itself. In the end all servers
are killed at once. What needs root, strace, control groups or libfaketime is skipped where they
are missing, and named. `ravelin attack power-loss` lets the power go, `attack campaign` has
intruders.

With --soak nothing befalls anybody: memory, descriptors and disk of each server are sampled
every 10 s, and their slopes printed; from 30 minutes on one that is not flat breaks a promise.

With --network FILE the servers run in network namespaces of their own, joined by a switch that
treats every frame as the simulator treats messages in that run (loss, duplication, reordering,
slow-links, wan, one-way-cut, partition); it needs root and TAP devices.

Examples:
  ravelin attack machine --minutes 20 --seed 1 --report docs/results/machine.md
  ravelin attack machine --minutes 1 --only rot --only rollback
  ravelin attack machine --soak 60

Exit codes: 0 all was kept; 3 nothing that was asked for can be played here; 6 a promise was
broken.";

const POWER_LOSS_HELP: &str = "\
The cluster is a temporary one, and each server's data is on a disk of its own: a file with ext4.
At random moments, while clients work, all file systems are stopped at once without a flush
(EXT4_IOC_SHUTDOWN) and all servers are killed. Each disk is mounted again, which replays its
journal, and checked by e2fsck; the servers start, all answers are checked, and every
acknowledged write is read back. A file that no sync covered must be gone, or the cut was none.

With --fault-model hybrid the state of each wormhole is on such a disk, too, and the wormholes are
killed with their servers. By itself such a cluster must not serve before an administrator has
opened it again. With --rollback-proof each wormhole has a TPM (swtpm, which is killed with it and
keeps what it stored) under the lease `every-unmetered`, and the cluster must serve by itself.

It needs root, ext4, loop devices, e2fsprogs and python3; --rollback-proof needs swtpm.

Examples:
  sudo ravelin attack power-loss --times 20 --seed 1 --report docs/results/power-loss.md
  sudo ravelin attack power-loss --fault-model hybrid --rollback-proof --times 20

Exit codes: 0 nothing was lost; 3 this machine cannot do it; 6 a promise was broken.";

/// Arguments of `attack machine`.
#[derive(Args)]
#[command(after_long_help = MACHINE_HELP)]
pub(crate) struct Machine {
    /// Draws the order of the steps, their servers and their lengths
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// How long to go on
    #[arg(
        long,
        value_name = "N",
        default_value_t = MINUTES_DEFAULT,
        value_parser = clap::value_parser!(u64).range(1..=MINUTES_MAX)
    )]
    minutes: u64,
    /// Play only the steps named so; `--help` has the names
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Let nothing happen for so many minutes, and look whether servers hold more and more
    #[arg(
        long,
        value_name = "MINUTES",
        conflicts_with_all = ["minutes", "only"],
        value_parser = clap::value_parser!(u64).range(1..=MINUTES_MAX)
    )]
    soak: Option<u64>,
    /// Let the network between servers be as in this run of the simulator, all the time
    #[arg(long, value_name = "FILE", conflicts_with_all = ["soak", "only", "seed"])]
    network: Option<PathBuf>,
    /// Where to write the results, as Markdown
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

/// Arguments of `attack power-loss`.
#[derive(Args)]
#[command(after_long_help = POWER_LOSS_HELP)]
pub(crate) struct PowerLoss {
    /// What the servers assume of each other: four, or with `hybrid` three that have wormholes
    #[arg(long, value_name = "MODEL", default_value = "arbitrary")]
    fault_model: ModelName,
    /// In `hybrid`: each wormhole has a TPM, so that the cluster must be back without administrators
    #[arg(long)]
    rollback_proof: bool,
    /// Draws the moments
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// How often the power goes
    #[arg(
        long,
        value_name = "N",
        default_value_t = POWER_LOSSES_DEFAULT,
        value_parser = clap::value_parser!(u32).range(1..=POWER_LOSSES_MAX)
    )]
    times: u32,
    /// Where to write the results, as Markdown
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

/// Plays what befalls machines, or soaks.
pub(super) fn run(invocation: &Invocation, arguments: Machine) -> Result<()> {
    let Machine { seed, minutes, only, soak, network, report } = arguments;
    check_names(&only, &schedule::machine_names())?;
    let of = |minutes: u64| Duration::from_secs(60 * minutes);
    let length = match (soak, &network) {
        (Some(soak), _) => Length::Soak(of(soak)),
        (None, Some(_)) => Length::Network(of(minutes)),
        (None, None) => Length::Machine(of(minutes)),
    };
    campaign::run(
        invocation.output,
        &CampaignOptions {
            fault_model: FaultModel::Arbitrary,
            are_wormholes_lasting: false,
            seed,
            length,
            only,
            network,
            report,
        },
    )
}

/// Cuts the power.
pub(super) fn lose_power(invocation: &Invocation, arguments: PowerLoss) -> Result<()> {
    let PowerLoss { fault_model, rollback_proof, seed, times, report } = arguments;
    let fault_model = FaultModel::from(fault_model);
    if rollback_proof && fault_model != FaultModel::Hybrid {
        let cause = "--rollback-proof is about wormholes, which these servers have not";
        return Err(Error::usage(cause, "add --fault-model hybrid, or leave it out"));
    }
    let length = Length::PowerLosses(times);
    let options = CampaignOptions {
        fault_model,
        are_wormholes_lasting: rollback_proof,
        seed,
        length,
        only: Vec::new(),
        network: None,
        report,
    };
    campaign::run(invocation.output, &options)
}
