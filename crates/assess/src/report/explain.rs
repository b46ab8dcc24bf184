//! What each quantity means in words, where it comes from, and what it does not say.

mod quantities;

use std::fmt;

pub use quantities::QUANTITIES;

/// A quantity in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quantity {
    /// How it is called: in results, and when it is asked for.
    pub name: &'static str,
    /// Other words for it that are understood.
    pub also: &'static [&'static str],
    /// In one sentence.
    pub meaning: &'static str,
    /// How it is computed.
    pub formula: &'static str,
    /// Its unit.
    pub unit: &'static str,
    /// Sections of the paper, and other literature.
    pub source: &'static str,
    /// What must hold for the number to mean anything.
    pub assumes: &'static [&'static str],
    /// What a reader might take it for, and what it is not.
    pub is_silent_on: &'static [&'static str],
}

/// The quantity of that name, whatever its case, with spaces or underscores for hyphens.
pub fn find(name: &str) -> Option<&'static Quantity> {
    let wanted = name.trim().to_lowercase().replace([' ', '_'], "-");
    QUANTITIES
        .iter()
        .find(|quantity| quantity.name == wanted || quantity.also.contains(&wanted.as_str()))
}

/// All names that [`find`] understands.
pub fn names() -> impl Iterator<Item = &'static str> {
    QUANTITIES.iter().flat_map(|quantity| quantity.also.iter().copied().chain([quantity.name]))
}

impl fmt::Display for Quantity {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "{}", self.name)?;
        writeln!(out, "  {}", wrapped(self.meaning, 2))?;
        for (name, text) in
            [("Formula", self.formula), ("Unit", self.unit), ("Source", self.source)]
        {
            writeln!(out, "\n{name}:\n  {}", wrapped(text, 2))?;
        }
        for (name, texts) in [("Assumes", self.assumes), ("Does not say", self.is_silent_on)] {
            write!(out, "\n{name}:")?;
            for text in texts {
                write!(out, "\n  - {}", wrapped(text, 4))?;
            }
            if name == "Assumes" {
                writeln!(out)?;
            }
        }
        Ok(())
    }
}

/// `text` in lines of at most 88 letters, those after the first indented; line breaks stay.
pub fn wrapped(text: &str, indent: usize) -> String {
    let gap = format!("\n{:indent$}", "");
    let paragraphs = text.lines().map(|line| {
        let (mut lines, mut room) = (String::new(), 0_usize);
        for word in line.split(' ') {
            let length = word.chars().count();
            if room > 0 && room + 1 + length > 88 - indent {
                lines.push_str(&gap);
                room = 0;
            } else if room > 0 {
                lines.push(' ');
                room += 1;
            }
            lines.push_str(word);
            room += length;
        }
        lines
    });
    paragraphs.collect::<Vec<_>>().join(&gap)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_quantity_is_told_whole_and_found_by_all_its_names() {
        let mut seen = BTreeSet::new();
        for name in names() {
            assert!(seen.insert(name), "{name} names two quantities");
            assert!(find(&name.to_uppercase().replace('-', " ")).is_some(), "{name}");
        }
        for quantity in QUANTITIES {
            let Quantity { name, meaning, formula, unit, source, assumes, is_silent_on, .. } =
                quantity;
            for text in [meaning, formula, unit, source] {
                assert!(text.len() > 3, "{name}");
            }
            assert!(meaning.ends_with('.') && source.contains("section"), "{name}");
            assert!(!assumes.is_empty() && !is_silent_on.is_empty(), "{name}");
            assert!(quantity.to_string().lines().all(|line| line.chars().count() <= 98), "{name}");
        }
        assert_eq!(find("nonsense"), None);
    }

    #[test]
    fn long_texts_are_wrapped_and_indented() {
        let text = wrapped(&"word ".repeat(30), 4);
        assert!(text.lines().skip(1).all(|line| line.starts_with("    word")), "{text}");
        assert_eq!(wrapped("a\nb", 2), "a\n  b");
    }
}
