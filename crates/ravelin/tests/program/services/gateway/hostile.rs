//! Clients that want to keep a gateway from serving others.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use super::http::{Asker, Response};
use super::{Gateway, another, token};
use crate::services::cluster::Cluster;

/// How long others may wait meanwhile: what a busy machine needs, and far below any limit of time.
const SOON: Duration = Duration::from_secs(5);

#[test]
fn what_one_client_does_costs_the_others_nothing() {
    let cluster = Cluster::start("gateway-hostile", 1);
    let mine = token(&cluster, "me", "client.key");
    let others = another(&cluster, "other");
    let gateway = Gateway::start(&cluster, &[]);
    let (asker, other) = (gateway.asker(&mine), gateway.asker(&others));
    asker.ask("PUT /v1/kv/a", &[], b"1").is(201);
    strangers(&gateway.stranger(), &mine);
    heads(&asker);
    bodies(&asker);
    slowness(&asker, &other);
    crowds(&asker, &other);
}

fn serves(asker: &Asker<'_>) {
    let begun = Instant::now();
    assert_eq!(asker.get("/v1/kv/a").is(200).json()["value_base64"], "MQ==");
    assert!(begun.elapsed() < SOON, "others wait for {:?}", begun.elapsed());
}

fn strangers(stranger: &Asker<'_>, known: &str) {
    let refused = stranger.get("/v1/kv/a");
    assert_eq!(refused.problem(), (401, "unauthenticated".into()));
    assert_eq!(refused.field("www-authenticate"), "Bearer");
    let half = format!("Bearer {}", &known[..known.len() - 1]);
    let basic = format!("Basic {known}");
    let long = format!("Bearer {}", "x".repeat(8000));
    for wrong in ["Bearer ", "Bearer x", &half, &basic, known, &long] {
        let refused = stranger.ask("GET /v1/kv/a", &[("Authorization", wrong)], b"");
        assert_eq!(refused.problem(), (401, "unauthenticated".into()), "{wrong}");
    }
    let with = ("Authorization", format!("Bearer {known}"));
    let with = (with.0, with.1.as_str());
    assert_eq!(stranger.ask("GET /v1/kv/a", &[with, with], b"").problem().0, 401, "twice");
    // Nothing of what strangers send is read.
    let stream = stranger.begin("PUT /v1/kv/a", &[], 1 << 30);
    assert_eq!(Response::read(stream, true).problem().0, 401);
    stranger.get("/livez").is(200);
}

fn heads(asker: &Asker<'_>) {
    let long = "x".repeat(17 << 10);
    let answer = raw(asker, format!("GET /livez HTTP/1.1\r\nHost: {long}\r\n\r\n").as_bytes());
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    let many = "a: b\r\n".repeat(65);
    let answer = raw(asker, format!("GET /livez HTTP/1.1\r\n{many}\r\n").as_bytes());
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    let answer = raw(asker, b"\x16\x03\x01\x00\xff no HTTP\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
}

fn raw(asker: &Asker<'_>, request: &[u8]) -> String {
    let mut stream = asker.connect();
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer); // it may be reset after the answer
    String::from_utf8_lossy(&answer).into_owned()
}

fn bodies(asker: &Asker<'_>) {
    // It is refused before it is sent.
    let stream = asker.begin("PUT /v1/kv/a", &[], (2 << 20) + 1);
    assert_eq!(Response::read(stream, true).problem(), (413, "too_large".into()));
    // And where its length is not told, once it is too long.
    let mut stream = asker.begin("PUT /v1/kv/a", &[("Transfer-Encoding", "chunked")], 0);
    let chunk = [b"10000\r\n", &[b'x'; 0x10000][..], b"\r\n"].concat();
    let sent = (0..1000).take_while(|_| stream.write_all(&chunk).is_ok()).count();
    assert!(sent < 1000, "64 MB were taken");
    serves(asker);
}

