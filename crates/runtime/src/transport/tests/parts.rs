//! The parts alone: keys, frames, queues.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::time::Instant;

use super::{message, soon};
use crate::transport::frame::{
    CHUNK_BYTES, FrameError, FrameReader, KEEPALIVE, Patience, write_frames,
};
use crate::transport::outbox::{Outbox, Priority, Pushed};
use crate::transport::{ChannelLimits, TransportKey};

const PATIENCE: Patience = Patience { silence_max: Duration::from_secs(20), message_by: None };
const SHORT: Patience = Patience { silence_max: Duration::from_millis(50), message_by: None };

#[test]
fn key_of_a_seed_is_the_one_of_rfc_8032() {
    // RFC 8032, section 7.1, test 1.
    let seed = [
        0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec, 0x2c,
        0xc4, 0x44, 0x49, 0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae,
        0x7f, 0x60,
    ];
    let key = TransportKey::from_seed(&seed);
    assert_eq!(key.public_key().0[..4], [0xd7, 0x5a, 0x98, 0x01]);
    assert_eq!(key.public_key().0[28..], [0xf7, 0x07, 0x51, 0x1a]);
    let shown = format!("{key:?}");
    assert!(shown.starts_with("TransportKey(") && !shown.contains("9d61"), "{shown}");
}

#[tokio::test]
async fn frames_have_these_bytes() {
    let (mut near, mut far) = duplex(1024);
    write_frames(&mut near, &[message(7, 3), message(8, 1)]).await.unwrap();
    write_frames(&mut near, &[]).await.unwrap();
    drop(near);
    let mut bytes = Vec::new();
    far.read_to_end(&mut bytes).await.unwrap();
    assert_eq!(bytes, [3, 0, 0, 0, 7, 7, 7, 1, 0, 0, 0, 8, 255, 255, 255, 255]);
}

#[tokio::test]
async fn frames_survive_a_sink_that_takes_them_in_small_pieces() {
    let (mut near, far) = duplex(7);
    let writing = tokio::spawn(async move {
        write_frames(&mut near, &[message(1, 100), message(2, 1)]).await.unwrap();
        write_frames(&mut near, &[message(3, 100_000)]).await.unwrap();
        near
    });
    let mut reader = FrameReader::new(far, 100_000);
    for (byte, length) in [(1, 100), (2, 1), (3, 100_000)] {
        assert_eq!(reader.length(PATIENCE).await.unwrap(), Some(length));
        assert_eq!(reader.message(length, PATIENCE).await.unwrap(), vec![byte; length]);
    }
    soon(writing).await.unwrap();
}

#[tokio::test]
async fn lengths_that_are_not_allowed_are_refused() {
    for (announced, allowed) in
        [(0, false), (1, true), (9, true), (10, false), (u32::MAX - 1, false)]
    {
        let (mut near, far) = duplex(64);
        near.write_u32_le(announced).await.unwrap();
        let read = FrameReader::new(far, 9).length(PATIENCE).await;
        assert_eq!(read.is_ok(), allowed, "{announced}");
        assert!(allowed || matches!(read, Err(FrameError::Length(length)) if length == announced));
    }
}

#[tokio::test]
async fn keepalive_is_no_message() {
    let (mut near, far) = duplex(64);
    near.write_u32_le(KEEPALIVE).await.unwrap();
    assert_eq!(FrameReader::new(far, 9).length(PATIENCE).await.unwrap(), None);
}

#[tokio::test]
async fn announced_length_costs_no_memory_until_bytes_arrive() {
    let announced = 1 << 30; // allowed here: what protects is that it is not believed
    let (mut near, far) = duplex(1 << 20);
    let mut reader = FrameReader::new(far, announced);
    assert!(matches!(reader.message(announced, SHORT).await, Err(FrameError::Silent)));
    assert!(reader.allocated() <= CHUNK_BYTES, "{}", reader.allocated());
    near.write_all(&vec![0; 200_000]).await.unwrap();
    assert!(matches!(reader.message(announced, SHORT).await, Err(FrameError::Silent)));
    assert!(reader.allocated() >= 200_000);
    assert!(reader.allocated() <= 400_000 + CHUNK_BYTES, "{}", reader.allocated());
}

