//! The thread that makes segments ahead of need, and takes pruned ones out of use.
//!
//! Making a segment syncs megabytes of zeroes; here nobody waits for it, unless the log fills a
//! segment faster than the disk can zero one. On a full disk it tries again while the present segment
//! lasts: whoever looks after the room may stop in good order meanwhile.

use super::segment::{self, Segment};
use super::{LogConfig, SegmentNumber};
use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Pause after the disk was full.
const RETRY_AFTER: Duration = Duration::from_millis(500);

enum Request {
    Prepare(SegmentNumber),
    Retire(SegmentNumber),
}

/// A handle to the thread; dropping it waits for the thread's current work.
pub(super) struct Preparer {
    requests: Option<Sender<Request>>,
    ready: Receiver<io::Result<Segment>>,
    /// The next segment, when it has come.
    next: Option<Segment>,
    is_requested: bool,
    /// When to ask again, after the disk was full.
    rested: Option<Instant>,
    thread: Option<JoinHandle<()>>,
}

impl Preparer {
    /// Starts the thread. `next`: the next segment, if an earlier process has made it already.
    pub(super) fn start(
        dir: PathBuf,
        config: LogConfig,
        next: Option<Segment>,
    ) -> io::Result<Self> {
        let (requests, inbox) = channel();
        let (outbox, ready) = channel();
        let work = move || {
            for request in inbox {
                let outcome = match request {
                    Request::Prepare(number) => Segment::create(&dir, number, &config).map(Some),
                    Request::Retire(number) => segment::retire(&dir, number).map(|()| None),
                };
                if let Some(answer) = outcome.transpose()
                    && outbox.send(answer).is_err()
                {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("log-preparer".into()).spawn(work)?;
        let is_requested = next.is_some();
        Ok(Self {
            requests: Some(requests),
            ready,
            next,
            is_requested,
            rested: None,
            thread: Some(thread),
        })
    }

    /// Asks for segment `number`, unless it was asked for already.
    pub(super) fn prepare(&mut self, number: SegmentNumber) {
        let is_resting = self.rested.is_some_and(|until| Instant::now() < until);
        if !self.is_requested && !is_resting {
            self.is_requested = true;
            self.send(Request::Prepare(number));
        }
    }

    /// Takes segment `number`, which no marker needs any more, out of use.
    pub(super) fn retire(&mut self, number: SegmentNumber) {
        self.send(Request::Retire(number));
    }

    /// Reports a failure of the thread, if there was one, without waiting. That the disk is full is none
    /// yet: there is the present segment.
    pub(super) fn check(&mut self) -> io::Result<()> {
        match self.ready.try_recv() {
            Ok(Err(error)) if error.kind() == io::ErrorKind::StorageFull => {
                self.is_requested = false;
                self.rested = Some(Instant::now() + RETRY_AFTER);
            }
            Ok(answer) => self.next = Some(answer?),
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => return Err(gone()),
        }
        Ok(())
    }

    /// Waits for segment `number`, which is wanted now, and hands it over.
    pub(super) fn take(&mut self, number: SegmentNumber) -> io::Result<Segment> {
        self.check()?;
        self.rested = None;
        self.prepare(number);
        self.is_requested = false;
        match self.next.take() {
            Some(segment) => Ok(segment),
            None => self.ready.recv().unwrap_or_else(|_| Err(gone())),
        }
    }

    fn send(&self, request: Request) {
        if let Some(requests) = &self.requests {
            // A thread that is gone is reported by `check` and `take`.
            let _ = requests.send(request);
        }
    }
}

impl Drop for Preparer {
    fn drop(&mut self) {
        self.requests = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn gone() -> io::Error {
    io::Error::other("the thread that prepares segments is gone")
}
