//! As much of etcd's protocol as it takes to write and read keys: unary gRPC calls over HTTP/2.
//!
//! Requests of many callers share one connection, as those of etcd's own client do.

use std::io::Cursor;
use std::net::SocketAddr;

use axum::http::{HeaderMap, Method, Request};
use h2::client::SendRequest;
use tokio::net::TcpStream;

/// Bytes that may be under way to us before we say that we took them.
const WINDOW_BYTES: u32 = 1 << 20;
/// Marks a message as not compressed.
const PLAIN: u8 = 0;
/// What stands before a message: whether it is compressed, and its length.
const FRAME_BYTES: usize = 5;
/// Protocol buffers' mark of a field that says how long it is.
const WITH_LENGTH: u64 = 2;

/// A request that came to nothing.
#[derive(Debug, thiserror::Error)]
pub(in super::super) enum CallError {
    #[error("cannot connect")]
    Connect(#[from] std::io::Error),
    #[error("the connection failed")]
    Connection(#[from] h2::Error),
    #[error("etcd refused: {0}")]
    Refused(String),
    #[error("etcd does not have a key that was written")]
    Absent,
}

/// A connection to one etcd server. Its copies share it.
#[derive(Clone)]
pub(in super::super) struct Client {
    requests: SendRequest<Cursor<Vec<u8>>>,
    to: SocketAddr,
}

impl Client {
    /// Connects. What the connection does, it does beside the caller, until all copies are gone.
    pub(in super::super) async fn connect(to: SocketAddr) -> Result<Self, CallError> {
        let stream = TcpStream::connect(to).await?;
        stream.set_nodelay(true)?;
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(WINDOW_BYTES).initial_connection_window_size(WINDOW_BYTES);
        let (requests, connection) = builder.handshake(stream).await?;
        tokio::spawn(connection); // how it ends its requests tell
        Ok(Self { requests, to })
    }

    /// Writes `value` under each key: one by a `Put`, several by one transaction.
    pub(in super::super) async fn put(
        &self,
        keys: &[Vec<u8>],
        value: &[u8],
    ) -> Result<(), CallError> {
        match keys {
            [key] => self.call("Put", &put_request(key, value)).await,
            keys => self.call("Txn", &transaction(keys, value)).await,
        }
        .map(drop)
    }

    /// Reads a key that is there, linearizably, as etcd does unless asked otherwise.
    pub(in super::super) async fn get(&self, key: &[u8]) -> Result<(), CallError> {
        let mut range = Vec::with_capacity(key.len() + 8);
        field(&mut range, 1, key);
        let reply = self.call("Range", &range).await?;
        if holds_entry(&reply) { Ok(()) } else { Err(CallError::Absent) }
    }

    /// The reply, as it travels.
    async fn call(&self, method: &str, message: &[u8]) -> Result<Vec<u8>, CallError> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("http://{}/etcdserverpb.KV/{method}", self.to))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())
            .expect("fixed names and an address make a request");
        let mut requests = self.requests.clone().ready().await?;
        let (response, mut body) = requests.send_request(request, false)?;
        body.send_data(Cursor::new(framed(message)), true)?;
        let response = response.await?;
        // A refusal may come without a body, and its status then stands here.
        let early = response.headers().clone();
        let (mut body, mut reply) = (response.into_body(), Vec::new());
        while let Some(data) = body.data().await {
            let data = data?;
            body.flow_control().release_capacity(data.len())?;
            reply.extend_from_slice(&data);
        }
        let trailers = body.trailers().await?;
        status(trailers.as_ref().unwrap_or(&early)).map(|()| reply)
    }
}

fn status(headers: &HeaderMap) -> Result<(), CallError> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    match text("grpc-status").as_deref() {
        Some("0") => Ok(()),
        code => {
            let why = text("grpc-message").or_else(|| code.map(|code| format!("status {code}")));
            Err(CallError::Refused(why.unwrap_or_else(|| "no status".to_owned())))
        }
    }
}

/// A message as it travels.
fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).expect("an envelope's operations fit in 4 GiB");
    [&[PLAIN][..], &length.to_be_bytes(), message].concat()
}

/// A `PutRequest`.
fn put_request(key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut put = Vec::with_capacity(key.len() + value.len() + 16);
    field(&mut put, 1, key);
    field(&mut put, 2, value);
    put
}

/// A `TxnRequest` without conditions.
fn transaction(keys: &[Vec<u8>], value: &[u8]) -> Vec<u8> {
    let mut transaction = Vec::new();
    for key in keys {
        let mut step = Vec::new();
        field(&mut step, 2, &put_request(key, value)); // a `RequestOp` that puts
        field(&mut transaction, 2, &step); // one for when all conditions hold
    }
    transaction
}

/// Whether a framed `RangeResponse` has an entry: its second field, after a header of less than 128 bytes.
fn holds_entry(reply: &[u8]) -> bool {
    let header = reply.get(FRAME_BYTES..).and_then(<[u8]>::split_first_chunk);
    let Some((&[0x0a, length], rest)) = header else { return false };
    length < 0x80 && rest.get(usize::from(length)) == Some(&0x12)
}

/// Appends a field of bytes.
fn field(out: &mut Vec<u8>, number: u64, bytes: &[u8]) {
    varint(out, number << 3 | WITH_LENGTH);
    varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Appends a number, seven bits a byte, the lowest first.
fn varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_as_protocol_buffers_write_them() {
        assert_eq!(put_request(b"k", b"vw"), b"\x0a\x01k\x12\x02vw");
        assert_eq!(
            transaction(&[b"a".to_vec(), b"b".to_vec()], b"v"),
            b"\x12\x08\x12\x06\x0a\x01a\x12\x01v\x12\x08\x12\x06\x0a\x01b\x12\x01v"
        );
        let long = put_request(b"k", &[0; 300]);
        assert_eq!(long.get(3..6), Some(&b"\x12\xac\x02"[..]), "300 takes two bytes");
        assert_eq!(framed(b"abc"), b"\0\0\0\0\x03abc");
    }

    #[test]
    fn an_entry_is_told_from_a_reply_without_one() {
        let header = b"\x0a\x03\x08\x01\x10";
        let with = [header, &b"\x12\x05\x0a\x01k\x2a\x01"[..]].concat();
        let without = [header, &b"\x20\x00"[..]].concat();
        assert!(holds_entry(&framed(&with)) && !holds_entry(&framed(&without)));
        assert!(!holds_entry(&framed(header)) && !holds_entry(&[]) && !holds_entry(&[0; 6]));
    }

    #[test]
    fn only_a_status_of_zero_is_success() {
        let mut headers = HeaderMap::new();
        assert!(status(&headers).is_err());
        headers.insert("grpc-status", "0".parse().expect("plain"));
        assert!(status(&headers).is_ok());
        headers.insert("grpc-status", "14".parse().expect("plain"));
        headers.insert("grpc-message", "no leader".parse().expect("plain"));
        let refusal = status(&headers).expect_err("a refusal");
        assert_eq!(refusal.to_string(), "etcd refused: no leader");
    }
}
