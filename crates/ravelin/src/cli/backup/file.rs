//! The file of a backup: JSON lines, the last of which has a signature over the others.
//!
//! ```text
//! {"format":"ravelin-backup/1","cluster":"..","name":"prod","incarnation":1,"position":120}
//! {"name":"ops","public":".."}
//! {"key":"..","value":".."}
//! {"clients":1,"entries":1,"by":"..","signature":".."}
//! ```

use std::collections::BTreeSet;
use std::fmt;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use ravelin_crypto::{Domain, SigningKey, domain_digest};
use ravelin_model::requests::auth::ClientRecord;
use ravelin_model::requests::kv::Entry;
use ravelin_model::{ClientEntry, Incarnation, Position, PublicKey, Signature};
use serde::{Deserialize, Serialize};

use crate::cli::kv::entry_file;
use crate::cli::kv::export::EntryLine;
use crate::cli::kv::import::Item;
use crate::client_command::Client;
use crate::exit::{Error, Exit, Result};
use crate::files::disk::DraftFile;
use crate::files::{hex, plan};

/// What the first line says it is.
const FORMAT: &str = "ravelin-backup/1";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    format: String,
    cluster: String,
    name: String,
    incarnation: u32,
    position: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Line {
    Client(ClientLine),
    Entry(EntryLine),
    End(End),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ClientLine {
    name: String,
    public: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct End {
    clients: usize,
    entries: usize,
    by: String,
    signature: String,
}

/// Writes a backup.
pub(super) struct Writer {
    draft: DraftFile,
    lines: Vec<u8>,
    clients: usize,
    entries: usize,
}

impl Writer {
    pub(super) fn new(draft: DraftFile) -> Self {
        Self { draft, lines: Vec::new(), clients: 0, entries: 0 }
    }

    pub(super) fn begin(&mut self, client: &Client, position: Position) -> Result<()> {
        let plan = &client.plan().plan;
        self.line(&Header {
            format: FORMAT.to_owned(),
            cluster: client.cluster().0.to_string(),
            name: plan.name.clone(),
            incarnation: plan.incarnation.0,
            position: position.0,
        })
    }

    pub(super) fn client(&mut self, record: &ClientRecord) -> Result<()> {
        self.clients += 1;
        self.line(&ClientLine { name: record.name.clone(), public: record.key.to_string() })
    }

    pub(super) fn entry(&mut self, entry: &Entry) -> Result<()> {
        self.entries += 1;
        self.line(&EntryLine::new(entry))
    }

    /// Signs the backup, and lets the file appear.
    pub(super) fn end(mut self, key: &SigningKey) -> Result<()> {
        let signature = key.sign(Domain::Backup, &digest(&self.lines));
        let end = End {
            clients: self.clients,
            entries: self.entries,
            by: key.public().to_string(),
            signature: hex::encode(&signature.0),
        };
        self.line(&end)?;
        self.draft.install()
    }

    fn line(&mut self, line: &impl Serialize) -> Result<()> {
        let text = serde_json::to_string(line).expect("lines have plain fields");
        self.lines.extend_from_slice(text.as_bytes());
        self.lines.push(b'\n');
        self.draft.line(&text)
    }
}

fn digest(lines: &[u8]) -> [u8; 32] {
    domain_digest("ravelin backup v1", &[lines]).0
}

/// A backup that its maker signed.
pub(crate) struct Backup {
    cluster: String,
    name: String,
    pub(super) incarnation: Incarnation,
    position: u64,
    clients: Vec<ClientEntry>,
    pub(super) items: Vec<Item>,
    /// Who made it.
    pub(super) by: PublicKey,
}

/// Reads a backup; its signature holds, and everything in it fits a cluster.
pub(crate) fn read(path: &Path) -> Result<Backup> {
    let failed = |error| Error::system("read", path, &error);
    if !std::fs::metadata(path).map_err(failed)?.is_file() {
        let cause = format!("{} is not a regular file", path.display());
        return Err(Error::usage(cause, "name a file"));
    }
    let mut reader = BufReader::new(File::open(path).map_err(failed)?);
    parsed(&mut reader).map_err(|error| error.context(path.display()))
}

fn parsed(reader: &mut impl std::io::BufRead) -> Result<Backup> {
    let damaged = |what: &str| {
        let hint = "it is damaged or was changed: take another backup";
        Error::new(Exit::VerificationFailed, what, hint)
    };
    let first = entry_file::line(reader)?.unwrap_or_default();
    let header = serde_json::from_str::<Header>(&first).ok();
    let header = header.filter(|header| header.format == FORMAT).ok_or_else(|| {
        Error::usage("it is no backup", "name a file that `ravelin backup create` wrote")
    })?;
    let (mut lines, mut clients, mut items) = (first.into_bytes(), Vec::new(), Vec::new());
    let end = loop {
        let text = entry_file::line(reader)?.ok_or_else(|| damaged("it is cut short"))?;
        match serde_json::from_str(&text).map_err(|_| damaged("a line of it is malformed"))? {
            Line::End(end) => break end,
            Line::Client(ClientLine { name, public }) => {
                let key = hex::decode(&public).map(PublicKey);
                let key = key.ok_or_else(|| damaged("a client's key is malformed"))?;
                clients.push(ClientEntry { name, key });
            }
            Line::Entry(line) => {
                items.push(line.item().ok_or_else(|| damaged("an entry is malformed"))?);
            }
        }
        lines.extend_from_slice(text.as_bytes());
    };
    if entry_file::line(reader)?.is_some()
        || (end.clients, end.entries) != (clients.len(), items.len())
    {
        return Err(damaged("it does not end where it says"));
    }
    let by = hex::decode(&end.by).map(PublicKey).zip(hex::decode(&end.signature).map(Signature));
    let (by, signature) = by.ok_or_else(|| damaged("its signature is malformed"))?;
    let scheme = plan::scheme()?;
    if scheme.is_weak(&by) || !scheme.verify(Domain::Backup, &by, &digest(&lines), &signature) {
        return Err(damaged("its signature does not hold"));
    }
    let mut keys = BTreeSet::new();
    items.iter().try_for_each(|item| entry_file::check(item, &mut keys))?;
    let Header { cluster, name, incarnation, position, .. } = header;
    Ok(Backup {
        cluster,
        name,
        incarnation: Incarnation(incarnation),
        position,
        clients,
        items,
        by,
    })
}

impl Backup {
    /// The incarnation of a cluster that is restored from it.
    pub(crate) fn next_incarnation(&self) -> Result<Incarnation> {
        let next = self.incarnation.0.checked_add(1).map(Incarnation);
        next.ok_or_else(|| Error::usage("the backup's incarnation is the last", "check the file"))
    }

    /// The clients `given`, and those of the backup whose names and keys are not among them.
    pub(crate) fn clients_beside(&self, given: Vec<ClientEntry>) -> Vec<ClientEntry> {
        let is_new = |entry: &&ClientEntry| {
            !given.iter().any(|other| other.name == entry.name || other.key == entry.key)
        };
        let own: Vec<_> = self.clients.iter().filter(is_new).cloned().collect();
        [given, own].concat()
    }

    /// What it has, in short.
    pub(super) fn summary(&self) -> Summary<'_> {
        Summary {
            cluster: &self.cluster,
            name: &self.name,
            incarnation: self.incarnation.0,
            position: self.position,
            clients: self.clients.len(),
            entries: self.items.len(),
            by: self.by.to_string(),
        }
    }
}

/// A backup in short.
#[derive(Serialize)]
pub(super) struct Summary<'a> {
    cluster: &'a str,
    name: &'a str,
    incarnation: u32,
    position: u64,
    clients: usize,
    entries: usize,
    by: String,
}

