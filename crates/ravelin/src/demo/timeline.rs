//! What happened when, for the report.

use serde::Serialize;

/// One attack, from its beginning to its end.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Attack {
    /// Its name.
    pub(crate) name: String,
    /// The server attacked.
    pub(crate) server: u16,
    /// `masked`, `refused`, `recovered`, `halted` or `failed`.
    pub(crate) outcome: Outcome,
    /// The longest time without an answer to any client while it lasted.
    pub(crate) longest_gap_ms: u64,
    /// Answers to clients while it lasted.
    pub(crate) answers: usize,
    #[serde(skip)]
    pub(crate) from_us: u64,
    #[serde(skip)]
    pub(crate) until_us: u64,
    /// What it does, in words.
    #[serde(skip)]
    pub(crate) what: String,
}

/// How an attack ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Outcome {
    /// The service went on as if nothing were.
    Masked,
    /// Wrong answers were seen and not believed.
    Refused,
    /// The server came back and caught up.
    Recovered,
    /// Clients were without answers for too long, or a server did not come back.
    Failed,
}

impl Outcome {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Masked => "masked",
            Self::Refused => "refused",
            Self::Recovered => "recovered",
            Self::Failed => "failed",
        }
    }
}

/// How a server looked at some moment, as itself and the others say.
#[derive(Clone, Debug)]
pub(crate) struct Look {
    pub(crate) at_us: u64,
    pub(crate) server: u16,
    /// `correct`, `catching_up`, `faulty`, `down`, ...
    pub(crate) state: String,
}

/// Everything that the report draws beside latencies.
#[derive(Clone, Debug, Default)]
pub(crate) struct Timeline {
    pub(crate) attacks: Vec<Attack>,
    pub(crate) looks: Vec<Look>,
}
