//! The known bugs and attacks.
