//! What front ends tell of each answer, for a log.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::Request;
use serde::Serialize;

use crate::limits::{OBSERVED_METHOD_BYTES_MAX, OBSERVED_PATH_BYTES_MAX};

/// An answer, by its names: no value, no token, nothing of a header. A key is part of a path.
#[derive(Clone, Debug, Serialize)]
pub struct Answered {
    /// Who is at the other end of the connection; a proxy, where there is one.
    pub address: IpAddr,
    /// The name of the token, if a known one was shown, and what was asked for wants one.
    pub token: Option<String>,
    /// The request's method; of one longer than [`OBSERVED_METHOD_BYTES_MAX`], the beginning.
    pub method: String,
    /// Its path and query, as they came; of one longer than [`OBSERVED_PATH_BYTES_MAX`], the beginning.
    pub path: String,
    /// The answer's status. None: the connection ended first, and what was asked for may be done.
    pub status: Option<u16>,
    /// The code of the problem, if it is one, or `abandoned`.
    pub code: Option<&'static str>,
    /// Bytes of the answer's body; of a stream none are known.
    pub bytes: Option<u64>,
    /// From the request's head to the answer's.
    #[serde(rename = "ms", serialize_with = "as_ms")]
    pub took: Duration,
}

/// Whoever is told. Called by the connection's task: it must not block.
pub type Observer = Arc<dyn Fn(Answered) + Send + Sync>;

/// A request that is observed: its observer is told, however it ends.
pub(super) struct Observed {
    observer: Observer,
    begun: Instant,
    /// Until it is told.
    answered: Option<Answered>,
}

impl Observed {
    pub(super) fn begin<B>(observer: Observer, address: IpAddr, request: &Request<B>) -> Self {
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        let answered = Answered {
            address,
            token: None,
            method: beginning(request.method().as_str(), OBSERVED_METHOD_BYTES_MAX).to_owned(),
            path: beginning(path, OBSERVED_PATH_BYTES_MAX).to_owned(),
            status: None,
            code: Some("abandoned"),
            bytes: None,
            took: Duration::ZERO,
        };
        Self { observer, begun: Instant::now(), answered: Some(answered) }
    }

    /// Whose token was shown.
    pub(super) fn name(&mut self, token: &str) {
        if let Some(answered) = &mut self.answered {
            answered.token = Some(token.to_owned());
        }
    }

    /// It is answered.
    pub(super) fn end(mut self, status: u16, code: Option<&'static str>, bytes: Option<u64>) {
        if let Some(answered) = &mut self.answered {
            (answered.status, answered.code, answered.bytes) = (Some(status), code, bytes);
        }
    }
}

impl Drop for Observed {
    fn drop(&mut self) {
        if let Some(answered) = self.answered.take() {
            (self.observer)(Answered { took: self.begun.elapsed(), ..answered });
        }
    }
}

/// The first `most` bytes of `text`, or as many as are whole characters.
fn beginning(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    text.get(..end.unwrap_or(0)).unwrap_or_default()
}

fn as_ms<S: serde::Serializer>(took: &Duration, out: S) -> Result<S::Ok, S::Error> {
    out.serialize_f64(f64::from(u32::try_from(took.as_micros()).unwrap_or(u32::MAX)) / 1e3)
}
