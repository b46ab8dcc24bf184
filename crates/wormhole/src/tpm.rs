//! A counter in a TPM 2.0: an NV index of type `NT_COUNTER`, by commands written here by hand.
//!
//! **Guarantee:** an `Ok` of [`NvCounter`] was answered by somebody who knows the counter's
//! [`AuthValue`], after the question was put. Reading and raising run in HMAC sessions whose key is
//! that value; the answer's HMAC covers the answer and a nonce drawn for this question, so neither
//! a fake TPM nor a recorded answer is believed. Answers are decoded totally and have at most
//! [`transport::ANSWER_BYTES_MAX`] bytes; each exchange has a deadline. After
//! [`NvCounter::open`] nothing is allocated.
//!
//! The index can be read and raised only with its `AuthValue`, not with the owner's or the
//! platform's; its whole public area is fixed and checked, and enters every HMAC by its *name*. An
//! owner can delete it, and a TPM then starts a new counter above the highest it ever had.
//!
//! # Security
//! - The `AuthValue` goes to the TPM in clear once, when the counter is made
//!   ([`NvCounter::define`]). Whoever sits between at that moment knows it, and can play the TPM
//!   from then on. It therefore never happens at a start, where an intruder could bring it about by
//!   hiding the index, but only by an operator's command.
//! - Full root reads the provisioned key, hence the `AuthValue`: it can play the TPM too.
//! - A virtual TPM can be put back by whoever holds its state. No software here can tell.
//! - Anybody who reaches the TPM can delay, refuse and delete. The wormhole then stops.
//!
//! # Source
//! Trusted Computing Group, *TPM 2.0 Library*: part 1 on authorisations and on NV memory, part 2 for
//! structures and codes, part 3 for the commands.

mod session;
pub mod transport;
mod wire;

use rustix::io::Errno;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::counter::{CounterError, MonotonicCounter};
use session::{Session, Then};
pub use transport::Transport;
use wire::Command;

/// `TPM_RH_OWNER`
const OWNER: u32 = 0x4000_0001;
/// `TPM_ALG_SHA256`, the only hash used.
const SHA256: u16 = 0x000B;
/// `TPM_SU_CLEAR`
const STARTUP_CLEAR: u16 = 0;

/// `TPMA_NV`: readable and writable by the index's own `AuthValue` and nothing else.
const AUTH_ONLY: u32 = 1 << 2 | 1 << 18;
/// `TPMA_NV`: `TPM_NT_COUNTER`.
const COUNTER: u32 = 1 << 4;
/// `TPMA_NV`: wrong guesses do not lock it. The value has 256 bits; a lock would be a gift.
const NO_LOCKOUT: u32 = 1 << 25;
/// `TPMA_NV`: set by the first increment.
const WRITTEN: u32 = 1 << 29;

/// `TPM_RC_INITIALIZE`, as the answer to `TPM2_Startup`: it has been started.
const RC_STARTED: u32 = 0x100;
/// `TPM_RC_HANDLE` about the first handle: no such index.
const RC_NO_INDEX: u32 = 0x18B;
/// `TPM_RC_SIZE`
const RC_SIZE: u32 = 0x095;
/// The longest password that a TPM with hashes of 512 bits accepts.
const PASSWORD_BYTES_MAX: usize = 64;
/// `TPM_RC_AUTH_FAIL` and `TPM_RC_BAD_AUTH` about the first session.
const RC_WRONG_AUTH: [u32; 2] = [0x98E, 0x9A2];

