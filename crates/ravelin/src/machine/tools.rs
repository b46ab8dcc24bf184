//! What this system lets us do to machines, and what is missing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::cpu_quota::Hierarchy;
use crate::exit::{Error, Exit, Result};

use super::memory;

/// Where control groups are.
pub(super) const CONTROL_GROUPS: &str = "/sys/fs/cgroup";
/// Where libraries for other programs are, one directory a machine's type.
const LIBRARIES: [&str; 3] = ["/usr/lib", "/usr/local/lib", "/lib"];

/// Something that a trouble needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Tool {
    /// The superuser's rights.
    Root,
    /// `strace`, allowed to attach to processes.
    Strace,
    /// The library that lies about the time.
    Faketime,
    /// Control groups that limit the processor.
    ProcessorGroups,
    /// Control groups that limit memory.
    MemoryGroups,
    /// Network namespaces and devices whose frames a program carries.
    Namespaces,
    /// Files as disks with ext4, and a program that can cut their power.
    Disks,
    /// A software TPM.
    Tpm,
}

impl Tool {
    /// What is missing, and what to do about it; `None` if nothing is.
    pub(crate) fn missing(self) -> Option<String> {
        let groups = Path::new(CONTROL_GROUPS);
        match self {
            Self::Root => {
                let is_root = rustix::process::geteuid().is_root();
                (!is_root).then(|| "the superuser's rights: run it as root".to_owned())
            }
            Self::Strace => program("strace", "strace"),
            Self::Faketime => faketime_library()
                .is_none()
                .then(|| "libfaketime: install the package faketime".to_owned()),
            Self::ProcessorGroups => Hierarchy::find(groups)
                .is_none()
                .then(|| "control groups that limit the processor".to_owned()),
            Self::MemoryGroups => memory::Tree::find(groups)
                .is_none()
                .then(|| "control groups that limit memory".to_owned()),
            Self::Namespaces => {
                program("ip", "iproute2").or_else(|| program("python3", "python3")).or_else(|| {
                    let has_taps = Path::new("/dev/net/tun").exists();
                    (!has_taps).then(|| "TAP devices: /dev/net/tun is not there".to_owned())
                })
            }
            Self::Tpm => program("swtpm", "swtpm"),
            Self::Disks => ["mkfs.ext4", "e2fsck", "mount", "umount", "python3"]
                .into_iter()
                .find_map(|name| {
                    program(name, if name.contains("fs") { "e2fsprogs" } else { name })
                })
                .or_else(|| {
                    let has_loops = Path::new("/dev/loop-control").exists();
                    (!has_loops).then(|| "loop devices: /dev/loop-control is not there".to_owned())
                }),
        }
    }
}

/// What is missing of `tools`, in words.
pub(crate) fn missing(tools: &[Tool]) -> Option<String> {
    let missing: Vec<String> = tools.iter().filter_map(|tool| tool.missing()).collect();
    (!missing.is_empty()).then(|| missing.join("; "))
}

/// That `name` is missing, if it is; it is in `package`.
fn program(name: &str, package: &str) -> Option<String> {
    let found = path_of(name).is_some();
    (!found).then(|| format!("{name}: install the package {package}"))
}

/// Where a program is: the system's own directories count even where `PATH` leaves them out.
pub(super) fn path_of(name: &str) -> Option<PathBuf> {
    let search = std::env::var_os("PATH").unwrap_or_default();
    let own = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from);
    let dirs = std::env::split_paths(&search).chain(own);
    dirs.map(|dir| dir.join(name)).find(|path| path.is_file())
}

/// The library that lies about the time to programs of many threads.
pub(super) fn faketime_library() -> Option<PathBuf> {
    LIBRARIES.iter().map(Path::new).find_map(|root| {
        let below = fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path());
        let dirs = below.chain([root.to_owned()]);
        let mut found = dirs.map(|dir| dir.join("faketime/libfaketimeMT.so.1"));
        found.find(|path| path.is_file())
    })
}

/// A program of the system that must succeed; its output is for nobody unless it fails.
pub(super) fn run(name: &str, arguments: &[&str]) -> Result<()> {
    let program = path_of(name).unwrap_or_else(|| PathBuf::from(name));
    let Some(said) = complaint(Command::new(program).args(arguments))? else { return Ok(()) };
    let cause = format!("`{name} {}` failed: {said}", arguments.join(" "));
    Err(Error::new(Exit::Failed, cause, "`dmesg` may say why"))
}

/// Runs a program to its end; what it wrote on standard error if it failed.
pub(super) fn complaint(command: &mut Command) -> Result<Option<String>> {
    let output = command.stdin(Stdio::null()).output();
    let output =
        output.map_err(|error| Error::system("run", Path::new(command.get_program()), &error))?;
    let said = || String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Ok((!output.status.success()).then(said))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_with_its_package() {
        assert_eq!(program("sh", "dash"), None);
        let missing = program("no-such-program", "some-package").expect("it is missing");
        assert_eq!(missing, "no-such-program: install the package some-package");
    }

    #[test]
    fn a_program_that_fails_is_an_error_with_its_words() {
        run("true", &[]).expect("succeeds");
        let error = run("ls", &["/nowhere/at/all"]).expect_err("there is nothing");
        assert!(error.message().contains("/nowhere/at/all"), "{}", error.message());
    }
}
