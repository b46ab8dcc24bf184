//! What a reader must know, in words: warnings before anything else, then what follows.

mod conclusions;
mod warnings;

use super::result::{AttackTreeResult, Finding, ServiceResult, Severity, TrustGraph};
use crate::design::Design;
use crate::engines::EngineError;

/// A finding about one service, or about the design.
fn finding(
    id: &str,
    severity: Severity,
    service: Option<&str>,
    text: String,
    hint: &str,
) -> Finding {
    Finding {
        id: id.to_owned(),
        severity,
        service: service.map(str::to_owned),
        text,
        hint: hint.to_owned(),
    }
}

/// Warnings, gravest first.
pub(super) fn warnings(
    design: &Design,
    services: &[ServiceResult],
    trust: &TrustGraph,
) -> Result<Vec<Finding>, EngineError> {
    let mut found = Vec::new();
    for (service, result) in design.services.iter().zip(services) {
        warnings::of_service(design, service, result, &mut found)?;
    }
    warnings::of_trust(trust, &mut found);
    warnings::of_origins(design, services, &mut found);
    found.sort_by_key(|it| it.severity);
    Ok(found)
}

/// Conclusions, service by service.
pub(super) fn conclusions(
    design: &Design,
    services: &[ServiceResult],
    trees: &[AttackTreeResult],
) -> Vec<Finding> {
    let mut found = Vec::new();
    for result in services {
        conclusions::of_service(design, result, &mut found);
    }
    for tree in trees {
        conclusions::of_tree(design, tree, &mut found);
    }
    found
}

/// An amount of money for people.
pub(super) fn money(amount: f64, currency: &str) -> String {
    if amount.abs() >= 1e15 {
        return format!("{amount:.3e} {currency}");
    }
    let digits = format!("{:.0}", amount.abs());
    let mut grouped = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            grouped.push(' ');
        }
        grouped.push(digit);
    }
    format!("{grouped} {currency}")
}

#[cfg(test)]
mod tests {
    use super::money;

    #[test]
    fn money_is_grouped() {
        assert_eq!(money(0.0, "EUR"), "0 EUR");
        assert_eq!(money(1_234_567.4, "EUR"), "1 234 567 EUR");
        assert_eq!(money(100_000.0, "X"), "100 000 X");
        assert_eq!(money(1e300, "X"), "1.000e300 X");
    }
}
