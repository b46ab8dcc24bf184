//! Servers that lie and servers that are gone.

use std::time::{Duration, Instant};

use super::http::Asker;
use super::{Gateway, token};
use crate::services::cluster::{Cluster, Local};

/// Puts and reads values, as long as there is time.
fn works(asker: &Asker<'_>, rounds: usize) {
    for round in 0..rounds {
        let value = round.to_string();
        asker.ask("PUT /v1/kv/round", &[], value.as_bytes());
        let bytes = [("Accept", "application/octet-stream")];
        let got = asker.ask("GET /v1/kv/round", &bytes, b"").is(200);
        assert_eq!(got.body, value.as_bytes(), "an older or a wrong value");
    }
}

#[test]
fn answers_stay_right_while_a_server_lies() {
    let cluster = Local::up("gateway-liar");
    let token = token(&cluster, "me", "D/keys/client.key");
    let client = ["--config", "D/client.toml", "--evidence", "proof"];
    let gateway = Gateway::start(&cluster, &client);
    let asker = gateway.asker(&token);
    works(&asker, 5);
    cluster.done(&["attack", "run", "liar", "--on", "2"]);
    let until = Instant::now() + Duration::from_secs(60);
    while !cluster.path("proof").exists() {
        assert!(Instant::now() < until, "the liar is never proven");
        works(&asker, 5);
    }
    gateway.hears("server 2 is proven faulty");
    let status = asker.get("/v1/status").is(200).json();
    assert_eq!(status["state"], "degraded");
}

#[test]
fn a_lost_server_changes_nothing_and_a_lost_quorum_is_told_in_time() {
    let mut cluster = Cluster::start("gateway-lost", 1);
    let token = token(&cluster, "me", "client.key");
    let gateway = Gateway::start(&cluster, &["--timeout", "4s"]);
    let asker = gateway.asker(&token);
    works(&asker, 5);
    cluster.kill(3);
    works(&asker, 5);
    ready(&asker, 200);
    let mut stream = asker.watch("", &[]);
    cluster.kill(2);
    let bounded = |request: &str, may_take_effect: bool| {
        let begun = Instant::now();
        let response = asker.ask(request, &[], b"");
        assert_eq!(response.problem(), (503, "no_quorum".into()), "{request}");
        assert_eq!(response.field("retry-after"), "1");
        let may = response.json().get("may_take_effect") == Some(&true.into());
        assert_eq!(may, may_take_effect, "{request}");
        assert!(begun.elapsed() < Duration::from_secs(12), "{:?}", begun.elapsed());
    };
    std::thread::scope(|scope| {
        scope.spawn(|| bounded("PUT /v1/kv/late", true));
        scope.spawn(|| bounded("GET /v1/kv/round", false));
        scope.spawn(|| bounded("POST /v1/leases/1/renew", true));
    });
    ready(&asker, 503);
    asker.get("/livez").is(200);
    let status = asker.get("/v1/status").is(200).json();
    assert_eq!(status["fault_budget_remaining"], -1, "{status}");
    let gone = stream.next().expect("an event");
    assert_eq!((gone.kind.as_str(), &gone.data["code"]), ("gone", &"no_quorum".into()));
    assert_eq!(stream.next(), None);

    // It goes on by itself when they are back, and what may have been made was made once.
    cluster.restart(2);
    cluster.restart(3);
    ready(&asker, 200);
    let until = Instant::now() + Duration::from_secs(30);
    let late = loop {
        let late = asker.get("/v1/kv/late");
        if late.status == 200 {
            break late.json();
        }
        assert!(Instant::now() < until, "{late:?}");
    };
    assert_eq!(late["version"], 1);
    works(&asker, 5);
}

/// Waits until monitors see it.
fn ready(asker: &Asker<'_>, status: u16) {
    let until = Instant::now() + Duration::from_secs(30);
    while asker.get("/readyz").status != status {
        assert!(Instant::now() < until, "readyz never says {status}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
