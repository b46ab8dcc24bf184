//! Files of entries: `ravelin kv export`'s, and what `etcdctl get -w json` prints.
//!
//! **Guarantee:** what comes out is whole and within the cluster's limits, each key once.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read};
use std::path::Path;

use ravelin_model::limits::{KV_KEY_BYTES_MAX, KV_VALUE_BYTES_MAX};
use serde::Deserialize;

use super::export::{End, EntryLine, FORMAT, Header};
use super::import::{Item, Source};
use crate::exit::{Error, Exit, Result};
use ravelin_gateway::base64;

/// Bytes of a file of entries, which is held in memory.
const FILE_BYTES_MAX: u64 = 2 << 30;
/// Bytes of a line: the longest value in base64, and more than enough for the rest.
const LINE_BYTES_MAX: u64 = 1 << 20;
/// Where a database of etcd has its magic number, and what that is.
const BOLT_MAGIC: (usize, [u8; 4]) = (16, [0xed, 0xda, 0x0c, 0xed]);

/// The entries of a file, and how many it has under leases.
pub(super) fn read(path: &Path, source: Source) -> Result<(Vec<Item>, u64)> {
    let failed = |error| Error::system("read", path, &error);
    let source_of: Box<dyn Read> = if path == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        Box::new(File::open(path).map_err(failed)?)
    };
    let mut reader = BufReader::with_capacity(1 << 16, source_of.take(FILE_BYTES_MAX));
    let begins = reader.fill_buf().map_err(failed)?;
    let (at, magic) = BOLT_MAGIC;
    if begins.get(at..at + magic.len()) == Some(&magic) {
        let cause = format!("{} is a snapshot of etcd's database", path.display());
        let hint = "restore it into an etcd with `etcdutl snapshot restore`, and import what \
                    `etcdctl get --prefix \"\" -w json` prints with --from etcd-json";
        return Err(Error::usage(cause, hint));
    }
    let read = match source {
        Source::Ravelin => exported(&mut reader),
        Source::EtcdJson => of_etcd(&mut reader),
    };
    let (items, left_out) = read.map_err(|error| error.context(path.display()))?;
    let mut keys = BTreeSet::new();
    for item in &items {
        check(item, &mut keys).map_err(|error| error.context(path.display()))?;
    }
    Ok((items, left_out))
}

/// Whether an item fits the cluster, and its key is none of `keys`.
pub(crate) fn check<'a>(item: &'a Item, keys: &mut BTreeSet<&'a [u8]>) -> Result<()> {
    let key = super::bytes::Shown(&item.key);
    let (cause, hint) = if item.key.is_empty() || item.key.len() > KV_KEY_BYTES_MAX {
        (
            format!("a key of {} bytes, beginning with `{:.40}`", item.key.len(), key.to_string()),
            format!("keys have 1 to {KV_KEY_BYTES_MAX} bytes: nothing was imported"),
        )
    } else if item.value.len() > KV_VALUE_BYTES_MAX {
        (
            format!("the value of `{key}` has {} bytes", item.value.len()),
            format!("at most {KV_VALUE_BYTES_MAX} bytes fit: nothing was imported"),
        )
    } else if !keys.insert(&item.key) {
        (format!("`{key}` is there twice"), "each key may be there once".to_owned())
    } else {
        return Ok(());
    };
    Err(Error::usage(cause, hint))
}

fn exported(reader: &mut impl io::BufRead) -> Result<(Vec<Item>, u64)> {
    let no_export = || {
        let hint = "name a file that `ravelin kv export` wrote, or say --from etcd-json";
        Error::usage("it is no export of keys and values", hint)
    };
    let header = line(reader)?.and_then(|line| serde_json::from_str::<Header>(&line).ok());
    header.filter(|header| header.format == FORMAT).ok_or_else(no_export)?;
    let mut items = Vec::new();
    while let Some(line) = line(reader)? {
        if let Ok(End { entries }) = serde_json::from_str(&line) {
            if entries != items.len() as u64 || self::line(reader)?.is_some() {
                break;
            }
            return Ok((items, 0));
        }
        let number = items.len() + 2;
        let item = serde_json::from_str::<EntryLine>(&line).ok().and_then(|line| line.item());
        items.push(item.ok_or_else(|| {
            let hint = "export it anew; nothing was imported";
            Error::usage(format!("line {number} is no entry"), hint)
        })?);
    }
    let hint = "export it anew; nothing was imported";
    Err(Error::new(Exit::VerificationFailed, "it is cut short, or entries are missing", hint))
}

/// The next line with its end; `None` after the last.
pub(crate) fn line(reader: &mut impl io::BufRead) -> Result<Option<String>> {
    let mut text = String::new();
    match reader.take(LINE_BYTES_MAX).read_line(&mut text) {
        Ok(0) => Ok(None),
        Ok(_) => Ok(Some(text)),
        Err(error) => {
            let hint = "check that it is the right file; nothing was imported";
            Err(Error::caused(Exit::Usage, error, hint))
        }
    }
}

