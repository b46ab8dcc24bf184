//! Changes as they happen, as server-sent events.
//!
//! **Guarantee:** each change is told once and in order, none left out, until the stream ends; and a
//! stream that ends by itself says why (`event: gone`). Who reconnects with `Last-Event-ID` goes on
//! after the last position that was told in full.
//!
//! # Source
//! The HTML standard, section *Server-sent events*.

use std::sync::Arc;

use hyper::body::Bytes;
use hyper::header::{self, HeaderName};
use ravelin_model::requests::kv::{ENTRY_TAG, StoredEntry, entry_key};
use ravelin_model::wire::ChangeItem;
use ravelin_model::{Decode as _, Position, ServiceId};
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::answer::Answer;
use super::body::Body;
use super::request::{Asked, check_prefix, number};
use super::service::Patience;
use super::shapes::Key;
use super::spelling::Base64;
use crate::connection::{Watch, Watched};
use crate::customer::{Customer, Dismissal};
use crate::limits::{FIRST_NEWS_WAIT_MAX, STREAM_HEARTBEAT, STREAMS_PER_TOKEN_MAX};
use crate::problem::{Code, Problem};

/// Chunks that wait for the connection.
const CHUNKS_MAX: usize = 4;
/// Bytes after which a chunk is sent.
const CHUNK_BYTES: usize = 64 << 10;
/// How long browsers wait before they reconnect.
const RETRY_MS: u32 = 2000;

#[derive(Serialize)]
struct Change {
    position: u64,
    #[serde(flatten)]
    key: Key,
    #[serde(flatten)]
    entry: Option<Put>,
}

#[derive(Serialize)]
struct Put {
    value_base64: Base64,
    created: u64,
    version: u64,
    lease: Option<u64>,
}

/// A stream of changes that goes on.
struct Stream {
    customer: Arc<Customer>,
    news: Watch,
    from: Position,
    out: mpsc::Sender<Bytes>,
    patience: Patience,
    _room: OwnedSemaphorePermit,
}

/// Begins a stream of changes.
pub(crate) async fn watch(
    customer: &Arc<Customer>,
    asked: &Asked,
    patience: Patience,
) -> Result<Answer, Problem> {
    asked.check_query(&["prefix", "from"])?;
    let prefix = asked.bytes("prefix").unwrap_or_default();
    check_prefix(prefix)?;
    let room = Arc::clone(&customer.streams).try_acquire_owned().map_err(|_| {
        let detail = format!("{STREAMS_PER_TOKEN_MAX} streams of this token are open already");
        Problem::new(Code::Busy, detail, "close one, or watch a shorter prefix")
    })?;
    let from = match (last_event(asked)?, asked.number("from")?) {
        (Some(last), _) => Some(Position(last.0.saturating_add(1))),
        (None, from) => from.map(Position),
    };
    let from = match from {
        // Who the cluster does not serve would hear nothing, not even why.
        Some(from) => customer.check_served().await.map(|()| from)?,
        None => customer.now().await?,
    };
    let mut news = customer.watch(ServiceId::KV, entry_key(prefix), from).await?;
    let first = timeout(FIRST_NEWS_WAIT_MAX, news.next()).await;
    if let Ok(Some(Watched::Compacted(oldest))) = first {
        return Err(forgotten(from, oldest));
    }
    let (out, coming) = mpsc::channel(CHUNKS_MAX);
    let customer = Arc::clone(customer);
    let stream = Stream { customer, news, from, out, patience, _room: room };
    tokio::spawn(stream.run(first.ok().flatten()));
    Ok(Answer::of("text/event-stream", Body::Stream(coming))
        .field(header::CACHE_CONTROL, "no-store")
        .field(HeaderName::from_static("x-accel-buffering"), "no")
        .at(Position(from.0.saturating_sub(1))))
}

/// The last position that the caller was told in full.
fn last_event(asked: &Asked) -> Result<Option<Position>, Problem> {
    let name = HeaderName::from_static("last-event-id");
    let Some(text) = asked.field(&name)?.filter(|text| !text.is_empty()) else { return Ok(None) };
    let wrong = || Problem::invalid("`Last-Event-ID` is no position", "leave it out");
    number(text).map(|position| Some(Position(position))).ok_or_else(wrong)
}

impl Stream {
    /// Tells what there is to tell until nothing can come any more, or nobody listens.
    async fn run(mut self, first: Option<Watched>) {
        let position = self.from.0;
        let told = Position(position.saturating_sub(1)).0;
        let begun = format!(": watching from {position}\nretry: {RETRY_MS}\nid: {told}\n\n");
        if self.out.send(begun.into()).await.is_err() {
            return;
        }
        let customer = Arc::clone(&self.customer);
        let (out, patience) = (self.out.clone(), self.patience);
        let end = tokio::select! {
            end = self.tell(first) => end,
            problem = death(&customer, patience) => Some(problem),
            why = customer.dismissed() => match why {
                Dismissal::Removed => {
                    let detail = "the token was removed";
                    Some(Problem::new(Code::Unauthenticated, detail, "ask for another one"))
                }
                // The stream ends in good order, at which browsers reconnect.
                Dismissal::Stopped => None,
            },
            () = out.closed() => None,
        };
        if let Some(problem) = end {
            let gone = format!("event: gone\ndata: {}\n\n", problem.json());
            let _ = out.send(gone.into()).await; // nobody may listen any more
        }
    }

