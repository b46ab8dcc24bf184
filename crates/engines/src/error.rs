//! Why an engine refuses to compute.

/// What is wrong with the numbers given, or what they would cost. Trying again never helps: the same
/// input gives the same answer ([`EngineError::Cancelled`] apart).
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// Not between 0 and 1.
    #[error("{name} is {value}: a probability lies between 0 and 1")]
    NotAProbability {
        /// What it was given for.
        name: &'static str,
        /// What was given.
        value: f64,
    },
    /// Zero, negative, infinite or not a number, where that has no meaning.
    #[error("{name} is {value}: it must be finite and above 0")]
    NotPositive {
        /// What it was given for.
        name: &'static str,
        /// What was given.
        value: f64,
    },
    /// Negative, infinite or not a number.
    #[error("{name} is {value}: it must be finite and at least 0")]
    Negative {
        /// What it was given for.
        name: &'static str,
        /// What was given.
        value: f64,
    },
    /// All servers, or more, are said to be tolerated.
    #[error(
        "{n} servers cannot tolerate {f} intrusions: at least one must stay correct; lower f below {n} \
         or add servers"
    )]
    TooManyTolerated {
        /// Servers.
        n: u32,
        /// Intrusions said to be tolerated.
        f: u32,
    },
    /// More servers than the engine takes, or none.
    #[error("{n} servers: from 1 to {most} can be computed")]
    ServerCount {
        /// Servers asked for.
        n: u64,
        /// The most.
        most: u32,
    },
    /// A quorum that can never be there.
    #[error("a quorum of {quorum} servers can never answer: there are {n}; take 1 to {n}")]
    Quorum {
        /// What was given.
        quorum: u32,
        /// Servers in all.
        n: u32,
    },
    /// Downtime that fills the whole period.
    #[error(
        "a rejuvenation every {every} h takes {downtime} h: the server would never be there; \
         lengthen the period or shorten the downtime"
    )]
    NoUptime {
        /// Period, hours.
        every: f64,
        /// Downtime, hours.
        downtime: f64,
    },
    /// A shock names a group that does not exist.
    #[error("shock {shock} hits group {group}: there are {groups} groups, counted from 0")]
    UnknownGroup {
        /// Which shock, from 0.
        shock: usize,
        /// The group it names.
        group: usize,
        /// How many groups there are.
        groups: usize,
    },
    /// A shock hits more servers than a group has, none, or one group twice.
    #[error(
        "shock {shock} hits {hit} servers of group {group}, which has {count}: name each group once, \
         with 1 to {count} servers"
    )]
    BadHit {
        /// Which shock, from 0.
        shock: usize,
        /// Which group.
        group: usize,
        /// Servers hit.
        hit: u32,
        /// Servers there are.
        count: u32,
    },
    /// More shocks than the engines take.
    #[error("{count} shocks: at most {most} can be computed; join those that hit the same servers")]
    TooManyShocks {
        /// Shocks given.
        count: usize,
        /// The most.
        most: usize,
    },
    /// Nothing that can happen makes the property fail.
    #[error("it can never fail: {why}")]
    NeverFails {
        /// What excludes it.
        why: &'static str,
    },
    /// Confidentiality was asked to recover.
    #[error(
        "what is disclosed stays disclosed: confidentiality has no long-run share of time; ask for the \
         probability of disclosure by a time, or the mean time to it"
    )]
    NoRecovery,
    /// A chain with too many states.
    #[error(
        "the chain has up to {wanted} states, at most {most} are computed: fewer servers, more of them \
         alike, or less that may happen to each make it smaller; Monte Carlo has no such limit"
    )]
    TooManyStates {
        /// An upper bound of the states of the whole chain.
        wanted: u64,
        /// The most.
        most: usize,
    },
    /// A chain with too many transitions, or too many outcomes of events to look at.
    #[error(
        "the chain has about {wanted} transitions or steps to them, at most {most} are computed: fewer \
         servers, more of them alike, or fewer shared labels make it smaller; Monte Carlo has no such limit"
    )]
    TooManyTransitions {
        /// How many it would have or look at, as far as is known.
        wanted: u64,
        /// The most.
        most: usize,
    },
    /// A transition from or to a state that does not exist, or from a state to itself.
    #[error("transition from state {from} to state {to}: two different states below {states}")]
    BadTransition {
        /// From.
        from: usize,
        /// To.
        to: usize,
        /// States there are.
        states: usize,
    },
    /// Rates so far apart, or times so long, that the chain would take too many steps.
    #[error(
        "stiff chain: {steps:.1e} steps over {transitions} transitions for {time} h, since the fastest \
         rate is {ratio:.1e} times the slowest; shorten the time, let what takes minutes take none \
         (latency 0), make servers more alike, or ask for the mean time instead"
    )]
    Stiff {
        /// Steps of uniformisation.
        steps: f64,
        /// Transitions of the chain.
        transitions: usize,
        /// Hours asked for.
        time: f64,
        /// Fastest over slowest rate.
        ratio: f64,
    },
    /// The iteration did not settle.
    #[error(
        "no convergence after {sweeps} sweeps (last relative change {change:.1e}): rates too far apart \
         for {states} states; make servers more alike, or use Monte Carlo"
    )]
    NoConvergence {
        /// Sweeps done.
        sweeps: u32,
        /// Relative change in the last one.
        change: f64,
        /// States of the chain.
        states: usize,
    },
    /// The result does not fit a floating-point number.
    #[error("{name} is beyond 1e308: the rates given are too far apart to mean anything")]
    Overflow {
        /// The quantity.
        name: &'static str,
    },
    /// Monte Carlo would take hours.
    #[error(
        "about {events:.1e} events would be simulated, at most {most:.1e} are: run fewer or shorter \
         missions, or use the chain"
    )]
    TooMuchWork {
        /// Expected events.
        events: f64,
        /// The most.
        most: f64,
    },
    /// More missions, points in time or stages than allowed, or none.
    #[error("{name} is {value}: it must be from {least} to {most}")]
    OutOfRange {
        /// What it was given for.
        name: &'static str,
        /// What was given.
        value: u64,
        /// The least.
        least: u64,
        /// The most.
        most: u64,
    },
    /// Points in time that do not grow.
    #[error("points in time must not decrease: {later} h comes after {earlier} h")]
    Unordered {
        /// The one before.
        earlier: f64,
        /// The smaller one after it.
        later: f64,
    },
    /// The caller cancelled.
    #[error("cancelled")]
    Cancelled,
}

