//! Every decoder against bytes that nobody should send: `cargo xtask fuzz` builds and runs this.
//!
//! The decoders that are nobody's but their crate's are compiled into this program from the crate's
//! own files, so that the product opens no door for the sake of its tests. Each crate's ordinary tests
//! replay the corpora with the same targets.

#![cfg_attr(feature = "libfuzzer", no_main)]
#![allow(
    dead_code,
    unused_imports,
    reason = "modules of the product are here whole, and used in part"
)]

#[cfg(not(feature = "libfuzzer"))]
mod coverage;
#[cfg(not(feature = "libfuzzer"))]
mod driver;
mod kv;
mod meter;
#[cfg(not(feature = "libfuzzer"))]
mod mutation;
mod target;
mod transport;
mod trial;

#[path = "targets/disk.rs"]
mod disk;
#[path = "targets/files.rs"]
mod file_targets;
#[path = "targets/messages.rs"]
mod messages;
#[path = "targets/proofs.rs"]
mod proofs;

// The program's modules that read files, and what those need.
#[path = "../../crates/ravelin/src/exit.rs"]
mod exit;
mod files;
#[path = "../../crates/ravelin/src/output.rs"]
mod output;
#[path = "../../crates/ravelin/src/settings.rs"]
mod settings;
#[path = "../../crates/ravelin/src/suggest.rs"]
mod suggest;

/// All targets, in the order of the result table.
fn targets() -> Vec<&'static target::Target> {
    let lists = [
        messages::TARGETS,
        proofs::TARGETS,
        transport::frames::TARGETS,
        disk::TARGETS,
        file_targets::TARGETS,
        kv::transactions::TARGETS,
    ];
    lists.into_iter().flatten().collect()
}

#[cfg(not(feature = "libfuzzer"))]
fn main() -> std::process::ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match driver::Wanted::parse(&arguments).and_then(|wanted| driver::fuzz(&targets(), &wanted)) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}

#[cfg(feature = "libfuzzer")]
libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    static TARGET: std::sync::OnceLock<&'static target::Target> = std::sync::OnceLock::new();
    let target = TARGET.get_or_init(|| {
        let name = std::env::var("RAVELIN_FUZZ_TARGET").unwrap_or_default();
        let named = targets().into_iter().find(|target| target.name == name);
        named.unwrap_or_else(|| panic!("RAVELIN_FUZZ_TARGET names no target: `{name}`"))
    });
    if let Err(failure) = trial::Trial::run(target, input).judge(target, input) {
        panic!("{failure}");
    }
});
