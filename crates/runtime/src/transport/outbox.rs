//! What waits to be sent on one channel.
//!
//! **Guarantee:** bounded in bytes and messages; putting something in never waits; each priority
//! leaves in the order in which it came. At the bound the oldest bulk message goes first, then the
//! oldest protocol message: the newest of the protocol says most, and what is missed is fetched.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::ChannelLimits;

/// Most bytes that leave in one write, unless a single message is longer.
const BATCH_BYTES_MAX: usize = 256 << 10;
/// Most messages that leave in one write.
const BATCH_FRAMES_MAX: usize = 256;

/// Which message leaves first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// What the protocols wait for.
    Protocol,
    /// What a replica that lags behind asked for: in pieces, since a piece is not interrupted.
    Bulk,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pushed {
    /// It waits, and so many older ones were dropped for it (or it was itself one of them).
    Dropping { bulk: usize, protocol: usize },
    /// It is empty or too long to be ever sent.
    Unsendable,
}

/// The bounded queue of one channel.
pub(super) struct Outbox {
    limits: ChannelLimits,
    waiting: Mutex<Waiting>,
    filled: Notify,
}

#[derive(Default)]
struct Waiting {
    protocol: VecDeque<Arc<[u8]>>,
    bulk: VecDeque<Arc<[u8]>>,
    bytes: usize,
}

impl Outbox {
    pub(super) fn new(limits: ChannelLimits) -> Self {
        Self { limits, waiting: Mutex::default(), filled: Notify::new() }
    }

    /// Queues a message, and drops what no longer fits.
    pub(super) fn push(&self, priority: Priority, message: Arc<[u8]>) -> Pushed {
        if !self.is_sendable(&message) {
            return Pushed::Unsendable;
        }
        let mut waiting = self.lock();
        waiting.bytes += message.len();
        waiting.queue(priority).push_back(message);
        let (mut bulk, mut protocol) = (0, 0);
        while self.is_overfull(&waiting) {
            if waiting.drop_oldest(Priority::Bulk) {
                bulk += 1;
            } else if waiting.drop_oldest(Priority::Protocol) {
                protocol += 1;
            }
        }
        drop(waiting);
        self.filled.notify_one();
        Pushed::Dropping { bulk, protocol }
    }

    /// Waits until there is something to send, and takes what fits into one write.
    pub(super) async fn next_batch(&self) -> Vec<Arc<[u8]>> {
        loop {
            let batch = self.lock().take_batch();
            if !batch.is_empty() {
                return batch;
            }
            self.filled.notified().await;
        }
    }

    fn is_sendable(&self, message: &[u8]) -> bool {
        let longest = self.limits.sent_bytes_max.min(self.limits.outbox_bytes_max);
        (1..=longest.min(u32::MAX as usize - 1)).contains(&message.len())
    }

    fn is_overfull(&self, waiting: &Waiting) -> bool {
        let frames = waiting.protocol.len() + waiting.bulk.len();
        waiting.bytes > self.limits.outbox_bytes_max || frames > self.limits.outbox_frames_max
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn queue(&mut self, priority: Priority) -> &mut VecDeque<Arc<[u8]>> {
        match priority {
            Priority::Protocol => &mut self.protocol,
            Priority::Bulk => &mut self.bulk,
        }
    }

    fn drop_oldest(&mut self, priority: Priority) -> bool {
        let Some(oldest) = self.queue(priority).pop_front() else { return false };
        self.bytes -= oldest.len();
        true
    }

    fn take_batch(&mut self) -> Vec<Arc<[u8]>> {
        let mut batch = Vec::new();
        let mut bytes = 0;
        while batch.len() < BATCH_FRAMES_MAX {
            let queue = if self.protocol.is_empty() { &mut self.bulk } else { &mut self.protocol };
            let length = queue.front().map_or(0, |message| message.len());
            if bytes > 0 && bytes + length > BATCH_BYTES_MAX {
                break;
            }
            let Some(message) = queue.pop_front() else { break };
            bytes += message.len();
            batch.push(message);
        }
        self.bytes -= bytes;
        batch
    }
}
