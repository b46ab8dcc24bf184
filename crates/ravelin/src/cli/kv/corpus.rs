//! The corpora of the fuzz targets for transactions, replayed: see `fuzz/`.

use std::path::Path;

use super::transaction_file;
use crate::files::tests::corpus::target;

#[path = "../../../../../fuzz/src/targets/transactions.rs"]
mod targets;

#[test]
fn every_input_of_the_corpora_keeps_the_promises_of_its_decoder() {
    let corpora = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus");
    target::replay(targets::TARGETS, Path::new(corpora));
}
