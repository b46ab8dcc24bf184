//! Files and directories that appear whole or not at all, and secrets that only we can read.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Component, Path, PathBuf};

use zeroize::Zeroizing;

use crate::exit::{Error, Exit, Result};

/// Bytes of a file that is read; the largest plan has a third of that.
pub(crate) const FILE_BYTES_MAX: u64 = 4 << 20;

/// Who may read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Privacy {
    /// Everybody.
    Public,
    /// Its owner only: it holds a secret.
    Secret,
}

impl Privacy {
    fn mode(self) -> u32 {
        match self {
            Self::Public => 0o644,
            Self::Secret => 0o600,
        }
    }
}

/// The text of a file.
///
/// # Errors
/// Also when it is no regular file, too large, not UTF-8, or a secret that others can read.
///
/// # Security
/// The text is erased when dropped; what a parser copies of it is not.
pub(crate) fn read(path: &Path, privacy: Privacy) -> Result<Zeroizing<String>> {
    let failed = |error| Error::system("read", path, &error);
    // Not to wait for ever for the writer of a pipe.
    let nonblocking = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file =
        OpenOptions::new().read(true).custom_flags(nonblocking).open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    let refused = |exit, what: &str, hint: &str| {
        Err(Error::new(exit, format!("cannot read {}: {what}", path.display()), hint))
    };
    if !metadata.is_file() {
        return refused(Exit::Usage, "it is not a regular file", "name a file");
    }
    if privacy == Privacy::Secret && metadata.mode() & 0o077 != 0 {
        let what = format!("others can read this secret (mode {:03o})", metadata.mode() & 0o777);
        let hint = format!("`chmod 600 {}`, and consider the key stolen", path.display());
        return refused(Exit::Denied, &what, &hint);
    }
    let capacity = usize::try_from(metadata.len().min(FILE_BYTES_MAX)).unwrap_or_default() + 1;
    let mut bytes = Zeroizing::new(Vec::with_capacity(capacity));
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return refused(
            Exit::Usage,
            "it is larger than any such file",
            "check that it is the right one",
        );
    }
    let Ok(text) = std::str::from_utf8(&bytes) else {
        return refused(Exit::Usage, "it is not text", "check that it is the right one");
    };
    Ok(Zeroizing::new(text.to_owned()))
}

/// Writes a file that does not exist yet.
pub(crate) fn create(path: &Path, text: &str, privacy: Privacy) -> Result<()> {
    let draft = Draft::write(path, text, privacy)?;
    // Unlike a rename, a link never replaces what is there.
    fs::hard_link(&draft.0, path).map_err(|error| Error::system("create", path, &error))?;
    drop(draft);
    sync(parent(path))
}

/// Writes a file in place of an older one; readers see the one or the other.
pub(crate) fn replace(path: &Path, text: &str, privacy: Privacy) -> Result<()> {
    let target = target_of(path);
    let draft = Draft::write(&target, text, privacy)?;
    fs::rename(&draft.0, &target).map_err(|error| Error::system("replace", path, &error))?;
    sync(parent(&target))
}

/// As [`replace`], for a secret: what is no longer in it is overwritten where it was.
///
/// # Security
/// Journals, snapshots and flash media keep copies that no program reaches.
pub(crate) fn replace_secret(path: &Path, text: &str) -> Result<()> {
    let old = OpenOptions::new().write(true).open(path);
    let old = old.map_err(|error| Error::system("replace", path, &error))?;
    replace(path, text, Privacy::Secret)?;
    overwrite(&old).map_err(|error| Error::system("erase what was in", path, &error))
}

/// Removes what a crash left of files that were to be `path`.
pub(crate) fn remove_drafts(path: &Path) -> Result<()> {
    let target = target_of(path);
    let dir = parent(&target);
    let failed = |error| Error::system("look for leftovers in", dir, &error);
    for entry in fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if is_draft_of(&target, &entry.file_name().to_string_lossy()) {
            let failed = |error| Error::system("remove", &entry.path(), &error);
            let draft = OpenOptions::new().write(true).open(entry.path()).map_err(failed)?;
            fs::remove_file(entry.path()).map_err(failed)?;
            overwrite(&draft).map_err(failed)?;
        }
    }
    sync(dir)
}

/// Overwrites a file that has lost its last name.
fn overwrite(file: &File) -> io::Result<()> {
    let metadata = file.metadata()?;
    if metadata.nlink() > 0 {
        return Ok(()); // it is somebody's still
    }
    let length = usize::try_from(metadata.len().min(FILE_BYTES_MAX)).unwrap_or_default();
    file.write_all_at(&vec![0; length], 0)?;
    file.sync_all()
}

/// What `path` names: a symbolic link stays, and what it names is written.
fn target_of(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

/// Refuses a path that [`replace`] could not write to, before the work whose results go there.
pub(crate) fn check_replaceable(path: &Path) -> Result<()> {
    if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        let cause = format!("{} is there and is no file", path.display());
        return Err(Error::usage(cause, "name a file"));
    }
    Draft::write(&target_of(path), "", Privacy::Public).map(drop)
}

/// Makes a directory, and those above it, that only we can enter.
pub(crate) fn create_dir(path: &Path) -> Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder.create(path).map_err(|error| Error::system("make the directory", path, &error))
}

/// Refuses a path that is taken.
pub(crate) fn refuse_existing(path: &Path) -> Result<()> {
    match fs::symlink_metadata(path) {
        Ok(_) => Err(Error::system("create", path, &io::ErrorKind::AlreadyExists.into())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::system("create", path, &error)),
    }
}

