//! Disks whose power can be cut: files with ext4, mounted where a server's data and its wormhole's state
//! live.
//!
//! The cut is the file system's own emergency stop without a flush of its journal: what no sync
//! covered is gone, what a sync covered is there once the journal was replayed. The file behind the
//! disk stands for a medium that keeps what the file system flushed to it.
//!
//! Before each cut every disk gets a file that no sync covers. It must be gone afterwards, or the cut
//! was none.
//!
//! **Guarantee:** the disks are unmounted with their [`Disks`], whatever ends the run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::cluster_dir::LocalCluster;
use crate::exit::{Error, Exit, Result};

use super::decay;
use super::tools::{self, Tool, complaint, path_of, run};

/// Bytes of a disk; its file takes only what is written.
const DISK_BYTES: u64 = 1 << 30;
/// How long a disk may take to be let go of, and a loop device to let go of its file.
const DETACH_MAX: Duration = Duration::from_secs(5);
/// The file that no sync covers.
const CANARY: &str = "written-but-not-synced";
/// What is in it.
const CANARY_TEXT: &str = "no sync covers this";

/// Writes a file without a sync, then stops each file system: first all files, then all stops, so that
/// the power goes everywhere within a moment.
///
/// The number is EXT4_IOC_SHUTDOWN, `_IOR('X', 125, __u32)`; 2 is NOLOGFLUSH.
const CUT: &str = r"
import fcntl, os, struct, sys
name, text, *mounts = sys.argv[1:]
for mount in mounts:
    with open(os.path.join(mount, name), 'w') as file:
        file.write(text * 1000)
for fd in [os.open(mount, os.O_RDONLY) for mount in mounts]:
    fcntl.ioctl(fd, 0x8004587d, struct.pack('I', 2))
";

/// The disks of a cluster's servers.
pub(crate) struct Disks(Vec<Disk>);

struct Disk {
    image: PathBuf,
    mount: PathBuf,
}

impl Disks {
    /// Why there can be none here, if so.
    pub(crate) fn missing() -> Option<String> {
        tools::missing(&[Tool::Root, Tool::Disks])
    }

    /// Makes a disk in `dir` for the data of each server of `cluster`, and one for the state of its
    /// wormhole, and mounts them there with what the directories hold.
    pub(crate) fn insert(cluster: &LocalCluster, dir: &Path) -> Result<Self> {
        let mut disks = Self(Vec::new());
        let data = cluster.servers.iter().map(|server| {
            (dir.join(format!("disk-{}.img", server.id)), server.config.data_dir.clone())
        });
        let wormholes = cluster.servers.iter().filter_map(|server| {
            let wormhole = server.config.wormhole.as_ref()?;
            Some((dir.join(format!("wormhole-{}.img", server.id)), wormhole.state.clone()))
        });
        for (image, mount) in data.chain(wormholes) {
            let held = image.with_extension("held");
            let failed = |error| Error::system("copy", &mount, &error);
            decay::copy(&mount, &held).map_err(failed)?;
            let failed = |error| Error::system("make", &image, &error);
            let file = fs::File::create_new(&image).map_err(failed)?;
            file.set_len(DISK_BYTES).map_err(failed)?;
            run("mkfs.ext4", &["-q", "-F", "-m", "0", text(&image)?])?;
            let disk = Disk { image, mount: mount.clone() };
            disk.mount()?;
            disks.0.push(disk);
            let failed = |error| Error::system("fill", &mount, &error);
            decay::copy(&held, &mount).map_err(failed)?; // and without `lost+found`
            let filled = fs::File::open(&mount).map_err(failed)?;
            rustix::fs::syncfs(&filled).map_err(|errno| failed(errno.into()))?;
            let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
            fs::set_permissions(&mount, private).map_err(failed)?;
        }
        Ok(disks)
    }

    /// Cuts the power of all disks.
    pub(crate) fn cut(&self) -> Result<()> {
        let program = path_of("python3").unwrap_or_else(|| PathBuf::from("python3"));
        let mut command = Command::new(program);
        command.args(["-c", CUT, CANARY, CANARY_TEXT]);
        command.args(self.0.iter().map(|disk| &disk.mount));
        let Some(said) = complaint(&mut command)? else { return Ok(()) };
        let cause = format!("ext4 does not stop: {}", said.lines().last().unwrap_or_default());
        Err(Error::new(Exit::Failed, cause, "the kernel may not know EXT4_IOC_SHUTDOWN"))
    }

    /// Gives the power back: each disk is mounted, so that its journal is replayed, checked and
    /// mounted again. Says what is wrong with it.
    pub(crate) fn revive(&self) -> Result<Vec<String>> {
        let mut wrong = Vec::new();
        for disk in &self.0 {
            disk.unmount()?;
            disk.mount()?;
            disk.unmount()?;
            if let Err(error) = run("e2fsck", &["-f", "-n", text(&disk.image)?]) {
                wrong.push(format!("{}: {}", disk.image.display(), error.message()));
            }
            disk.mount()?;
            let canary = disk.mount.join(CANARY);
            if fs::read_to_string(&canary).unwrap_or_default().contains(CANARY_TEXT) {
                wrong.push(format!(
                    "{} kept what no sync covered: its power was not cut",
                    disk.image.display()
                ));
            }
            let _ = fs::remove_file(canary); // it is most often gone
            let _ = fs::remove_dir(disk.mount.join("lost+found")); // unless something is in it
        }
        Ok(wrong)
    }
}

impl Disk {
    fn mount(&self) -> Result<()> {
        run("mount", &["-t", "ext4", "-o", "loop", text(&self.image)?, text(&self.mount)?])
    }
}

impl Disk {
    /// Takes the disk out, whose file system must end with that: elsewhere mounted, it would stay
    /// stopped.
    fn unmount(&self) -> Result<()> {
        let begun = Instant::now();
        // A process that was just killed may still hold it.
        while let Err(error) = run("umount", &[text(&self.mount)?]) {
            if begun.elapsed() > DETACH_MAX {
                return Err(error);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        while is_attached(&self.image) {
            if begun.elapsed() > DETACH_MAX {
                let cause = format!("{} is still in use after umount", self.image.display());
                let hint = "another mount namespace may hold it: look at `lsns -t mnt`";
                return Err(Error::new(Exit::Conflict, cause, hint));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

/// Whether a loop device has this file.
fn is_attached(image: &Path) -> bool {
    let devices = fs::read_dir("/sys/block").into_iter().flatten().flatten();
    let files = devices
        .filter_map(|device| fs::read_to_string(device.path().join("loop/backing_file")).ok());
    let image = image.as_os_str().as_encoded_bytes();
    files.into_iter().any(|file| file.trim_end().as_bytes() == image)
}

impl Drop for Disks {
    fn drop(&mut self) {
        for disk in &self.0 {
            let Ok(mount) = text(&disk.mount) else { continue };
            // Lazily, for a server may still run: the disk goes with its last file.
            let _ = run("umount", &[mount]).or_else(|_| run("umount", &["-l", mount]));
        }
    }
}

/// A path as an argument.
fn text(path: &Path) -> Result<&str> {
    path.to_str().ok_or_else(|| {
        let cause = format!("{} is not UTF-8", path.display());
        Error::usage(cause, "set TMPDIR to a directory with a plain name")
    })
}
