//! Real wormholes, which this program acts as. All tests run at once: each waits, and few compute.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that is wrong fails, as it should"
)]

mod agreeing;
mod attesting;

use std::ffi::OsStr;
use std::path::Path;
use std::process::ExitCode;
use std::thread::{Builder, scope};

use ravelin_wormhole::launcher::PROGRAM_NAME;

/// A test: its name, and what it does.
type Test = (&'static str, fn());

fn main() -> ExitCode {
    let name = std::env::args_os().next();
    if name.is_some_and(|name| Path::new(&name).file_name() == Some(OsStr::new(PROGRAM_NAME))) {
        return ravelin_wormhole::serve::main(std::env::args_os().skip(1)).into();
    }
    // A test that panics does so in its name, and fails the program once all are over.
    scope(|threads| {
        for (name, test) in attesting::ALL {
            let run = move || {
                test();
                println!("test {name} ... ok");
            };
            Builder::new().name(name.into()).spawn_scoped(threads, run).unwrap();
        }
        let agreeing = Builder::new().name("agreeing".into());
        agreeing.spawn_scoped(threads, agreeing::all_on_one_site).unwrap();
    });
    ExitCode::SUCCESS
}
