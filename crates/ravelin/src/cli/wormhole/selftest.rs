//! `ravelin wormhole selftest`.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use ravelin_wormhole::sandbox::Restart;
use ravelin_wormhole::serve::selftest::{SelfTest, Times};
use rustix::fs::Access;
use serde::Serialize;

use super::Invocation;
use crate::exit::{Error, Result};
use crate::wormhole;
use crate::wormhole::standing::{Against, InForce, against, in_force, micros};
use crate::wormhole::words::measure;

const HELP: &str = "\
Examples:
  ravelin wormhole selftest
  ravelin wormhole selftest --program /usr/libexec/ravelin-wormhole --output json

It runs in a directory of its own, with a key that nobody trusts, and leaves nothing behind.
As root it gets a user of its own. What is said holds for a wormhole that is started the same
way on this host. What its JSON has says docs/guide/wormhole.md.

Exit codes: 0 measured, whatever is withstood; 1 it did not start; 3 or 4 the program named cannot
be run or is not there.";

/// Arguments of `wormhole selftest`.
#[derive(Args)]
#[command(after_long_help = HELP)]
pub(crate) struct Selftest {
    /// The program [default: ravelin-wormhole beside this one, or else this one]
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
}

pub(super) fn run(invocation: &Invocation, arguments: Selftest) -> Result<()> {
    let (program, is_small) = match arguments.program {
        Some(program) => {
            check_executable(&program)?;
            (program, true)
        }
        None => wormhole::program()?,
    };
    let measured = measure(invocation.output, &program)?;
    invocation.output.print(&Report::new(program, is_small, measured))
}

/// Refuses what is not there, or is there and no program.
fn check_executable(program: &Path) -> Result<()> {
    let looked = std::fs::metadata(program).and_then(|found| {
        let denied = || io::Error::from(io::ErrorKind::PermissionDenied);
        let is_allowed = || rustix::fs::access(program, Access::EXEC_OK).is_ok();
        if found.is_file() && is_allowed() { Ok(()) } else { Err(denied()) }
    });
    looked.map_err(|error| Error::system("run", program, &error))
}

#[derive(Serialize)]
struct Report {
    mode: &'static str,
    program: PathBuf,
    small_program: bool,
    rollback_proof: bool,
    start_ms: f64,
    calls: Vec<Row>,
    wakeup_p50_us: f64,
    wakeup_p99_us: f64,
    wakeup_longest_us: f64,
    locked_kib: u64,
    resident_kib: u64,
    protections: Vec<InForce>,
    attackers: Vec<Against>,
    #[serde(skip)]
    text: String,
}

#[derive(Serialize)]
struct Row {
    call: &'static str,
    p50_us: f64,
    p99_us: f64,
}

impl Report {
    fn new(program: PathBuf, small_program: bool, measured: SelfTest) -> Self {
        let us = |times: &Times, permille| micros(times.permille(permille));
        let row = |times: &Times| Row {
            call: times.what,
            p50_us: us(times, 500),
            p99_us: us(times, 990),
        };
        Self {
            mode: "local",
            small_program,
            rollback_proof: false,
            start_ms: micros(measured.start) / 1e3,
            calls: measured.calls.iter().map(row).collect(),
            wakeup_p50_us: us(&measured.wakeups, 500),
            wakeup_p99_us: us(&measured.wakeups, 990),
            wakeup_longest_us: us(&measured.wakeups, 1_000),
            locked_kib: measured.locked_kib,
            resident_kib: measured.resident_kib,
            protections: in_force(measured.protections),
            attackers: against(measured.protections, Restart::NewInstance),
            text: measured.to_string(),
            program,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<28}{}", "program", self.program.display())?;
        writeln!(f, "{:<28}{}: attests, agrees with no others", "mode", self.mode)?;
        let store = if self.rollback_proof { "yes" } else { "no: each start is a new instance" };
        writeln!(f, "{:<28}{store}", "rollback-proof store")?;
        if !self.small_program {
            writeln!(f, "{:<28}MISSING   The small program can be audited; this one is all.", "")?;
        }
        write!(f, "{}", self.text.trim_end())
    }
}
