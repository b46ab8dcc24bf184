//! Ravelin: run services that must be trusted on machines that can be broken into.
//!
//! The program parses, wires and prints; what it promises is made by the crates below it.
//!
//! **Guarantee:** stdout carries the result of a command and nothing else; stderr the talk; an error
//! is one line of cause and one of hint, and an exit code of [`exit::Exit`]. A command that fails
//! has changed nothing on disk.

use std::io::{self, Write as _};
use std::process::ExitCode;

mod admin;
mod campaign;
mod child;
mod cli;
mod client_command;
mod client_settings;
mod cluster_dir;
mod cpu_quota;
mod data;
mod demo;
mod descriptors;
mod drill;
mod evidence_file;
mod exit;
mod files;
mod hops;
mod intake;
mod machine;
mod multicast_demo;
mod node_start;
mod omissions;
mod opinion;
mod output;
mod plan_source;
mod processes;
mod quarantine;
mod reopening;
mod room;
mod seat;
mod server;
mod settings;
mod shared_keys;
mod suggest;
mod wormhole;

use cli::{Command, Invocation, Parsed};
use exit::{Exit, Result};
// What talks to a cluster is shared with the gateways.
use ravelin_gateway::connection;

/// Of the C library's allocator a saturated server spends a fifth more (docs/adr/0015-allocator.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    if cli::wormhole::is_wormhole() {
        return ravelin_wormhole::serve::main(std::env::args_os().skip(1)).into();
    }
    let format = cli::format_asked_for(std::env::args_os());
    let outcome = match cli::parse(std::env::args_os()) {
        Ok(Parsed::Command(invocation, command)) => run(&invocation, command),
        Ok(Parsed::Help(text)) => output::Output::new(format, output::Talk::Normal).write(&text),
        Err(error) => Err(error),
    };
    match outcome {
        Ok(()) => Exit::Done.into(),
        Err(error) => {
            // Who closed stderr still gets the exit code.
            let _ = write!(io::stderr(), "{}", error.render(format, output::is_coloured()));
            error.exit().into()
        }
    }
}

/// All that the program can do.
fn run(invocation: &Invocation, command: Command) -> Result<()> {
    match command {
        // Run, plan and join clusters.
        Command::Demo(arguments) => cli::demo::run(invocation, arguments),
        Command::Local(command) => cli::local::run(invocation, command),
        Command::Node(command) => cli::node::run(invocation, command),
        Command::Cluster(command) => cli::cluster::run(invocation, command),
        Command::Trust(command) => cli::trust::run(invocation, command),
        Command::Auth(command) => cli::auth::run(invocation, command),
        // Break, simulate and measure them.
        Command::Attack(command) => cli::attack::run(invocation, command),
        Command::Sim(command) => cli::sim::run(invocation, command),
        Command::Bench(arguments) => cli::bench::run(invocation, &arguments),
        Command::Assess(command) => cli::assess::run(invocation, command),
        Command::Wormhole(command) => cli::wormhole::run(invocation, command),
        // Use their services.
        Command::Kv(command) => cli::kv::run(invocation, command),
        Command::Gateway(command) => cli::gateway::run(invocation, command),
        // Operate them.
        Command::Backup(command) => cli::backup::run(invocation, command),
        Command::Audit(command) => cli::audit::run(invocation, command),
        Command::Status(arguments) => cli::status::run(invocation, &arguments),
        Command::Doctor(arguments) => cli::doctor::run(invocation, &arguments),
        Command::Config(command) => cli::config::run(invocation, command),
        // Know the program.
        Command::Completion(arguments) => cli::tools::completion(invocation, &arguments),
        Command::Man(arguments) => cli::tools::man(invocation, &arguments),
        Command::Version => cli::tools::version(invocation),
    }
}