/// Commands as the errors name them, and their `TPM_CC`.
pub(crate) type Code = (&'static str, u32);
const STARTUP: Code = ("TPM2_Startup", 0x144);
const NV_DEFINE_SPACE: Code = ("TPM2_NV_DefineSpace", 0x12A);
const NV_INCREMENT: Code = ("TPM2_NV_Increment", 0x134);
const NV_READ: Code = ("TPM2_NV_Read", 0x14E);
const NV_READ_PUBLIC: Code = ("TPM2_NV_ReadPublic", 0x169);

/// The handle of an NV index: `0x01......`. A TPM's owner uses `0x0180_0000` to `0x01BF_FFFF`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NvIndex(u32);

impl NvIndex {
    /// The index with this handle, if handles of NV indices look so.
    #[must_use]
    pub const fn new(handle: u32) -> Option<Self> {
        if handle >> 24 == 0x01 { Some(Self(handle)) } else { None }
    }

    /// The handle.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

/// The secret of an NV index, with which its answers are authenticated. Erased on drop.
pub struct AuthValue(Zeroizing<[u8; 32]>);

impl AuthValue {
    /// Takes a derived secret.
    #[must_use]
    pub fn new(secret: Zeroizing<[u8; 32]>) -> Self {
        Self(secret)
    }
}

/// 32 bytes from the system that were never used before.
pub(crate) fn nonce() -> Result<[u8; 32], Errno> {
    let mut bytes = [0; 32];
    let flags = rustix::rand::GetRandomFlags::empty();
    let filled = rustix::io::retry_on_intr(|| rustix::rand::getrandom(&mut bytes, flags))?;
    // The system never gives fewer than asked for, up to 256.
    if filled == bytes.len() { Ok(bytes) } else { Err(Errno::IO) }
}

/// An NV counter, opened. It needs `write`, `read`, `ppoll`, `getrandom` and a clock, and no memory.
pub struct NvCounter {
    transport: Transport,
    index: NvIndex,
    name: Name,
    auth: AuthValue,
    /// Only from an increment to the read that follows it: without a resource manager in between, a
    /// TPM has room for few sessions and keeps those of processes that were killed.
    session: Option<Session>,
}

/// `TPM2B_NAME` of an index: the hash's number and the hash of the public area.
pub(crate) type Name = [u8; 34];

impl NvCounter {
    /// Makes the counter and raises it once, as which it is readable. Only by an operator's command,
    /// on a machine trusted at that moment: `auth` crosses the transport in clear.
    ///
    /// # Errors
    /// [`CounterError::Taken`]: there is an index already; `tpm2_nvundefine` removes it.
    pub fn define(
        mut transport: Transport,
        index: NvIndex,
        auth: &AuthValue,
        owner_password: &[u8],
    ) -> Result<(), CounterError> {
        let (define_space, _) = NV_DEFINE_SPACE;
        if owner_password.len() > PASSWORD_BYTES_MAX {
            return Err(CounterError::Refused { command: define_space, code: RC_SIZE });
        }
        start_up(&mut transport)?;
        match read_public(&mut transport, index) {
            Err(CounterError::Missing) => {}
            Ok(_) => return Err(CounterError::Taken),
            Err(error) => return Err(error),
        }
        let public = public_area(index, 0);
        let mut command = Command::with_password(NV_DEFINE_SPACE, &[OWNER], owner_password);
        command.sized(auth.0.as_slice());
        command.sized(&public);
        transport.exchange(&mut command)?;
        Self::new(transport, index, &public, auth).increment()
    }

    /// Opens the counter that was made with `auth`, and proves by reading it that it is there.
    ///
    /// # Errors
    /// [`CounterError`]: [`CounterError::Missing`] and [`CounterError::NotOurs`] if it was deleted,
    /// made anew by others, or belongs to another machine.
    pub fn open(
        mut transport: Transport,
        index: NvIndex,
        auth: &AuthValue,
    ) -> Result<Self, CounterError> {
        start_up(&mut transport)?;
        let public = public_area(index, WRITTEN);
        if read_public(&mut transport, index)? != public {
            return Err(CounterError::WrongKind);
        }
        let mut counter = Self::new(transport, index, &public, auth);
        counter.read()?;
        Ok(counter)
    }

    fn new(transport: Transport, index: NvIndex, public: &[u8; 14], auth: &AuthValue) -> Self {
        let auth = AuthValue(auth.0.clone());
        Self { transport, index, name: name_of(public), auth, session: None }
    }

    /// One command on the index, authorised by its own value. Answers the parameters of the answer.
    fn ask<const N: usize>(
        &mut self,
        command: (Code, &[u8]),
        then: Then,
    ) -> Result<[u8; N], CounterError> {
        let mut session = match self.session.take() {
            Some(session) => session,
            None => Session::start(&mut self.transport)?,
        };
        let index = (self.index.get(), &self.name, &self.auth);
        let answer = session.ask(&mut self.transport, index, command, then);
        match answer {
            Ok(_) if then == Then::End => {}
            Ok(_) => self.session = Some(session),
            Err(_) => session.flush(&mut self.transport), // a failure does not end it
        }
        answer.map_err(|error| match error {
            CounterError::Refused { code, .. } if RC_WRONG_AUTH.contains(&code) => {
                CounterError::NotOurs
            }
            other => other,
        })
    }
}

impl MonotonicCounter for NvCounter {
    fn read(&mut self) -> Result<u64, CounterError> {
        let eight_from_0 = &[0, 8, 0, 0];
        let [0, 8, a, b, c, d, e, f, g, h] = self.ask((NV_READ, eight_from_0), Then::End)? else {
            return Err(CounterError::Malformed { command: NV_READ.0 });
        };
        Ok(u64::from_be_bytes([a, b, c, d, e, f, g, h]))
    }

    fn increment(&mut self) -> Result<(), CounterError> {
        self.ask((NV_INCREMENT, &[]), Then::Continue).map(|[]| ())
    }
}

impl Drop for NvCounter {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            session.flush(&mut self.transport);
        }
    }
}

