//! From bytes to verified messages and back: what stands between a replica's core and the others.

use borsh::BorshSerialize;
use ravelin_crypto::{Keyring, Verified};
use ravelin_model::limits::{FETCH_MAX, PEER_MESSAGE_BYTES_MAX};
use ravelin_model::transfer::{Spot, TransferMessage, Wanted};
use ravelin_model::wire::{PeerFrame, PeerMessage};
use ravelin_model::{
    Block, Chain, Decode as _, Encode as _, Epoch, EpochMessage, Group, LogPart, LogRecord, Place,
    Round, SignedHeader, Suspicion,
};
use ravelin_multicast::{Dag, Message};

use crate::transfer::{ENTRIES_MAX, RANGE_KEY_BYTES_MAX, SPOTS_MAX};

/// Checks messages of peers in one batch of signatures: the verdicts, in order.
///
/// Blocks in a `Replayed` that do not hold are left out; the first such is the verdict if none is
/// left. What belongs to another epoch becomes [`EpochMessage::Elsewhen`].
pub fn verify(keyring: &Keyring, frames: Vec<PeerFrame>) -> Vec<Result<Message, Suspicion>> {
    let mut blocks = Vec::new();
    let mut shapes = Vec::with_capacity(frames.len());
    for PeerFrame { epoch, message } in frames {
        shapes.push(match message {
            PeerMessage::Epoch(EpochMessage::Elsewhen { .. }) => {
                Shape::Done(Err(Suspicion::Malformed))
            }
            PeerMessage::Epoch(message) => Shape::Done(Ok(Message::Epoch(message))),
            PeerMessage::Transfer(message) => Shape::Done(check_transfer(message)),
            message if epoch != keyring.epoch() => {
                let wanted = wanted(epoch, keyring.group(), &message);
                Shape::Done(Ok(Message::Epoch(EpochMessage::Elsewhen { epoch, wanted })))
            }
            PeerMessage::Block(block) => {
                blocks.push(block);
                Shape::Block
            }
            PeerMessage::Replayed(some) => {
                let count = some.len();
                blocks.extend(some);
                Shape::Replayed(count)
            }
            PeerMessage::Fetch(wanted) if wanted.len() > FETCH_MAX => {
                Shape::Done(Err(Suspicion::TooLarge))
            }
            PeerMessage::Fetch(wanted) => Shape::Done(Ok(Message::Fetch(wanted))),
            PeerMessage::Replay { from } => Shape::Done(Ok(Message::Replay(from))),
            PeerMessage::Recall { nonce } => Shape::Done(Ok(Message::Recall(nonce))),
            PeerMessage::Recalled { nonce, newest } => {
                Shape::Done(Ok(Message::Recalled(nonce, newest)))
            }
        });
    }
    let mut verdicts = keyring.verify_blocks(blocks).into_iter();
    shapes
        .into_iter()
        .map(|shape| match shape {
            Shape::Done(verdict) => verdict,
            Shape::Block => verdicts.next().expect("one verdict a block").map(Message::Block),
            Shape::Replayed(count) => {
                let mut refused = None;
                let mut good = Vec::with_capacity(count);
                for verdict in verdicts.by_ref().take(count) {
                    match verdict {
                        Ok(block) => good.push(block),
                        Err(suspicion) => refused = refused.or(Some(suspicion)),
                    }
                }
                match refused {
                    Some(suspicion) if good.is_empty() => Err(suspicion),
                    _ => Ok(Message::Replayed(good)),
                }
            }
        })
        .collect()
}

/// What is asked about the state must be bounded, and of places that there can be.
fn check_transfer(message: TransferMessage) -> Result<Message, Suspicion> {
    if let TransferMessage::Want(request) = &message {
        let fits = match &request.wanted {
            Wanted::Nodes { spots, .. } => spots.len() <= SPOTS_MAX,
            Wanted::Entries(paths) => paths.len() <= ENTRIES_MAX,
            Wanted::Range { from, until } => {
                let mut keys = until.iter().chain([from]);
                keys.all(|key| key.len() <= RANGE_KEY_BYTES_MAX)
            }
        };
        let are_places = match &request.wanted {
            Wanted::Nodes { spots, .. } => spots.iter().all(Spot::is_place),
            Wanted::Entries(_) | Wanted::Range { .. } => true,
        };
        match (fits, are_places) {
            (true, true) => {}
            (false, _) => return Err(Suspicion::TooLarge),
            (true, false) => return Err(Suspicion::Malformed),
        }
    }
    Ok(Message::Transfer(message))
}

/// What a message of `epoch` asks for of the log.
fn wanted(epoch: Epoch, group: Group, message: &PeerMessage) -> Vec<LogPart> {
    match message {
        PeerMessage::Fetch(wanted) if wanted.len() <= FETCH_MAX => {
            LogPart::of_chains(epoch, group, wanted)
        }
        PeerMessage::Replay { from } => vec![LogPart::From(Place { epoch, round: *from })],
        _ => vec![],
    }
}

