//! The clusters that this user trusts, by name: `contexts/NAME/client.toml` and, where it is at
//! hand, `plan.toml`, below the user's configuration directory; `current` names the one in use.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::client::ClientFile;
use super::disk::{self, Privacy};
use crate::exit::{Error, Exit, Result};

/// Letters of a context's name.
const NAME_LETTERS_MAX: usize = 64;

/// Where contexts are kept.
#[derive(Clone, Debug)]
pub(crate) struct Contexts {
    root: PathBuf,
}

impl Contexts {
    /// Below `config_home` (the value of `XDG_CONFIG_HOME`), else below `home`.
    pub(crate) fn new(config_home: Option<OsString>, home: Option<OsString>) -> Result<Self> {
        let absolute = |dir: OsString| Some(PathBuf::from(dir)).filter(|dir| dir.is_absolute());
        let below_home = || home.and_then(absolute).map(|home| home.join(".config"));
        match config_home.and_then(absolute).or_else(below_home) {
            Some(dir) => Ok(Self { root: dir.join("ravelin") }),
            None => Err(Error::usage(
                "there is no place for contexts: neither XDG_CONFIG_HOME nor HOME is set",
                "set one of them, or use --config",
            )),
        }
    }

    /// Remembers a cluster. `client`: its client file, into which the plan's path is written as
    /// `plan.toml`. The first cluster comes into use.
    pub(crate) fn add(&self, name: &str, client: &ClientFile, plan: Option<&str>) -> Result<()> {
        self.refuse_known(name)?;
        let dir = self.dir(name);
        let draft = disk::DraftDir::new(&dir)?;
        disk::create(&draft.path().join("client.toml"), &client.text()?, Privacy::Public)?;
        if let Some(plan) = plan {
            disk::create(&draft.path().join("plan.toml"), plan, Privacy::Public)?;
        }
        draft.install()?;
        if self.current()?.is_none() { self.select(name) } else { Ok(()) }
    }

    /// Refuses a name that is taken, or is none.
    pub(crate) fn refuse_known(&self, name: &str) -> Result<()> {
        check_name(name)?;
        let dir = self.dir(name);
        if fs::symlink_metadata(&dir).is_err() {
            return Ok(());
        }
        let cause = format!("a cluster is already known as `{name}`");
        let hint = format!("choose another name, or forget it: `ravelin trust remove {name}`");
        Err(Error::new(Exit::Conflict, cause, hint))
    }

    /// The names of all clusters, sorted.
    pub(crate) fn names(&self) -> Result<Vec<String>> {
        let dir = self.root.join("contexts");
        let failed = |error: io::Error| Error::system("list", &dir, &error);
        let entries = match fs::read_dir(&dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(failed)?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let name = entry.map_err(failed)?.file_name().to_string_lossy().into_owned();
            if check_name(&name).is_ok() {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    /// Brings a known cluster into use.
    pub(crate) fn select(&self, name: &str) -> Result<()> {
        self.client_file(name)?;
        disk::replace(&self.root.join("current"), &format!("{name}\n"), Privacy::Public)
    }

    /// Forgets a known cluster; if it is in use, none is afterwards.
    pub(crate) fn remove(&self, name: &str) -> Result<()> {
        self.client_file(name)?;
        if self.current()?.as_deref() == Some(name) {
            let path = self.root.join("current");
            fs::remove_file(&path).map_err(|error| Error::system("remove", &path, &error))?;
        }
        let dir = self.dir(name);
        fs::remove_dir_all(&dir).map_err(|error| Error::system("remove", &dir, &error))
    }

    /// The cluster in use.
    pub(crate) fn current(&self) -> Result<Option<String>> {
        let path = self.root.join("current");
        match disk::read(&path, Privacy::Public) {
            Ok(text) => Ok(Some(text.trim().to_owned())),
            Err(error) if error.exit() == Exit::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The client file of a known cluster.
    pub(crate) fn client_file(&self, name: &str) -> Result<PathBuf> {
        check_name(name)?;
        let path = self.dir(name).join("client.toml");
        if path.is_file() {
            return Ok(path);
        }
        let names = self.names()?;
        let hint = if names.is_empty() {
            "none is known yet: `ravelin trust add` remembers one".to_owned()
        } else {
            format!("known: {}", names.join(", "))
        };
        Err(Error::new(Exit::NotFound, format!("no cluster is known as `{name}`"), hint))
    }

    fn dir(&self, name: &str) -> PathBuf {
        Path::new(&self.root).join("contexts").join(name)
    }
}

/// Refuses a name that is no plain name of a directory.
fn check_name(name: &str) -> Result<()> {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    let fits = (1..=NAME_LETTERS_MAX).contains(&name.len()) && !name.starts_with(['.', '-']);
    if fits && name.chars().all(plain) {
        return Ok(());
    }
    let hint = format!("use letters, digits, `-`, `_` and `.`, at most {NAME_LETTERS_MAX}");
    Err(Error::usage(format!("`{name}` is no name for a cluster"), hint))
}
