//! Common causes by name: minimal sets of labels whose fall intrudes more servers than are tolerated.
//!
//! A label is whatever servers share: an operating system, a site, an administrator. When it falls, all who bear
//! it are intruded. Replication helps as far as no small set of labels holds more than `f` servers; a set of
//! one label means that replicas are as good as one server against it.
//!
//! # Source
//! The paper, section 4.2 (common-mode intrusions and diversity).

use super::CalculusError;

/// The most servers.
pub const CUT_SERVERS_MAX: usize = 128;
/// The most labels.
pub const CUT_LABELS_MAX: usize = 1_000;
/// The most steps of a search, one for each set of labels looked at and its size squared for each judged: a second
/// or two.
pub const CUTS_VISITED_MAX: usize = 10_000_000;
/// The most minimal sets that are returned.
pub const CUTS_MAX: usize = 1_000;

/// A label and who bears it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// For instance `os=debian-13`.
    pub name: String,
    /// Numbers of servers, from 0.
    pub servers: Vec<usize>,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cuts {
    /// Each set as ascending indices of labels; smallest sets first, then in the order of their indices.
    pub sets: Vec<Vec<usize>>,
    /// Whether these are all minimal sets up to the size asked for; false when [`CUTS_VISITED_MAX`] or
    /// [`CUTS_MAX`] ended the search. All sizes smaller than the last set's are complete even then.
    pub complete: bool,
}

/// The minimal sets of at most `size_max` labels that together hold more than `tolerated` of `servers`.
///
/// Labels that nobody bears are never part of one. Cost: labels to the power of `size_max`, within
/// [`CUTS_VISITED_MAX`].
///
/// # Errors
/// [`CalculusError::Count`] of servers or labels, [`CalculusError::Unknown`] server,
/// [`CalculusError::Threshold`] when more are tolerated than can fall.
pub fn minimal_cuts(
    servers: usize,
    tolerated: usize,
    labels: &[Label],
    size_max: usize,
) -> Result<Cuts, CalculusError> {
    if servers == 0 || servers > CUT_SERVERS_MAX {
        let (what, least, most) = ("servers", 1, CUT_SERVERS_MAX);
        return Err(CalculusError::Count { what, count: servers, least, most });
    }
    if labels.len() > CUT_LABELS_MAX {
        let (what, count, most) = ("labels", labels.len(), CUT_LABELS_MAX);
        return Err(CalculusError::Count { what, count, least: 0, most });
    }
    if tolerated >= servers {
        let name = "the service".into();
        return Err(CalculusError::Threshold { name, wanted: tolerated + 1, given: servers });
    }
    let mut bearers = Vec::with_capacity(labels.len());
    for label in labels {
        let mut set = 0_u128;
        for &server in &label.servers {
            if server >= servers {
                let (what, count) = ("server", servers);
                return Err(CalculusError::Unknown { what, index: server, count });
            }
            set |= 1 << server;
        }
        bearers.push(set);
    }
    let mut search = Search { tolerated, bearers, found: Vec::new(), visited: 0, full: false };
    let sizes = 1..=size_max.min(labels.len());
    for size in sizes {
        search.extend(&mut Vec::new(), 0, size);
        if search.full {
            break;
        }
    }
    Ok(Cuts { sets: search.found, complete: !search.full })
}

struct Search {
    tolerated: usize,
    bearers: Vec<u128>,
    found: Vec<Vec<usize>>,
    visited: usize,
    full: bool,
}

impl Search {
    /// Tries every set that begins with `chosen` and has `left` labels more.
    fn extend(&mut self, chosen: &mut Vec<usize>, fallen: u128, left: usize) {
        let first = chosen.last().map_or(0, |last| last + 1);
        for label in first..self.bearers.len() {
            self.visited += 1;
            self.full |= self.visited > CUTS_VISITED_MAX || self.found.len() >= CUTS_MAX;
            if self.full {
                return;
            }
            let now = fallen | self.bearers.get(label).copied().unwrap_or_default();
            // A label that adds nobody is never part of a minimal set.
            if now == fallen {
                continue;
            }
            chosen.push(label);
            if left > 1 {
                // What breaks the service already was found at a smaller size.
                if !self.breaks(now) {
                    self.extend(chosen, now, left - 1);
                }
            } else if self.breaks(now) {
                // Judging a large set is work too.
                self.visited = self.visited.saturating_add(chosen.len() * chosen.len());
                if self.is_minimal(chosen) {
                    self.found.push(chosen.clone());
                }
            }
            chosen.pop();
        }
    }

    fn breaks(&self, fallen: u128) -> bool {
        usize::try_from(fallen.count_ones()).is_ok_and(|count| count > self.tolerated)
    }

    /// Whether no label of the set could be left out.
    fn is_minimal(&self, set: &[usize]) -> bool {
        set.iter().all(|without| {
            let others = set.iter().filter(|label| *label != without);
            let fallen = others
                .fold(0, |sum, label| sum | self.bearers.get(*label).copied().unwrap_or_default());
            !self.breaks(fallen)
        })
    }
}

#[cfg(test)]
mod tests;