/// `TPMS_NV_PUBLIC` of a counter as it is made here; `written` is all that may change later.
fn public_area(index: NvIndex, written: u32) -> [u8; 14] {
    let mut bytes = [0; 14]; // no policy: its size is zero
    bytes[..4].copy_from_slice(&index.get().to_be_bytes());
    bytes[4..6].copy_from_slice(&SHA256.to_be_bytes());
    let attributes = AUTH_ONLY | COUNTER | NO_LOCKOUT | written;
    bytes[6..10].copy_from_slice(&attributes.to_be_bytes());
    bytes[12..].copy_from_slice(&8_u16.to_be_bytes());
    bytes
}

fn name_of(public: &[u8; 14]) -> Name {
    let mut name = [0; 34];
    name[..2].copy_from_slice(&SHA256.to_be_bytes());
    name[2..].copy_from_slice(&Sha256::digest(public));
    name
}

/// Starts the TPM, if nobody has: with an operating system in between, somebody has.
fn start_up(transport: &mut Transport) -> Result<(), CounterError> {
    let mut command = Command::plain(STARTUP, &[]);
    command.u16(STARTUP_CLEAR);
    match transport.exchange(&mut command) {
        Ok(_) | Err(CounterError::Refused { code: RC_STARTED, .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// The public area of an index, as somebody says: nothing is built on it but early, clear errors.
fn read_public(transport: &mut Transport, index: NvIndex) -> Result<[u8; 14], CounterError> {
    let mut command = Command::plain(NV_READ_PUBLIC, &[index.get()]);
    let mut fields = transport.exchange(&mut command).map_err(|error| match error {
        CounterError::Refused { code: RC_NO_INDEX, .. } => CounterError::Missing,
        other => other,
    })?;
    // Another size is another kind of index, for example one with a policy.
    let public = fields.sized_exactly().map_err(|_| CounterError::WrongKind)?;
    let name: Name = fields.sized_exactly()?;
    fields.finish()?;
    if name == name_of(&public) { Ok(public) } else { Err(CounterError::WrongKind) }
}
