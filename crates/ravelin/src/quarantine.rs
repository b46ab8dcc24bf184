//! Where data go that a server must not use any more: `<data>/quarantine/<date>-<n>-<why>`.
//!
//! **Guarantee:** bounded: of what was damaged the newest [`KEPT_MAX`] are kept. What was moved aside
//! because the others disagree is evidence and never deleted by the program; while it is there, a
//! server does not give up another state by itself.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::exit::{Error, Result};
use crate::files::{date, disk};

/// Name of the place in a data directory.
const DIR: &str = "quarantine";
/// How many are kept of what was damaged, this one included.
pub(crate) const KEPT_MAX: usize = 2;
/// The word in the names of those that are kept for good.
pub(crate) const DIVERGED: &str = "diverged";
/// The file that says why.
const WHY: &str = "why.txt";

/// Moves `parts` of `data_dir` aside, as far as they are there, and leaves a note of `cause` with
/// them. Where they are; `None`: nothing was there.
///
/// # Errors
/// The disk. What was moved stays moved; the rest is where it was.
pub(crate) fn move_aside(
    data_dir: &Path,
    parts: &[&str],
    word: &str,
    cause: &str,
) -> Result<Option<PathBuf>> {
    let present: Vec<&&str> = parts.iter().filter(|part| data_dir.join(part).exists()).collect();
    if present.is_empty() {
        return Ok(None);
    }
    let place = data_dir.join(DIR);
    disk::create_dir(&place)?;
    let now = date::now();
    let day = now.get(..10).unwrap_or(&now);
    let number =
        entries(&place)?.iter().filter(|(of, ..)| of == day).map(|(_, at, _)| at + 1).max();
    let dir = place.join(format!("{day}-{}-{word}", number.unwrap_or(1)));
    make_room(&place)?;
    disk::create_dir(&dir)?;
    let note = format!("{now}: {cause}\n");
    disk::create(&dir.join(WHY), &note, disk::Privacy::Public)?;
    for part in present {
        let (from, to) = (data_dir.join(part), dir.join(part));
        fs::rename(&from, &to).map_err(|error| Error::system("move aside", &from, &error))?;
    }
    for changed in [&dir, &place, &data_dir.to_owned()] {
        disk::sync(changed)?;
    }
    Ok(Some(dir))
}

/// What lies aside in `data_dir`, oldest first.
pub(crate) fn list(data_dir: &Path) -> Result<Vec<PathBuf>> {
    let place = data_dir.join(DIR);
    Ok(entries(&place)?.into_iter().map(|(_, _, path)| path).collect())
}

/// The state that was moved aside because the others disagreed, if it is still there.
pub(crate) fn diverged(data_dir: &Path) -> Result<Option<PathBuf>> {
    Ok(list(data_dir)?.into_iter().find(|path| is_diverged(path)))
}

fn is_diverged(path: &Path) -> bool {
    path.to_string_lossy().ends_with(DIVERGED)
}

/// Deletes the oldest of what was damaged, so that there is a place for one more.
fn make_room(place: &Path) -> Result<()> {
    let mut damaged: Vec<PathBuf> = entries(place)?
        .into_iter()
        .map(|(_, _, path)| path)
        .filter(|path| !is_diverged(path))
        .collect();
    while damaged.len() >= KEPT_MAX {
        let oldest = damaged.remove(0);
        fs::remove_dir_all(&oldest).map_err(|error| Error::system("remove", &oldest, &error))?;
    }
    Ok(())
}

/// Day, number and path of each, oldest first; other things in the directory are not ours.
fn entries(place: &Path) -> Result<Vec<(String, u64, PathBuf)>> {
    let failed = |error: io::Error| Error::system("look into", place, &error);
    let listed = match fs::read_dir(place) {
        Ok(listed) => listed,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut found = Vec::new();
    for entry in listed {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        let Some((day, rest)) = name.split_at_checked(10) else { continue };
        let number = rest.strip_prefix('-').and_then(|rest| rest.split('-').next()?.parse().ok());
        if let Some(number) = number {
            found.push((day.to_owned(), number, path));
        }
    }
    found.sort_unstable();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::tests::Scratch;

    fn damage(data: &Path, part: &str) {
        fs::create_dir_all(data.join(part)).expect("made");
        fs::write(data.join(part).join("file"), part).expect("written");
    }

    #[test]
    fn what_is_moved_aside_is_bounded_but_for_evidence() {
        let scratch = Scratch::new();
        let data = scratch.path("data");
        assert_eq!(move_aside(&data, &["log"], "gone", "why").expect("nothing to do"), None);
        let mut moved = Vec::new();
        for word in ["one", DIVERGED, "two", "three"] {
            damage(&data, "log");
            damage(&data, "state");
            let at = move_aside(&data, &["log", "state"], word, "a reason").expect("moved");
            moved.push(at.expect("something was there"));
            assert!(!data.join("log").exists() && !data.join("state").exists());
        }
        let kept = list(&data).expect("listed");
        assert_eq!(kept, &moved[1..], "the oldest of what was damaged is gone");
        assert_eq!(diverged(&data).expect("listed").as_ref(), Some(&moved[1]));
        for dir in kept {
            assert_eq!(fs::read(dir.join("state/file")).expect("kept"), b"state");
            let why = fs::read_to_string(dir.join(WHY)).expect("a note");
            assert!(why.ends_with(": a reason\n"), "{why}");
        }
    }
}
