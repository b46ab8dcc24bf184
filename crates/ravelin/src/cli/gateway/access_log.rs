//! The access log of a gateway: a line of JSON for each answer.
//!
//! **Guarantee:** no request waits for the disk. What the queue does not hold, what the disk refuses, and
//! what strangers ask for more often than a log should say, is counted, and the counts stand in the log
//! before the next line that it takes. Lines are ASCII, and each is one.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use ravelin_gateway::http::observed::{Answered, Observer};
use rustix::fs::OFlags;
use serde::Serialize;

use crate::exit::{Error, Exit, Result};
use crate::files::date;

/// Answers that wait for the disk.
const QUEUE_MAX: usize = 1024;
/// Answers without a known token that the log says one by one, in a second.
const STRANGERS_PER_SECOND_MAX: u32 = 100;
/// Pause between two looks whether the file was moved away.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long the disk has for what waits when the gateway stops.
const CLOSE_MAX: Duration = Duration::from_secs(3);

/// A log that is written.
pub(super) struct AccessLog {
    queue: SyncSender<Entry>,
    writer: JoinHandle<()>,
    state: Arc<State>,
}

/// An answer, and when it was given.
type Entry = (String, Answered);

#[derive(Default)]
struct State {
    lost: AtomicU64,
    of_strangers: AtomicU64,
    /// What the disk said when it last refused a line; nothing once it takes lines again.
    failure: Mutex<Option<String>>,
}

#[derive(Serialize)]
struct Line<'a> {
    time: &'a str,
    #[serde(flatten)]
    answered: &'a Answered,
}

/// What is not in the log.
#[derive(Clone, Copy, Default, PartialEq, Eq, Serialize)]
struct Missing {
    lost: u64,
    of_strangers: u64,
}

#[derive(Serialize)]
struct Gap {
    time: String,
    #[serde(flatten)]
    missing: Missing,
}

impl AccessLog {
    /// Goes on with the file at `path`, which is made if it is not there.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let file = LogFile::open(path).map_err(|error| {
            let hint = "name a file in a directory where this user may write";
            Error::caused(Exit::Failed, error, hint)
                .context(format!("cannot write the access log {}", path.display()))
        })?;
        Ok(Self::to(file))
    }

    fn to(file: impl Write + Send + 'static) -> Self {
        let (queue, waiting) = sync_channel(QUEUE_MAX);
        let state = Arc::new(State::default());
        let of_writer = Arc::clone(&state);
        let writer = thread::spawn(move || write_all(file, &waiting, &of_writer));
        Self { queue, writer, state }
    }

    /// What is to be told of each answer.
    pub(super) fn observer(&self) -> Observer {
        let (queue, state) = (self.queue.clone(), Arc::clone(&self.state));
        let second = Mutex::new((Instant::now(), 0));
        Arc::new(move |answered: Answered| {
            if answered.token.is_none() && is_too_many(&second) {
                state.of_strangers.fetch_add(1, Ordering::Relaxed);
            } else if queue.try_send((date::now(), answered)).is_err() {
                state.lost.fetch_add(1, Ordering::Relaxed);
            }
        })
    }

    /// Lines that the disk did not take, and should have.
    pub(super) fn lost(&self) -> u64 {
        self.state.lost.load(Ordering::Relaxed)
    }

    /// Why the disk refuses them, if it does.
    pub(super) fn failure(&self) -> Option<String> {
        self.state.failure().clone()
    }

    /// Waits for the disk until all is written, or for as long as it has. Returns whether all is.
    pub(super) fn close(self) -> bool {
        let Self { queue, writer, state } = self;
        drop(queue);
        let until = Instant::now() + CLOSE_MAX;
        while !writer.is_finished() && Instant::now() < until {
            thread::sleep(Duration::from_millis(5));
        }
        writer.is_finished() && state.failure().is_none()
    }
}

/// Whether so many came in this second that no more of them are to be told.
fn is_too_many(second: &Mutex<(Instant, u32)>) -> bool {
    let mut second = second.lock().unwrap_or_else(PoisonError::into_inner);
    if second.0.elapsed() >= Duration::from_secs(1) {
        *second = (Instant::now(), 0);
    }
    second.1 = second.1.saturating_add(1);
    second.1 > STRANGERS_PER_SECOND_MAX
}

