//! Commands and answers of a TPM as bytes: fields in big-endian order, in buffers of fixed size.

use zeroize::Zeroizing;

use super::Code;
use crate::counter::CounterError;

/// Longest command: what [`super`] sends is below it by far.
const COMMAND_BYTES_MAX: usize = 256;

/// `TPM_ST_NO_SESSIONS` and `TPM_ST_SESSIONS`: whether an authorisation follows the handles.
const NO_SESSIONS: u16 = 0x8001;
const SESSIONS: u16 = 0x8002;
/// `TPM_RS_PW`: the "session" that is a password.
const PASSWORD_SESSION: u32 = 0x4000_0009;

/// A command under construction. Erased on drop: one of them carries a secret.
pub(super) struct Command {
    pub(super) name: &'static str,
    bytes: Zeroizing<[u8; COMMAND_BYTES_MAX]>,
    length: usize,
}

impl Command {
    /// A command without authorisation: header and handles.
    pub(super) fn plain(code: Code, handles: &[u32]) -> Self {
        Self::new(NO_SESSIONS, code, handles)
    }

    /// A command authorised by a password.
    pub(super) fn with_password(code: Code, handles: &[u32], password: &[u8]) -> Self {
        Self::with_session(code, handles, PASSWORD_SESSION, [&[], password], 0)
    }

    /// A command authorised in a session, by a nonce of ours and an HMAC.
    pub(super) fn with_session(
        code: Code,
        handles: &[u32],
        session: u32,
        [nonce, hmac]: [&[u8]; 2],
        attributes: u8,
    ) -> Self {
        let mut command = Self::new(SESSIONS, code, handles);
        let size = 4 + 2 + nonce.len() + 1 + 2 + hmac.len();
        command.u32(u32::try_from(size).expect("an authorisation is short"));
        command.u32(session);
        command.sized(nonce);
        command.bytes(&[attributes]);
        command.sized(hmac);
        command
    }

    fn new(tag: u16, (name, code): Code, handles: &[u32]) -> Self {
        let bytes = Zeroizing::new([0; COMMAND_BYTES_MAX]);
        let mut command = Self { name, bytes, length: 0 };
        command.u16(tag);
        command.u32(0); // the size, filled in at the end
        command.u32(code);
        for handle in handles {
            command.u32(*handle);
        }
        command
    }

    pub(super) fn u16(&mut self, field: u16) {
        self.bytes(&field.to_be_bytes());
    }

    pub(super) fn u32(&mut self, field: u32) {
        self.bytes(&field.to_be_bytes());
    }

    /// A `TPM2B`: bytes preceded by their number.
    pub(super) fn sized(&mut self, field: &[u8]) {
        self.u16(u16::try_from(field.len()).expect("fields are short"));
        self.bytes(field);
    }

    pub(super) fn bytes(&mut self, field: &[u8]) {
        let end = self.length + field.len();
        self.bytes
            .get_mut(self.length..end)
            .expect("every command is far below its maximum")
            .copy_from_slice(field);
        self.length = end;
    }

    /// The whole command, its size in place.
    pub(super) fn finish(&mut self) -> &[u8] {
        let size = u32::try_from(self.length).expect("a command is short");
        let [_, _, a, b, c, d, ..] = &mut *self.bytes;
        [*a, *b, *c, *d] = size.to_be_bytes();
        self.bytes.get(..self.length).expect("never longer than its buffer")
    }
}

/// Fields of an answer to a command, taken from the front.
pub(super) struct Fields<'a> {
    command: &'static str,
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(super) fn new(command: &'static str, rest: &'a [u8]) -> Self {
        Self { command, rest }
    }

    /// Takes the header and answers what follows it, if the command succeeded.
    pub(super) fn after_header(mut self, sent: &[u8]) -> Result<Self, CounterError> {
        let size = self.rest.len();
        let (tag, stated, code) = (self.array()?, self.u32()?, self.u32()?);
        if usize::try_from(stated) != Ok(size) {
            return Err(self.malformed());
        }
        if code != 0 {
            return Err(CounterError::Refused { command: self.command, code });
        }
        // A success has the tag of its command: authorised or not.
        if sent.first_chunk::<2>() == Some(&tag) { Ok(self) } else { Err(self.malformed()) }
    }

    pub(super) fn u32(&mut self) -> Result<u32, CounterError> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], CounterError> {
        let (field, rest) = self.rest.split_first_chunk().ok_or_else(|| self.malformed())?;
        self.rest = rest;
        Ok(*field)
    }

    /// A `TPM2B` that must have exactly `N` bytes.
    pub(super) fn sized_exactly<const N: usize>(&mut self) -> Result<[u8; N], CounterError> {
        let size = u16::from_be_bytes(self.array()?);
        if usize::from(size) == N { self.array() } else { Err(self.malformed()) }
    }

    /// Nothing may follow.
    pub(super) fn finish(self) -> Result<(), CounterError> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.malformed()) }
    }

    fn malformed(&self) -> CounterError {
        CounterError::Malformed { command: self.command }
    }
}