impl fmt::Display for Summary<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cluster, name, incarnation, position, clients, entries, by } = self;
        write!(
            out,
            "verified: {entries} entries and {clients} clients as of position {position} of {name} \
             ({cluster}), incarnation {incarnation}, signed by {by}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> SigningKey {
        SigningKey::ed25519(&[7; 32])
    }

    fn text() -> String {
        let lines = "{\"format\":\"ravelin-backup/1\",\"cluster\":\"\",\"name\":\"n\",\
            \"incarnation\":1,\"position\":9}\n{\"name\":\"a\",\"public\":\"KEY\"}\n\
            {\"key\":\"YQ==\",\"value\":\"MQ==\"}\n{\"key\":\"Yg==\",\"value\":\"\"}\n"
            .replace("KEY", &"11".repeat(32));
        signed(&lines, 1, 2)
    }

    fn signed(lines: &str, clients: usize, entries: usize) -> String {
        let signature = key().sign(Domain::Backup, &digest(lines.as_bytes()));
        let (by, signature) = (key().public().to_string(), hex::encode(&signature.0));
        let end = End { clients, entries, by, signature };
        format!("{lines}{}\n", serde_json::to_string(&end).unwrap())
    }

    #[test]
    fn what_was_written_is_read_and_nothing_else() {
        let text = text();
        let backup = parsed(&mut text.as_bytes()).unwrap();
        assert_eq!((backup.clients.len(), backup.items.len()), (1, 2));
        assert_eq!(
            (backup.by, backup.next_incarnation().unwrap()),
            (key().public(), Incarnation(2))
        );
        for wrong in [
            text.replace("MQ==", "Mg=="),
            text.replace("\"position\":9", "\"position\":8"),
            text.replace("{\"key\":\"YQ==\",\"value\":\"MQ==\"}\n", ""),
            text.replace("\"entries\":2", "\"entries\":1"),
            text.replace("ravelin-backup/1", "ravelin-kv/1"),
            text.lines().take(4).collect::<Vec<_>>().join("\n"),
            format!("{text}{{}}\n"),
            text.replace(&key().public().to_string(), &"00".repeat(32)),
        ] {
            assert!(parsed(&mut wrong.as_bytes()).is_err(), "{wrong}");
        }
        let twice =
            text.lines().take(4).collect::<Vec<_>>().join("\n").replace("Yg==", "YQ==") + "\n";
        assert!(parsed(&mut signed(&twice, 1, 2).as_bytes()).is_err(), "a key that is there twice");
    }

    #[test]
    fn clients_that_are_named_anew_go_before_those_of_the_backup() {
        let backup = parsed(&mut text().as_bytes()).unwrap();
        let entry = |name: &str, key| ClientEntry { name: name.into(), key: PublicKey([key; 32]) };
        assert_eq!(backup.clients_beside(vec![]), [entry("a", 0x11)]);
        assert_eq!(backup.clients_beside(vec![entry("b", 2)]), [entry("b", 2), entry("a", 0x11)]);
        assert_eq!(backup.clients_beside(vec![entry("a", 2)]), [entry("a", 2)]);
        assert_eq!(backup.clients_beside(vec![entry("b", 0x11)]), [entry("b", 0x11)]);
    }
}