/// What `etcdctl get -w json` prints; what is of no use here is left out.
#[derive(Deserialize)]
struct Range {
    #[serde(default)]
    kvs: Vec<KeyValue>,
    #[serde(default)]
    more: bool,
    count: Option<u64>,
}

#[derive(Deserialize)]
struct KeyValue {
    key: String,
    #[serde(default)]
    value: String,
    #[serde(default)]
    lease: i64,
}

fn of_etcd(reader: &mut impl io::BufRead) -> Result<(Vec<Item>, u64)> {
    let hint = "write it with `etcdctl get --prefix \"\" -w json`; nothing was imported";
    let range: Range = serde_json::from_reader(reader)
        .map_err(|error| Error::usage(format!("it is not what etcdctl prints: {error}"), hint))?;
    if range.more || range.count.is_some_and(|count| count != range.kvs.len() as u64) {
        return Err(Error::usage("it does not have all keys: etcdctl was given a limit", hint));
    }
    let (mut items, mut left_out) = (Vec::new(), 0);
    for entry in range.kvs {
        if entry.lease != 0 {
            left_out += 1;
            continue;
        }
        let item = || {
            Some(Item { key: base64::decode(&entry.key)?, value: base64::decode(&entry.value)? })
        };
        items.push(item().ok_or_else(|| {
            Error::usage(format!("entry {} is not in base64", items.len() + left_out + 1), hint)
        })?);
    }
    Ok((items, left_out as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_text(text: &str, source: Source) -> Result<(Vec<Item>, u64)> {
        let mut bytes = text.as_bytes();
        match source {
            Source::Ravelin => exported(&mut bytes),
            Source::EtcdJson => of_etcd(&mut bytes),
        }
    }

    #[test]
    fn what_etcdctl_prints_is_read() {
        let text = r#"{"header":{"cluster_id":14841639068965178418,"member_id":10276657743932975437,
            "revision":9,"raft_term":2},"kvs":[
            {"key":"YQ==","create_revision":2,"mod_revision":3,"version":2,"value":"MQ=="},
            {"key":"YmluAP8=","create_revision":4,"mod_revision":4,"version":1},
            {"key":"bA==","create_revision":5,"mod_revision":5,"version":1,"value":"MQ==","lease":77}
            ],"count":3}"#;
        let (items, left_out) = of_text(text, Source::EtcdJson).unwrap();
        let items: Vec<_> = items.into_iter().map(|item| (item.key, item.value)).collect();
        assert_eq!(items, [(b"a".to_vec(), b"1".to_vec()), (b"bin\x00\xff".to_vec(), vec![])]);
        assert_eq!(left_out, 1);
        for wrong in [
            text.replace("\"count\":3", "\"more\":true,\"count\":3"),
            text.replace("\"count\":3", "\"count\":4"),
            text.replace("YQ==", "a"),
            text.replace("YQ==", "YQ="),
            "[]".to_owned(),
            String::new(),
        ] {
            assert!(of_text(&wrong, Source::EtcdJson).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_export_that_lacks_something_is_refused() {
        let text = "{\"format\":\"ravelin-kv/1\",\"cluster\":\"\",\"prefix\":\"\",\"position\":3}\n\
            {\"key\":\"YQ==\",\"value\":\"MQ==\"}\n{\"key\":\"Yg==\",\"value\":\"\"}\n{\"entries\":2}\n";
        assert_eq!(of_text(text, Source::Ravelin).unwrap().0.len(), 2);
        for wrong in [
            text.replace("{\"entries\":2}\n", ""),
            text.replace("{\"key\":\"YQ==\",\"value\":\"MQ==\"}\n", ""),
            text.replace("ravelin-kv/1", "ravelin-kv/2"),
            text.replace("YQ==", "YQ"),
            format!("{text}{{\"key\":\"Yw==\",\"value\":\"\"}}\n"),
            text.replace("\"value\":\"\"", "\"value\":\"\",\"lease\":1"),
            String::new(),
        ] {
            assert!(of_text(&wrong, Source::Ravelin).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_does_not_fit_the_cluster_is_refused_before_anything_is_sent() {
        let item = |key: usize, value: usize| Item { key: vec![b'k'; key], value: vec![0; value] };
        let mut keys = BTreeSet::new();
        let (good, same) = (item(KV_KEY_BYTES_MAX, KV_VALUE_BYTES_MAX), item(KV_KEY_BYTES_MAX, 1));
        assert!(check(&good, &mut keys).is_ok());
        assert!(check(&same, &mut keys).is_err());
        for wrong in [item(0, 1), item(KV_KEY_BYTES_MAX + 1, 1), item(1, KV_VALUE_BYTES_MAX + 1)] {
            assert!(check(&wrong, &mut BTreeSet::new()).is_err());
        }
    }
}
