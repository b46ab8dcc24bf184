//! The access log: who asked for what, and nothing that is secret.

use std::fs;
use std::io::Write as _;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::{Gateway, token};
use crate::services::cluster::Cluster;

#[test]
fn every_answer_is_in_the_access_log_by_its_names() {
    let mut cluster = Cluster::start("gateway-access", 1);
    let mine = token(&cluster, "me", "client.key");
    fs::write(cluster.path("access.log"), "{\"of\":\"earlier\"}\n").expect("written");
    let mut gateway = Gateway::start(&cluster, &["--access-log", "access.log"]);
    let asker = gateway.asker(&mine);
    asker.ask("PUT /v1/kv/a%0Ab", &[], b"secret value").is(201);
    asker.get("/v1/kv/a%0Ab").is(200);
    let known = ("Authorization", "Bearer nobodys-token");
    assert_eq!(gateway.stranger().ask("GET /v1/kv/a", &[known], b"").status, 401);
    assert_eq!(asker.get("/v1/nothing?x=1").status, 404);
    drop(asker.watch("?prefix=a", &[]));
    // Who goes away before the answer is in it, too: there is none without a quorum.
    (2..4).for_each(|id| cluster.kill(id));
    let mut gone = asker.begin("PUT /v1/kv/gone", &[], 1);
    gone.write_all(b"x").expect("taken");
    std::thread::sleep(Duration::from_millis(500));
    drop(gone);
    std::thread::sleep(Duration::from_millis(500));
    let stopped = kill_process(Pid::from_child(&gateway.child), Signal::TERM);
    stopped.expect("ours");
    assert!(gateway.child.wait().expect("ours").success());

    let text = fs::read_to_string(cluster.path("access.log")).expect("a log");
    let secrets = ["secret value", mine.trim(), "nobodys-token", "c2VjcmV0"];
    assert!(secrets.iter().all(|secret| !text.contains(secret)), "{text}");
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let lines: Vec<Value> = lines.collect();
    assert_eq!(lines[0], json!({"of": "earlier"}), "it goes on");
    let told: Vec<_> = lines[1..]
        .iter()
        .map(|line| {
            let field = |name: &str| line[name].as_str().map(str::to_owned);
            (field("token"), field("method"), field("path"), line["status"].as_u64(), field("code"))
        })
        .collect();
    let expected = |token: Option<&str>, method: &str, path: &str, status, code: Option<&str>| {
        let text = |text: &str| Some(text.to_owned());
        (token.and_then(text), text(method), text(path), Some(status), code.and_then(text))
    };
    let mut abandoned = expected(Some("me"), "PUT", "/v1/kv/gone", 0, Some("abandoned"));
    abandoned.3 = None;
    assert_eq!(
        told,
        [
            expected(Some("me"), "PUT", "/v1/kv/a%0Ab", 201, None),
            expected(Some("me"), "GET", "/v1/kv/a%0Ab", 200, None),
            expected(None, "GET", "/v1/kv/a", 401, Some("unauthenticated")),
            expected(None, "GET", "/v1/nothing?x=1", 404, Some("not_found")),
            expected(Some("me"), "GET", "/v1/watch?prefix=a", 200, None),
            abandoned,
        ]
    );
    for line in &lines[1..] {
        assert_eq!(line["address"], "127.0.0.1");
        assert!(line["ms"].as_f64().is_some_and(|ms| (0.0..60_000.0).contains(&ms)), "{line}");
        assert!(line["time"].as_str().is_some_and(|time| time.ends_with('Z')), "{line}");
    }
    assert_eq!(lines[5]["bytes"], Value::Null, "nobody knows how long a stream gets");

    let wrong = ["gateway", "http", "--tokens", "tokens.toml", "--access-log", "no/where.log"];
    cluster.fails(&wrong, 1, "cannot write the access log no/where.log");
}
