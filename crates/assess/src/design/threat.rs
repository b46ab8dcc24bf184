//! Attacks and vulnerabilities: together, and only together, they make intrusions.

use super::estimate::{Estimate, Money, PerHour, Probability};

/// Who attacks.
#[derive(Clone, Debug, PartialEq)]
pub struct Attacker {
    /// What the attacker can spend within the mission.
    pub budget: Estimate<Money>,
}

/// A kind of attack.
#[derive(Clone, Debug, PartialEq)]
pub struct Attack {
    /// A name for people.
    pub name: String,
    /// How often it is tried on one host.
    pub rate: Estimate<PerHour>,
    /// What the first host costs the attacker: finding or buying the exploit.
    pub cost: Estimate<Money>,
    /// What each further host with the same vulnerability costs.
    pub cost_again: Estimate<Money>,
    /// Share of the attacks that never reaches a host: filters, attackers put off.
    pub prevented: Estimate<Probability>,
    /// Vulnerabilities that it tries.
    pub exploits: Vec<Exploit>,
}

/// An attack on a vulnerability.
#[derive(Clone, Debug, PartialEq)]
pub struct Exploit {
    /// Position in [`super::Design::vulnerabilities`].
    pub vulnerability: usize,
    /// Probability that the attack intrudes a host on which the vulnerability is open.
    pub success: Estimate<Probability>,
}

/// A kind of vulnerability that appears and is patched again and again.
#[derive(Clone, Debug, PartialEq)]
pub struct Vulnerability {
    /// A name for people.
    pub name: String,
    /// Hosts that have it, as positions in [`super::Design::hosts`].
    pub hosts: Vec<usize>,
    /// How often a new one of its kind becomes known to attackers.
    pub disclosure: Estimate<PerHour>,
    /// How fast it is removed once known.
    pub patch: Estimate<PerHour>,
    /// Share of such vulnerabilities that design and configuration keep out from the start.
    pub prevented: Estimate<Probability>,
}
