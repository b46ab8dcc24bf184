//! The file of an exported audit log: JSON lines, the newest list first.
//!
//! ```text
//! {"format":"ravelin-audit/1","cluster":"..","plans":["..",..],"statements":["..",..],"path":["..",..],"lists":3,"operations":5,"digest":".."}
//! {"list":3,"before":"..","commit":9,"time_us":..,"envelopes":[{"position":..,"client":"..","session":..,"first":..,"operations":[..]}]}
//! {"end":true,"oldest":1}
//! ```
//!
//! Plans, statements and nodes of the path are canonical bytes in hexadecimal digits. Everything in
//! a list stands in its canonical bytes, and so under the chain; `bytes`, a request, is under its
//! digest. The last line alone proves nothing: it tells a complete file from one cut short.

use ravelin_model::wire::{StateNode, StateProof};
use ravelin_model::{
    AuditHead, AuditList, AuditOutcome, AuditRecord, AuditedEnvelope, AuditedOperation, ClusterId,
    CommitIndex, Decode, Digest, Encode, Position, PublicKey, Refusal, Sequence, ServiceId,
    SessionId, SignedPlan, SignedStatement, Time,
};
use serde::{Deserialize, Serialize};

use super::words;
use crate::files::hex;

/// What the first line says it is.
pub(super) const FORMAT: &str = "ravelin-audit/1";

/// The first line: the end of the log, and what proves it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Header {
    pub(super) format: String,
    cluster: String,
    plans: Vec<String>,
    statements: Vec<String>,
    path: Vec<String>,
    lists: u64,
    operations: u64,
    digest: String,
}

/// A line of the log.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Line {
    List(ListLine),
    End(End),
}

/// One list.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListLine {
    list: u64,
    before: String,
    commit: u64,
    time_us: u64,
    envelopes: Vec<EnvelopeShape>,
}

/// The last line.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct End {
    end: bool,
    /// The oldest list in the file.
    pub(super) oldest: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EnvelopeShape {
    position: u64,
    client: String,
    session: u64,
    first: u64,
    operations: Vec<OperationShape>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OperationShape {
    index: u16,
    service: u8,
    verb: u8,
    request: String,
    /// `done`, or why not.
    outcome: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kind: Option<u8>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reply: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bytes: Option<String>,
}

/// A line's text.
pub(super) fn text(line: &impl Serialize) -> String {
    serde_json::to_string(line).expect("lines have plain fields")
}

fn written(value: &impl Encode) -> String {
    hex::encode(&value.encode())
}

fn read<T: Decode>(text: &str) -> Option<T> {
    T::decode("part of an audit file", &hex::decode_all(text)?).ok()
}

impl Header {
    pub(super) fn new(
        cluster: ClusterId,
        plans: &[SignedPlan],
        head: AuditHead,
        (statements, proof): &(Vec<SignedStatement>, StateProof),
    ) -> Self {
        Self {
            format: FORMAT.to_owned(),
            cluster: cluster.0.to_string(),
            plans: plans.iter().map(written).collect(),
            statements: statements.iter().map(written).collect(),
            path: proof.path.iter().map(written).collect(),
            lists: head.lists,
            operations: head.operations,
            digest: head.digest.to_string(),
        }
    }

    /// The cluster that the file says it is of.
    pub(super) fn cluster(&self) -> Option<ClusterId> {
        hex::decode(&self.cluster).map(|digest| ClusterId(Digest(digest)))
    }

    pub(super) fn plans(&self) -> Option<Vec<SignedPlan>> {
        self.plans.iter().map(|text| read(text)).collect()
    }

    pub(super) fn statements(&self) -> Option<Vec<SignedStatement>> {
        self.statements.iter().map(|text| read(text)).collect()
    }

    pub(super) fn head(&self) -> Option<AuditHead> {
        let digest = Digest(hex::decode(&self.digest)?);
        Some(AuditHead { lists: self.lists, operations: self.operations, digest })
    }

    /// The head as the state holds it, with its way to the root.
    pub(super) fn proof(&self) -> Option<StateProof> {
        let path: Option<Vec<StateNode>> = self.path.iter().map(|text| read(text)).collect();
        let head = self.head()?;
        let value = (head != AuditHead::default()).then(|| head.encode());
        Some(StateProof { value, path: path? })
    }
}

impl ListLine {
    pub(super) fn new(number: u64, record: &AuditRecord) -> Self {
        let AuditRecord { before, list, requests } = record;
        let mut requests = requests.iter();
        let envelope = |envelope: &AuditedEnvelope| EnvelopeShape {
            position: envelope.position.0,
            client: envelope.client.to_string(),
            session: envelope.session.0,
            first: envelope.first.0,
            operations: envelope
                .operations
                .iter()
                .map(|operation| OperationShape::new(operation, requests.next()))
                .collect(),
        };
        Self {
            list: number,
            before: before.to_string(),
            commit: list.commit.0,
            time_us: list.time.0,
            envelopes: list.envelopes.iter().map(envelope).collect(),
        }
    }

    /// Its number, and what it stands for.
    pub(super) fn record(&self) -> Option<(u64, AuditRecord)> {
        let mut requests = Vec::new();
        let mut envelopes = Vec::new();
        for shape in &self.envelopes {
            let operations = shape.operations.iter().map(|operation| {
                requests.push(operation.bytes.as_deref().map_or(Some(vec![]), hex::decode_all)?);
                operation.read()
            });
            envelopes.push(AuditedEnvelope {
                operations: operations.collect::<Option<Vec<_>>>()?,
                position: Position(shape.position),
                client: PublicKey(hex::decode(&shape.client)?),
                session: SessionId(shape.session),
                first: Sequence(shape.first),
            });
        }
        let (commit, time) = (CommitIndex(self.commit), Time(self.time_us));
        let list = AuditList { commit, time, envelopes };
        let before = Digest(hex::decode(&self.before)?);
        Some((self.list, AuditRecord { before, list, requests }))
    }
}

impl OperationShape {
    fn new(operation: &AuditedOperation, request: Option<&Vec<u8>>) -> Self {
        let (outcome, kind, reply) = match operation.outcome {
            AuditOutcome::Done { kind, reply } => {
                ("done".to_owned(), Some(kind), Some(reply.to_string()))
            }
            AuditOutcome::Refused(refusal) => (words::refusal(refusal), None, None),
        };
        Self {
            index: operation.index,
            service: operation.service.0,
            verb: operation.verb,
            request: operation.request.to_string(),
            outcome,
            kind,
            reply,
            bytes: request.filter(|request| !request.is_empty()).map(|bytes| hex::encode(bytes)),
        }
    }

    fn read(&self) -> Option<AuditedOperation> {
        let outcome = match (self.outcome.as_str(), self.kind, &self.reply) {
            ("done", Some(kind), Some(reply)) => {
                AuditOutcome::Done { kind, reply: Digest(hex::decode(reply)?) }
            }
            (name, None, None) => AuditOutcome::Refused(refused(name)?),
            _ => return None,
        };
        Some(AuditedOperation {
            index: self.index,
            service: ServiceId(self.service),
            verb: self.verb,
            request: Digest(hex::decode(&self.request)?),
            outcome,
        })
    }
}

/// The refusal of that name.
fn refused(name: &str) -> Option<Refusal> {
    words::REFUSALS.into_iter().find(|refusal| words::refusal(*refusal) == name)
}

impl End {
    /// The end of a file whose lists follow this head.
    pub(super) fn after(head: AuditHead) -> Self {
        Self { end: true, oldest: head.lists + 1 }
    }
}