enum Shape {
    Block,
    Replayed(usize),
    Done(Result<Message, Suspicion>),
}

/// What a verified message of `epoch` is to a replica with these keys.
#[must_use]
pub fn heard(keyring: &Keyring, epoch: Epoch, message: Message) -> Message {
    if epoch == keyring.epoch() || matches!(message, Message::Epoch(_) | Message::Transfer(_)) {
        return message;
    }
    let wanted = match message {
        Message::Fetch(wanted) => LogPart::of_chains(epoch, keyring.group(), &wanted),
        Message::Replay(round) => vec![LogPart::From(Place { epoch, round })],
        _ => vec![],
    };
    Message::Epoch(EpochMessage::Elsewhen { epoch, wanted })
}

/// Reads a peer's bytes.
///
/// # Errors
/// [`Suspicion::Malformed`] or [`Suspicion::TooLarge`] to count against it.
pub fn decode(bytes: &[u8]) -> Result<PeerFrame, Suspicion> {
    if bytes.len() > PEER_MESSAGE_BYTES_MAX {
        return Err(Suspicion::TooLarge);
    }
    PeerFrame::decode("peer message", bytes).map_err(|_| Suspicion::Malformed)
}

/// [`PeerFrame`] as it is written, of what its sender keeps.
#[derive(BorshSerialize)]
struct Outgoing<'a> {
    epoch: Epoch,
    message: OutgoingMessage<'a>,
}

/// The kinds of [`PeerMessage`], in its order.
#[derive(BorshSerialize)]
enum OutgoingMessage<'a> {
    Block(&'a Block),
    Fetch(&'a [Chain]),
    Replay { from: Round },
    Replayed(Vec<&'a Block>),
    Recall { nonce: u64 },
    Recalled { nonce: u64, newest: &'a Option<SignedHeader> },
    Epoch(&'a EpochMessage),
    Transfer(&'a TransferMessage),
}

/// A block as it travels. Without what it carried it would be another one, and the receiver would blame
/// this replica.
fn whole(block: &Verified<Block>) -> &Block {
    assert!(block.is_whole(), "blocks travel with all that they carry");
    block
}

/// The bytes by which a message of `epoch` travels.
#[must_use]
pub fn encode(epoch: Epoch, message: &Message) -> Vec<u8> {
    let message = match message {
        Message::Block(block) => OutgoingMessage::Block(whole(block)),
        Message::Fetch(wanted) => OutgoingMessage::Fetch(wanted),
        Message::Replay(from) => OutgoingMessage::Replay { from: *from },
        Message::Replayed(blocks) => OutgoingMessage::Replayed(blocks.iter().map(whole).collect()),
        Message::Recall(nonce) => OutgoingMessage::Recall { nonce: *nonce },
        Message::Recalled(nonce, newest) => OutgoingMessage::Recalled { nonce: *nonce, newest },
        Message::Epoch(message) => OutgoingMessage::Epoch(message),
        Message::Transfer(message) => OutgoingMessage::Transfer(message),
    };
    Outgoing { epoch, message }.encode()
}

/// What answers a request for `part` of the log, from the bytes of its records. A replay: one message
/// with as many of its epoch as that holds. A chain, whose records come newest first like every answer
/// to a fetch: each in a message of its own, for it tells nothing of how far a replay got.
#[must_use]
pub fn logged(part: &LogPart, records: Vec<LogRecord>) -> Vec<PeerFrame> {
    let epoch = part.epoch();
    let records = records.into_iter().filter(|record| record.place.epoch == epoch);
    let block = |record: LogRecord| Block::decode("recorded block", &record.bytes).ok();
    let frame = |message| PeerFrame { epoch, message };
    match part {
        LogPart::From(_) => {
            let mut room = PEER_MESSAGE_BYTES_MAX - 64;
            let fitting = records.map_while(|record| {
                room = room.checked_sub(record.bytes.len())?;
                Some(record)
            });
            vec![frame(PeerMessage::Replayed(fitting.filter_map(block).collect()))]
        }
        LogPart::Chain { .. } => {
            let blocks = records.filter_map(block);
            blocks.map(|block| frame(PeerMessage::Block(block))).collect()
        }
    }
}

/// The block of a log record, checked again, if the DAG still has use for it.
pub(crate) fn recorded_block(
    keyring: &Keyring,
    dag: &Dag,
    record: &LogRecord,
) -> Option<Verified<Block>> {
    if record.place.epoch != keyring.epoch() || record.place.round <= dag.horizon() {
        return None;
    }
    let block = Block::decode("recorded block", &record.bytes).ok()?;
    keyring.verify_block(block).ok()
}

#[cfg(test)]
mod tests;
