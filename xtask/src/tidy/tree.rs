//! The repository's files, as the rules see them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

/// Every file that is tracked, or would be: path from the root with `/`, and text.
pub(crate) struct Tree {
    /// A file that is not text has an empty one.
    files: BTreeMap<String, String>,
    /// Where the repository lies on this machine: no file may say so.
    root: String,
}

impl Tree {
    /// Reads the repository at `root`.
    ///
    /// # Errors
    /// When a directory or file cannot be read.
    pub(crate) fn read(root: &Path) -> Result<Self> {
        let mut files = BTreeMap::new();
        for path in listed_by_git(root).map_or_else(|| walked(root), Ok)? {
            let full = root.join(&path);
            // Deleted, but still in git's index; or a link to a directory.
            if !full.is_file() {
                continue;
            }
            let bytes = fs::read(&full).with_context(|| format!("cannot read `{path}`"))?;
            files.insert(path, String::from_utf8(bytes).unwrap_or_default());
        }
        Ok(Self { files, root: root.display().to_string() })
    }

    /// The files with their texts, in the order of their paths.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files.iter().map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// The files whose name ends in `suffix`.
    pub(crate) fn files_ending(&self, suffix: &str) -> impl Iterator<Item = (&str, &str)> {
        self.files().filter(move |(path, _)| path.ends_with(suffix))
    }

    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        self.files.get(path).map(String::as_str)
    }

    /// Whether `path` is a file, or a directory with a file in it.
    pub(crate) fn contains(&self, path: &str) -> bool {
        let path = path.trim_end_matches('/');
        let inside = format!("{path}/");
        path.is_empty()
            || self.files.contains_key(path)
            || self.files.keys().any(|file| file.starts_with(&inside))
    }

    pub(crate) fn root(&self) -> &str {
        &self.root
    }

    /// A tree made of these files only.
    #[cfg(test)]
    pub(crate) fn planted(files: &[(&str, &str)]) -> Self {
        let files = files.iter().map(|(path, text)| ((*path).into(), (*text).into())).collect();
        Self { files, root: "/a/clone".into() }
    }
}

/// Tracked files and new ones that are not ignored; none without git or outside its work tree.
fn listed_by_git(root: &Path) -> Option<Vec<String>> {
    let arguments = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let output = Command::new("git").current_dir(root).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let paths: Vec<String> =
        text.split('\0').filter(|path| !path.is_empty()).map(Into::into).collect();
    (output.status.success() && !paths.is_empty()).then_some(paths)
}

/// Every file below `root`, without build directories and git's own.
fn walked(root: &Path) -> Result<Vec<String>> {
    let mut paths = Vec::new();
    let mut directories = vec![PathBuf::new()];
    while let Some(directory) = directories.pop() {
        let full = root.join(&directory);
        let entries =
            fs::read_dir(&full).with_context(|| format!("cannot read `{}`", full.display()))?;
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = directory.join(&name);
            if !entry.file_type()?.is_dir() {
                paths.push(path.display().to_string());
            } else if name != ".git" && name != "target" && !name.starts_with("target-") {
                directories.push(path);
            }
        }
    }
    Ok(paths)
}
