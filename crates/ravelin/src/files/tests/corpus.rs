//! The corpora of the fuzz targets for files, replayed: see `fuzz/`.

use std::path::Path;

#[path = "../../../../../fuzz/src/target.rs"]
pub(crate) mod target;
#[path = "../../../../../fuzz/src/targets/files.rs"]
mod targets;

#[test]
fn every_input_of_the_corpora_keeps_the_promises_of_its_decoder() {
    let corpora = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus");
    target::replay(targets::TARGETS, Path::new(corpora));
}
