//! The access log of a gateway: a line of JSON for each answer.
//!
//! **Guarantee:** no request waits for the disk. What the queue does not hold, and what the disk refuses,
//! is counted, and the count stands in the log before the next line that it takes.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use ravelin_gateway::http::observed::{Answered, Observer};
use serde::Serialize;

use crate::exit::{Error, Exit, Result};
use crate::files::date;

/// Answers that wait for the disk.
const QUEUE_MAX: usize = 1024;

/// A log that is written.
pub(super) struct AccessLog {
    queue: SyncSender<Answered>,
    writer: JoinHandle<()>,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    lost: AtomicU64,
    /// What the disk said last when it refused a line.
    failure: Mutex<Option<String>>,
}

#[derive(Serialize)]
struct Line<'a> {
    time: String,
    #[serde(flatten)]
    answered: &'a Answered,
}

#[derive(Serialize)]
struct Gap {
    time: String,
    lost: u64,
}

impl AccessLog {
    /// Goes on with the file at `path`, which is made if it is not there.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let options = OpenOptions::new().append(true).create(true).mode(0o640).clone();
        let file = options.open(path).and_then(|file| match file.metadata()?.is_file() {
            true => Ok(file),
            false => Err(io::Error::other("it is no regular file")),
        });
        let file = file.map_err(|error| {
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
        Arc::new(move |answered| {
            if queue.try_send(answered).is_err() {
                state.lost.fetch_add(1, Ordering::Relaxed);
            }
        })
    }

    /// Lines that are not in the log and should be.
    pub(super) fn lost(&self) -> u64 {
        self.state.lost.load(Ordering::Relaxed)
    }

    /// Why the disk refused one, if it did.
    pub(super) fn failure(&self) -> Option<String> {
        self.state.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until all is written. No observer may be left.
    pub(super) fn close(self) {
        drop(self.queue);
        let _ = self.writer.join(); // it does not panic
    }
}

fn write_all(mut file: impl Write, waiting: &Receiver<Answered>, state: &State) {
    let mut told = 0;
    for answered in waiting {
        let lost = state.lost.load(Ordering::Relaxed);
        let mut text = String::new();
        if lost > told {
            text.push_str(&line(&Gap { time: date::now(), lost: lost - told }));
        }
        text.push_str(&line(&Line { time: date::now(), answered: &answered }));
        match file.write_all(text.as_bytes()) {
            Ok(()) => told = lost,
            Err(error) => {
                state.lost.fetch_add(1, Ordering::Relaxed);
                let mut failure = state.failure.lock().unwrap_or_else(PoisonError::into_inner);
                *failure = Some(error.to_string());
            }
        }
    }
}

fn line(shape: &impl Serialize) -> String {
    serde_json::to_string(shape).expect("plain fields") + "\n"
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};
    use std::time::Duration;

    use super::*;

    fn answered(path: &str) -> Answered {
        Answered {
            address: [127, 0, 0, 1].into(),
            token: None,
            method: "GET".into(),
            path: path.into(),
            status: 200,
            code: None,
            bytes: Some(3),
            took: Duration::from_micros(1500),
        }
    }

    /// A disk that tells what it is to write, and does it when it is let.
    struct Disk {
        told: Sender<String>,
        verdicts: Receiver<bool>,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.told.send(String::from_utf8(bytes.to_vec()).expect("text")).expect("heard");
            match self.verdicts.recv() {
                Ok(true) => Ok(bytes.len()),
                _ => Err(io::Error::other("full")),
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
        observe(answered("/first\n\"?key=1"));
        let first = hear.recv().expect("it is written");
        assert!(first.ends_with('\n') && first.matches('\n').count() == 1, "{first:?}");
        let first: serde_json::Value = serde_json::from_str(&first).expect("JSON");
        assert_eq!((&first["path"], &first["ms"]), (&"/first\n\"?key=1".into(), &1.5.into()));
        assert_eq!(first["token"], serde_json::Value::Null);
        (0..QUEUE_MAX + 5).for_each(|_| observe(answered("/next")));
        assert_eq!(log.lost(), 5, "the disk is busy with the first");
        decide.send(false).expect("heard");
        let second = hear.recv().expect("it is written");
        assert_eq!((log.lost(), log.failure().as_deref()), (6, Some("full")));
        assert!(second.contains("\"lost\":6}\n{"), "{second}");
        (0..=QUEUE_MAX).for_each(|_| decide.send(true).expect("heard"));
        drop(observe);
        log.close();
        assert!(hear.try_iter().all(|line| !line.contains("lost")), "it is told once");
    }
}
