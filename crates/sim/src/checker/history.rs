//! What clients asked, when, and what they were told.

use std::fmt::Write as _;

use ravelin_model::requests::kv::{Condition, KvReply, KvRequest, Step, StepResult, Write};

/// One operation as its client saw it. Times are of one clock, that of the observer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Who asked.
    pub client: u32,
    /// When, in microseconds.
    pub invoked_us: u64,
    /// When the answer came; `None` if none did: the operation may have happened, or may yet.
    pub responded_us: Option<u64>,
    /// What was asked.
    pub request: KvRequest,
    /// What was answered.
    pub reply: Option<KvReply>,
}

/// All operations of a run, in the order in which they were asked.
#[derive(Clone, Debug, Default)]
pub struct History {
    operations: Vec<Operation>,
}

impl History {
    /// Notes a question and returns its number.
    pub fn ask(&mut self, client: u32, now_us: u64, request: KvRequest) -> usize {
        let (responded_us, reply) = (None, None);
        self.operations.push(Operation {
            client,
            invoked_us: now_us,
            responded_us,
            request,
            reply,
        });
        self.operations.len() - 1
    }

    /// Notes the answer to question `number`.
    pub fn answer(&mut self, number: usize, now_us: u64, reply: KvReply) {
        if let Some(operation) = self.operations.get_mut(number) {
            operation.responded_us = Some(now_us);
            operation.reply = Some(reply);
        }
    }

    /// All operations.
    #[must_use]
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// How many were answered.
    #[must_use]
    pub fn answered_count(&self) -> usize {
        self.operations.iter().filter(|operation| operation.reply.is_some()).count()
    }

    /// One line of JSON for each operation, for checkers of others.
    #[must_use]
    pub fn to_json_lines(&self) -> String {
        let mut lines = String::new();
        for operation in &self.operations {
            let Operation { client, invoked_us, responded_us, request, reply } = operation;
            let responded = responded_us.map_or("null".into(), |time| time.to_string());
            let reply = reply.as_ref().map_or_else(|| "null".into(), reply_json);
            let _ = writeln!(
                lines,
                "{{\"client\":{client},\"invoked_us\":{invoked_us},\"responded_us\":{responded},\
                 \"request\":{},\"reply\":{reply}}}",
                request_json(request)
            );
        }
        lines
    }
}

fn request_json(request: &KvRequest) -> String {
    match request {
        KvRequest::Get { key } => format!("{{\"get\":{}}}", text(key)),
        KvRequest::Write(Write { key, value, condition, .. }) => format!(
            "{{\"write\":{},\"value\":{},\"if\":{}}}",
            text(key),
            value.as_ref().map_or_else(|| "null".into(), |value| text(value)),
            condition_json(condition)
        ),
        KvRequest::Transaction { conditions, then, otherwise } => format!(
            "{{\"if\":{},\"then\":{},\"else\":{}}}",
            list(conditions.iter().map(|(key, condition)| {
                format!("{{\"key\":{},\"is\":{}}}", text(key), condition_json(condition))
            })),
            list(then.iter().map(step_json)),
            list(otherwise.iter().map(step_json))
        ),
        other => text(format!("{other:?}").as_bytes()),
    }
}

fn condition_json(condition: &Condition) -> String {
    match condition {
        Condition::ValueIs(value) => format!("{{\"value\":{}}}", text(value)),
        other => text(format!("{other:?}").as_bytes()),
    }
}

fn step_json(step: &Step) -> String {
    match step {
        Step::Get(key) => format!("{{\"get\":{}}}", text(key)),
        Step::Put { key, value, .. } => {
            format!("{{\"put\":{},\"value\":{}}}", text(key), text(value))
        }
        Step::Delete(key) => format!("{{\"delete\":{}}}", text(key)),
    }
}

fn reply_json(reply: &KvReply) -> String {
    match reply {
        KvReply::Entry(entry) => format!(
            "{{\"value\":{},\"version\":{},\"changed\":{}}}",
            text(&entry.value),
            entry.version,
            entry.changed.0
        ),
        KvReply::Absent { .. } => "{\"value\":null}".into(),
        KvReply::Written { position, existed } => {
            format!("{{\"written\":{},\"existed\":{existed}}}", position.0)
        }
        KvReply::Conflict { found, .. } => {
            let found = found.as_ref().map_or_else(|| "null".into(), |entry| text(&entry.value));
            format!("{{\"conflict\":{found}}}")
        }
        KvReply::Transaction { held, results } => {
            let results = results.iter().map(|result| match result {
                StepResult::Entry(Some(entry)) => text(&entry.value),
                StepResult::Entry(None) => "null".into(),
                StepResult::Done { existed } => existed.to_string(),
            });
            format!("{{\"held\":{held},\"results\":{}}}", list(results))
        }
        other => text(format!("{other:?}").as_bytes()),
    }
}

fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(","))
}

/// A JSON string; what is not printable ASCII as escapes of its bytes.
fn text(bytes: &[u8]) -> String {
    let mut quoted = String::from("\"");
    for byte in bytes {
        match byte {
            b'"' | b'\\' => {
                quoted.push('\\');
                quoted.push(char::from(*byte));
            }
            0x20..0x7f => quoted.push(char::from(*byte)),
            _ => {
                let _ = write!(quoted, "\\u{byte:04x}");
            }
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use ravelin_model::Position;

    use super::*;

    #[test]
    fn a_history_is_exported_line_by_line() {
        let mut history = History::default();
        let key = b"a\"b".to_vec();
        let number = history.ask(3, 10, KvRequest::Get { key: key.clone() });
        history.answer(number, 25, KvReply::Absent { removed: Position(0) });
        let write = Write { key, value: None, condition: Condition::Always, lease: None };
        history.ask(4, 12, KvRequest::Write(write));
        assert_eq!(
            history.to_json_lines(),
            "{\"client\":3,\"invoked_us\":10,\"responded_us\":25,\"request\":{\"get\":\"a\\\"b\"},\
             \"reply\":{\"value\":null}}\n\
             {\"client\":4,\"invoked_us\":12,\"responded_us\":null,\"request\":{\"write\":\
             \"a\\\"b\",\"value\":null,\"if\":\"Always\"},\"reply\":null}\n"
        );
        assert_eq!(history.answered_count(), 1);
    }
}
