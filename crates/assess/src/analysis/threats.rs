//! Rates of intrusion: attacks that find open vulnerabilities (section 3.1 of the paper).

use crate::design::{Attack, Design, Exploit, Vulnerability};

/// The share of time in which a vulnerability of this kind is open: it is disclosed and patched in
/// turn, `d / (d + r)` with the rate `d` of disclosures, less what prevention keeps out, and the rate
/// `r` of removal.
pub(super) fn open_share(vulnerability: &Vulnerability) -> f64 {
    let disclosed = vulnerability.disclosure.value.0 * (1.0 - vulnerability.prevented.value.0);
    disclosed / (disclosed + vulnerability.patch.value.0)
}

/// Attempts per hour on one host that pass prevention.
pub(super) fn attempts(attack: &Attack) -> f64 {
    attack.rate.value.0 * (1.0 - attack.prevented.value.0)
}

/// Intrusions per hour of one host through one exploit: attempts, times the share of time in which the
/// vulnerability is open, times success.
pub(super) fn exploit_rate(design: &Design, attack: &Attack, exploit: &Exploit) -> f64 {
    let open = design.vulnerabilities.get(exploit.vulnerability).map_or(0.0, open_share);
    attempts(attack) * open * exploit.success.value.0
}

/// Intrusions per hour of one host: the sum over all exploits of vulnerabilities that it has.
pub(super) fn intrusion_rate(design: &Design, host: usize) -> f64 {
    let has = |exploit: &&Exploit| {
        let vulnerability = design.vulnerabilities.get(exploit.vulnerability);
        vulnerability.is_some_and(|it| it.hosts.contains(&host))
    };
    let of = |attack: &Attack| -> f64 {
        attack.exploits.iter().filter(has).map(|it| exploit_rate(design, attack, it)).sum()
    };
    design.attacks.iter().map(of).sum()
}