    /// Tells all news. `None`: nobody listens.
    async fn tell(&mut self, first: Option<Watched>) -> Option<Problem> {
        let mut next = first;
        let mut heartbeat = interval(STREAM_HEARTBEAT);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let news = match next.take() {
                Some(news) => Some(news),
                None => tokio::select! {
                    news = self.news.next() => news,
                    _ = heartbeat.tick() => {
                        self.out.send(": alive\n\n".into()).await.ok()?;
                        continue;
                    }
                },
            };
            match news {
                Some(Watched::Changes(items)) => match events(items) {
                    Ok(chunks) => {
                        for chunk in chunks {
                            self.out.send(chunk.into()).await.ok()?;
                        }
                    }
                    Err(problem) => return Some(problem),
                },
                Some(Watched::Compacted(oldest)) => return Some(forgotten(self.from, oldest)),
                Some(Watched::Overrun) => {
                    let detail = "changes came faster than they were read";
                    let hint = "reconnect with Last-Event-ID, and read faster";
                    return Some(Problem::new(Code::Busy, detail, hint));
                }
                None => {
                    let detail = "the connection to the cluster has ended";
                    let hint = "reconnect with Last-Event-ID";
                    return Some(Problem::new(Code::NoQuorum, detail, hint));
                }
            }
        }
    }
}

/// Why no change can come any more, once that is so. A watch by itself would not notice: where
/// nothing changes, servers have nothing to say.
async fn death(customer: &Customer, Patience(patience): Patience) -> Problem {
    loop {
        tokio::time::sleep(STREAM_HEARTBEAT).await;
        match timeout(patience, customer.check_served()).await {
            Ok(Ok(())) => {}
            Ok(Err(problem)) if problem.code() == Code::NoQuorum => {}
            Ok(Err(problem)) => return problem,
            Err(_) => return customer.silence(patience, false).await,
        }
    }
}

/// Servers forgot what a stream still wants.
fn forgotten(from: Position, oldest: Position) -> Problem {
    let detail = format!("not all changes since position {} are there any more", from.0);
    let hint = "servers keep the latest changes, and perhaps none over a restart: read what is there with \
                GET /v1/kv, then watch from now on";
    Problem::new(Code::Gone, detail, hint).with("oldest", oldest.0.into())
}

/// The events of some changes, in chunks. Only the last one of a position has its id: who is cut off
/// before it hears all of that position again.
fn events(items: Vec<ChangeItem>) -> Result<Vec<String>, Problem> {
    let mut chunks = vec![String::new()];
    let mut items = items.into_iter().peekable();
    while let Some(item) = items.next() {
        let is_last = items.peek().is_none_or(|next| next.position != item.position);
        let Some(chunk) = chunks.last_mut() else { break };
        event(item, is_last, chunk)?;
        if chunk.len() >= CHUNK_BYTES {
            chunks.push(String::new());
        }
    }
    chunks.retain(|chunk| !chunk.is_empty());
    Ok(chunks)
}

fn event(item: ChangeItem, is_last: bool, out: &mut String) -> Result<(), Problem> {
    let ChangeItem { position, change, .. } = item;
    let id = if is_last { format!("id: {}\n", position.0) } else { String::new() };
    let Some((&ENTRY_TAG, key)) = change.key.split_first() else {
        out.push_str(&format!(": other\n{id}\n"));
        return Ok(());
    };
    let stored = change.value.map(|value| StoredEntry::decode("stored entry", &value));
    let stored = stored.transpose().map_err(|error| Problem::senseless(error.to_string()))?;
    let kind = if stored.is_some() { "put" } else { "delete" };
    let entry = stored.map(|stored| Put {
        value_base64: Base64(stored.value),
        created: stored.created.0,
        version: stored.version,
        lease: stored.lease.map(|lease| lease.0),
    });
    let change = Change { position: position.0, key: key.to_vec().into(), entry };
    let json = serde_json::to_string(&change).expect("shapes have plain fields");
    out.push_str(&format!("event: {kind}\n{id}data: {json}\n\n"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use ravelin_model::{Change, Encode as _};

    use super::*;

    fn item(position: u64, key: &str, value: Option<&str>) -> ChangeItem {
        let stored = |value: &str| StoredEntry {
            created: Position(1),
            changed: Position(position),
            version: 2,
            lease: None,
            value: value.as_bytes().to_vec(),
        };
        let value = value.map(|value| stored(value).encode());
        let change = Change { key: entry_key(key.as_bytes()), value };
        ChangeItem { position: Position(position), index: 0, change }
    }

    #[test]
    fn only_the_last_event_of_a_position_has_its_id() {
        let items = vec![item(7, "a", Some("x")), item(7, "b", None), item(9, "a\n", Some("\n"))];
        assert_eq!(
            events(items).unwrap().concat(),
            "event: put\ndata: {\"position\":7,\"key\":\"a\",\"key_base64\":\"YQ==\",\
             \"value_base64\":\"eA==\",\"created\":1,\"version\":2,\"lease\":null}\n\n\
             event: delete\nid: 7\ndata: {\"position\":7,\"key\":\"b\",\"key_base64\":\"Yg==\"}\n\n\
             event: put\nid: 9\ndata: {\"position\":9,\"key\":\"a\\n\",\"key_base64\":\"YQo=\",\
             \"value_base64\":\"Cg==\",\"created\":1,\"version\":2,\"lease\":null}\n\n"
        );
    }

    #[test]
    fn large_news_come_in_chunks() {
        let value = "x".repeat(CHUNK_BYTES);
        let items = (0..5).map(|position| item(position, "a", Some(&value))).collect();
        assert_eq!(events(items).unwrap().len(), 5);
    }
}
