//! Refusals and unreadable frames in words, for people.

use std::error::Error;
use std::fmt;

use crate::frame::{FrameError, Refusal};

impl Error for Refusal {}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAuthenticated => "not authenticated",
            Self::BadMac => "the MAC does not hold",
            Self::Replay => "replayed",
            Self::Malformed => "malformed",
            Self::UnknownTag => "unknown tag",
            Self::Conflict => "conflicts with what is bound",
            Self::Exhausted => "counter exhausted",
            Self::NoResources { next_free } => {
                return write!(f, "no resources until {next_free:?}");
            }
            Self::NotDistributed => "not in the local mode",
            Self::UnknownAction => "unknown action",
            Self::TooFar => "too far ahead",
            Self::Locked => "locked",
            Self::Halted { reason } => return write!(f, "halted: {reason}"),
            Self::NotSynchronised => "not synchronised",
            Self::Denied => "denied to this connection",
            Self::NotInElist => "not in the list of who takes part",
            Self::TstartExpired => "the agreement is over and forgotten",
        })
    }
}

impl Error for FrameError {}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Short => "too short",
            Self::Padding => "padding is not zero",
            Self::Version => "another version",
            Self::UnknownKind => "unknown kind",
            Self::UnknownCode => "unknown code",
            Self::UnknownAction => "unknown action",
            Self::UnknownCounter => "unknown counter",
            Self::NotRising => "the counter does not rise",
            Self::NoAgreement => "no list of processes that could agree",
        })
    }
}
