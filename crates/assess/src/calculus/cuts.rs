//! Minimal sets of labels whose fall intrudes more servers than are tolerated.
use super::CalculusError;

/// The most servers.
pub const CUT_SERVERS_MAX: usize = 128;

/// A label and who bears it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// For instance `os=debian-13`.
    pub name: String,
    /// Server numbers, from 0.
    pub servers: Vec<usize>,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cuts {
    /// Each set as ascending indices of labels; smallest sets first.
    pub sets: Vec<Vec<usize>>,
    /// Whether all sets up to the size asked for were looked at.
    pub complete: bool,
}

/// Minimal sets of at most `size_max` labels that together hold more than `tolerated` servers.
pub fn minimal_cuts(
    _servers: usize,
    _tolerated: usize,
    _labels: &[Label],
    _size_max: usize,
) -> Result<Cuts, CalculusError> {
    todo!()
}