fn slowness(asker: &Asker<'_>, other: &Asker<'_>) {
    let begun = Instant::now();
    let mut heads: Vec<TcpStream> = (0..50)
        .map(|_| {
            let mut stream = asker.connect();
            stream.write_all(b"GET /livez HTTP/1.1\r\nHost: ").expect("taken");
            stream
        })
        .collect();
    let body = asker.begin("PUT /v1/kv/slow", &[], 10);
    for _ in 0..6 {
        std::thread::sleep(Duration::from_secs(1));
        for stream in &mut heads {
            let _ = stream.write_all(b"x");
        }
        serves(other);
    }
    let late = Duration::from_secs(10) + SOON;
    for stream in &mut heads {
        let left = late.saturating_sub(begun.elapsed()).max(Duration::from_millis(1));
        stream.set_read_timeout(Some(left)).expect("set");
        let ended = stream.read_to_end(&mut Vec::new());
        let is_waited_for = ended.is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
        assert!(!is_waited_for, "slow headers are waited for");
    }
    assert_eq!(Response::read(body, true).problem(), (408, "request_timeout".into()));
    let waited = begun.elapsed();
    assert!(waited < Duration::from_secs(15) + SOON, "a slow body is waited for: {waited:?}");
}

fn crowds(asker: &Asker<'_>, other: &Asker<'_>) {
    // As many requests as one token may have under way, and one more.
    let slow: Vec<_> = (0..32).map(|_| asker.begin("PUT /v1/kv/slow", &[], 10)).collect();
    std::thread::sleep(Duration::from_secs(1));
    let refused = asker.get("/v1/kv/a");
    assert_eq!(refused.problem(), (429, "busy".into()));
    assert_eq!(refused.field("retry-after"), "1");
    serves(other);
    drop(slow);
    let until = Instant::now() + SOON;
    while asker.get("/v1/kv/a").status != 200 {
        assert!(Instant::now() < until, "what was given up still counts");
    }
    let mut streams: Vec<_> = (0..16).map(|_| asker.watch("?from=1000000", &[])).collect();
    assert_eq!(asker.get("/v1/watch?from=1000000").problem(), (429, "busy".into()));
    drop(other.watch("", &[]));
    // Who stops listening makes room for another.
    streams.pop();
    let until = Instant::now() + Duration::from_secs(20);
    while asker.begin("GET /v1/watch?from=1000000", &[], 0).peek_status() != 200 {
        assert!(Instant::now() < until, "a stream that nobody hears still counts");
        std::thread::sleep(Duration::from_millis(100));
    }
    drop(streams);
    // More connections than there may be, on which nobody shows a token: whoever comes gets in, and who
    // showed one stays.
    let mut known = asker.connect();
    let whoami = format!(
        "GET /v1/auth/whoami HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\r\n",
        asker.token.as_deref().expect("it has one")
    );
    let mut ask = || {
        known.write_all(whoami.as_bytes()).expect("taken");
        let mut answer = [0; 4096];
        let read = known.read(&mut answer).expect("an answer");
        assert!(answer[..read].starts_with(b"HTTP/1.1 200 "), "it is closed");
    };
    ask();
    let idle: Vec<TcpStream> = (0..600).map(|_| asker.connect()).collect();
    let alive = raw(asker, b"GET /livez HTTP/1.0\r\n\r\n");
    assert!(alive.contains("alive"), "{alive}");
    elsewhere(asker);
    ask();
    serves(other);
    drop(idle);
}

/// Another address gets in as well.
fn elsewhere(asker: &Asker<'_>) {
    let mut curl = Command::new("curl");
    curl.args(["-sS", "--max-time", "10", "--interface", "127.0.0.2"]);
    let Ok(run) = curl.arg(format!("http://{}/livez", asker.address)).output() else {
        let _ = writeln!(std::io::stderr(), "SKIPPED: no other address is tried, without curl");
        return;
    };
    assert_eq!(String::from_utf8_lossy(&run.stdout), "alive", "{run:?}");
}

/// The status of an answer that goes on.
trait PeekStatus {
    fn peek_status(self) -> u16;
}

impl PeekStatus for TcpStream {
    fn peek_status(mut self) -> u16 {
        let mut first = [0; 12];
        self.read_exact(&mut first).expect("an answer");
        String::from_utf8_lossy(&first[9..]).parse().expect("a status")
    }
}
