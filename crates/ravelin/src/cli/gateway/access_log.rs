//! The access log of a gateway: a line of JSON for each answer.
//!
//! **Guarantee:** no request waits for the disk. What the queue does not hold, what the disk refuses, and
//! what strangers ask for more often than a log should say, is counted, and the counts stand in the log
//! before the next line that it takes. Lines are ASCII; one that the disk took in part is ended before the
//! next, and counted.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
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
/// Answers without a known token that the log says one by one, in a second; and how many are saved up.
const STRANGERS_PER_SECOND_MAX: f64 = 10.0;
const STRANGERS_MAX: f64 = 100.0;
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
        let saved = Mutex::new((Instant::now(), STRANGERS_MAX));
        Arc::new(move |answered: Answered| {
            if answered.token.is_none() && !may_tell(&saved) {
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

/// Whether one more line of a stranger may be told, of those `saved` up since that moment.
fn may_tell(saved: &Mutex<(Instant, f64)>) -> bool {
    let mut saved = saved.lock().unwrap_or_else(PoisonError::into_inner);
    let since = saved.0.elapsed().as_secs_f64() * STRANGERS_PER_SECOND_MAX;
    *saved = (Instant::now(), (saved.1 + since).min(STRANGERS_MAX));
    let may = saved.1 >= 1.0;
    saved.1 -= if may { 1.0 } else { 0.0 };
    may
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
    let mut told = Missing::default();
    for (time, answered) in waiting {
        tell_missing(&mut file, state, &mut told);
        let entry = line(&Line { time: &time, answered: &answered });
        if !put(&mut file, state, &entry) {
            state.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
    tell_missing(&mut file, state, &mut told);
}

/// Says what is missing that was not `told` yet.
fn tell_missing(file: &mut impl Write, state: &State, told: &mut Missing) {
    let missing = state.missing();
    if missing == *told {
        return;
    }
    let since = Missing {
        lost: missing.lost - told.lost,
        of_strangers: missing.of_strangers - told.of_strangers,
    };
    if put(file, state, &line(&Gap { time: date::now(), missing: since })) {
        *told = missing;
    }
}

/// Writes a line, and remembers how that went.
fn put(file: &mut impl Write, state: &State, line: &str) -> bool {
    let written = file.write_all(line.as_bytes());
    let is_written = written.is_ok();
    *state.failure() = written.err().map(|error| error.to_string());
    is_written
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

/// The file at a path, whatever file that is: once it was moved away, another is made there. A line of
/// which only the beginning got there is ended before the next one.
struct LogFile {
    path: PathBuf,
    file: File,
    looked: Instant,
    is_torn: bool,
}

impl LogFile {
    fn open(path: &Path) -> io::Result<Self> {
        let file = append_to(path)?;
        let is_torn = is_torn(&file)?;
        Ok(Self { path: path.to_owned(), file, looked: Instant::now(), is_torn })
    }

    fn is_moved(&self) -> io::Result<bool> {
        let (here, there) = (self.file.metadata()?, fs::metadata(&self.path));
        match there {
            Ok(there) => Ok((here.dev(), here.ino()) != (there.dev(), there.ino())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
            Err(error) => Err(error),
        }
    }
}

impl Write for LogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.looked.elapsed() >= LOOK_EVERY {
            if self.is_moved()? {
                *self = Self::open(&self.path)?;
            }
            self.looked = Instant::now();
        }
        if self.is_torn {
            self.file.write_all(b"\n")?;
            self.is_torn = false;
        }
        let written = self.file.write(bytes)?;
        self.is_torn = bytes.get(..written).is_some_and(|bytes| !bytes.ends_with(b"\n"));
        // The rest of a line whose disk is full is not written: a later one must not follow it.
        if self.is_torn {
            return Err(io::Error::other("the disk took a part of a line"));
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether a file ends within a line.
fn is_torn(file: &File) -> io::Result<bool> {
    let length = file.metadata()?.len();
    let mut last = [b'\n'];
    if let Some(before) = length.checked_sub(1) {
        file.read_exact_at(&mut last, before)?;
    }
    Ok(last != [b'\n'])
}

fn append_to(path: &Path) -> io::Result<File> {
    // A pipe that nobody reads would be waited for.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true).mode(0o640).custom_flags(flags);
    let file = options.open(path)?;
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

    /// A disk that tells what it is to write, and does it unless it is told 0.
    struct Disk {
        told: Sender<String>,
        verdicts: Receiver<usize>,
    }

    fn on_disk() -> (AccessLog, Receiver<String>, Sender<usize>) {
        let (told, hear) = channel();
        let (decide, verdicts) = channel();
        (AccessLog::to(Disk { told, verdicts }), hear, decide)
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
        let (log, hear, decide) = on_disk();
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
        decide.send(0).expect("heard"); // that one
        let gap = hear.recv().expect("it is written");
        assert_eq!((log.lost(), log.failure().as_deref()), (6, Some("full")));
        assert!(gap.contains("\"lost\":6,"), "{gap}");
        decide.send(usize::MAX).expect("heard");
        hear.recv().expect("the second");
        decide.send(0).expect("heard"); // that one, too
        (0..=QUEUE_MAX).for_each(|_| decide.send(usize::MAX).expect("heard"));
        drop(observe);
        assert!(log.close(), "the disk works again");
        let rest: Vec<String> = hear.try_iter().filter(|line| line.contains("lost")).collect();
        assert!(matches!(&rest[..], [gap] if gap.contains("\"lost\":1,")), "each once: {rest:?}");
    }

    #[test]
    fn strangers_have_a_share_of_the_lines_and_what_a_gateway_ends_with_is_told() {
        let (log, hear, decide) = on_disk();
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
        assert!((100..=150).contains(&told), "{told} in a second or two");
        assert!(lines.iter().any(|line| line.contains("/mine")));
    }

    #[test]
    fn a_disk_that_hangs_does_not_keep_a_gateway_from_stopping() {
        let (log, _hear, _decide) = on_disk();
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
        // What ends within a line goes on with another one.
        fs::write(&path, "tw").expect("written");
        let mut file = LogFile::open(&path).expect("there");
        file.write_all(b"three\n").expect("written");
        assert_eq!(text(&path), "tw\nthree\n");
        // What cannot be made anew is lost, and that is said.
        fs::rename(&path, &old).expect("moved");
        fs::create_dir(&path).expect("made");
        file.looked -= LOOK_EVERY;
        assert!(file.write_all(b"four\n").is_err() && file.write_all(b"five\n").is_err());
        fs::remove_dir(&path).expect("removed");
        file.write_all(b"six\n").expect("written");
        assert_eq!((text(&old), text(&path)), ("tw\nthree\n".into(), "six\n".into()));
        assert!(LogFile::open(&dir).is_err());
        fs::remove_dir_all(&dir).expect("removed");
    }
}
