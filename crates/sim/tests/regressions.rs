//! Runs that failed once, replayed for ever.

use std::path::Path;

use ravelin_sim::Options;
use ravelin_sim::runner::replay;

#[test]
fn what_failed_once_holds() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("regressions");
    let mut paths: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    paths.sort();
    assert!(!paths.is_empty());
    for path in paths {
        let text = std::fs::read_to_string(&path).unwrap();
        let options = Options::parse(&text).unwrap();
        if let Some(violation) = replay(&options).violation {
            panic!("{}: {violation}", path.display());
        }
    }
}
