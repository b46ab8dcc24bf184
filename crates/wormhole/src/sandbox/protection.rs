//! What closes the process, piece by piece, and whom the pieces together withstand.

use std::fmt;

/// One thing that stands between an attacker and the wormhole. The number is its bit in a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Protection {
    /// Not dumpable: no core dumps, and `/proc/PID` is closed to its own user.
    NotDumpable = 0,
    /// A network namespace with nothing in it.
    OwnNetwork = 1,
    /// All memory is locked.
    LockedMemory = 2,
    /// Scheduled before every ordinary process.
    RealTime = 3,
    /// A user and group of its own, shared with nobody.
    OwnUser = 4,
    /// No capability, and none to be had.
    NoCapabilities = 5,
    /// No privileges by execution.
    NoNewPrivileges = 6,
    /// State and keys in memory that the kernel hides.
    HiddenMemory = 7,
    /// Landlock: no file, no TCP port, no abstract socket, no signal to others.
    NoFiles = 8,
    /// Seccomp: a handful of system calls; any other kills the process.
    FewCalls = 9,
    /// The kernel takes no message to it that carries descriptors.
    NoPassedFiles = 10,
}

impl Protection {
    /// Every protection, in the order of their bits.
    pub const ALL: [Self; 11] = [
        Self::NotDumpable,
        Self::OwnNetwork,
        Self::LockedMemory,
        Self::RealTime,
        Self::OwnUser,
        Self::NoCapabilities,
        Self::NoNewPrivileges,
        Self::HiddenMemory,
        Self::NoFiles,
        Self::FewCalls,
        Self::NoPassedFiles,
    ];

    /// Its name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.words().0
    }

    /// What it stops, in a sentence.
    #[must_use]
    pub fn stops(self) -> &'static str {
        self.words().1
    }

    #[rustfmt::skip] // a table
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::NotDumpable => ("not dumpable",
                "A process of the same user cannot trace it, read its memory, take its descriptors \
                 or make it leave a core file."),
            Self::OwnNetwork => ("own network namespace",
                "A broken wormhole reaches no network, and no network reaches it."),
            Self::LockedMemory => ("locked memory",
                "Nothing of it is written to swap, and no page fault delays it."),
            Self::RealTime => ("real time",
                "A busy payload does not delay it by more than the kernel does."),
            Self::OwnUser => ("own user",
                "The payload's user owns neither its process nor its files."),
            Self::NoCapabilities => ("no capabilities",
                "A broken wormhole has no privilege to give away."),
            Self::NoNewPrivileges => ("no new privileges",
                "Nothing that it could execute would have more rights."),
            Self::HiddenMemory => ("hidden memory",
                "Keys, sessions and counters are in no other mapping, the kernel's own included: \
                 no reader of memory, core dump, swap or hibernation image shows them."),
            Self::NoFiles => ("no files",
                "A broken wormhole opens no file and signals no process."),
            Self::FewCalls => ("few system calls",
                "A broken wormhole has little of the kernel to attack."),
            Self::NoPassedFiles => ("no passed files",
                "A payload cannot hand it a descriptor whose closing makes it wait."),
        }
    }

    fn bit(self) -> u64 {
        1 << (self as u8)
    }
}

/// A set of protections: those in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Protections(u64);

impl Protections {
    /// Those of a status answer. Bits that mean nothing are kept and ignored.
    #[must_use]
    pub fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// For a status answer: one bit a protection.
    #[must_use]
    pub fn bits(self) -> u64 {
        self.0
    }

    /// These and `one`.
    #[must_use]
    pub fn with(self, one: Protection) -> Self {
        Self(self.0 | one.bit())
    }

    /// Whether `one` is in force.
    #[must_use]
    pub fn has(self, one: Protection) -> bool {
        self.0 & one.bit() != 0
    }

    /// Those that are not in force.
    pub fn missing(self) -> impl Iterator<Item = Protection> {
        Protection::ALL.into_iter().filter(move |one| !self.has(*one))
    }

    /// What `attacker` can do, given these protections and how the state survives a restart.
    #[must_use]
    pub fn against(self, attacker: Attacker, restart: Restart) -> Verdict {
        let has = |one| self.has(one);
        match attacker {
            Attacker::Unprivileged if !has(Protection::OwnUser) => {
                Verdict::Partly("shares the wormhole's user: can stop it and read its state files")
            }
            Attacker::Unprivileged if !has(Protection::NoPassedFiles) => {
                Verdict::Partly("can make it wait, by a descriptor that it passes to it")
            }
            Attacker::Unprivileged => Verdict::Withstood,
            Attacker::ReducedRoot => Verdict::Lost(
                "user 0 writes /proc/sys/kernel/core_pattern without any capability, and has full \
                 root at the next crash of a process; only a payload with a user of its own is \
                 withstood",
            ),
            Attacker::FullRoot if has(Protection::HiddenMemory) => Verdict::Lost(
                "cannot read hidden memory from outside, but can trace the process and run code in it",
            ),
            Attacker::FullRoot => Verdict::Lost("reads and writes its memory"),
            Attacker::Kernel => Verdict::Lost("the kernel is trusted: it runs the process"),
            Attacker::DiskRestore => Verdict::Withstood,
            Attacker::Snapshot => match restart {
                Restart::Exact => Verdict::Partly(
                    "a copy attests nothing once the hardware counter has moved on, if that \
                     counter is outside of the snapshot",
                ),
                Restart::NewInstance | Restart::CleanStop => {
                    Verdict::Lost("a machine resumed twice from memory runs one instance twice")
                }
            },
        }
    }
}

/// Who may attack the wormhole, by increasing power.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attacker {
    /// A payload, or anyone else, without root.
    Unprivileged,
    /// A payload with user id 0, its capabilities dropped by [`crate::launcher`]. Its user still owns
    /// the files of the system and the kernel's own settings.
    ReducedRoot,
    /// A payload with every capability.
    FullRoot,
    /// Whoever controls the kernel.
    Kernel,
    /// Who puts back an older state directory, or runs another wormhole on a copy of it. (Who *reads*
    /// the key in it, say from a backup, is that wormhole to everybody.)
    DiskRestore,
    /// Who resumes an older image of the whole machine, its memory included.
    Snapshot,
}

impl Attacker {
    /// Its name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Unprivileged => "unprivileged code",
            Self::ReducedRoot => "root without capabilities",
            Self::FullRoot => "full root",
            Self::Kernel => "the kernel",
            Self::DiskRestore => "a restored disk",
            Self::Snapshot => "a restored machine",
        }
    }

    /// Every attacker, weakest first.
    pub const ALL: [Self; 6] = [
        Self::Unprivileged,
        Self::ReducedRoot,
        Self::FullRoot,
        Self::Kernel,
        Self::DiskRestore,
        Self::Snapshot,
    ];
}

/// What a stop does to the instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restart {
    /// Every start is a new instance: nothing on the disk could be rolled back.
    NewInstance,
    /// A clean stop resumes, a crash closes the instance; a hardware counter tells them apart.
    CleanStop,
    /// Any stop resumes: every attestation is in the store first.
    Exact,
}

/// What an attacker comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// No guarantee is lost.
    Withstood,
    /// Something is lost: what.
    Partly(&'static str),
    /// The guarantees are lost: how.
    Lost(&'static str),
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Withstood => f.write_str("withstood"),
            Self::Partly(what) => write!(f, "partly: {what}"),
            Self::Lost(how) => write!(f, "NOT withstood: {how}"),
        }
    }
}

#[cfg(test)]
mod tests;