impl EngineError {
    /// Whether it says that chains are too much, so that missions may still have an answer.
    #[must_use]
    pub fn is_of_chains(&self) -> bool {
        matches!(
            self,
            Self::TooManyStates { .. }
                | Self::TooManyTransitions { .. }
                | Self::Stiff { .. }
                | Self::NoConvergence { .. }
                | Self::Overflow { .. }
        )
    }
}

/// `value`, when it is a probability.
pub(crate) fn probability(name: &'static str, value: f64) -> Result<f64, EngineError> {
    if (0.0..=1.0).contains(&value) {
        Ok(value)
    } else {
        Err(EngineError::NotAProbability { name, value })
    }
}

/// `value`, when it is finite and above 0.
pub(crate) fn positive(name: &'static str, value: f64) -> Result<f64, EngineError> {
    if value.is_finite() && value > 0.0 {
        Ok(value)
    } else {
        Err(EngineError::NotPositive { name, value })
    }
}

/// `value`, when it is finite and at least 0.
pub(crate) fn at_least_zero(name: &'static str, value: f64) -> Result<f64, EngineError> {
    if value.is_finite() && value >= 0.0 {
        Ok(value)
    } else {
        Err(EngineError::Negative { name, value })
    }
}

/// `value`, when it lies in the range given.
pub(crate) fn within(
    name: &'static str,
    value: u64,
    least: u64,
    most: u64,
) -> Result<u64, EngineError> {
    if (least..=most).contains(&value) {
        Ok(value)
    } else {
        Err(EngineError::OutOfRange { name, value, least, most })
    }
}
