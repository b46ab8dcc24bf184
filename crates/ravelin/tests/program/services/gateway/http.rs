//! A client that speaks HTTP and knows nothing of Ravelin. Each answer is compared with what
//! `docs/openapi.json` promises.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::document::Document;

/// An answer that takes longer is none.
const PATIENCE: Duration = Duration::from_secs(60);

/// What was answered.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// A field of its header; empty if it is not there.
    pub(crate) fn field(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub(crate) fn fields(&self) -> impl Iterator<Item = &str> {
        self.headers.keys().map(String::as_str)
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Its status and the code of its problem.
    pub(crate) fn problem(&self) -> (u16, String) {
        let json = self.json();
        assert_eq!(self.field("content-type"), "application/problem+json", "{json}");
        (self.status, json["code"].as_str().expect("a code").to_owned())
    }

    #[track_caller]
    pub(crate) fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{:?} {}", self, String::from_utf8_lossy(&self.body));
        self
    }

    /// Reads one from a connection that ends with it.
    pub(crate) fn read(stream: TcpStream, has_body: bool) -> Self {
        let mut stream = BufReader::new(stream);
        let mut response = Self::read_head(&mut stream);
        if has_body {
            stream.read_to_end(&mut response.body).expect("a body");
            let length = response.field("content-length").parse().unwrap_or(0);
            assert_eq!(response.body.len(), length, "{response:?}");
        }
        response
    }

    fn read_head(stream: &mut BufReader<TcpStream>) -> Self {
        let mut line = || {
            let mut line = String::new();
            stream.read_line(&mut line).expect("a line of a header");
            line.trim_end().to_owned()
        };
        let first = line();
        let status = first.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.unwrap_or_else(|| panic!("no status: {first:?}"));
        let mut headers = BTreeMap::new();
        loop {
            let line = line();
            let Some((name, value)) = line.split_once(": ") else { break };
            headers.insert(name.to_owned(), value.to_owned());
        }
        Self { status, headers, body: Vec::new() }
    }
}

/// One who asks, with a token or without.
pub(crate) struct Asker<'a> {
    pub(crate) address: String,
    pub(crate) token: Option<String>,
    pub(crate) document: &'a Document,
    /// What was answered with success.
    pub(crate) answered: Mutex<BTreeSet<String>>,
}

impl Asker<'_> {
    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).expect("the gateway listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("set");
        stream
    }

    /// Sends the header of a request that says that a body of this length follows.
    pub(crate) fn begin(
        &self,
        request: &str,
        headers: &[(&str, &str)],
        length: usize,
    ) -> TcpStream {
        let mut head = format!("{request} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n");
        if length > 0 {
            head.push_str(&format!("Content-Length: {length}\r\n"));
        }
        if let Some(token) = &self.token {
            head.push_str(&format!("Authorization: Bearer {token}\r\n"));
        }
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        let mut stream = self.connect();
        stream.write_all(head.as_bytes()).expect("taken");
        stream
    }

    /// Asks, and compares the answer with what is promised.
    #[track_caller]
    pub(crate) fn ask(&self, request: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        let mut stream = self.begin(request, headers, body.len());
        // A gateway that refuses a body may not wait for it.
        let _ = stream.write_all(body);
        let (method, path) = request.split_once(' ').expect("method and path");
        let response = Response::read(stream, method != "HEAD");
        self.compare(method, path, &response);
        response
    }

    pub(crate) fn compare(&self, method: &str, path: &str, response: &Response) {
        let operation = self.document.check(method, path, response);
        if response.status < 400 {
            let mut answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
            answered.extend(operation);
        }
    }

    pub(crate) fn get(&self, path: &str) -> Response {
        self.ask(&format!("GET {path}"), &[], b"")
    }

    /// Sends JSON.
    pub(crate) fn send(&self, request: &str, json: &Value) -> Response {
        let kind = [("Content-Type", "application/json")];
        self.ask(request, &kind, json.to_string().as_bytes())
    }

    /// Follows changes.
    pub(crate) fn watch(&self, query: &str, headers: &[(&str, &str)]) -> Stream {
        let path = format!("/v1/watch{query}");
        let mut stream = BufReader::new(self.begin(&format!("GET {path}"), headers, 0));
        let response = Response::read_head(&mut stream);
        assert_eq!(response.status, 200, "{response:?}");
        assert_eq!(response.field("content-type"), "text/event-stream");
        self.compare("GET", &path, &response);
        Stream { stream, text: String::new(), has_ended: false }
    }
}

/// Server-sent events.
pub(crate) struct Stream {
    stream: BufReader<TcpStream>,
    text: String,
    has_ended: bool,
}

/// One event.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Heard {
    pub(crate) kind: String,
    pub(crate) id: Option<u64>,
    pub(crate) data: Value,
}

impl Stream {
    /// The next event with data; `None` once the stream has ended in good order.
    pub(crate) fn next(&mut self) -> Option<Heard> {
        let until = Instant::now() + PATIENCE;
        loop {
            assert!(Instant::now() < until, "nothing but signs of life");
            while let Some((event, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| {
                    let mut lines = event.lines();
                    lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
                };
                let heard = field("data").map(|data| Heard {
                    kind: field("event").unwrap_or_default().to_owned(),
                    id: field("id").map(|id| id.parse().expect("a position")),
                    data: serde_json::from_str(data).expect("JSON"),
                });
                self.text = rest.to_owned();
                if heard.is_some() {
                    return heard;
                }
            }
            if self.has_ended {
                return None;
            }
            self.read_chunk();
        }
    }

    fn read_chunk(&mut self) {
        let mut size = String::new();
        self.stream.read_line(&mut size).expect("the size of a chunk");
        let size = usize::from_str_radix(size.trim(), 16).expect("a chunk, or the last one");
        let mut chunk = vec![0; size + 2];
        self.stream.read_exact(&mut chunk).expect("a whole chunk");
        self.has_ended = size == 0;
        self.text.push_str(std::str::from_utf8(&chunk[..size]).expect("text"));
    }
}
