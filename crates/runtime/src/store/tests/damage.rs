//! Files that are not what was written, or not whole.

use super::*;

/// A kill while the engine removes a keyspace may leave a part of its directory.
#[test]
fn what_is_left_of_a_removed_keyspace_is_no_damage() {
    let (scratch, tables) = with_tables();
    let keyspace = tables[0].parent().and_then(Path::parent).unwrap();
    let left = keyspace.parent().unwrap().join("77");
    std::fs::create_dir(&left).unwrap();
    std::fs::copy(keyspace.join("current"), left.join("current")).unwrap();
    open(&scratch.0).engine.read_through().unwrap();
    assert!(!left.exists(), "the engine removes it");
}

/// Every byte of the list of tables: the engine itself would open without some of them.
#[test]
fn a_list_of_tables_that_is_not_what_was_written_is_refused() {
    let (scratch, tables) = with_tables();
    let keyspace = tables[0].parent().and_then(Path::parent).unwrap().to_path_buf();
    let current = std::fs::read(keyspace.join("current")).unwrap();
    let number = u64::from_le_bytes(*current.first_chunk().unwrap());
    for name in ["current".to_owned(), format!("v{number}")] {
        let file = keyspace.join(name);
        let whole = std::fs::read(&file).unwrap();
        for at in 0..whole.len() {
            let mut rotten = whole.clone();
            rotten[at] ^= 0x41;
            std::fs::write(&file, rotten).unwrap();
            let refused = try_open(&scratch.0).err().expect("refused");
            assert!(refused.is_loss(), "{at}: {refused}");
        }
        std::fs::write(&file, whole).unwrap();
    }
    let store = try_open(&scratch.0).expect("as it was");
    assert_eq!(keys(&store, &[], None, usize::MAX).len(), 400);
}

#[test]
fn whatever_is_flipped_in_its_files_an_opening_says_so_and_does_not_panic() {
    let (scratch, _) = with_tables();
    let listed = Command::new("find").arg(&scratch.0).args(["-type", "f", "-size", "+0"]).output();
    let text = String::from_utf8(listed.unwrap().stdout).unwrap();
    let files: Vec<PathBuf> = text.lines().map(PathBuf::from).collect();
    assert!(files.len() > 5, "{files:?}");
    let (mut lost, mut kept) = (0, 0);
    for (index, file) in files.iter().enumerate() {
        let whole = std::fs::read(file).unwrap();
        let end = whole.iter().rposition(|byte| *byte != 0).unwrap_or_default() + 1;
        let part = 1 + index % 2;
        let copy = scratch.0.with_extension(format!("copy{part}"));
        let _ = std::fs::remove_dir_all(&copy);
        let copied = Command::new("cp").arg("-r").arg(&scratch.0).arg(&copy).status();
        assert!(copied.unwrap().success());
        let at = copy.join(file.strip_prefix(&scratch.0).unwrap());
        let mut rotten = whole.clone();
        rotten[(end - 1) * part / 3] ^= 0x41;
        std::fs::write(at, rotten).unwrap();
        match try_open(&copy).and_then(|store| store.engine.read_through().map(|()| store)) {
            Ok(store) => {
                kept += 1;
                assert_eq!(keys(&store, &[], None, usize::MAX).len(), 400, "{file:?} {part}");
                assert_eq!(store.engine.history().read_through().unwrap().len(), 400);
            }
            Err(error) => {
                lost += 1;
                assert!(error.is_loss(), "{file:?} {part}: {error}: {error:?}");
            }
        }
        std::fs::remove_dir_all(copy).unwrap();
    }
    eprintln!("{lost} found, {kept} without effect, in {} files", files.len());
    assert!(lost > kept, "{lost} {kept}");
}
