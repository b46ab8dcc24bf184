//! Data that decays or goes back in time.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use ravelin_sim::Dice;

/// One byte in so many is flipped.
pub(super) const SECTOR_BYTES: u64 = 4096;

/// Flips one byte in every 4 KiB of every file below `dir`; says how many.
pub(super) fn rot(dir: &Path, dice: &mut Dice) -> io::Result<u64> {
    let mut flipped = 0;
    for entry in sorted(dir)? {
        let kind = entry.file_type()?;
        if kind.is_dir() {
            flipped += rot(&entry.path(), dice)?;
        } else if kind.is_file() {
            let file = OpenOptions::new().read(true).write(true).open(entry.path())?;
            flipped += rot_file(&file, dice)?;
        }
    }
    Ok(flipped)
}

fn rot_file(file: &File, dice: &mut Dice) -> io::Result<u64> {
    let length = file.metadata()?.len();
    let mut flipped = 0;
    for start in (0..length).step_by(SECTOR_BYTES as usize) {
        let at = start + dice.below(SECTOR_BYTES.min(length - start));
        let mut byte = [0];
        file.read_exact_at(&mut byte, at)?;
        file.write_all_at(&[byte[0] ^ (1 << dice.below(8))], at)?;
        flipped += 1;
    }
    Ok(flipped)
}

/// Makes `to` a copy of everything below `from`; whatever was there goes.
pub(crate) fn copy(from: &Path, to: &Path) -> io::Result<()> {
    clear(to)?;
    fs::create_dir_all(to)?;
    fs::set_permissions(to, fs::metadata(from)?.permissions())?;
    for entry in sorted(from)? {
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}

/// Removes everything below `dir`, if it is there: `dir` itself may be a disk.
fn clear(dir: &Path) -> io::Result<()> {
    if !dir.exists() {
        return Ok(());
    }
    for entry in sorted(dir)? {
        let path = entry.path();
        if entry.file_type()?.is_dir() { fs::remove_dir_all(path)? } else { fs::remove_file(path)? }
    }
    Ok(())
}

/// In the same order on every run of a seed.
fn sorted(dir: &Path) -> io::Result<Vec<fs::DirEntry>> {
    let mut entries = fs::read_dir(dir)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rot_changes_one_byte_of_every_sector_and_a_copy_brings_it_back() {
        let root = std::env::temp_dir().join(format!("ravelin-decay-{}", std::process::id()));
        let (data, kept) = (root.join("data"), root.join("kept"));
        fs::create_dir_all(data.join("log")).expect("made");
        let bytes: Vec<u8> = (0..10_000_u32).map(|at| at as u8).collect();
        fs::write(data.join("log/one"), &bytes).expect("written");
        fs::write(data.join("empty"), "").expect("written");
        copy(&data, &kept).expect("copied");
        assert_eq!(rot(&data, &mut Dice::new(7, "rot")).expect("rotten"), 3);
        let rotten = fs::read(data.join("log/one")).expect("there");
        let sectors = rotten.chunks(4096).zip(bytes.chunks(4096));
        for (after, before) in sectors {
            let changed = after.iter().zip(before).filter(|(one, other)| one != other).count();
            assert_eq!(changed, 1);
        }
        fs::write(data.join("new"), "later").expect("written");
        copy(&kept, &data).expect("brought back");
        assert_eq!(fs::read(data.join("log/one")).expect("there"), bytes);
        assert!(!data.join("new").exists(), "what came later is gone");
        fs::remove_dir_all(root).expect("ours");
    }
}
