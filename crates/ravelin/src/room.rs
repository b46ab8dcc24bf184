//! Room on the disk of the data directory: what a server does as it runs out.
//!
//! **Guarantee:** nothing that was acknowledged is lost to a full disk. Writes of clients are refused
//! in time, and are told when to come again; what is under way is finished. A file of ballast keeps
//! room that only the server can give itself: once it is given up, the server still reads, answers and
//! follows the others, for their blocks come whatever it refuses; when that room goes too, it stops in
//! good order, while there is enough left to write down what it must.
//!
//! It follows and does not fall silent, because a server that stops following takes one of the `f`
//! faults at once, and one that follows takes it at the end only, if no room comes.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FallocateFlags, fallocate};

use crate::data::FULL;
use crate::exit::{Error, Exit, Result};

/// Free bytes below which clients' writes are refused: two segments of the log, a file of the store's
/// journal, and as much again.
pub(crate) const BUSY_BELOW_BYTES: u64 = 128 << 20;
/// Free bytes below which the ballast is given up.
pub(crate) const READ_ONLY_BELOW_BYTES: u64 = 48 << 20;
/// Free bytes below which a server stops, once it has no ballast: a segment of the log, and what a
/// stop writes.
pub(crate) const STOP_BELOW_BYTES: u64 = 32 << 20;
/// Free bytes above a limit from which on it counts as left behind.
const SLACK_BYTES: u64 = 16 << 20;
/// Time between two looks at the disk.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// What clients are told to wait.
const RETRY_AFTER_MS: u32 = 1000;
/// What a server that serves, but refuses writes for want of room, calls itself.
pub(crate) use ravelin_gateway::picture::DISK_FULL as REPORTED;
/// The file of ballast.
const NAME: &str = "ballast";

/// How much room there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// Enough.
    Ample,
    /// Writes of clients are refused.
    Busy,
    /// The same, and the ballast is given up.
    ReadOnly,
    /// The server stops.
    Stop,
}

impl Stage {
    /// All, from good to bad.
    pub(crate) const ALL: [Self; 4] = [Self::Ample, Self::Busy, Self::ReadOnly, Self::Stop];

    /// The name in metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ample => "ample",
            Self::Busy => "busy",
            Self::ReadOnly => "read_only",
            Self::Stop => "stop",
        }
    }

    /// What clients who want to write are told to wait.
    pub(crate) fn retry_after_ms(self) -> Option<u32> {
        (self != Self::Ample).then_some(RETRY_AFTER_MS)
    }
}

/// The room as it was seen last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) stage: Stage,
    pub(crate) free_bytes: u64,
}

/// The room on one disk.
pub(crate) struct Room {
    dir: PathBuf,
    ballast_bytes: u64,
    /// Whether the disk did not take the ballast although there was room.
    is_refused: bool,
    looked: Instant,
    view: View,
}

impl Room {
    /// Looks at the disk of `dir` before anything is written to it, and takes ballast aboard if there is
    /// room. What ballast an earlier life left is given up if the disk is full.
    ///
    /// # Errors
    /// There is not enough room to start.
    pub(crate) fn open(dir: &Path, ballast_bytes: u64) -> Result<Self> {
        let failed = |error: io::Error| Error::system("look at the disk of", dir, &error);
        let view = View { stage: Stage::Ample, free_bytes: free(dir).map_err(failed)? };
        let mut room = Self {
            dir: dir.to_owned(),
            ballast_bytes,
            is_refused: false,
            looked: Instant::now(),
            view,
        };
        room.judge().map_err(failed)?;
        if room.view.stage == Stage::Stop {
            let free = room.view.free_bytes >> 20;
            let cause = format!(
                "{free} MiB free on the disk of {}: a server starts with {} MiB at least",
                dir.display(),
                STOP_BELOW_BYTES >> 20
            );
            return Err(Error::new(Exit::NoSpace, cause, FULL));
        }
        Ok(room)
    }

    /// The room as it was seen last.
    pub(crate) fn view(&self) -> View {
        self.view
    }

    /// Looks again, if the last look is old enough. The stage, if it is another one.
    pub(crate) fn look(&mut self) -> Option<Stage> {
        if self.looked.elapsed() < LOOK_EVERY {
            return None;
        }
        self.looked = Instant::now();
        let before = self.view.stage;
        if let Err(error) = self.judge() {
            tracing::warn!(%error, "cannot look after the room in {}", self.dir.display());
        }
        (self.view.stage != before).then_some(self.view.stage)
    }

