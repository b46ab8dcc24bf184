//! What travels between servers and clients, and what they sign.

use ravelin_model::requests::auth::AuthRequest;
use ravelin_model::requests::kv::{Condition, KvReply, KvRequest, LeaseId, Step};
use ravelin_model::requests::session::{SessionReply, SessionRequest};
use ravelin_model::wire::{ClientMessage, PeerFrame, PeerMessage, ServerMessage};
use ravelin_model::{Block, Decode, Encode, Envelope, Evidence, SignedPlan, SignedStatement, Vote};

use super::target::{Memory, Target, Verdict, canonical};

/// An empty list is four bytes on the wire and 24 in memory, and a list that grows is there twice.
/// The base: bytes are read in steps of 1 MiB, whatever length was announced.
const MEMORY: Memory = Memory { base: 2 << 20, factor: 64 };

/// The targets.
pub(crate) const TARGETS: &[Target] = &[
    message::<PeerFrame>("peer_frame", || golden(&["peer_"])),
    message::<ClientMessage>("client_message", || golden(&["client_"])),
    message::<ServerMessage>("server_message", || golden(&["server_"])),
    message::<Block>("block", blocks),
    message::<Envelope>("envelope", envelopes),
    message::<SignedPlan>("plan", plans),
    message::<Evidence>("evidence", evidence),
    message::<SignedStatement>("statement", statements),
    message::<KvRequest>("kv_request", kv_requests),
    message::<KvReply>("kv_reply", kv_replies),
    message::<AuthRequest>("auth_request", || golden(&["auth_"])),
    message::<SessionRequest>("session_request", || {
        [SessionRequest::Open, SessionRequest::Close].iter().map(Encode::encode).collect()
    }),
    message::<SessionReply>("session_reply", || vec![SessionReply::Closed.encode()]),
];

const fn message<T>(name: &'static str, seeds: fn() -> Vec<Vec<u8>>) -> Target
where
    T: Encode + Decode + PartialEq + std::fmt::Debug,
{
    Target { name, run: |bytes| read::<T>(bytes), seeds, memory: MEMORY }
}

fn read<T>(bytes: &[u8]) -> Verdict
where
    T: Encode + Decode + PartialEq + std::fmt::Debug,
{
    canonical::<T>(bytes).is_some().into()
}

/// The golden bytes whose names begin so.
pub(crate) fn golden(beginnings: &[&str]) -> Vec<Vec<u8>> {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/model/tests/golden");
    let other = concat!(env!("CARGO_MANIFEST_DIR"), "/../../crates/model/tests/golden");
    let entries = std::fs::read_dir(directory).or_else(|_| std::fs::read_dir(other));
    let mut files: Vec<_> =
        entries.expect("the golden bytes").map(|entry| entry.expect("listed").path()).collect();
    files.sort();
    files
        .iter()
        .filter(|path| {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
            let name = name.unwrap_or_default();
            beginnings.iter().any(|beginning| name.starts_with(beginning))
        })
        .map(|path| bytes_of(&std::fs::read_to_string(path).expect("text")))
        .collect()
}

fn bytes_of(text: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        text.chars().filter_map(|digit| digit.to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// All golden messages of one kind.
fn known<T: Decode>(beginning: &str) -> impl Iterator<Item = T> {
    golden(&[beginning]).into_iter().map(|bytes| T::decode("golden", &bytes).expect("golden"))
}

fn blocks() -> Vec<Vec<u8>> {
    known::<PeerFrame>("peer_block")
        .filter_map(|frame| match frame.message {
            PeerMessage::Block(block) => Some(block.encode()),
            _ => None,
        })
        .collect()
}

fn envelopes() -> Vec<Vec<u8>> {
    known::<ClientMessage>("client_submit")
        .filter_map(|message| match message {
            ClientMessage::Submit(envelope) => Some(envelope.encode()),
            _ => None,
        })
        .collect()
}

fn plans() -> Vec<Vec<u8>> {
    known::<ServerMessage>("server_plans")
        .filter_map(|message| match message {
            ServerMessage::Plans(plans) => Some(plans),
            _ => None,
        })
        .flatten()
        .map(|plan| plan.encode())
        .collect()
}

fn evidence() -> Vec<Vec<u8>> {
    let filed = known::<ClientMessage>("client_file").filter_map(|message| match message {
        ClientMessage::File(evidence) => Some(evidence),
        _ => None,
    });
    let voted = known::<PeerFrame>("peer_block")
        .filter_map(|frame| match frame.message {
            PeerMessage::Block(block) => Some(block.body.votes),
            _ => None,
        })
        .flatten()
        .filter_map(|vote| match vote {
            Vote::Evidence(evidence) => Some(evidence),
            _ => None,
        });
    filed.chain(voted).map(|evidence| evidence.encode()).collect()
}

fn statements() -> Vec<Vec<u8>> {
    known::<ServerMessage>("server_answers")
        .filter_map(|message| match message {
            ServerMessage::Answers { statement, .. } => Some(statement.encode()),
            _ => None,
        })
        .collect()
}

fn kv_requests() -> Vec<Vec<u8>> {
    let put = |lease| Step::Put { key: b"k".to_vec(), value: b"value".to_vec(), lease };
    let transaction = KvRequest::Transaction {
        conditions: vec![(b"k".to_vec(), Condition::Absent)],
        then: vec![put(None), put(Some(LeaseId(7)))],
        otherwise: vec![Step::Get(b"k".to_vec()), Step::Delete(b"d".to_vec())],
    };
    vec![transaction.encode(), KvRequest::Get { key: b"k".to_vec() }.encode()]
}

fn kv_replies() -> Vec<Vec<u8>> {
    vec![KvReply::NoLease.encode(), KvReply::Invalid.encode()]
}
