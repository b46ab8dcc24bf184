//! The text of a transaction.

use super::target::{Memory, Target, Verdict};
use super::transaction_file::Transaction;
use ravelin_model::limits::{TRANSACTION_CONDITIONS_MAX, TRANSACTION_STEPS_MAX};

/// The target.
pub(crate) const TARGETS: &[Target] = &[Target {
    name: "file_transaction",
    run,
    seeds: || {
        let all = "# all\nif\n value a b\n absent \"c d\"\n present e\n changed f 4711\n \
                   locked g 17\nthen\n put a \"x\\ny\"\n put b base64:aGVsbG8= lease 12\n delete d\n\
                   else\n get a\n";
        vec![all.as_bytes().to_vec(), b"then\n put a 1\n".to_vec()]
    },
    memory: Memory { base: 1 << 20, factor: 256 },
}];

/// Whatever is read keeps the limits that the cluster sets.
fn run(input: &[u8]) -> Verdict {
    let Ok(text) = std::str::from_utf8(input) else { return Verdict::Refused };
    let Ok(read) = Transaction::parse("file", text) else { return Verdict::Refused };
    assert!(read.conditions.len() <= TRANSACTION_CONDITIONS_MAX);
    assert!(read.then.len() <= TRANSACTION_STEPS_MAX);
    assert!(read.otherwise.len() <= TRANSACTION_STEPS_MAX);
    Verdict::Taken
}
