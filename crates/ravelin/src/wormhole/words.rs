//! What wormholes say to people, caught: it is talk like ours, which `-q` silences and JSON wraps.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use ravelin_wormhole::serve::selftest::{self, SelfTest};
use rustix::fs::MemfdFlags;

use crate::exit::{Error, Exit, Result};
use crate::output::Output;

/// Bytes of it that are read at once.
const PART_BYTES: usize = 4096;

/// What one wormhole, or several, said so far.
pub(crate) struct Words {
    /// In memory. Those who write move its place, so it is read by offsets.
    file: Arc<File>,
    /// Bytes that were passed on.
    told: usize,
}

impl Words {
    /// Nothing was said yet.
    pub(crate) fn new() -> io::Result<Self> {
        let file = rustix::fs::memfd_create("wormhole-words", MemfdFlags::CLOEXEC)?;
        Ok(Self { file: Arc::new(File::from(file)), told: 0 })
    }

    /// Where it goes.
    pub(crate) fn file(&self) -> Arc<File> {
        Arc::clone(&self.file)
    }

    /// Passes on what was said since the last time.
    pub(crate) fn tell(&mut self, output: Output) {
        let said = self.said();
        let news = said.get(self.told..).unwrap_or_default();
        self.told = said.len();
        String::from_utf8_lossy(news).lines().for_each(|line| output.note(line));
    }

    /// The last line of it.
    pub(crate) fn last(&self) -> Option<String> {
        String::from_utf8_lossy(&self.said()).lines().last().map(str::to_owned)
    }

    fn said(&self) -> Vec<u8> {
        let (mut said, mut part) = (Vec::new(), [0; PART_BYTES]);
        // Memory that cannot be read has nothing to tell.
        while let Ok(length @ 1..) = self.file.read_at(&mut part, said.len() as u64) {
            said.extend_from_slice(part.get(..length).unwrap_or_default());
        }
        said
    }
}

/// Starts a wormhole and measures it; what it says is passed on.
pub(crate) fn measure(output: Output, program: &Path) -> Result<SelfTest> {
    let words = Words::new();
    let mut words = words.map_err(|error| Error::system("make", Path::new("memory"), &error))?;
    let measured = selftest::measure(program, Some(words.file()));
    words.tell(output);
    measured.map_err(|error| {
        let hint = "run `ravelin doctor`, or name a `ravelin-wormhole` with --program";
        let error = anyhow::Error::from(error);
        match words.last() {
            Some(last) => Error::caused(Exit::Failed, error.context(last), hint),
            None => Error::caused(Exit::Failed, error, hint),
        }
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::output::{Format, Talk};

    #[test]
    fn what_was_passed_on_is_not_passed_on_again() {
        let mut words = Words::new().unwrap();
        assert_eq!(words.last(), None);
        let quiet = Output::new(Format::Text, Talk::Quiet);
        for (line, told) in [("one\n", 4), ("another\n", 12)] {
            (&*words.file()).write_all(line.as_bytes()).unwrap();
            assert_eq!(words.last().as_deref(), Some(line.trim()));
            words.tell(quiet);
            assert_eq!(words.told, told);
        }
        let long = "x".repeat(2 * PART_BYTES);
        (&*words.file()).write_all(long.as_bytes()).unwrap();
        assert_eq!(words.last(), Some(long));
    }
}
