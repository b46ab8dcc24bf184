//! The way to a TPM: a device or a Unix socket, one command and one answer at a time.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use super::wire::{Command, Fields};
use crate::counter::CounterError;

/// Longest answer that is read. Those to the commands in use have at most 93 bytes.
pub const ANSWER_BYTES_MAX: usize = 512;
/// Longest time for one command, the TPM's own "try again" included. A TPM may take two seconds
/// for a write to its memory; one that takes longer than this has failed.
pub const EXCHANGE_MAX: Duration = Duration::from_secs(10);

/// Pauses between two tries: the first and the longest.
const PAUSES: [Duration; 2] = [Duration::from_millis(5), Duration::from_millis(320)];
/// `TPM_RC_YIELDED`, `_TESTING`, `_NV_RATE`, `_RETRY`: nothing was done, the same command may be
/// sent again. Only the last two are common: memory that is written too fast, a busy TPM.
const RC_TRY_AGAIN: [u32; 4] = [0x908, 0x90A, 0x920, 0x922];

/// An open connection to something that speaks as a TPM.
pub struct Transport {
    stream: OwnedFd,
    answer: [u8; ANSWER_BYTES_MAX],
    limit: Duration,
    /// Once out of step, an answer could be that to an earlier command.
    failed: Option<CounterError>,
}

impl Transport {
    /// Opens `/dev/tpmrm0` or another device, or the Unix socket of a software TPM.
    ///
    /// # Errors
    /// [`CounterError::Unreachable`]
    pub fn open(path: &Path) -> Result<Self, CounterError> {
        Self::connect(path).map_err(CounterError::Unreachable)
    }

    fn connect(path: &Path) -> Result<Self, Errno> {
        let mode = rustix::fs::stat(path)?.st_mode;
        let stream = if FileType::from_raw_mode(mode) == FileType::Socket {
            let stream = UnixStream::connect(path)
                .and_then(|stream| stream.set_nonblocking(true).map(|()| stream))
                .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
            OwnedFd::from(stream)
        } else {
            // Without NONBLOCK a device answers within `write`, and no deadline would hold.
            let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
            rustix::fs::open(path, flags, Mode::empty())?
        };
        Ok(Self { stream, answer: [0; ANSWER_BYTES_MAX], limit: EXCHANGE_MAX, failed: None })
    }

    /// Replaces [`EXCHANGE_MAX`].
    #[must_use]
    pub fn with_limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Sends a command and answers the fields after the header of the answer to it, which says
    /// that the command succeeded. After a failure to get an answer there is no other exchange.
    pub(super) fn exchange(&mut self, command: &mut Command) -> Result<Fields<'_>, CounterError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let name = command.name;
        let sent = command.finish();
        let length = match self.repeat(name, sent) {
            Ok(length) => length,
            Err(error) => return Err(*self.failed.insert(error)),
        };
        let answer = self.answer.get(..length).ok_or(CounterError::Malformed { command: name })?;
        Fields::new(name, answer).after_header(sent)
    }

    /// Sends a command until it is taken, and reads the answer. Its length.
    fn repeat(&mut self, name: &'static str, sent: &[u8]) -> Result<usize, CounterError> {
        let deadline = Instant::now() + self.limit;
        let [mut pause, longest] = PAUSES;
        loop {
            self.send(sent, deadline)?;
            let length = self.receive(name, deadline)?;
            if !RC_TRY_AGAIN.contains(&self.code()) {
                return Ok(length);
            }
            wait(&mut [], deadline.min(Instant::now() + pause))?;
            pause = longest.min(pause * 2);
        }
    }

    fn send(&self, mut bytes: &[u8], deadline: Instant) -> Result<(), CounterError> {
        while !bytes.is_empty() {
            self.wait_for(PollFlags::OUT, deadline)?;
            match rustix::io::write(&self.stream, bytes) {
                Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(error) => return Err(CounterError::Unreachable(error)),
            }
        }
        Ok(())
    }

    /// Reads one answer; a device gives it at once, a socket perhaps in pieces. Its length.
    fn receive(&mut self, command: &'static str, deadline: Instant) -> Result<usize, CounterError> {
        let mut length = 0;
        loop {
            self.wait_for(PollFlags::IN, deadline)?;
            let free = self.answer.get_mut(length..).unwrap_or_default();
            match rustix::io::read(&self.stream, free) {
                Ok(0) => return Err(CounterError::Unreachable(Errno::PIPE)), // closed, or too long
                Ok(read) => length += read,
                Err(Errno::AGAIN | Errno::INTR) => continue,
                Err(error) => return Err(CounterError::Unreachable(error)),
            }
            let [_, _, a, b, c, d, ..] = self.answer;
            let size = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
            if length < HEADER_BYTES {
                continue;
            }
            if !(HEADER_BYTES..=ANSWER_BYTES_MAX).contains(&size) || length > size {
                return Err(CounterError::Malformed { command });
            }
            if length == size {
                return Ok(length);
            }
        }
    }

    /// The code in the header of the answer.
    fn code(&self) -> u32 {
        let [_, _, _, _, _, _, a, b, c, d, ..] = self.answer;
        u32::from_be_bytes([a, b, c, d])
    }

    fn wait_for(&self, event: PollFlags, deadline: Instant) -> Result<(), CounterError> {
        if wait(&mut [PollFd::new(&self.stream, event)], deadline)? {
            return Ok(());
        }
        Err(CounterError::TimedOut)
    }
}

/// Tag, size, code.
const HEADER_BYTES: usize = 10;

/// Waits until something is ready (`true`) or the deadline has come (`false`).
fn wait(on: &mut [PollFd<'_>], deadline: Instant) -> Result<bool, CounterError> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).map_err(|_| CounterError::TimedOut)?;
        match rustix::event::poll(on, Some(&timeout)) {
            Ok(ready) => return Ok(ready > 0),
            Err(Errno::INTR) => {}
            Err(error) => return Err(CounterError::Unreachable(error)),
        }
    }
}