/// `path` as seen from the directory of `file`, which names it, without `.` and `..`.
pub(crate) fn beside(file: &Path, path: &Path) -> PathBuf {
    plain(&parent(file).join(path))
}

/// `path` from the root, without `.` and `..`; symbolic links stay.
pub(crate) fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => drop(plain.pop()),
            other => plain.push(other),
        }
    }
    plain
}

/// The directory that holds `path`.
pub(crate) fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}

/// A directory in the making: it appears under its name when it is complete.
pub(crate) struct DraftDir {
    draft: PathBuf,
    target: PathBuf,
}

impl DraftDir {
    /// An empty directory beside `target`, for what will be there.
    pub(crate) fn new(target: &Path) -> Result<Self> {
        let target = plain(target);
        create_dir(parent(&target))?;
        let draft = draft_of(&target)?;
        create_dir(&draft)?;
        Ok(Self { draft, target })
    }

    /// Where to write meanwhile.
    pub(crate) fn path(&self) -> &Path {
        &self.draft
    }

    /// Gives the directory its name. Only an empty directory is replaced.
    pub(crate) fn install(self) -> Result<()> {
        sync_all(&self.draft)?;
        fs::rename(&self.draft, &self.target).map_err(|error| match error.kind() {
            io::ErrorKind::DirectoryNotEmpty => {
                Error::system("create", &self.target, &io::ErrorKind::AlreadyExists.into())
            }
            _ => Error::system("create", &self.target, &error),
        })?;
        sync(parent(&self.target))
    }
}

impl Drop for DraftDir {
    fn drop(&mut self) {
        // Gone already if it was installed.
        let _ = fs::remove_dir_all(&self.draft);
    }
}

/// A file that is written line by line, and appears under its name when it is complete.
pub(crate) struct DraftFile {
    draft: Draft,
    out: io::BufWriter<File>,
    target: PathBuf,
}

impl DraftFile {
    /// An empty one; refused if `target` is taken.
    pub(crate) fn new(target: &Path) -> Result<Self> {
        refuse_existing(target)?;
        let draft = Draft::write(target, "", Privacy::Secret)?;
        let file = OpenOptions::new().append(true).open(&draft.0);
        let file = file.map_err(|error| Error::system("write", target, &error))?;
        Ok(Self { draft, out: io::BufWriter::new(file), target: target.to_owned() })
    }

    /// Appends a line.
    pub(crate) fn line(&mut self, text: &str) -> Result<()> {
        let written = self.out.write_all(text.as_bytes()).and_then(|()| self.out.write_all(b"\n"));
        written.map_err(|error| Error::system("write", &self.target, &error))
    }

    /// Gives the file its name. Nothing is replaced.
    pub(crate) fn install(self) -> Result<()> {
        let Self { draft, mut out, target } = self;
        let failed = |error| Error::system("write", &target, &error);
        out.flush().and_then(|()| out.get_ref().sync_all()).map_err(failed)?;
        fs::hard_link(&draft.0, &target)
            .map_err(|error| Error::system("create", &target, &error))?;
        drop(draft);
        sync(parent(&target))
    }
}

/// A file in the making, removed when dropped.
struct Draft(PathBuf);

impl Draft {
    fn write(target: &Path, text: &str, privacy: Privacy) -> Result<Self> {
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => {
                let dir = parent(target);
                let cause = format!(
                    "cannot write {}: the directory {} does not exist",
                    target.display(),
                    dir.display()
                );
                Error::new(Exit::NotFound, cause, format!("make it: mkdir -p {}", dir.display()))
            }
            _ => Error::system("write", target, &error),
        };
        let path = draft_of(target)?;
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(privacy.mode());
        let mut file = options.open(&path).map_err(failed)?;
        let draft = Self(path);
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
        Ok(draft)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // Gone already if it was renamed.
        let _ = fs::remove_file(&self.0);
    }
}

/// A name beside `target` that nobody else uses.
fn draft_of(target: &Path) -> Result<PathBuf> {
    let Some(name) = target.file_name() else {
        let cause = format!("{} names no file", target.display());
        return Err(Error::usage(cause, "name a file"));
    };
    let [a, b, c, d] = random()?;
    let name = format!(".{}.{a:02x}{b:02x}{c:02x}{d:02x}.draft", name.to_string_lossy());
    Ok(parent(target).join(name))
}

/// Whether `name` is one that [`draft_of`] gives.
fn is_draft_of(target: &Path, name: &str) -> bool {
    let Some(of) = target.file_name() else { return false };
    let middle = name
        .strip_prefix(&format!(".{}.", of.to_string_lossy()))
        .and_then(|rest| rest.strip_suffix(".draft"));
    let is_digit = |digit: u8| digit.is_ascii_digit() || (b'a'..=b'f').contains(&digit);
    middle.is_some_and(|digits| digits.len() == 8 && digits.bytes().all(is_digit))
}

/// Bytes from the operating system's generator.
pub(crate) fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| {
        let hint = "the operating system has no randomness to give; try again later";
        Error::new(Exit::Failed, format!("cannot draw random bytes: {error}"), hint)
    })?;
    Ok(bytes)
}

/// Makes the names in `dir` durable.
pub(crate) fn sync(dir: &Path) -> Result<()> {
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(|error| Error::system("make durable", dir, &error))
}

/// Makes the names in `dir` and in the directories below it durable.
fn sync_all(dir: &Path) -> Result<()> {
    let failed = |error| Error::system("make durable", dir, &error);
    for entry in fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.file_type().map_err(failed)?.is_dir() {
            sync_all(&entry.path())?;
        }
    }
    sync(dir)
}
