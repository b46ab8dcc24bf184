//! Four wormholes and four processes on this machine: the paper's figure 10, and then what chance
//! makes of the payload network.
//!
//! **Guarantee:** the processes run the product's [`Brm`](ravelin_multicast::brm::Brm) beside real
//! wormholes; what is injected is the network's faults and malicious processes, up to two of four, no
//! worse than what BRM-T promises to withstand. Each run is judged as the simulator judges its own.
//!
//! # Source
//! The paper, section 8.2, figures 9 and 10.

mod drawing;
mod party;
mod plan;
mod report;
mod site;
mod timeline;
mod verdict;

use std::path::PathBuf;
use std::time::Duration;

use ravelin_multicast::brm::{self, Settings};
use ravelin_wormhole::core::Engine;
use ravelin_wormhole::launcher::ControlNetwork;

use crate::exit::{Error, Exit, Result};
use crate::files::disk::{self, Privacy};
use crate::output::Output;

use party::{Note, Scene};
use plan::Plan;
use site::Site;
use verdict::{Row, Verdict};

/// Wormholes, and processes beside them.
const COUNT: usize = 4;
/// Of these, how many may be malicious: the protocol's `f`, of `n >= f + 2`.
const INTRUDERS: usize = COUNT - 2;
/// Copies that may get lost between two processes; the figure's.
const OD: u16 = 1;
/// From a multicast to the last instant at which its agreement starts. Long, so that a busy machine
/// does not take it for a fault.
const T0: Duration = Duration::from_millis(250);

/// What to show.
pub(crate) struct Options {
    /// Where to draw the figure.
    pub(crate) svg: Option<PathBuf>,
    /// How many runs after it.
    pub(crate) runs: u32,
    /// What chance depends on.
    pub(crate) seed: u64,
    /// How the wormholes agree.
    pub(crate) engine: Engine,
    /// Where to write what came of all runs, as a page.
    pub(crate) report: Option<PathBuf>,
}

/// What all processes choose.
fn settings(engine: Engine) -> Settings {
    let engine = match engine {
        Engine::Quorum => brm::Engine::Quorum,
        Engine::RealTime { .. } => brm::Engine::RealTime,
    };
    Settings {
        od: OD,
        t0: T0,
        resend_every: T0 / 5,
        poll_every: T0 / 50,
        ..Settings::new(engine, T0)
    }
}

/// Runs it, prints what happened, and fails if a promise was broken.
pub(crate) fn run(output: Output, options: &Options) -> Result<()> {
    for file in options.svg.iter().chain(&options.report) {
        disk::check_replaceable(file)?;
    }
    // Before there are threads: it makes networks and processes.
    let (mut site, network) = Site::start(output, options.engine)?;
    output.note(network);
    let mut verdict = Verdict::new(network == ControlNetwork::Private, options.seed);
    for number in 0..=options.runs {
        let plan = match number {
            0 => Plan::figure_10(),
            _ => Plan::random(options.seed, number),
        };
        let notes = site.play(&plan);
        let row = Row::new(&plan, &site.entities(), &notes);
        if number == 0 {
            draw(options, &notes)?;
        } else {
            output.detail(format_args!("{}\n{}", plan.name(), timeline::Timelines(&notes)));
        }
        output.print(&row)?;
        verdict.add(&row);
    }
    site.tell(output);
    if let Some(path) = &options.report {
        disk::replace(path, &report::markdown(options, path, &verdict), Privacy::Public)?;
    }
    output.print(&verdict)?;
    verdict.outcome()
}

/// Draws what happened, if that was asked for.
fn draw(options: &Options, notes: &[Vec<Note>]) -> Result<()> {
    let Some(svg) = &options.svg else { return Ok(()) };
    disk::replace(svg, &drawing::svg(notes), Privacy::Public)
}

/// An error of a world that could not be made.
fn failed(error: impl Into<anyhow::Error>, what: &'static str) -> Error {
    let hint = "`ravelin wormhole selftest` tries one wormhole alone and says what is missing";
    Error::caused(Exit::Failed, error, hint).context(what)
}

impl Site {
    /// Has all processes play their parts at once; what each of them noted.
    fn play(&mut self, plan: &Plan) -> Vec<Vec<Note>> {
        let scene = Scene::new(plan);
        std::thread::scope(|threads| {
            let playing: Vec<_> =
                self.parties.iter_mut().map(|party| threads.spawn(|| party.play(&scene))).collect();
            let notes = playing.into_iter().map(|one| one.join().expect("a party does not panic"));
            notes.collect()
        })
    }
}
