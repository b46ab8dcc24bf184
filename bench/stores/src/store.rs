//! The candidates behind one face: the operations that a replica's state needs, and no more.

use std::path::Path;

/// What a replica asks of its state store.
pub trait Store {
    /// Applies `puts` atomically, in order with earlier batches; durable at the next `sync`.
    fn write(&mut self, puts: &[(Vec<u8>, Vec<u8>)]);
    /// Makes every batch so far durable.
    fn sync(&mut self);
    /// The value of `key`.
    fn get(&self, key: &[u8]) -> Option<Vec<u8>>;
    /// Reads up to `count` entries from `from` on, in key order; returns how many there were.
    fn scan(&self, from: &[u8], count: usize) -> usize;
}

/// Bytes of block or page cache given to every candidate.
pub const CACHE_BYTES: usize = 16 << 20;

/// Names of the candidates in this build.
pub const NAMES: &[&str] = &[
    #[cfg(feature = "fjall")]
    "fjall",
    #[cfg(feature = "redb")]
    "redb",
    #[cfg(feature = "heed")]
    "heed-nosync",
    #[cfg(feature = "rocksdb")]
    "rocksdb",
];

/// Opens candidate `name` in `dir`, or says why it refuses to open.
pub fn open(name: &str, dir: &Path) -> Result<Box<dyn Store>, String> {
    std::fs::create_dir_all(dir).expect("the directory can be made");
    match name {
        #[cfg(feature = "fjall")]
        "fjall" => Ok(Box::new(with_fjall::Fjall::open(dir)?)),
        #[cfg(feature = "redb")]
        "redb" => Ok(Box::new(with_redb::Redb::open(dir)?)),
        #[cfg(feature = "heed")]
        "heed-nosync" => Ok(Box::new(with_heed::Heed::open(dir)?)),
        #[cfg(feature = "rocksdb")]
        "rocksdb" => Ok(Box::new(with_rocksdb::Rocks::open(dir)?)),
        other => Err(format!("unknown store {other}")),
    }
}

#[cfg(feature = "fjall")]
mod with_fjall {
    use super::{CACHE_BYTES, Store};
    use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
    use std::path::Path;

    pub struct Fjall(Database, Keyspace);

    impl Fjall {
        pub fn open(dir: &Path) -> Result<Self, String> {
            let database = Database::builder(dir)
                .cache_size(CACHE_BYTES as u64)
                .manual_journal_persist(true)
                .max_journaling_size(64 << 20)
                .worker_threads(2) // one alone lets the tree in memory grow to hundreds of MiB
                .open()
                .map_err(|e| format!("{e:?}"))?;
            let options = || KeyspaceCreateOptions::default().max_memtable_size(8 << 20);
            let keyspace = database.keyspace("state", options).map_err(|e| format!("{e:?}"))?;
            Ok(Self(database, keyspace))
        }
    }

    impl Store for Fjall {
        fn write(&mut self, puts: &[(Vec<u8>, Vec<u8>)]) {
            let mut batch = self.0.batch();
            for (key, value) in puts {
                batch.insert(&self.1, key.as_slice(), value.as_slice());
            }
            batch.commit().unwrap();
        }

        fn sync(&mut self) {
            self.0.persist(PersistMode::SyncData).unwrap();
        }

        fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
            self.1.get(key).unwrap().map(|value| value.to_vec())
        }

        fn scan(&self, from: &[u8], count: usize) -> usize {
            let range = self.1.range(from..).take(count);
            range.filter_map(|entry| entry.value().ok()).filter(|value| !value.is_empty()).count()
        }
    }
}

#[cfg(feature = "redb")]
mod with_redb {
    use super::{CACHE_BYTES, Store};
    use redb::{Database, Durability, ReadableDatabase, TableDefinition};
    use std::path::Path;

    const STATE: TableDefinition<&[u8], &[u8]> = TableDefinition::new("state");

    pub struct Redb(Database);

    impl Redb {
        pub fn open(dir: &Path) -> Result<Self, String> {
            let database = Database::builder()
                .set_cache_size(CACHE_BYTES)
                .create(dir.join("redb"))
                .map_err(|e| format!("{e:?}"))?;
            let creation = database.begin_write().map_err(|e| format!("{e:?}"))?;
            creation.open_table(STATE).map_err(|e| format!("{e:?}"))?;
            creation.commit().map_err(|e| format!("{e:?}"))?;
            Ok(Self(database))
        }
    }

