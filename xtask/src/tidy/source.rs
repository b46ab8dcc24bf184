//! A Rust file as the rules see it: code apart from comments and strings, tests apart from the rest.

/// The most lines a function may have.
pub(crate) const FUNCTION_LINES_MAX: usize = 70;

/// One Rust file.
pub(crate) struct Source {
    /// The text with comments and literals blanked, line by line the same.
    code: String,
    /// One for each line: whether it belongs to tests.
    tests: Vec<bool>,
}

/// One line of a [`Source`].
pub(crate) struct Line<'a> {
    /// From 1.
    pub(crate) number: usize,
    /// Without comments and literals.
    pub(crate) code: &'a str,
    pub(crate) is_test: bool,
}

/// A function with a body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Function {
    pub(crate) name: String,
    /// The line of its `fn`, from 1.
    pub(crate) line: usize,
    pub(crate) line_count: usize,
}

impl Function {
    pub(crate) fn is_long(&self) -> bool {
        self.line_count > FUNCTION_LINES_MAX
    }
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let code = blanked(text);
        let tests = if is_test_file(path) {
            vec![true; text.lines().count()]
        } else {
            test_lines(&code, text.lines().count())
        };
        Self { code, tests }
    }

    pub(crate) fn lines(&self) -> impl Iterator<Item = Line<'_>> {
        let lines = self.code.lines().zip(&self.tests).zip(1..);
        lines.map(|((code, &is_test), number)| Line { number, code, is_test })
    }

    /// The lines that are not tests.
    pub(crate) fn product_lines(&self) -> impl Iterator<Item = Line<'_>> {
        self.lines().filter(|line| !line.is_test)
    }

    pub(crate) fn functions(&self) -> Vec<Function> {
        let code: Vec<char> = self.code.chars().collect();
        let mut functions = Vec::new();
        for start in word_starts(&code, "fn") {
            let name: String = code
                .iter()
                .skip(start + 2)
                .skip_while(|c| c.is_whitespace())
                .take_while(|c| is_word(**c))
                .collect();
            // A type such as `fn(u8) -> u8` has no name, a trait's method perhaps no body.
            if let (false, Some(end)) = (name.is_empty(), item_end(&code, start)) {
                let line_count = line_at(&code, end) - line_at(&code, start) + 1;
                functions.push(Function { name, line: line_at(&code, start), line_count });
            }
        }
        functions
    }
}

/// Whether the whole file is tests.
pub(crate) fn is_test_file(path: &str) -> bool {
    path.split('/').any(|part| matches!(part, "tests" | "tests.rs" | "benches"))
}