impl State {
    fn missing(&self) -> Missing {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Missing { lost: read(&self.lost), of_strangers: read(&self.of_strangers) }
    }

    fn failure(&self) -> MutexGuard<'_, Option<String>> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn write_all(mut file: impl Write, waiting: &Receiver<Entry>, state: &State) {
    let mut log = Written { told: Missing::default(), is_torn: false };
    for (time, answered) in waiting {
        let entry = line(&Line { time: &time, answered: &answered });
        log.write(&mut file, state, &entry);
    }
    log.write(&mut file, state, "");
}

/// What the log says already.
struct Written {
    told: Missing,
    /// Its last line may have no end.
    is_torn: bool,
}

impl Written {
    /// Writes `entry`, after what is missing before it.
    fn write(&mut self, file: &mut impl Write, state: &State, entry: &str) {
        let missing = state.missing();
        let mut text = String::new();
        if self.is_torn {
            text.push('\n');
        }
        if missing != self.told {
            let since = Missing {
                lost: missing.lost - self.told.lost,
                of_strangers: missing.of_strangers - self.told.of_strangers,
            };
            text.push_str(&line(&Gap { time: date::now(), missing: since }));
        }
        text.push_str(entry);
        if text.is_empty() {
            return;
        }
        let written = file.write_all(text.as_bytes());
        self.is_torn = written.is_err();
        match &written {
            Ok(()) => self.told = missing,
            Err(_) => drop(state.lost.fetch_add(u64::from(!entry.is_empty()), Ordering::Relaxed)),
        }
        *state.failure() = written.err().map(|error| error.to_string());
    }
}

/// A line in which nothing but ASCII that can be printed stands.
fn line(shape: &impl Serialize) -> String {
    let json = serde_json::to_string(shape).expect("plain fields");
    let mut line = String::with_capacity(json.len() + 1);
    for char in json.chars() {
        if matches!(char, ' '..='~') {
            line.push(char);
        } else {
            // Outside of strings JSON is ASCII.
            for unit in char.encode_utf16(&mut [0; 2]) {
                let _ = write!(line, "\\u{unit:04x}"); // a string takes it
            }
        }
    }
    line.push('\n');
    line
}

/// The file at a path, whatever file that is: once it was moved away, another is made there.
struct LogFile {
    path: PathBuf,
    file: File,
    looked: Instant,
}

impl LogFile {
    fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), file: append_to(path)?, looked: Instant::now() })
    }

    fn is_moved(&self) -> bool {
        let (here, there) = (self.file.metadata(), fs::metadata(&self.path));
        match (here, there) {
            (Ok(here), Ok(there)) => (here.dev(), here.ino()) != (there.dev(), there.ino()),
            (_, Err(error)) => error.kind() == io::ErrorKind::NotFound,
            (Err(_), _) => false,
        }
    }
}

