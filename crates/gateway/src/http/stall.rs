//! A connection that is given up when its other end takes nothing any more.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use crate::limits::STALL_MAX;

/// Wraps a connection: a write that gets nowhere for [`STALL_MAX`] fails.
pub(crate) struct Stalling<S> {
    stream: S,
    writing: Patience,
    flushing: Patience,
}

/// Runs while something waits.
#[derive(Default)]
struct Patience(Option<Pin<Box<Sleep>>>);

impl<S: AsyncRead + AsyncWrite + Unpin> Stalling<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, writing: Patience::default(), flushing: Patience::default() }
    }
}

impl Patience {
    /// Passes `done` on, and fails once it has been pending for too long.
    fn limit<T>(
        &mut self,
        context: &mut Context<'_>,
        done: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if done.is_ready() {
            self.0 = None;
            return done;
        }
        let stalled = self.0.get_or_insert_with(|| Box::pin(sleep(STALL_MAX)));
        ready!(stalled.as_mut().poll(context));
        // Whoever polls on after the failure waits anew.
        self.0 = None;
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Stalling<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Stalling<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.writing.limit(context, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.flushing.limit(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(context);
        self.flushing.limit(context, shut)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::time::{Instant, timeout};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_stops_reading_is_given_up_and_a_slow_one_is_not() {
        let (ours, mut theirs) = tokio::io::duplex(16);
        let mut ours = Stalling::new(ours);
        let begun = Instant::now();
        let (written, ()) = tokio::join!(ours.write_all(&[0; 64]), async {
            for _ in 0..3 {
                sleep(STALL_MAX / 2).await;
                theirs.read_exact(&mut [0; 16]).await.unwrap();
            }
        });
        assert!(written.is_ok(), "it took some in time");
        let failed = timeout(STALL_MAX * 10, ours.write_all(&[0; 64])).await;
        let failed = failed.expect("it is given up").unwrap_err();
        assert_eq!(failed.kind(), io::ErrorKind::TimedOut);
        assert!(begun.elapsed() >= STALL_MAX * 5 / 2);
    }
}
