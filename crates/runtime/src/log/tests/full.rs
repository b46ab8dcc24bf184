//! A real file system without room.

use super::*;
use std::fs::File;
use std::io::Write as _;
use std::process::{Command, Stdio};

/// A small file system, unmounted when dropped; `None`: we may not mount.
struct SmallDisk(Scratch);

impl SmallDisk {
    fn mount(kilobytes: u32) -> Option<Self> {
        let scratch = Scratch::new();
        std::fs::create_dir_all(&scratch.0).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={kilobytes}k"), "tmpfs"]);
        let mounted = mount.arg(&scratch.0).stderr(Stdio::null()).status();
        mounted.is_ok_and(|status| status.success()).then(|| Self(scratch))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0.0).status();
    }
}

#[test]
fn a_full_disk_costs_nothing_while_the_present_segment_lasts() {
    let Some(disk) = SmallDisk::mount(512) else {
        let _ = writeln!(io::stderr(), "SKIPPED: mounting a file system needs root");
        return;
    };
    let dir = disk.0.0.join("log");
    let config = LogConfig { segment_bytes: 64 << 10, retention_bytes: 1 << 30, ..config() };
    let (mut log, ..) = try_open(&dir, config.clone()).unwrap();
    // Others fill the disk before a second segment is made.
    let filler = disk.0.0.join("filler");
    let fill = || {
        let mut file = File::create(&filler).unwrap();
        while io::Write::write_all(&mut file, &[1; 4096]).is_ok() {}
    };
    fill();
    let mut next = 0;
    let mut append = |log: &mut Log, kilobytes: u64| {
        for _ in 0..kilobytes {
            log.append(Tag(next), &[3; 936])?;
            log.sync()?;
            next += 1;
        }
        Ok::<u64, LogError>(next)
    };
    append(&mut log, 40).unwrap(); // past the half: the next one was asked for, in vain
    std::thread::sleep(Duration::from_millis(700));
    append(&mut log, 10).unwrap();
    // Room in time: the log goes on.
    std::fs::remove_file(&filler).unwrap();
    let written = append(&mut log, 8).unwrap();
    append(&mut log, 40).unwrap();
    assert!(log.counters().segment_count > 0, "it crossed a border");
    // No room in time: the log ends with an error that says so, and has lost nothing.
    fill();
    let error = loop {
        if let Err(error) = append(&mut log, 1) {
            break error;
        }
    };
    let LogError::Io { source, .. } = &error else { panic!("{error}") };
    assert_eq!(source.kind(), io::ErrorKind::StorageFull);
    assert!(matches!(log.append(Tag(1), b"no more"), Err(LogError::Failed)));
    drop(log);
    std::fs::remove_file(&filler).unwrap();
    let (_, entries, _) = try_open(&dir, config).unwrap();
    let tags: Vec<u64> = entries.iter().map(|(tag, _)| *tag).collect();
    assert!(tags.len() as u64 > written && tags == (0..tags.len() as u64).collect::<Vec<_>>());
}
