//! "Did you mean": the known word that is nearest to a mistyped one.

/// The known word nearest to `word`, unless even that one is another word altogether.
///
/// Cost: O(length²) for each known word; `word` is looked at up to 64 letters.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let letters: Vec<char> = word.chars().take(64).collect();
    let tolerated = (letters.len() / 3).clamp(1, 3);
    known
        .into_iter()
        .map(|candidate| (distance(&letters, candidate), candidate))
        .filter(|(edits, _)| *edits <= tolerated && *edits < letters.len())
        .min()
        .map(|(_, candidate)| candidate)
}

/// Insertions, deletions and replacements of a letter that lead from one to the other.
fn distance(word: &[char], candidate: &str) -> usize {
    let mut row: Vec<usize> = (0..=word.len()).collect();
    for (letter, above) in candidate.chars().zip(1..) {
        let mut diagonal = std::mem::replace(row.first_mut().expect("never empty"), above);
        let mut left = above;
        for (cell, other) in row.iter_mut().skip(1).zip(word) {
            let replaced = diagonal + usize::from(letter != *other);
            diagonal = *cell;
            *cell = replaced.min(diagonal + 1).min(left + 1);
            left = *cell;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_near_words_are_suggested() {
        let known = ["site", "operating_system", "build", "rate"];
        for (word, near) in [
            ("sites", Some("site")),
            ("operatingsystem", Some("operating_system")),
            ("raet", None),
            ("rat", Some("rate")),
            ("", None),
            ("x", None),
            ("colour", None),
        ] {
            assert_eq!(nearest(word, known), near, "{word}");
        }
    }
}
