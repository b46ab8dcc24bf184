//! "Did you mean": the known word that is nearest to a mistyped one.

/// The known word nearest to `word`, unless even that one is another word altogether.
///
/// Cost: O(length²) for each known word; both come from short keys.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let tolerated = (word.chars().count() / 3).clamp(1, 3);
    known
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(edits, _)| *edits <= tolerated)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Insertions, deletions and replacements of a letter, and exchanges of two neighbours, that lead
/// from `a` to `b` when no letter is edited twice.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let width = b.len() + 1;
    // Cell (i, j): edits from the first i letters of `a` to the first j of `b`.
    let mut cells = vec![0; (a.len() + 1) * width];
    let at = |cells: &[usize], i: usize, j: usize| {
        cells.get(i * width + j).copied().unwrap_or(usize::MAX)
    };
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            let edits = if i == 0 || j == 0 {
                i + j
            } else {
                let same = a.get(i - 1) == b.get(j - 1);
                let replaced = at(&cells, i - 1, j - 1) + usize::from(!same);
                let moved = at(&cells, i - 1, j).min(at(&cells, i, j - 1)) + 1;
                let crossed =
                    i > 1 && j > 1 && a.get(i - 1) == b.get(j - 2) && a.get(i - 2) == b.get(j - 1);
                let exchanged = if crossed { at(&cells, i - 2, j - 2) + 1 } else { usize::MAX };
                replaced.min(moved).min(exchanged)
            };
            if let Some(cell) = cells.get_mut(i * width + j) {
                *cell = edits;
            }
        }
    }
    at(&cells, a.len(), b.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_counted() {
        for (a, b, edits) in [
            ("", "", 0),
            ("a", "", 1),
            ("plan", "plna", 1),
            ("plan", "plane", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(a, b), edits, "{a} to {b}");
            assert_eq!(distance(b, a), edits, "{b} to {a}");
        }
    }

    #[test]
    fn only_near_words_are_suggested() {
        let known = ["data_dir", "identity", "peer_listen"];
        assert_eq!(nearest("datadir", known), Some("data_dir"));
        assert_eq!(nearest("peer_lisetn", known), Some("peer_listen"));
        assert_eq!(nearest("colour", known), None);
    }
}
