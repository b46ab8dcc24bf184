//! Planted bugs, for proving that tests and models see them.
//!
//! As `crates/model/src/mutants.rs` has them for the other crates, none of which this one knows: in builds
//! with `--cfg ravelin_mutants` alone; in every other, [`is_active`] is constantly false, nothing asks for
//! the environment, and the compiler removes what depends on it.

/// Whether the planted bug `name` is active.
#[cfg(not(ravelin_mutants))]
pub(crate) const fn is_active(_name: &str) -> bool {
    false
}

/// Whether the planted bug `name` is active.
#[cfg(ravelin_mutants)]
pub(crate) fn is_active(name: &str) -> bool {
    static ACTIVE: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    ACTIVE.get_or_init(|| std::env::var("RAVELIN_MUTANT").unwrap_or_default()) == name
}
