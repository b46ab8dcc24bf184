//! Frames: a length and as many bytes. Reading them from a stranger costs no more than they sent.
//!
//! **Guarantee:** a length that is not allowed is refused before a byte is allocated, and a length
//! that is allowed makes the reader allocate at most twice what has arrived of it plus
//! [`CHUNK_BYTES`].

use std::fmt;
use std::future::Future;
use std::io::{self, ErrorKind, IoSlice};
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout, timeout_at};

/// The length that announces no message, only that the sender lives.
pub(super) const KEEPALIVE: u32 = u32::MAX;
/// Least that is allocated for a message that has begun, unless it is shorter.
pub(super) const CHUNK_BYTES: usize = 64 << 10;

/// A message as it arrived, nothing in it believed yet.
///
/// It counts against its sender's share of memory until it is dropped: who keeps messages stops
/// the reading from their sender, and from nobody else.
pub struct Received {
    bytes: Vec<u8>,
    _share: OwnedSemaphorePermit,
}

impl Received {
    pub(super) fn new(bytes: Vec<u8>, share: OwnedSemaphorePermit) -> Self {
        Self { bytes, _share: share }
    }

    /// The bytes alone; from here on they are the caller's to bound.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

impl Deref for Received {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl fmt::Debug for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Received({} bytes)", self.bytes.len())
    }
}

/// Why no more frames can be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum FrameError {
    #[error("a frame of {0} bytes is not allowed")]
    Length(u32),
    #[error("nothing heard for too long")]
    Silent,
    #[error("no whole message for too long")]
    Idle,
    #[error("the other end takes nothing of what is sent")]
    Stalled,
    #[error("the connection broke")]
    Broken(#[from] io::Error),
}

/// How long a reader waits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// For the next byte.
    pub(super) silence_max: Duration,
    /// For the end of the next message, however often something arrives meanwhile.
    pub(super) message_by: Option<Instant>,
}

impl Patience {
    async fn wait<T>(&self, read: impl Future<Output = io::Result<T>>) -> Result<T, FrameError> {
        let silent_at = Instant::now() + self.silence_max;
        let idle_first = self.message_by.is_some_and(|idle_at| idle_at < silent_at);
        let until = self.message_by.map_or(silent_at, |idle_at| idle_at.min(silent_at));
        match timeout_at(until, read).await {
            Ok(outcome) => Ok(outcome?),
            Err(_) if idle_first => Err(FrameError::Idle),
            Err(_) => Err(FrameError::Silent),
        }
    }
}

/// Takes a stream of bytes apart.
pub(super) struct FrameReader<R> {
    source: R,
    length_max: usize,
    /// What has arrived of the current message.
    body: Vec<u8>,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    pub(super) fn new(source: R, length_max: usize) -> Self {
        Self { source, length_max, body: Vec::new() }
    }

    /// The length of the next message, or `None` for a keepalive.
    pub(super) async fn length(&mut self, patience: Patience) -> Result<Option<usize>, FrameError> {
        let mut header = [0; 4];
        patience.wait(self.source.read_exact(&mut header)).await?;
        let announced = u32::from_le_bytes(header);
        if announced == KEEPALIVE {
            return Ok(None);
        }
        match usize::try_from(announced) {
            Ok(length) if (1..=self.length_max).contains(&length) => Ok(Some(length)),
            _ => Err(FrameError::Length(announced)),
        }
    }

    /// The message itself, of the length just announced.
    pub(super) async fn message(
        &mut self,
        length: usize,
        patience: Patience,
    ) -> Result<Vec<u8>, FrameError> {
        while self.body.len() < length {
            let arrived = self.body.len();
            if arrived == self.body.capacity() {
                let wanted = length.min(CHUNK_BYTES.max(2 * arrived));
                self.body.reserve_exact(wanted - arrived);
            }
            let mut rest = (&mut self.source).take((length - arrived) as u64);
            if patience.wait(rest.read_buf(&mut self.body)).await? == 0 {
                return Err(io::Error::from(ErrorKind::UnexpectedEof).into());
            }
        }
        Ok(std::mem::take(&mut self.body))
    }

    #[cfg(test)]
    pub(super) fn allocated(&self) -> usize {
        self.body.capacity()
    }
}

/// Writes messages in as few calls as the socket allows, or a keepalive if there are none.
///
/// Every message is shorter than `u32::MAX` bytes, as the outbox sees to.
pub(super) async fn write_frames<W: AsyncWrite + Unpin>(
    sink: &mut W,
    messages: &[Arc<[u8]>],
) -> io::Result<()> {
    match write_frames_moving(sink, messages, None).await {
        Ok(()) => Ok(()),
        Err(FrameError::Broken(error)) => Err(error),
        Err(other) => Err(io::Error::other(other)),
    }
}

/// The same, as long as the other end takes something of it every `stall_max`.
pub(super) async fn write_frames_moving<W: AsyncWrite + Unpin>(
    sink: &mut W,
    messages: &[Arc<[u8]>],
    stall_max: Option<Duration>,
) -> Result<(), FrameError> {
    let length = |message: &Arc<[u8]>| u32::try_from(message.len()).unwrap_or(0).to_le_bytes();
    let headers: Vec<[u8; 4]> = match messages {
        [] => vec![KEEPALIVE.to_le_bytes()],
        _ => messages.iter().map(length).collect(),
    };
    let mut slices = Vec::with_capacity(2 * headers.len());
    for (header, message) in headers.iter().zip(messages.iter().map(Some).chain([None])) {
        slices.push(IoSlice::new(header));
        slices.extend(message.map(|bytes| IoSlice::new(bytes)));
    }
    let mut unwritten = slices.as_mut_slice();
    while !unwritten.is_empty() {
        match moving(stall_max, sink.write_vectored(unwritten)).await? {
            0 => return Err(io::Error::from(ErrorKind::WriteZero).into()),
            written => IoSlice::advance_slices(&mut unwritten, written),
        }
    }
    moving(stall_max, sink.flush()).await
}

async fn moving<T>(
    stall_max: Option<Duration>,
    step: impl Future<Output = io::Result<T>>,
) -> Result<T, FrameError> {
    match stall_max {
        None => Ok(step.await?),
        Some(stall_max) => match timeout(stall_max, step).await {
            Ok(outcome) => Ok(outcome?),
            Err(_) => Err(FrameError::Stalled),
        },
    }
}
