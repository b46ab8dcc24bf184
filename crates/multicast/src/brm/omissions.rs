//! How many copies a network loses: the omission degree, from what was measured.

/// One of how many runs of losses is allowed for that were not seen: the rule of three, by which what
/// never happened in `n` trials happens in fewer than `3/n` of all, with 95 % confidence.
const UNSEEN: f64 = 3.0;

/// The smallest omission degree with which one of `od + 1` copies arrives with probability `wanted`.
///
/// `arrived`: for each probe, in the order and at the distance in which copies are sent, whether it
/// came through unharmed. Losses that come together count as they came: no independence is assumed.
/// `None`: too few probes to tell, or a network that loses too much for it. Cost: linear.
///
/// # Source
/// The paper, section 8.2, which has the degree of a network found by tests on it.
#[must_use]
pub fn omission_degree(arrived: &[bool], wanted: f64) -> Option<u16> {
    if !(0.0..1.0).contains(&wanted) {
        return None;
    }
    // Of a run of losses, so many windows of `od + 1` copies have nothing but losses: the run less `od`.
    let runs: Vec<usize> =
        arrived.split(|came| *came).map(<[bool]>::len).filter(|run| *run > 0).collect();
    let longest = runs.iter().copied().max().unwrap_or(0);
    let mut lengths = vec![0_usize; longest + 1];
    for run in runs {
        *lengths.get_mut(run)? += 1;
    }
    // 1 - 0.9999 is a little less than 0.0001: what is written must be what is demanded.
    let allowed = 1.0 - wanted + f64::EPSILON;
    // From the highest degree downwards: runs longer than it, and what they lose together.
    let (mut longer, mut failed) = (0, 0);
    let mut found = None;
    for od in (0..=longest).rev() {
        failed += longer;
        let count = (arrived.len() - od.min(arrived.len())) as f64;
        if (failed as f64 + UNSEEN) / count > allowed {
            break;
        }
        found = Some(od);
        longer += lengths.get(od).copied().unwrap_or(0);
    }
    found.and_then(|od| u16::try_from(od).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many probes of which each `every`-th begins a run of `run` losses.
    fn probes(count: usize, every: usize, run: usize) -> Vec<bool> {
        (0..count).map(|probe| probe % every >= run).collect()
    }

    #[test]
    fn the_degree_covers_the_longest_runs_of_losses() {
        for run in 1..6 {
            let probes = probes(100_000, 1_000, run);
            assert_eq!(omission_degree(&probes, 0.999_9), Some(run as u16), "runs of {run}");
        }
        assert_eq!(omission_degree(&vec![true; 100_000], 0.999_9), Some(0));
    }

    #[test]
    fn a_rare_loss_needs_no_second_copy_when_little_is_wanted() {
        let probes = probes(100_000, 1_000, 2);
        assert_eq!(omission_degree(&probes, 0.99), Some(0));
        assert_eq!(omission_degree(&probes, 0.998_5), Some(1));
    }

    #[test]
    fn three_probes_for_each_loss_allowed_are_enough_and_one_fewer_is_not() {
        for (wanted, enough) in [
            (0.0, 3),
            (0.9, 30),
            (0.99, 300),
            (0.999, 3_000),
            (0.999_9, 30_000),
            (0.999_99, 300_000),
        ] {
            assert_eq!(omission_degree(&vec![true; enough], wanted), Some(0), "{wanted}");
            assert_eq!(omission_degree(&vec![true; enough - 1], wanted), None, "{wanted}");
        }
    }

    #[test]
    fn too_few_probes_tell_nothing() {
        assert_eq!(omission_degree(&[], 0.9), None);
        assert_eq!(omission_degree(&[true; 20], 0.999), None);
        assert_eq!(omission_degree(&[false; 1_000], 0.9), None);
        for unreal in [1.0, -0.5, f64::NAN] {
            assert_eq!(omission_degree(&[true; 1_000], unreal), None);
        }
    }
}
