//! Clients that work all the while, remember everything they asked and were told, and count what
//! was acknowledged.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ravelin_client::Outcome;
use ravelin_model::requests::kv::{Condition, KvReply, KvRequest, Write};
use ravelin_model::{Decode as _, Encode as _, Operation, ServiceId};
use ravelin_sim::checker::History;

use crate::connection::{CallError, Connection};

/// Keys that all clients fight over.
const SHARED_KEYS: u64 = 6;
/// Every so many operations a client leaves a receipt: a write to a key of its own.
const RECEIPT_EVERY: u64 = 4;
/// How long a client waits for one answer before it gives the operation up as unknown.
const GIVE_UP_AFTER: Duration = Duration::from_secs(15);
/// Pause of a client between two operations: a drill is about attacks, not load.
const THINK: Duration = Duration::from_millis(8);

/// Acknowledged writes: key and value.
pub(crate) type Receipts = BTreeMap<Vec<u8>, Vec<u8>>;

/// What clients leave in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leaving {
    /// Receipts that are read back, more and more of them.
    Receipts,
    /// The few keys that they share in each period: what they store hardly grows.
    Little,
}

/// What the clients of a run share.
#[derive(Clone)]
pub(crate) struct Observer {
    begun: Instant,
    leaving: Leaving,
    notes: Arc<Mutex<Notes>>,
}

/// What the clients are told to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Order {
    #[default]
    Work,
    Rest,
    End,
}

#[derive(Default)]
struct Notes {
    history: History,
    /// When each answer came and how long it took, in microseconds.
    latencies: Vec<(u64, u64)>,
    /// Receipts: what was acknowledged.
    receipts: Receipts,
    unanswered: u64,
    order: Order,
    /// Operations that the clients wait for.
    under_way: usize,
    /// Rests so far. Each period has shared keys of its own, so that it can be judged by itself: what
    /// went unanswered before may still happen, but not to them.
    period: u64,
}

/// What a run has shown so far.
pub(crate) struct Observed {
    pub(crate) history: History,
    pub(crate) latencies: Vec<(u64, u64)>,
    pub(crate) receipts: Receipts,
    pub(crate) unanswered: u64,
}

impl Observer {
    pub(crate) fn new() -> Self {
        Self::of_clients(Leaving::Receipts)
    }

    /// One whose clients leave this behind.
    pub(crate) fn of_clients(leaving: Leaving) -> Self {
        Self { begun: Instant::now(), leaving, notes: Arc::new(Mutex::new(Notes::default())) }
    }

