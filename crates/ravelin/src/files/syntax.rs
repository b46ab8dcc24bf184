//! TOML: reading with errors that name file, line and the nearest known key; writing with comments.

use std::path::Path;

use serde::de::DeserializeOwned;

use crate::exit::{Error, Result};
use crate::suggest;

/// Reads the text of `file`, which serves in errors only.
pub(crate) fn parse<T: DeserializeOwned>(file: &Path, text: &str) -> Result<T> {
    toml::from_str(text).map_err(|error| explained(file, text, &error))
}

/// The longest word of a file that an error quotes. Seeds are longer, and so is most of a broken one.
const WORD_QUOTED_MAX: usize = 24;

/// The error of a parser, as file, line, cause and hint. Neither lines of the file are quoted nor long
/// words: they may hold secrets.
fn explained(file: &Path, text: &str, error: &toml::de::Error) -> Error {
    let message = &without_long_words(error.message());
    // What the whole file lacks has no line.
    let span = error.span().filter(|span| span.start > 0 || !message.starts_with("missing"));
    let place = match span {
        Some(span) => format!("{}:{}", file.display(), line_of(text, span.start)),
        None => file.display().to_string(),
    };
    let mut quoted = message.split('`').skip(1).step_by(2);
    let example = "`ravelin config example client` (or `node`) prints files that are right";
    for (beginning, what) in [("unknown field", "key"), ("unknown variant", "value")] {
        if let Some(word) = message.starts_with(beginning).then(|| quoted.next()).flatten() {
            let known: Vec<&str> = quoted.collect();
            let hint = match suggest::nearest(word, known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None if known.is_empty() => example.to_owned(),
                None => format!("known here: {}", known.join(", ")),
            };
            return Error::usage(format!("{place}: unknown {what} `{word}`"), hint);
        }
    }
    if let Some(key) = message.strip_prefix("missing field") {
        return Error::usage(format!("{place}: missing key{key}"), example);
    }
    let message = message.replace("duplicate field", "duplicate key");
    Error::usage(format!("{place}: {message}"), example)
}

/// `message`, in which the length stands for words too long to be quoted.
fn without_long_words(message: &str) -> String {
    let mut shown = String::with_capacity(message.len());
    let mut rest = message;
    while !rest.is_empty() {
        let letters = |letter: char| letter.is_alphanumeric();
        let end = rest.find(|letter| !letters(letter)).unwrap_or(rest.len());
        let (word, behind) = rest.split_at(end);
        if word.len() > WORD_QUOTED_MAX {
            shown.push_str(&format!("({} letters)", word.chars().count()));
        } else {
            shown.push_str(word);
        }
        let between = behind.find(letters).unwrap_or(behind.len());
        let (between, behind) = behind.split_at(between);
        shown.push_str(between);
        rest = behind;
    }
    shown
}

/// The line, from 1, in which the byte `offset` stands.
fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

/// A TOML text in the making, line by line.
#[derive(Default)]
pub(crate) struct Text(String);

impl Text {
    /// A text that begins with these lines of comment.
    pub(crate) fn new(comment: &str) -> Self {
        let mut text = Self::default();
        for line in comment.lines() {
            text.line(&format!("# {line}"));
        }
        text
    }

    /// An empty line, then the header of a table, as `[log]` or `[[members]]`.
    pub(crate) fn table(&mut self, header: &str) {
        self.line("");
        self.line(header);
    }

    /// A key with its value.
    pub(crate) fn set(&mut self, key: &str, value: impl Into<toml::Value>) {
        self.line(&format!("{key} = {}", value.into()));
    }

    /// A key with a number, of any size.
    pub(crate) fn number(&mut self, key: &str, value: u64) {
        self.line(&format!("{key} = {value}"));
    }

    /// A line as it is.
    pub(crate) fn line(&mut self, line: &str) {
        self.0.push_str(line);
        self.0.push('\n');
    }

    /// The whole text.
    pub(crate) fn finish(self) -> String {
        self.0
    }
}

/// A path as a TOML string; paths that are not text are refused rather than changed.
pub(crate) fn path_text(path: &Path) -> Result<String> {
    path.to_str().map(str::to_owned).ok_or_else(|| {
        let cause = format!("the path {} is not UTF-8", path.display());
        Error::usage(cause, "choose a path that can be written into a file")
    })
}
