//! The house's own checks and chores: `cargo xtask <command>`.
//!
//! Everything here is for developers and CI; nothing of it is in the product.

mod campaign;
mod check;
mod chores;
mod fuzz;
mod instructions;
mod mutants;
mod results;
mod run;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask <command>

  check            everything that must hold before a change lands; never writes
  tidy             only the house rules that no other tool knows; a second
  fix              formats, and applies what clippy can apply by itself
  sim [ARGS]       the simulator, release build; without ARGS 500 seeds in each mode
  campaign [ARGS]  10,000 seeds in each mode and more, kept in docs/results/campaign.md;
                   --quick, --seeds N, --from SEED, --output FILE; --brm: 10,000 seeds of
                   reliable multicast alone, kept in docs/results/brm.md; --hybrid: 10,000 with
                   each kind of wormhole, in docs/results/hybrid.md
  mutants [ARGS]   every planted bug against the tests that must find it, kept in
                   docs/results/mutants.md; --core (of the commit rule alone, after all models
                   without one), --seeds N, --output FILE
  instructions     what the hot paths execute, against docs/results/instructions.md; with --renew
                   it is written anew
  models [ARGS]    the exhaustive models, release build; with `-- --ignored` the large ones
  fuzz [ARGS]      every decoder against changed inputs, kept in docs/results/fuzzing.md;
                   --seconds N (each, 10), --target T, --seed S, --keep (into fuzz/corpus),
                   --libfuzzer (with --target), --output FILE
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let root = repository();
    let result = match words.as_slice() {
        ["check"] => check::check(&root),
        ["tidy"] => tidy::tidy(&root),
        ["fix"] => chores::fix(&root),
        ["sim", rest @ ..] => chores::sim(&root, rest),
        ["campaign", rest @ ..] => {
            campaign::Wanted::parse(rest).and_then(|wanted| campaign::campaign(&root, &wanted))
        }
        ["mutants", rest @ ..] => {
            mutants::Wanted::parse(rest).and_then(|wanted| mutants::mutants(&root, &wanted))
        }
        ["instructions"] => instructions::instructions(&root, false),
        ["instructions", "--renew"] => instructions::instructions(&root, true),
        ["models", rest @ ..] => chores::models(&root, rest),
        ["fuzz", rest @ ..] => {
            fuzz::Wanted::parse(rest).and_then(|wanted| fuzz::fuzz(&root, &wanted))
        }
        ["help" | "-h" | "--help"] => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The directory that holds the workspace's `Cargo.toml`.
fn repository() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("xtask lives one level below the workspace").to_path_buf()
}
