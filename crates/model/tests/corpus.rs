//! The corpora of the fuzz targets for what travels, replayed: see `fuzz/`.

#![allow(clippy::indexing_slicing, reason = "a test that indexes wrongly fails, as it should")]

use std::path::Path;

#[path = "../../../fuzz/src/targets/messages.rs"]
mod messages;
#[path = "../../../fuzz/src/target.rs"]
mod target;

#[test]
fn every_input_of_the_corpora_keeps_the_promises_of_its_decoder() {
    let corpora = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus");
    target::replay(messages::TARGETS, Path::new(corpora));
}
