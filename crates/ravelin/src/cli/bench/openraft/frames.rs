//! What a client and a `raft-peer` say to each other. Both programs are compiled from this file.
//!
//! A frame is the length of its body (four bytes, the lowest first), and the body: the number of a request
//! (eight bytes), a byte that says what follows, and that. Requests of one connection are answered in
//! any order, each under its number.
#![allow(dead_code, reason = "each of the two programs uses its half, and tests use both")]

/// Bytes of a body at most: an envelope that our own servers take fits twice.
pub(super) const FRAME_BYTES_MAX: usize = 2 << 20;
/// What stands before a body.
const LENGTH_BYTES: usize = 4;
/// What stands before what a body says.
const HEAD_BYTES: usize = 9;
/// Bytes that are read at once.
const READ_BYTES: usize = 64 << 10;

/// Bytes that are no frame of a client or a server. The connection they came by is of no use any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum FrameError {
    #[error("a frame of {0} bytes is too long")]
    TooLong(usize),
    #[error("a frame ends too early")]
    Short,
    #[error("a frame has bytes after its end")]
    Long,
    #[error("a frame of kind {0} is nothing known")]
    Kind(u8),
}

/// What a client asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request<'a> {
    /// Write all of these, or none.
    Write(Puts<'a>),
    /// Read a key, linearizably.
    Read(&'a [u8]),
    /// Tell how the server fares.
    Tell,
}

/// What a server answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// It is written, and durable at a quorum.
    Done,
    Value(Vec<u8>),
    /// There is no such key.
    Absent,
    /// Nothing came of it; why.
    Refused(String),
    Told(Standing),
}

/// How a server fares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) leads: bool,
    pub(super) knows_leader: bool,
    /// Times that its log was synced.
    pub(super) fsync_count: u64,
}

/// Keys and their values, as they travel and lie in a log: the length of each (four bytes), and it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Puts<'a>(&'a [u8]);

impl<'a> Puts<'a> {
    /// Takes what was checked before.
    ///
    /// # Errors
    /// It is cut off.
    pub(super) fn of(bytes: &'a [u8]) -> Result<Self, FrameError> {
        let mut rest = bytes;
        while !rest.is_empty() {
            (_, rest) = field(rest)?;
            (_, rest) = field(rest)?;
        }
        Ok(Self(bytes))
    }

    /// As they travel.
    pub(super) fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// Appends one.
    pub(super) fn push(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
        for field in [key, value] {
            out.extend_from_slice(&length(field.len()).to_le_bytes());
            out.extend_from_slice(field);
        }
    }
}

impl<'a> Iterator for Puts<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (key, rest) = field(self.0).ok()?;
        let (value, rest) = field(rest).ok()?;
        self.0 = rest;
        Some((key, value))
    }
}

impl<'a> Request<'a> {
    /// Appends the frame of this request.
    pub(super) fn push(self, number: u64, out: &mut Vec<u8>) {
        let (kind, said) = match self {
            Self::Write(puts) => (0, puts.0),
            Self::Read(key) => (1, key),
            Self::Tell => (2, &[][..]),
        };
        push(out, number, kind, &[said]);
    }

    /// Reads a body, and the number that it carries.
    ///
    /// # Errors
    /// It is no request.
    pub(super) fn of(body: &'a [u8]) -> Result<(u64, Self), FrameError> {
        let (number, kind, said) = parts(body)?;
        let request = match kind {
            0 => Self::Write(Puts::of(said)?),
            1 => Self::Read(said),
            2 if said.is_empty() => Self::Tell,
            2 => return Err(FrameError::Long),
            kind => return Err(FrameError::Kind(kind)),
        };
        Ok((number, request))
    }
}

impl Reply {
    /// Appends the frame of this reply.
    pub(super) fn push(&self, number: u64, out: &mut Vec<u8>) {
        match self {
            Self::Done => push(out, number, 0, &[]),
            Self::Value(value) => push(out, number, 1, &[value]),
            Self::Absent => push(out, number, 2, &[]),
            Self::Refused(why) => push(out, number, 3, &[why.as_bytes()]),
            Self::Told(standing) => {
                let flags = [u8::from(standing.leads), u8::from(standing.knows_leader)];
                push(out, number, 4, &[&flags, &standing.fsync_count.to_le_bytes()]);
            }
        }
    }