#[tokio::test]
async fn trickling_bytes_do_not_postpone_the_end_of_a_message() {
    let (mut near, far) = duplex(64);
    let trickle = tokio::spawn(async move {
        while near.write_u8(0).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    let message_by = Some(Instant::now() + Duration::from_millis(100));
    let patience = Patience { message_by, ..PATIENCE };
    let read = soon(FrameReader::new(far, 1 << 20).message(1 << 20, patience)).await;
    assert!(matches!(read, Err(FrameError::Idle)));
    soon(trickle).await.unwrap();
}

fn outbox(bytes: usize, frames: usize) -> Outbox {
    Outbox::new(ChannelLimits {
        outbox_bytes_max: bytes,
        outbox_frames_max: frames,
        ..ChannelLimits::PEER
    })
}

fn first_bytes(batch: &[Arc<[u8]>]) -> Vec<u8> {
    batch.iter().map(|message| message[0]).collect()
}

const KEPT: Pushed = Pushed::Dropping { bulk: 0, protocol: 0 };

#[tokio::test]
async fn protocol_leaves_before_bulk_and_each_in_order() {
    let outbox = outbox(1000, 10);
    for byte in 1..=2 {
        assert_eq!(outbox.push(Priority::Bulk, message(byte, 1)), KEPT);
        assert_eq!(outbox.push(Priority::Protocol, message(byte + 10, 1)), KEPT);
    }
    assert_eq!(first_bytes(&outbox.next_batch().await), [11, 12, 1, 2]);
}

#[tokio::test]
async fn full_queue_drops_the_oldest_bulk_then_the_oldest_protocol() {
    for outbox in [outbox(40, 1000), outbox(1000, 4)] {
        for (priority, byte) in
            [(Priority::Protocol, 1), (Priority::Bulk, 2), (Priority::Bulk, 3), (Priority::Bulk, 4)]
        {
            assert_eq!(outbox.push(priority, message(byte, 10)), KEPT);
        }
        let dropped_bulk = Pushed::Dropping { bulk: 1, protocol: 0 };
        for byte in 5..=7 {
            assert_eq!(outbox.push(Priority::Protocol, message(byte, 10)), dropped_bulk);
        }
        let dropped_protocol = Pushed::Dropping { bulk: 0, protocol: 1 };
        assert_eq!(outbox.push(Priority::Protocol, message(8, 10)), dropped_protocol);
        assert_eq!(outbox.push(Priority::Bulk, message(9, 10)), dropped_bulk, "itself");
        assert_eq!(first_bytes(&outbox.next_batch().await), [5, 6, 7, 8]);
        assert_eq!(outbox.push(Priority::Bulk, message(10, 10)), KEPT, "room again");
    }
}

#[tokio::test]
async fn of_two_bulk_messages_the_older_is_dropped() {
    let outbox = outbox(20, 1000);
    outbox.push(Priority::Bulk, message(1, 10));
    outbox.push(Priority::Bulk, message(2, 10));
    outbox.push(Priority::Bulk, message(3, 10));
    assert_eq!(first_bytes(&outbox.next_batch().await), [2, 3]);
}

#[test]
fn what_no_receiver_accepts_is_not_queued() {
    let outbox = outbox(100, 10);
    for length in [0, 101] {
        assert_eq!(outbox.push(Priority::Protocol, message(0, length)), Pushed::Unsendable);
    }
    assert_eq!(outbox.push(Priority::Protocol, message(0, 100)), KEPT);
}

#[tokio::test]
async fn batches_are_bounded() {
    let outbox = outbox(1 << 20, 1000);
    for _ in 0..10 {
        outbox.push(Priority::Protocol, message(1, 100 << 10));
    }
    assert_eq!(outbox.next_batch().await.len(), 2, "two of 100 KiB fit into 256 KiB");
}
