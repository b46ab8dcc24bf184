//! A counter that only rises, kept where the host's disk cannot reach: what tells old state from
//! the newest.
//!
//! **Guarantee asked of an implementation:** [`MonotonicCounter::read`] never answers less than it
//! once answered or than the increments it confirmed, whoever restores, copies or deletes the
//! host's files. What implements it here is [`crate::tpm::NvCounter`].

use rustix::io::Errno;

/// A number that nothing sets back.
///
/// After an error the caller must not go on: an increment that failed may have happened.
pub trait MonotonicCounter {
    /// The current number, as of some moment after this call began: an answer recorded earlier must
    /// not pass.
    ///
    /// # Errors
    /// [`CounterError`]: the number is not known.
    fn read(&mut self) -> Result<u64, CounterError>;

    /// Raises the number by one. On `Ok` it has risen and stays so over any loss of power.
    ///
    /// # Errors
    /// [`CounterError`]: it may or may not have risen.
    fn increment(&mut self) -> Result<(), CounterError>;
}

/// Why the counter cannot be relied on. None of them is worth a retry by the same process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CounterError {
    /// The device or socket could not be opened, written or read.
    #[error("cannot reach the counter")]
    Unreachable(#[source] Errno),
    /// No complete answer in time.
    #[error("the counter did not answer in time")]
    TimedOut,
    /// The answer is not one.
    #[error("the counter's answer to {command} is malformed")]
    Malformed {
        /// What was asked.
        command: &'static str,
    },
    /// The answer does not prove that whoever gave it knows the counter's secret.
    #[error("the answer to {command} is not the counter's: its HMAC is wrong")]
    NotBelieved {
        /// What was asked.
        command: &'static str,
    },
    /// The counter knows another secret: made by somebody else, or for other state.
    #[error("the counter was made with another secret")]
    NotOurs,
    /// There is none at this place; only an operator makes one.
    #[error("there is no such counter")]
    Missing,
    /// Something stands at this place already; only an operator removes it.
    #[error("the counter's place is taken")]
    Taken,
    /// It is there, but not a counter with the attributes that are relied on.
    #[error("what stands at the counter's place is not a counter as it was made")]
    WrongKind,
    /// The device refused.
    #[error("the counter refused {command} with code {code:#x}")]
    Refused {
        /// What was asked.
        command: &'static str,
        /// Its code.
        code: u32,
    },
}
