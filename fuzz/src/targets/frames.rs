//! The transport's reader of frames, fed in pieces of any size.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, ReadBuf};

use super::target::{Memory, Target, Verdict};
use crate::transport::frame::{CHUNK_BYTES, FrameError, FrameReader, KEEPALIVE, Patience};

/// Longest message that the reader accepts here.
const LENGTH_MAX: usize = 4096;

/// The reader, what it read, and what the reference read.
pub(crate) const TARGETS: &[Target] = &[Target {
    name: "frames",
    run,
    seeds: || {
        let frame = |bytes: &[u8]| [&(bytes.len() as u32).to_le_bytes()[..], bytes].concat();
        let keepalive = KEEPALIVE.to_le_bytes();
        let some = [&[3][..], &frame(b"a"), &keepalive, &frame(&[7; 300])].concat();
        vec![some, [&[0][..], &frame(&[1; LENGTH_MAX])].concat()]
    },
    // The two lists compared here hold 24 bytes for each keepalive of four, and twice that as they
    // grow; the reader itself holds no more than what arrived and one step.
    memory: Memory { base: CHUNK_BYTES + (64 << 10), factor: 48 },
}];

/// The first byte says in which pieces the rest arrives.
fn run(input: &[u8]) -> Verdict {
    let Some((&pieces, bytes)) = input.split_first() else { return Verdict::Refused };
    let (expected, is_sound) = reference(bytes);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let (read, end) = runtime.expect("a runtime").block_on(read(bytes, pieces));
    assert_eq!(read, expected, "frames in pieces of {pieces}");
    match end {
        FrameError::Length(length) => {
            let length = length as usize;
            assert!(!is_sound && !(1..=LENGTH_MAX).contains(&length), "{length} was refused");
        }
        FrameError::Broken(error) => {
            assert!(is_sound && error.kind() == io::ErrorKind::UnexpectedEof, "{error}");
        }
        other => panic!("nobody waited: {other}"),
    }
    is_sound.into()
}

/// Frames as `docs/wire.md` says, until something is cut short (sound) or not allowed.
fn reference(mut bytes: &[u8]) -> (Vec<Option<Vec<u8>>>, bool) {
    let mut frames = Vec::new();
    while let Some((header, rest)) = bytes.split_first_chunk::<4>() {
        let announced = u32::from_le_bytes(*header);
        if announced == u32::MAX {
            frames.push(None);
            bytes = rest;
            continue;
        }
        if announced == 0 || announced as usize > LENGTH_MAX {
            return (frames, false);
        }
        let Some((message, rest)) = rest.split_at_checked(announced as usize) else { break };
        frames.push(Some(message.to_vec()));
        bytes = rest;
    }
    (frames, true)
}

async fn read(bytes: &[u8], pieces: u8) -> (Vec<Option<Vec<u8>>>, FrameError) {
    let patience = Patience { silence_max: Duration::from_secs(3600), message_by: None };
    let source = Pieces { rest: bytes, size: usize::from(pieces) + 1, turn: 0 };
    let mut reader = FrameReader::new(source, LENGTH_MAX);
    let mut frames = Vec::new();
    loop {
        match reader.length(patience).await {
            Ok(None) => frames.push(None),
            Ok(Some(length)) => match reader.message(length, patience).await {
                Ok(message) => frames.push(Some(message)),
                Err(error) => return (frames, error),
            },
            Err(error) => return (frames, error),
        }
    }
}

/// A source that gives a little at a time, and now and then nothing.
struct Pieces<'a> {
    rest: &'a [u8],
    size: usize,
    turn: usize,
}

impl AsyncRead for Pieces<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.turn += 1;
        if self.turn.is_multiple_of(5) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let size = 1 + (self.turn * 7) % self.size;
        let (piece, rest) = self.rest.split_at(size.min(self.rest.len()).min(into.remaining()));
        into.put_slice(piece);
        self.rest = rest;
        Poll::Ready(Ok(()))
    }
}
