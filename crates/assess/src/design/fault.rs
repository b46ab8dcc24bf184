//! What can be wrong with a model file, with its place and what to try.

use std::fmt;

/// One mistake in a model file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Line in the file, from 1.
    pub line: usize,
    /// What is wrong.
    pub mistake: Mistake,
    /// What to try.
    pub hint: String,
}

/// All mistakes found in a model file, in the order of their lines. Never empty.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ModelError {
    /// Name of the file, for people.
    pub file: String,
    /// What is wrong in it.
    pub faults: Vec<Fault>,
}

impl fmt::Display for ModelError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, fault) in self.faults.iter().enumerate() {
            if position > 0 {
                writeln!(out)?;
            }
            write!(out, "{}:{}: {} ({})", self.file, fault.line, fault.mistake, fault.hint)?;
        }
        Ok(())
    }
}

/// A mistake. Retrying does not help: the file must be changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mistake {
    /// More bytes than a model file may have.
    #[error("the file has {bytes} bytes, more than the {most} that a model may have")]
    TooLong {
        /// Bytes of the file.
        bytes: usize,
        /// Bytes that it may have.
        most: usize,
    },
    /// Nothing but comments and blanks.
    #[error("there is no model in the file")]
    Empty,
    /// No TOML; duplicate keys are told so too.
    #[error("not TOML: {told}")]
    Syntax {
        /// What the parser says.
        told: String,
    },
    /// A key that no model has there.
    #[error("unknown key `{key}` in {section}")]
    UnknownKey {
        /// The key.
        key: String,
        /// Where it stands.
        section: &'static str,
    },
    /// A key that must be there.
    #[error("missing key `{key}` in {section}")]
    MissingKey {
        /// The key.
        key: &'static str,
        /// Where it should stand.
        section: &'static str,
    },
    /// A value of another type.
    #[error("`{key}` is {found}, but {wanted} is expected")]
    Type {
        /// The key.
        key: String,
        /// What stands there.
        found: &'static str,
        /// What should.
        wanted: &'static str,
    },
    /// A word that is not one of those that may stand there.
    #[error("`{key}` cannot be `{found}`")]
    Choice {
        /// The key.
        key: String,
        /// The word.
        found: String,
    },
    /// A number without its origin.
    #[error("`{key}` has no origin: who reads the result must know where each number comes from")]
    NoOrigin {
        /// The key.
        key: String,
    },
    /// A number outside its range.
    #[error("`{key}` is {found}, outside {range}")]
    Range {
        /// The key.
        key: String,
        /// The number.
        found: String,
        /// Where it must be.
        range: &'static str,
    },
    /// A rate where a time belongs, a number without unit, an unknown unit.
    #[error("`{key}` is `{found}`, but {wanted} is expected")]
    Units {
        /// The key.
        key: String,
        /// What stands there.
        found: String,
        /// What should.
        wanted: &'static str,
    },
    /// More or fewer entries than there may be.
    #[error("{section} has {found} entries; there may be {least} to {most}")]
    Entries {
        /// The list.
        section: &'static str,
        /// Its entries.
        found: usize,
        /// Fewest.
        least: usize,
        /// Most.
        most: usize,
    },
    /// One name twice.
    #[error("`{name}` stands twice in {section}")]
    SameName {
        /// The name.
        name: String,
        /// The list.
        section: &'static str,
    },
    /// A name that is empty or too long.
    #[error("`{key}` is empty, or longer than {most} bytes")]
    Name {
        /// The key.
        key: String,
        /// Bytes that it may have.
        most: usize,
    },
    /// A name that leads nowhere.
    #[error("{section} has no `{name}`")]
    Unknown {
        /// The name.
        name: String,
        /// Where it was looked for.
        section: &'static str,
    },
    /// A label value that no host has.
    #[error("no host has {label} `{value}`")]
    UnknownLabel {
        /// The label.
        label: &'static str,
        /// The value.
        value: String,
    },
    /// `n`, `f` and the fault model do not fit together.
    #[error("n = {n} servers cannot tolerate f = {f} under `{model}`: at least {least} are needed")]
    TooFewServers {
        /// Servers.
        n: usize,
        /// Intrusions to tolerate.
        f: u16,
        /// Name of the fault model.
        model: &'static str,
        /// Servers needed.
        least: usize,
    },
    /// `f = 0` with several servers, or `f > 0` with a single one.
    #[error("`{model}` does not fit f = {f} with {n} servers")]
    Tolerance {
        /// Name of the fault model.
        model: &'static str,
        /// Intrusions to tolerate.
        f: u16,
        /// Servers.
        n: usize,
    },
    /// Things that depend on each other in a circle.
    #[error("{what} in a circle: {circle}")]
    Cycle {
        /// What they do.
        what: &'static str,
        /// The circle, as `a -> b -> a`.
        circle: String,
    },
    /// Common-mode shares that add up to more than everything.
    #[error("the common-mode shares add up to {total}, more than 1")]
    Shares {
        /// Their sum.
        total: String,
    },
    /// Two things in one file that cannot both be so.
    #[error("{what}")]
    Conflict {
        /// What they are.
        what: String,
    },
}