    /// Reads a body, and the number of the request that it answers.
    ///
    /// # Errors
    /// It is no reply.
    pub(super) fn of(body: &[u8]) -> Result<(u64, Self), FrameError> {
        let (number, kind, said) = parts(body)?;
        let reply = match kind {
            0 | 2 if !said.is_empty() => return Err(FrameError::Long),
            0 => Self::Done,
            1 => Self::Value(said.to_vec()),
            2 => Self::Absent,
            3 => Self::Refused(String::from_utf8_lossy(said).into_owned()),
            4 => {
                let (&[leads, knows_leader], rest) =
                    said.split_first_chunk().ok_or(FrameError::Short)?;
                let (count, rest) = rest.split_first_chunk().ok_or(FrameError::Short)?;
                if !rest.is_empty() {
                    return Err(FrameError::Long);
                }
                let fsync_count = u64::from_le_bytes(*count);
                let (leads, knows_leader) = (leads != 0, knows_leader != 0);
                Self::Told(Standing { leads, knows_leader, fsync_count })
            }
            kind => return Err(FrameError::Kind(kind)),
        };
        Ok((number, reply))
    }
}

/// Bytes of a connection, of which whole frames are taken.
#[derive(Debug)]
pub(super) struct Inbox {
    bytes: Vec<u8>,
    taken: usize,
    body_bytes_max: usize,
}

impl Inbox {
    /// Takes bodies of up to so many bytes.
    pub(super) fn new(body_bytes_max: usize) -> Self {
        Self { bytes: Vec::new(), taken: 0, body_bytes_max }
    }

    /// Where what comes next is to be appended, with room for it. What was taken is gone.
    pub(super) fn room(&mut self) -> &mut Vec<u8> {
        self.bytes.drain(..self.taken);
        self.taken = 0;
        self.bytes.reserve(READ_BYTES);
        &mut self.bytes
    }

    /// The body of the next frame, if it is all there.
    ///
    /// # Errors
    /// It says that it is longer than allowed. Nothing is kept for it.
    pub(super) fn take(&mut self) -> Result<Option<&[u8]>, FrameError> {
        let rest = self.bytes.get(self.taken..).unwrap_or_default();
        let Some((length, rest)) = rest.split_first_chunk::<LENGTH_BYTES>() else {
            return Ok(None);
        };
        let length = u32::from_le_bytes(*length) as usize;
        if length > self.body_bytes_max {
            return Err(FrameError::TooLong(length));
        }
        let body = rest.get(..length);
        if body.is_some() {
            self.taken += LENGTH_BYTES + length;
        }
        Ok(body)
    }
}

/// The number, the kind, and what is said.
fn parts(body: &[u8]) -> Result<(u64, u8, &[u8]), FrameError> {
    let (head, said) = body.split_first_chunk::<HEAD_BYTES>().ok_or(FrameError::Short)?;
    let [number @ .., kind] = *head;
    Ok((u64::from_le_bytes(number), kind, said))
}

fn push(out: &mut Vec<u8>, number: u64, kind: u8, said: &[&[u8]]) {
    let said_bytes: usize = said.iter().map(|part| part.len()).sum();
    out.extend_from_slice(&length(HEAD_BYTES + said_bytes).to_le_bytes());
    out.extend_from_slice(&number.to_le_bytes());
    out.push(kind);
    said.iter().for_each(|part| out.extend_from_slice(part));
}

/// Something with its length before it, and what comes after.
fn field(bytes: &[u8]) -> Result<(&[u8], &[u8]), FrameError> {
    let (length, rest) = bytes.split_first_chunk().ok_or(FrameError::Short)?;
    rest.split_at_checked(u32::from_le_bytes(*length) as usize).ok_or(FrameError::Short)
}

fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("what is sent is far below 4 GiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(frame: &[u8]) -> Vec<u8> {
        let mut inbox = Inbox::new(FRAME_BYTES_MAX);
        inbox.room().extend_from_slice(frame);
        inbox.take().expect("short enough").expect("whole").to_vec()
    }

    fn puts() -> Vec<u8> {
        let mut puts = Vec::new();
        Puts::push(&mut puts, b"key", b"value");
        Puts::push(&mut puts, b"", b"");
        puts
    }

    fn requests(puts: &[u8]) -> [Request<'_>; 4] {
        let puts = Puts::of(puts).expect("whole");
        [Request::Write(puts), Request::Read(b"key"), Request::Read(b""), Request::Tell]
    }

    fn replies() -> [Reply; 5] {
        let standing = Standing { leads: true, knows_leader: false, fsync_count: 1 << 40 };
        let refused = Reply::Refused("why".to_owned());
        [Reply::Done, Reply::Value(vec![7]), Reply::Absent, refused, Reply::Told(standing)]
    }

    #[test]
    fn frames_are_these_bytes() {
        let mut frame = Vec::new();
        Request::Write(Puts::of(&puts()).expect("whole")).push(258, &mut frame);
        assert_eq!(
            frame,
            b"\x21\0\0\0\x02\x01\0\0\0\0\0\0\0\x03\0\0\0key\x05\0\0\0value\0\0\0\0\0\0\0\0"
        );
        let mut frame = Vec::new();
        let standing = Standing { leads: true, knows_leader: false, fsync_count: 3 };
        Reply::Told(standing).push(1, &mut frame);
        assert_eq!(frame, b"\x13\0\0\0\x01\0\0\0\0\0\0\0\x04\x01\0\x03\0\0\0\0\0\0\0");
    }

    #[test]
    fn what_one_side_says_the_other_reads() {
        let puts = puts();
        for (number, request) in requests(&puts).into_iter().enumerate() {
            let mut frame = Vec::new();
            request.push(number as u64, &mut frame);
            assert_eq!(Request::of(&body(&frame)), Ok((number as u64, request)));
        }
        for (number, reply) in replies().into_iter().enumerate() {
            let mut frame = Vec::new();
            reply.push(number as u64, &mut frame);
            assert_eq!(Reply::of(&body(&frame)), Ok((number as u64, reply)));
        }
        let written: Vec<_> = Puts::of(&puts).expect("whole").collect();
        assert_eq!(written, [(&b"key"[..], &b"value"[..]), (b"", b"")]);
    }

    #[test]
    fn what_is_cut_off_is_refused() {
        let puts = puts();
        let mut frame = Vec::new();
        Request::Write(Puts::of(&puts).expect("whole")).push(1, &mut frame);
        let write = body(&frame);
        let ends = [HEAD_BYTES, HEAD_BYTES + 16];
        for end in (0..write.len()).filter(|end| !ends.contains(end)) {
            assert_eq!(Request::of(&write[..end]), Err(FrameError::Short), "{end}");
        }
        for reply in replies() {
            let mut frame = Vec::new();
            reply.push(1, &mut frame);
            let whole = body(&frame);
            assert!(Reply::of(&whole[..HEAD_BYTES - 1]).is_err());
            if !matches!(reply, Reply::Value(_) | Reply::Refused(_)) {
                assert_eq!(Reply::of(&[&whole[..], &[0]].concat()), Err(FrameError::Long));
            }
        }
        let unknown = [&1u64.to_le_bytes()[..], &[9]].concat();
        assert_eq!(Request::of(&unknown), Err(FrameError::Kind(9)));
        assert_eq!(Reply::of(&unknown), Err(FrameError::Kind(9)));
    }

    #[test]
    fn an_inbox_gives_whole_frames_and_no_long_ones() {
        let mut bytes = Vec::new();
        for number in 0..3 {
            Request::Read(b"key").push(number, &mut bytes);
        }
        let mut inbox = Inbox::new(HEAD_BYTES + 3);
        let mut numbers = Vec::new();
        for byte in bytes {
            inbox.room().push(byte);
            while let Some(body) = inbox.take().expect("short enough") {
                numbers.push(Request::of(body).expect("a request").0);
            }
        }
        assert_eq!(numbers, [0, 1, 2]);
        Request::Read(b"keys").push(3, inbox.room());
        assert_eq!(inbox.take(), Err(FrameError::TooLong(HEAD_BYTES + 4)));
    }
}