impl Write for LogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.looked.elapsed() >= LOOK_EVERY {
            self.looked = Instant::now();
            if self.is_moved()
                && let Ok(file) = append_to(&self.path)
            {
                self.file = file;
            }
        }
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    // A pipe that nobody reads would be waited for.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let mut options = OpenOptions::new();
    let file = options.append(true).create(true).mode(0o640).custom_flags(flags).open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::other("it is no regular file"))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};

    use super::*;

    fn answered(token: Option<&str>, path: &str) -> Answered {
        Answered {
            address: [127, 0, 0, 1].into(),
            token: token.map(str::to_owned),
            method: "GET".into(),
            path: path.into(),
            status: Some(200),
            code: None,
            bytes: Some(3),
            took: Duration::from_micros(1500),
        }
    }

    /// A disk that tells what it is to write, and does as much of it as it is let.
    struct Disk {
        told: Sender<String>,
        verdicts: Receiver<usize>,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.told.send(String::from_utf8(bytes.to_vec()).expect("text")).expect("heard");
            match self.verdicts.recv() {
                Ok(0) | Err(_) => Err(io::Error::other("full")),
                Ok(most) => Ok(most.min(bytes.len())),
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn nobody_waits_for_the_disk_and_what_is_lost_is_counted_in_the_log() {
        let (told, hear) = channel();
        let (decide, verdicts) = channel();
        let log = AccessLog::to(Disk { told, verdicts });
        let observe = log.observer();
        observe(answered(Some("me"), "/first\n\"?\u{85}\u{2028}\u{1f511}"));
        let first = hear.recv().expect("it is written");
        assert!(first.ends_with("}\n") && first.matches('\n').count() == 1, "{first:?}");
        assert!(first.trim_end().bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{first:?}");
        let first: serde_json::Value = serde_json::from_str(&first).expect("JSON");
        assert_eq!(first["path"], "/first\n\"?\u{85}\u{2028}\u{1f511}");
        assert_eq!((&first["ms"], &first["status"]), (&1.5.into(), &200.into()));
        (0..QUEUE_MAX + 5).for_each(|_| observe(answered(Some("me"), "/next")));
        assert_eq!(log.lost(), 5, "the disk is busy with the first");
        decide.send(10).expect("heard");
        hear.recv().expect("the rest of it");
        decide.send(0).expect("heard");
        let second = hear.recv().expect("it is written");
        assert_eq!((log.lost(), log.failure().as_deref()), (6, Some("full")));
        assert!(second.starts_with("\n{") && second.contains("\"lost\":6,"), "{second}");
        (0..QUEUE_MAX).for_each(|_| decide.send(usize::MAX).expect("heard"));
        drop(observe);
        assert!(log.close(), "the disk works again");
        assert!(hear.try_iter().all(|line| !line.contains("lost")), "it is told once");
    }

    #[test]
    fn strangers_have_a_share_of_the_lines_and_what_a_gateway_ends_with_is_told() {
        let (told, hear) = channel();
        let (decide, verdicts) = channel();
        let log = AccessLog::to(Disk { told, verdicts });
        let observe = log.observer();
        (0..500).for_each(|_| observe(answered(None, "/")));
        observe(answered(Some("me"), "/mine"));
        (0..600).for_each(|_| decide.send(usize::MAX).expect("heard"));
        drop(observe);
        assert!(log.close());
        let lines: Vec<String> = hear
            .iter()
            .flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())
            .collect();
        let is_gap = |line: &&String| line.contains("of_strangers");
        let gaps: u64 = lines
            .iter()
            .filter(is_gap)
            .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"))
            .map(|gap| gap["of_strangers"].as_u64().expect("a count"))
            .sum();
        let told = lines.iter().filter(|line| line.contains("\"token\":null")).count() as u64;
        assert_eq!(told + gaps, 500);
        assert!((100..=300).contains(&told), "{told} in a second or two");
        assert!(lines.iter().any(|line| line.contains("/mine")));
    }

    #[test]
    fn a_disk_that_hangs_does_not_keep_a_gateway_from_stopping() {
        let (told, _hear) = channel();
        let (_decide, verdicts) = channel();
        let log = AccessLog::to(Disk { told, verdicts });
        log.observer()(answered(Some("me"), "/"));
        let begun = Instant::now();
        assert!(!log.close());
        assert!(begun.elapsed() < CLOSE_MAX * 2);
    }

    #[test]
    fn a_file_that_was_moved_away_is_made_anew() {
        let dir = std::env::temp_dir().join(format!("ravelin-access-log-{}", std::process::id()));
        fs::create_dir_all(&dir).expect("made");
        let (path, old) = (dir.join("log"), dir.join("log.1"));
        let mut file = LogFile::open(&path).expect("made");
        file.write_all(b"one\n").expect("written");
        fs::rename(&path, &old).expect("moved");
        file.looked -= LOOK_EVERY;
        file.write_all(b"two\n").expect("written");
        let text = |path: &Path| fs::read_to_string(path).expect("text");
        assert_eq!((text(&old), text(&path)), ("one\n".into(), "two\n".into()));
        assert!(LogFile::open(&dir).is_err());
        fs::remove_dir_all(&dir).expect("removed");
    }
}