    impl Store for Redb {
        fn write(&mut self, puts: &[(Vec<u8>, Vec<u8>)]) {
            let mut transaction = self.0.begin_write().unwrap();
            transaction.set_durability(Durability::None).unwrap();
            {
                let mut table = transaction.open_table(STATE).unwrap();
                for (key, value) in puts {
                    table.insert(key.as_slice(), value.as_slice()).unwrap();
                }
            }
            transaction.commit().unwrap();
        }

        fn sync(&mut self) {
            let mut transaction = self.0.begin_write().unwrap();
            transaction.set_durability(Durability::Immediate).unwrap();
            transaction.commit().unwrap();
        }

        fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
            let table = self.0.begin_read().unwrap().open_table(STATE).unwrap();
            table.get(key).unwrap().map(|value| value.value().to_vec())
        }

        fn scan(&self, from: &[u8], count: usize) -> usize {
            let table = self.0.begin_read().unwrap().open_table(STATE).unwrap();
            let range = table.range(from..).unwrap().take(count);
            range.filter(|entry| !entry.as_ref().unwrap().1.value().is_empty()).count()
        }
    }
}

#[cfg(feature = "heed")]
mod with_heed {
    use super::Store;
    use heed::types::Bytes;
    use heed::{Database, Env, EnvFlags, EnvOpenOptions, WithoutTls};
    use std::ops::Bound;
    use std::path::Path;

    /// LMDB without a sync per commit: the only way to its speed, and not safe at power loss.
    pub struct Heed(Env<WithoutTls>, Database<Bytes, Bytes>);

    impl Heed {
        pub fn open(dir: &Path) -> Result<Self, String> {
            let mut options = EnvOpenOptions::new().read_txn_without_tls();
            options.map_size(8 << 30);
            // SAFETY: one process opens the directory, and nothing else touches the file.
            let environment = unsafe { options.flags(EnvFlags::NO_SYNC).open(dir) }
                .map_err(|e| format!("{e:?}"))?;
            let mut creation = environment.write_txn().map_err(|e| format!("{e:?}"))?;
            let database =
                environment.create_database(&mut creation, None).map_err(|e| format!("{e:?}"))?;
            creation.commit().map_err(|e| format!("{e:?}"))?;
            Ok(Self(environment, database))
        }
    }

    impl Store for Heed {
        fn write(&mut self, puts: &[(Vec<u8>, Vec<u8>)]) {
            let mut transaction = self.0.write_txn().unwrap();
            for (key, value) in puts {
                self.1.put(&mut transaction, key, value).unwrap();
            }
            transaction.commit().unwrap();
        }

        fn sync(&mut self) {
            self.0.force_sync().unwrap();
        }

        fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
            let transaction = self.0.read_txn().unwrap();
            self.1.get(&transaction, key).unwrap().map(<[u8]>::to_vec)
        }

        fn scan(&self, from: &[u8], count: usize) -> usize {
            let transaction = self.0.read_txn().unwrap();
            let bounds = (Bound::Included(from), Bound::Unbounded);
            let range = self.1.range(&transaction, &bounds).unwrap().take(count);
            range.filter(|entry| !entry.as_ref().unwrap().1.is_empty()).count()
        }
    }
}

#[cfg(feature = "rocksdb")]
mod with_rocksdb {
    use super::{CACHE_BYTES, Store};
    use rocksdb::{BlockBasedOptions, Cache, DB, Direction, IteratorMode, Options, WriteBatch};
    use std::path::Path;

    pub struct Rocks(DB);

    impl Rocks {
        pub fn open(dir: &Path) -> Result<Self, String> {
            let mut blocks = BlockBasedOptions::default();
            blocks.set_block_cache(&Cache::new_lru_cache(CACHE_BYTES));
            blocks.set_bloom_filter(10.0, false);
            let mut options = Options::default();
            options.create_if_missing(true);
            options.set_write_buffer_size(8 << 20);
            options.set_block_based_table_factory(&blocks);
            DB::open(&options, dir).map(Self).map_err(|e| format!("{e:?}"))
        }
    }

    impl Store for Rocks {
        fn write(&mut self, puts: &[(Vec<u8>, Vec<u8>)]) {
            let mut batch = WriteBatch::default();
            for (key, value) in puts {
                batch.put(key, value);
            }
            self.0.write(&batch).unwrap();
        }

        fn sync(&mut self) {
            self.0.flush_wal(true).unwrap();
        }

        fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
            self.0.get(key).unwrap()
        }

        fn scan(&self, from: &[u8], count: usize) -> usize {
            let entries = self.0.iterator(IteratorMode::From(from, Direction::Forward));
            entries.take(count).filter(|entry| !entry.as_ref().unwrap().1.is_empty()).count()
        }
    }
}