    /// Microseconds since the run began.
    pub(crate) fn now_us(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Asks all clients to stop after their current operation.
    pub(crate) fn end(&self) {
        self.lock().order = Order::End;
    }

    /// Lets all clients pause, and returns when no operation is under way.
    pub(crate) async fn rest(&self) {
        self.lock().order = Order::Rest;
        while self.lock().under_way > 0 {
            tokio::time::sleep(THINK).await;
        }
    }

    /// Lets them go on, with other shared keys.
    pub(crate) fn resume(&self) {
        let mut notes = self.lock();
        notes.order = Order::Work;
        notes.period += 1;
    }

    /// The longest time without any answer between `from_us` and `until_us`.
    pub(crate) fn longest_gap_us(&self, from_us: u64, until_us: u64) -> u64 {
        let notes = self.lock();
        let mut answered: Vec<u64> = notes.latencies.iter().map(|(at, _)| *at).collect();
        answered.retain(|at| (from_us..=until_us).contains(at));
        answered.push(until_us);
        answered.sort_unstable();
        let mut before = from_us;
        let mut longest = 0;
        for at in answered {
            longest = longest.max(at - before);
            before = at;
        }
        longest
    }

    /// Answers so far.
    pub(crate) fn answered(&self) -> usize {
        self.lock().history.answered_count()
    }

    /// Everything seen since the beginning or the last time.
    pub(crate) fn take(&self) -> Observed {
        let mut notes = self.lock();
        Observed {
            history: std::mem::take(&mut notes.history),
            latencies: std::mem::take(&mut notes.latencies),
            receipts: std::mem::take(&mut notes.receipts),
            unanswered: std::mem::take(&mut notes.unanswered),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks one thing and notes both question and answer.
    pub(crate) async fn ask(
        &self,
        client: u32,
        connection: &Connection,
        request: KvRequest,
    ) -> Option<KvReply> {
        let asked = self.now_us();
        let number = self.lock().history.ask(client, asked, request.clone());
        let reply = tokio::time::timeout(GIVE_UP_AFTER, call(connection, &request)).await;
        let mut notes = self.lock();
        let Ok(Ok(reply)) = reply else {
            notes.unanswered += 1;
            return None;
        };
        let now = self.now_us();
        notes.history.answer(number, now, reply.clone());
        notes.latencies.push((now, now - asked));
        if let (Some((key, value)), KvReply::Written { .. }) = (receipt_of(&request), &reply) {
            notes.receipts.insert(key, value);
        }
        Some(reply)
    }

    /// One client's work until the run ends. `client` also seeds its choices.
    pub(crate) async fn work(self, client: u32, connection: Connection) {
        let mut choices = Choices(u64::from(client) + 1);
        let mut count = 0;
        loop {
            let (order, period) = self.next_order();
            match order {
                Order::Work => {
                    count += 1;
                    let is_receipt =
                        self.leaving == Leaving::Receipts && count % RECEIPT_EVERY == 0;
                    let request = if is_receipt {
                        put(format!("receipt/{client}/{count:06}"), format!("r{client}-{count}"))
                    } else {
                        choices.request(client, period, count)
                    };
                    self.ask(client, &connection, request).await;
                    self.lock().under_way -= 1;
                }
                Order::Rest => {}
                Order::End => return,
            }
            tokio::time::sleep(THINK).await;
        }
    }

    /// What a client is to do next. Work is counted at once, so that whoever waits for a rest never
    /// overlooks it.
    fn next_order(&self) -> (Order, u64) {
        let mut notes = self.lock();
        notes.under_way += usize::from(notes.order == Order::Work);
        (notes.order, notes.period)
    }
}

/// Sends one request: reads the fast way, the rest through the order.
pub(crate) async fn call(
    connection: &Connection,
    request: &KvRequest,
) -> Result<KvReply, CallError> {
    let bytes = request.encode();
    let outcome = if matches!(request, KvRequest::Get { .. } | KvRequest::List { .. }) {
        connection.read(ServiceId::KV, bytes).await?
    } else {
        let operation = Operation { service: ServiceId::KV, request: bytes };
        let voted = connection.submit(vec![operation]).await?;
        voted.into_iter().next().map(|voted| voted.outcome).ok_or(CallError::Unanswered)?
    };
    match outcome {
        Outcome::Done(reply) => {
            KvReply::decode("kv reply", &reply).map_err(|_| CallError::Unanswered)
        }
        Outcome::Refused(refusal) => Err(CallError::Refused(refusal)),
    }
}

fn put(key: String, value: String) -> KvRequest {
    write(key.into_bytes(), Some(value.into_bytes()), Condition::Always)
}

fn write(key: Vec<u8>, value: Option<Vec<u8>>, condition: Condition) -> KvRequest {
    KvRequest::Write(Write { key, value, condition, lease: None })
}

fn receipt_of(request: &KvRequest) -> Option<(Vec<u8>, Vec<u8>)> {
    match request {
        KvRequest::Write(Write { key, value: Some(value), .. }) if key.starts_with(b"receipt/") => {
            Some((key.clone(), value.clone()))
        }
        _ => None,
    }
}

/// A small seeded generator: the same clients ask the same things in every run.
struct Choices(u64);

impl Choices {
    fn next(&mut self, below: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }

    fn request(&mut self, client: u32, period: u64, count: u64) -> KvRequest {
        let key = format!("shared/{period}/{}", self.next(SHARED_KEYS)).into_bytes();
        let value = format!("{client}-{count}").into_bytes();
        match self.next(10) {
            0..4 => KvRequest::Get { key },
            4..8 => write(key, Some(value), Condition::Always),
            8 => write(key, Some(value), Condition::Absent),
            _ => write(key, None, Condition::Present),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_rest_begins_when_nothing_is_under_way() {
        let observer = Observer::new();
        assert_eq!(observer.next_order(), (Order::Work, 0));
        let rest = observer.rest();
        tokio::pin!(rest);
        let early = tokio::time::timeout(4 * THINK, &mut rest).await;
        assert!(early.is_err(), "one operation is under way");
        assert_eq!(observer.next_order(), (Order::Rest, 0), "no other begins");
        observer.lock().under_way -= 1;
        rest.await;
        observer.resume();
        assert_eq!(observer.next_order(), (Order::Work, 1));
    }

    #[test]
    fn periods_share_no_keys_but_receipts() {
        let keys = |period| -> Vec<Vec<u8>> {
            let mut choices = Choices(1);
            let requests = (0..200).map(|count| choices.request(0, period, count));
            let key = |request| match request {
                KvRequest::Get { key } | KvRequest::Write(Write { key, .. }) => key,
                _ => unreachable!("nothing else is drawn"),
            };
            requests.map(key).collect()
        };
        let later = keys(1);
        assert!(keys(0).iter().all(|key| !later.contains(key)));
    }
}
