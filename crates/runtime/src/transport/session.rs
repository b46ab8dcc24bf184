//! One connection from its handshake to its end: reads, writes, keeps it alive, notices its death.
//!
//! **Guarantee:** what it delivers is in order and within the channel's share of memory; at the
//! bound it stops reading and the other end's sending stops in turn. It ends when the other end
//! breaks the framing, closes, falls silent, or takes nothing of what is sent, and never by itself
//! otherwise.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, BufReader};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsStream;

use super::frame::{FrameError, FrameReader, Patience, Received, write_frames_moving};
use super::outbox::{Outbox, Priority, Pushed};
use super::{ChannelLimits, Counters, Timing};

/// What is read from a socket at once, to be decrypted in small pieces.
const READ_BYTES: usize = 32 << 10;

/// An authenticated connection, whichever end began it.
pub(super) type SecureStream = TlsStream<BufReader<TcpStream>>;

/// Prepares a fresh connection for its handshake.
pub(super) fn buffered(stream: TcpStream) -> io::Result<BufReader<TcpStream>> {
    stream.set_nodelay(true)?;
    Ok(BufReader::with_capacity(READ_BYTES, stream))
}

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum SessionEnd {
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("nobody takes what arrives")]
    Unheard,
}

/// What outlives the connections of a channel: what waits to be sent, and the share of memory.
pub(super) struct Channel {
    limits: ChannelLimits,
    timing: Timing,
    idle_max: Option<Duration>,
    outbox: Outbox,
    inbox: Arc<Semaphore>,
    counters: Arc<Counters>,
    /// When the other end was last heard over the connection that is, or was last.
    heard: Mutex<Option<Instant>>,
    /// Until when nothing is read.
    rest: Mutex<Option<Instant>>,
}

impl Channel {
    /// `idle_max`: how long the other end may go without a whole message; for ever if `None`.
    pub(super) fn new(
        limits: ChannelLimits,
        timing: Timing,
        idle_max: Option<Duration>,
        counters: Arc<Counters>,
    ) -> Self {
        let share = limits.inbox_bytes_max.clamp(1, u32::MAX as usize).min(Semaphore::MAX_PERMITS);
        let inbox = Arc::new(Semaphore::new(share));
        let (outbox, heard, rest) = (Outbox::new(limits), Mutex::new(None), Mutex::new(None));
        Self { limits, timing, idle_max, outbox, inbox, counters, heard, rest }
    }

    /// Reads nothing for so long, after at most one more message: the other end's sending stops in turn.
    pub(super) fn rest(&self, time: Duration) {
        *self.rest.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + time);
    }

    async fn rested(&self) {
        let until = *self.rest.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(until) = until {
            tokio::time::sleep_until(until).await;
        }
    }

    /// Whether the other end was heard so lately that it must be alive.
    pub(super) fn is_alive(&self) -> bool {
        let heard = *self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.is_some_and(|heard| heard.elapsed() < self.timing.keepalive_every * 2)
    }

    fn set_heard(&self, heard: Option<Instant>) {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = heard;
    }

    /// Queues a message, counts what was dropped, and says whether all is still there.
    pub(super) fn push(&self, priority: Priority, message: Arc<[u8]>) -> bool {
        match self.outbox.push(priority, message) {
            Pushed::Dropping { bulk, protocol } => {
                self.counters.dropped_bulk.add(bulk);
                self.counters.dropped_protocol.add(protocol);
                bulk + protocol == 0
            }
            Pushed::Unsendable => {
                self.counters.dropped_unsendable.add(1);
                tracing::error!("a message that no receiver would accept was not sent");
                true
            }
        }
    }

    /// Carries messages both ways until the connection ends.
    pub(super) async fn run<S, E>(
        &self,
        stream: S,
        events: &mpsc::Sender<E>,
        event: impl Fn(Received) -> E,
    ) -> SessionEnd
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        self.set_heard(None);
        let (source, sink) = tokio::io::split(stream);
        let end = tokio::select! {
            end = self.read(source, events, event) => end,
            end = self.write(sink) => end,
        };
        match &end {
            SessionEnd::Frame(FrameError::Length(_)) => self.counters.closed_bad_frame.add(1),
            SessionEnd::Frame(FrameError::Silent) => self.counters.closed_silent.add(1),
            SessionEnd::Frame(FrameError::Idle) => self.counters.closed_idle.add(1),
            SessionEnd::Frame(FrameError::Stalled) => self.counters.closed_stalled.add(1),
            SessionEnd::Frame(FrameError::Broken(_)) | SessionEnd::Unheard => {}
        }
        end
    }

    async fn read<R, E>(
        &self,
        source: R,
        events: &mpsc::Sender<E>,
        event: impl Fn(Received) -> E,
    ) -> SessionEnd
    where
        R: AsyncRead + Unpin,
    {
        let mut reader = FrameReader::new(source, self.limits.received_bytes_max);
        let mut patience = self.patience();
        loop {
            let length = match reader.length(patience).await {
                Ok(length) => {
                    self.set_heard(Some(Instant::now()));
                    length
                }
                Err(error) => return error.into(),
            };
            let Some(length) = length else { continue }; // a keepalive
            let Some(share) = self.share(length).await else { return SessionEnd::Unheard };
            let message = match reader.message(length, self.patience()).await {
                Ok(message) => message,
                Err(error) => return error.into(),
            };
            self.counters.frames_in.add(1);
            self.counters.bytes_in.add(length);
            if events.send(event(Received::new(message, share))).await.is_err() {
                return SessionEnd::Unheard;
            }
            self.rested().await;
            patience = self.patience();
        }
    }

    async fn write<W: AsyncWrite + Unpin>(&self, mut sink: W) -> SessionEnd {
        loop {
            let batch = timeout(self.timing.keepalive_every, self.outbox.next_batch()).await;
            let batch = batch.unwrap_or_default(); // nothing to say for so long: a keepalive
            let stall_max = Some(self.timing.stall_max);
            if let Err(error) = write_frames_moving(&mut sink, &batch, stall_max).await {
                return error.into();
            }
            self.counters.frames_out.add(batch.len());
            self.counters.bytes_out.add(batch.iter().map(|message| message.len()).sum());
        }
    }

    /// Waits until a message of this length fits into the share. This wait is ours, so no limit of
    /// time counts against the other end meanwhile.
    async fn share(&self, length: usize) -> Option<OwnedSemaphorePermit> {
        let wanted = length.min(self.limits.inbox_bytes_max.max(1));
        let permits = u32::try_from(wanted).unwrap_or(u32::MAX);
        Arc::clone(&self.inbox).acquire_many_owned(permits).await.ok()
    }

    fn patience(&self) -> Patience {
        let message_by = self.idle_max.map(|idle_max| Instant::now() + idle_max);
        Patience { silence_max: self.timing.silence_max, message_by }
    }
}
