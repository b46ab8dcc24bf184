//! Why a calculation is refused.

/// What is wrong with the structure given, or what it would cost. Trying again never helps.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CalculusError {
    /// Not between 0 and 1.
    #[error("{name} is {value}: a probability lies between 0 and 1")]
    NotAProbability {
        /// What it was given for.
        name: String,
        /// What was given.
        value: f64,
    },
    /// Zero, negative, infinite or not a number, where that has no meaning.
    #[error("{name} is {value}: it must be finite and above 0")]
    NotPositive {
        /// What it was given for.
        name: String,
        /// What was given.
        value: f64,
    },
    /// Negative, infinite or not a number.
    #[error("{name} is {value}: it must be finite and at least 0")]
    Negative {
        /// What it was given for.
        name: String,
        /// What was given.
        value: f64,
    },
    /// Things that depend on themselves.
    #[error("a cycle: {}: nothing can be computed of what depends on itself; leave one of these out", .names.join(" -> "))]
    Cycle {
        /// The names along it, the first again at the end.
        names: Vec<String>,
    },
    /// A reference to something that does not exist.
    #[error("{what} {index} does not exist: there are {count}, counted from 0")]
    Unknown {
        /// What was referred to.
        what: &'static str,
        /// The number given.
        index: usize,
        /// How many there are.
        count: usize,
    },
    /// Too many of something, or too few.
    #[error("{count} {what}: from {least} to {most} can be computed")]
    Count {
        /// Of what.
        what: &'static str,
        /// How many were given.
        count: usize,
        /// The least.
        least: usize,
        /// The most.
        most: usize,
    },
    /// More wanted than there are.
    #[error("{name} wants {wanted} of {given}: ask for 1 to {given}")]
    Threshold {
        /// Whose threshold.
        name: String,
        /// How many it wants.
        wanted: usize,
        /// How many it is given.
        given: usize,
    },
    /// A diagram that grows beyond what is computed.
    #[error(
        "the decision diagram needs more than {most} {what}: order what belongs together next to each \
         other, or join parts that always fail together"
    )]
    TooLarge {
        /// Nodes or steps.
        what: &'static str,
        /// The most.
        most: usize,
    },
    /// An attack that no set of leaves makes succeed.
    #[error("no set of steps reaches the goal of the attack")]
    Unreachable,
}
