//! Collecting what is wrong with a file.

use crate::design::fault::{Fault, Mistake, ModelError};
use crate::design::limits::FAULTS_TOLD_MAX;

/// The faults found so far, and where lines begin.
pub(crate) struct Faults<'t> {
    file: &'t str,
    /// Where lines begin, but for the first.
    lines: Vec<usize>,
    found: Vec<Fault>,
}

impl<'t> Faults<'t> {
    /// None yet.
    pub(crate) fn of(file: &'t str, text: &'t str) -> Self {
        let ends = text.bytes().zip(1..).filter(|(byte, _)| *byte == b'\n');
        Self { file, lines: ends.map(|(_, next)| next).collect(), found: Vec::new() }
    }

    /// The line, from 1, in which the byte `offset` stands.
    pub(crate) fn line(&self, offset: usize) -> usize {
        self.lines.partition_point(|begin| *begin <= offset) + 1
    }

    /// Adds a fault at a byte of the file.
    pub(crate) fn add(&mut self, offset: usize, mistake: Mistake, hint: String) {
        let line = self.line(offset);
        self.add_at(line, mistake, hint);
    }

    /// Adds a fault in a line of the file.
    pub(crate) fn add_at(&mut self, line: usize, mistake: Mistake, hint: String) {
        if self.found.len() < FAULTS_TOLD_MAX {
            self.found.push(Fault { line, mistake, hint });
        }
    }

    /// Ends the reading if anything was found.
    pub(crate) fn check(&mut self) -> Result<(), ModelError> {
        if self.found.is_empty() { Ok(()) } else { Err(self.refusal()) }
    }

    /// Everything found, by lines.
    pub(crate) fn refusal(&mut self) -> ModelError {
        let mut faults = std::mem::take(&mut self.found);
        faults.sort_by_key(|fault| fault.line);
        ModelError { file: self.file.to_owned(), faults }
    }
}
