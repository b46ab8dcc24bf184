//! Ravelin.
fn main() {}
