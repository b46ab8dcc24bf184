//! Bodies of requests and responses.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::{Body as _, Bytes, Frame, Incoming, SizeHint};
use tokio::sync::mpsc;

use crate::limits::{BODY_BYTES_MAX, BODY_WAIT_MAX};
use crate::problem::{Code, Problem};

/// What a response carries.
pub(crate) enum Body {
    /// All of it; `None` once it was taken.
    Whole(Option<Bytes>),
    /// As it comes; it ends when the sender does.
    Stream(mpsc::Receiver<Bytes>),
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Whole(Some(bytes.into()))
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let frame = |bytes: Option<Bytes>| bytes.map(|bytes| Ok(Frame::data(bytes)));
        match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(frame(bytes.take())),
            Self::Stream(coming) => coming.poll_recv(context).map(frame),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Self::Stream(_) => SizeHint::default(),
        }
    }
}

/// All of a request's body.
pub(crate) async fn read(body: Incoming) -> Result<Vec<u8>, Problem> {
    // What says that it is too long is not read at all.
    if body.size_hint().lower() > BODY_BYTES_MAX as u64 {
        return Err(too_large());
    }
    match tokio::time::timeout(BODY_WAIT_MAX, collect(body)).await {
        Ok(read) => read,
        Err(_) => {
            let detail = format!("the body did not arrive within {BODY_WAIT_MAX:?}");
            Err(Problem::new(Code::RequestTimeout, detail, "send it faster"))
        }
    }
}

async fn collect(mut body: Incoming) -> Result<Vec<u8>, Problem> {
    let mut bytes = Vec::new();
    loop {
        let frame = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await;
        let Some(frame) = frame else { return Ok(bytes) };
        let broken = |_| Problem::invalid("the body is broken off", "send all of it");
        // Trailers say nothing that is needed.
        let Ok(data) = frame.map_err(broken)?.into_data() else { continue };
        if bytes.len() + data.len() > BODY_BYTES_MAX {
            return Err(too_large());
        }
        bytes.extend_from_slice(&data);
    }
}

fn too_large() -> Problem {
    let detail = format!("the body has more than {BODY_BYTES_MAX} bytes");
    Problem::new(Code::TooLarge, detail, "send less at once")
}
