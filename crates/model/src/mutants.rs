//! Planted bugs, for proving that the tests see them.
//!
//! They exist only in builds with `--cfg ravelin_mutants`, where the environment variable
//! `RAVELIN_MUTANT` names the one that is active. In every other build [`is_active`] is constantly
//! false and the compiler removes what depends on it.

/// Whether the planted bug `name` is active.
#[cfg(not(ravelin_mutants))]
#[must_use]
pub const fn is_active(_name: &str) -> bool {
    false
}

/// Whether the planted bug `name` is active.
#[cfg(ravelin_mutants)]
#[must_use]
pub fn is_active(name: &str) -> bool {
    static ACTIVE: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    ACTIVE.get_or_init(|| std::env::var("RAVELIN_MUTANT").unwrap_or_default()) == name
}
