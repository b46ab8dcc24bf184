//! What front ends tell of each answer, for a log.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

/// An answer, by its names: no value, no token, nothing of a header. A key is part of a path.
#[derive(Clone, Debug, Serialize)]
pub struct Answered {
    /// Who is at the other end of the connection; a proxy, where there is one.
    pub address: IpAddr,
    /// The name of the token, if a known one was shown.
    pub token: Option<String>,
    /// The request's method.
    pub method: String,
    /// Its path and query, as they came: at most as long as a request's head.
    pub path: String,
    /// The answer's status.
    pub status: u16,
    /// The code of the problem, if it is one.
    pub code: Option<&'static str>,
    /// Bytes of the answer's body; of a stream none are known.
    pub bytes: Option<u64>,
    /// From the request's head to the answer's.
    #[serde(rename = "ms", serialize_with = "as_ms")]
    pub took: Duration,
}

/// Whoever is told. Called by the connection's task: it must not block.
pub type Observer = Arc<dyn Fn(Answered) + Send + Sync>;

fn as_ms<S: serde::Serializer>(took: &Duration, out: S) -> Result<S::Ok, S::Error> {
    out.serialize_f64(f64::from(u32::try_from(took.as_micros()).unwrap_or(u32::MAX)) / 1e3)
}