/// Whether `line` has `word`, not as a part of a longer one.
pub(crate) fn has_word(line: &str, word: &str) -> bool {
    let first_is_word = word.starts_with(is_word);
    let last_is_word = word.ends_with(is_word);
    line.match_indices(word).any(|(start, found)| {
        let before = line.get(..start).and_then(|text| text.chars().next_back());
        let after = line.get(start + found.len()..).and_then(|text| text.chars().next());
        let goes_back = first_is_word && before.is_some_and(is_word);
        let goes_on = last_is_word && after.is_some_and(is_word);
        !goes_back && !goes_on
    })
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Marks the lines of every item under `#[cfg(test)]`.
fn test_lines(code: &str, count: usize) -> Vec<bool> {
    let mut tests = vec![false; count];
    let code: Vec<char> = code.chars().collect();
    for start in ["#[cfg(test)]", "#[cfg(all(test,"].iter().flat_map(|text| starts(&code, text)) {
        let attribute_end = start + "#[cfg(test)]".len();
        let (first, last) = match item_end(&code, attribute_end) {
            Some(end) => (line_at(&code, start), line_at(&code, end)),
            None => continue, // `mod tests;`: the other file is a test by its name
        };
        tests.iter_mut().take(last).skip(first - 1).for_each(|is_test| *is_test = true);
    }
    tests
}

/// Where `text` begins in `code`.
fn starts(code: &[char], text: &str) -> Vec<usize> {
    let wanted: Vec<char> = text.chars().collect();
    let windows = code.windows(wanted.len()).enumerate();
    windows.filter(|(_, window)| *window == wanted.as_slice()).map(|(start, _)| start).collect()
}

/// Where `word` begins in `code`, not as a part of a longer one.
fn word_starts(code: &[char], word: &str) -> Vec<usize> {
    let is_word_at = |index: usize| code.get(index).is_some_and(|c| is_word(*c));
    let mut found = starts(code, word);
    found.retain(|&start| {
        let goes_back = start > 0 && is_word_at(start - 1);
        !goes_back && !is_word_at(start + word.len())
    });
    found
}

/// The closing brace of the item that begins at `start`; none if the item has no body.
fn item_end(code: &[char], start: usize) -> Option<usize> {
    let mut enclosing = 0_usize; // parentheses and brackets of the signature
    let mut braces = 0_usize;
    for (index, c) in code.iter().enumerate().skip(start) {
        match c {
            '(' | '[' if braces == 0 => enclosing += 1,
            ')' | ']' if braces == 0 => enclosing = enclosing.saturating_sub(1),
            ';' if braces == 0 && enclosing == 0 => return None,
            '{' if enclosing == 0 => braces += 1,
            '}' if enclosing == 0 => {
                braces = braces.saturating_sub(1);
                if braces == 0 {
                    return Some(index);
                }
            }
            _ => {}
        }
    }
    None
}

/// The line, from 1, of the character at `index`.
fn line_at(code: &[char], index: usize) -> usize {
    code.iter().take(index).filter(|c| **c == '\n').count() + 1
}

/// Replaces comments, strings and characters by spaces; lines stay where they are.
fn blanked(text: &str) -> String {
    let characters: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(text.len());
    let mut index = 0;
    while let Some(&c) = characters.get(index) {
        let after_word = index > 0 && characters.get(index - 1).is_some_and(|c| is_word(*c));
        let length = literal_length(characters.get(index..).unwrap_or_default(), after_word);
        if length == 0 {
            code.push(c);
            index += 1;
            continue;
        }
        for c in characters.iter().skip(index).take(length) {
            code.push(if *c == '\n' { '\n' } else { ' ' });
        }
        index += length;
    }
    code
}

/// The length of the comment or literal that begins here; 0 if none does.
fn literal_length(rest: &[char], after_word: bool) -> usize {
    match rest {
        ['/', '/', ..] => rest.iter().take_while(|c| **c != '\n').count(),
        ['/', '*', ..] => block_comment_length(rest),
        ['"', ..] => quoted_length(rest, '"'),
        ['r', '"' | '#', ..] if !after_word => raw_string_length(rest, 1),
        ['b' | 'c', 'r', '"' | '#', ..] if !after_word => raw_string_length(rest, 2),
        ['\'', '\\', ..] => quoted_length(rest, '\''),
        ['\'', _, '\'', ..] => 3,
        _ => 0, // a lifetime, or plain code
    }
}

fn block_comment_length(rest: &[char]) -> usize {
    let mut depth = 0_usize;
    let mut length = 0;
    while let Some(pair) = rest.get(length..length + 2) {
        match pair {
            ['/', '*'] => (depth, length) = (depth + 1, length + 2),
            ['*', '/'] => (depth, length) = (depth - 1, length + 2),
            _ => length += 1,
        }
        if depth == 0 {
            return length;
        }
    }
    rest.len()
}

fn quoted_length(rest: &[char], quote: char) -> usize {
    let mut escaped = false;
    for (index, c) in rest.iter().enumerate().skip(1) {
        if !escaped && *c == quote {
            return index + 1;
        }
        escaped = !escaped && *c == '\\';
    }
    rest.len()
}

/// `prefix` is the length of `r`, `br` or `cr`. A raw identifier (`r#fn`) is no string.
fn raw_string_length(rest: &[char], prefix: usize) -> usize {
    let hashes = rest.iter().skip(prefix).take_while(|c| **c == '#').count();
    if rest.get(prefix + hashes) != Some(&'"') {
        return 0;
    }
    let mut end = vec!['"'];
    end.resize(hashes + 1, '#');
    let body = prefix + hashes + 1;
    let found = rest.get(body..).and_then(|body| starts_first(body, &end));
    found.map_or(rest.len(), |at| body + at + end.len())
}

fn starts_first(code: &[char], wanted: &[char]) -> Option<usize> {
    code.windows(wanted.len()).position(|window| window == wanted)
}

#[cfg(test)]
mod tests;
