//! Runs that failed once, replayed for ever.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use ravelin_sim::Options;
use ravelin_sim::runner::replay;

#[test]
fn what_failed_once_holds() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("regressions");
    let paths: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    assert!(!paths.is_empty());
    let left = Mutex::new(paths);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while let Some(path) = next_of(&left) {
                    let text = std::fs::read_to_string(&path).unwrap();
                    let options = Options::parse(&text).unwrap();
                    if let Some(violation) = replay(&options).violation {
                        panic!("{}: {violation}", path.display());
                    }
                }
            });
        }
    });
}

/// The next world, which nobody else replays.
fn next_of(left: &Mutex<Vec<PathBuf>>) -> Option<PathBuf> {
    left.lock().expect("nobody panics while it holds this").pop()
}