    /// Judges what is free now, and gives up or takes ballast.
    fn judge(&mut self) -> io::Result<()> {
        let ballast = self.dir.join(NAME);
        let mut has_ballast = ballast.try_exists()?;
        self.view.free_bytes = free(&self.dir)?;
        if self.view.free_bytes < READ_ONLY_BELOW_BYTES && has_ballast {
            std::fs::remove_file(&ballast)?;
            has_ballast = false;
            self.view.free_bytes = free(&self.dir)?;
            self.view.stage = Stage::ReadOnly;
        }
        let wanted = self.ballast_bytes + BUSY_BELOW_BYTES + SLACK_BYTES;
        if !has_ballast && self.view.free_bytes >= wanted && !self.is_refused {
            match load(&ballast, self.ballast_bytes) {
                Ok(()) => has_ballast = true,
                Err(error) => {
                    tracing::warn!(%error, "no ballast: a full disk leaves less time to make room");
                    self.is_refused = true; // a quota, for one; the next start tries again
                }
            }
            self.view.free_bytes = free(&self.dir)?;
        }
        self.view.stage = next(self.view, has_ballast);
        Ok(())
    }
}

/// The stage that follows `last.stage` with so many bytes free.
fn next(last: View, has_ballast: bool) -> Stage {
    let View { stage, free_bytes } = last;
    let is_below =
        |limit: u64, reached: bool| free_bytes < limit + if reached { SLACK_BYTES } else { 0 };
    if !has_ballast && free_bytes < STOP_BELOW_BYTES {
        Stage::Stop
    } else if !has_ballast
        && (stage >= Stage::ReadOnly || free_bytes < READ_ONLY_BELOW_BYTES)
        && is_below(BUSY_BELOW_BYTES, true)
    {
        Stage::ReadOnly
    } else if is_below(BUSY_BELOW_BYTES, stage >= Stage::Busy) {
        Stage::Busy
    } else {
        Stage::Ample
    }
}

/// Makes a file that takes its whole size on the disk.
fn load(path: &Path, bytes: u64) -> io::Result<()> {
    let part = path.with_extension("part");
    let file: File = OpenOptions::new().write(true).create(true).truncate(true).open(&part)?;
    let loaded = if bytes == 0 {
        Ok(())
    } else {
        fallocate(&file, FallocateFlags::empty(), 0, bytes).map_err(io::Error::from)
    };
    let loaded = loaded.and_then(|()| std::fs::rename(&part, path));
    if loaded.is_err() {
        let _ = std::fs::remove_file(&part); // it takes room for nothing
    }
    loaded
}

/// Bytes free on the disk of `dir`, for us.
pub(crate) fn free(dir: &Path) -> io::Result<u64> {
    let space = rustix::fs::statvfs(dir)?;
    Ok(space.f_bavail.saturating_mul(space.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_follow_the_room_and_do_not_flap() {
        const MIB: u64 = 1 << 20;
        let mut stage = Stage::Ample;
        for (free, has_ballast, wanted) in [
            (500, true, Stage::Ample),
            (127, true, Stage::Busy),
            (130, true, Stage::Busy), // within the slack
            (145, true, Stage::Ample),
            (100, true, Stage::Busy),
            (47, false, Stage::ReadOnly),
            (47 + 64, false, Stage::ReadOnly), // what the ballast gave is no room to fill again
            (40, false, Stage::ReadOnly),
            (143, false, Stage::ReadOnly),
            (31, false, Stage::Stop),
            (200, false, Stage::Ample),
            (10, true, Stage::Busy), // never reached: ballast goes first
            (60, false, Stage::Busy),
            (47, false, Stage::ReadOnly),
        ] {
            stage = next(View { stage, free_bytes: free * MIB }, has_ballast);
            assert_eq!(stage, wanted, "{free} MiB, {has_ballast}");
        }
    }

    #[test]
    fn a_disk_that_takes_no_ballast_is_no_reason_not_to_start() {
        let scratch = crate::files::tests::Scratch::new();
        let room = Room::open(&scratch.path(""), u64::MAX >> 2).expect("there is room to start");
        assert_eq!(room.view().stage, Stage::Ample);
        assert!(!scratch.path(NAME).exists());
        let mut room = Room { ballast_bytes: 1 << 20, ..room };
        // A directory of that name stands in for whatever refuses.
        std::fs::create_dir(scratch.path("ballast.part")).expect("made");
        room.judge().expect("it goes on");
        assert!(room.is_refused && !scratch.path(NAME).exists());
        std::fs::remove_dir(scratch.path("ballast.part")).expect("removed");
        let room = Room::open(&scratch.path(""), 1 << 20).expect("there is room");
        assert!(!room.is_refused && scratch.path(NAME).exists());
    }

    #[test]
    fn only_enough_room_asks_nothing_of_clients() {
        for stage in Stage::ALL {
            assert_eq!(stage.retry_after_ms().is_none(), stage == Stage::Ample);
        }
    }
}
