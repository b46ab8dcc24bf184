//! Everything that is described is answered as described.

use serde_json::{Value, json};

use super::http::Asker;
use super::{Gateway, answered, token};
use crate::services::cluster::Cluster;

const BYTES: (&str, &str) = ("Accept", "application/octet-stream");

#[test]
fn everything_described_is_answered_as_described() {
    let cluster = Cluster::start("gateway-requests", 1);
    let token = token(&cluster, "me", "client.key");
    let gateway = Gateway::start(&cluster, &[]);
    let asker = gateway.asker(&token);
    values(&asker);
    conditions(&asker);
    lists(&asker);
    transactions(&asker);
    leases(&asker);
    others(&asker);
    refusals(&asker);
    asker.watch("?prefix=nothing", &[]);
    assert_eq!(answered(&asker), gateway.document.operations(), "all of it was answered");
    // What the command line sees is the same.
    assert_eq!(cluster.done(&["kv", "get", "a/b c"]), "two\n");
}

fn values(asker: &Asker<'_>) {
    let put = asker.ask("PUT /v1/kv/a/b%20c", &[], b"one").is(201);
    assert_eq!(put.json()["existed"], false);
    let position = put.json()["position"].as_u64().expect("a position");
    assert_eq!(put.field("ravelin-position"), position.to_string());
    assert_eq!(put.field("etag"), format!("\"{position}\""));
    let got = asker.get("/v1/kv/a%2Fb%20c").is(200);
    assert_eq!(
        got.json(),
        json!({"key": "a/b c", "key_base64": "YS9iIGM=", "value_base64": "b25l", "lease": null,
               "created": position, "changed": position, "version": 1})
    );
    assert_eq!(got.field("etag"), put.field("etag"));
    assert!(got.field("ravelin-position").parse::<u64>().expect("a position") >= position);
    let put = asker.send("PUT /v1/kv/a/b%20c", &json!({"value_base64": "dHdv"})).is(200);
    assert_eq!(put.json()["existed"], true);
    assert_eq!(asker.ask("GET /v1/kv/a/b%20c", &[BYTES], b"").is(200).body, b"two");
    let head = asker.ask("HEAD /v1/kv/a/b%20c", &[BYTES], b"").is(200);
    assert_eq!(head.field("content-length"), "3");
    let tag = put.field("etag");
    asker.ask("GET /v1/kv/a/b%20c", &[("If-None-Match", tag)], b"").is(304);
    asker.ask("GET /v1/kv/a/b%20c", &[("If-None-Match", got.field("etag"))], b"").is(200);
    // Any bytes are a key and a value.
    asker.ask("PUT /v1/kv/%ff%00", &[], &[0, 0xff]).is(201);
    assert_eq!(asker.ask("GET /v1/kv/%FF%00", &[BYTES], b"").body, [0, 0xff]);
    assert_eq!(asker.get("/v1/kv/%ff%00").json().get("key"), None, "it is no text");
    asker.ask("DELETE /v1/kv/%ff%00", &[], b"").is(200);
    assert_eq!(asker.get("/v1/kv/%ff%00").problem(), (404, "not_found".into()));
    // Proven, and as old as it says.
    let until = std::time::Instant::now() + std::time::Duration::from_secs(30);
    let stale = loop {
        let stale = asker.ask("GET /v1/kv/a/b%20c?stale_ok", &[BYTES], b"");
        if stale.status == 200 && stale.body == b"two" {
            break stale;
        }
        assert!(until > std::time::Instant::now(), "{stale:?}");
    };
    let age: u64 = stale.field("ravelin-age-ms").parse().expect("an age");
    assert!(age < 60_000 && stale.field("age") == (age / 1000).to_string(), "{stale:?}");
}

fn conditions(asker: &Asker<'_>) {
    let fresh = [("If-None-Match", "*")];
    let tag = asker.ask("PUT /v1/kv/cas", &fresh, b"1").is(201).field("etag").to_owned();
    let taken = asker.ask("PUT /v1/kv/cas", &fresh, b"2");
    assert_eq!(taken.problem(), (412, "condition_failed".into()));
    assert_eq!(taken.field("etag"), tag);
    assert_eq!(taken.json()["found"]["value_base64"], "MQ==");
    let if_match =
        |tag: &str, value: &[u8]| asker.ask("PUT /v1/kv/cas", &[("If-Match", tag)], value);
    let next = if_match(&tag, b"2").is(200).field("etag").to_owned();
    assert_eq!(if_match(&tag, b"3").problem().0, 412, "somebody was faster");
    if_match("*", b"4").is(200);
    assert_eq!(asker.ask("DELETE /v1/kv/cas", &[("If-Match", &next)], b"").problem().0, 412);
    asker.ask("DELETE /v1/kv/cas", &[("If-Match", "*")], b"").is(200);
    let gone = if_match("*", b"5");
    assert_eq!((gone.problem().0, &gone.json()["found"]), (412, &Value::Null));
    for wrong in ["5", "W/\"5\"", "\"5\", \"6\""] {
        assert_eq!(if_match(wrong, b"6").problem().0, 400, "{wrong}");
    }
    let both = [("If-Match", "*"), ("If-None-Match", "*")];
    assert_eq!(asker.ask("PUT /v1/kv/cas", &both, b"7").problem().0, 400);
}

fn lists(asker: &Asker<'_>) {
    for key in ["l/1", "l/2", "l/3"] {
        asker.ask(&format!("PUT /v1/kv/{key}"), &[], key.as_bytes()).is(201);
    }
    let keys = |page: &Value| -> Vec<String> {
        let entries = page["entries"].as_array().expect("entries").iter();
        entries.map(|entry| entry["key"].as_str().expect("text").to_owned()).collect()
    };
    let page = asker.get("/v1/kv?prefix=l%2F&limit=2").is(200).json();
    assert_eq!(keys(&page), ["l/1", "l/2"]);
    let next = page["next_base64"].as_str().expect("more").replace('=', "%3D");
    let page = asker.get(&format!("/v1/kv?prefix=l/&after_base64={next}&keys_only")).is(200).json();
    assert_eq!(keys(&page), ["l/3"]);
    assert_eq!(page["entries"][0].get("value_base64"), None);
    assert_eq!(keys(&asker.get("/v1/kv?prefix=l/&after=l/2").json()), ["l/3"]);
    for wrong in
        ["limit=0", "limit=1001", "limit=x", "keys_only=2", "x=1", "limit=1&limit=1", "prefix=%"]
    {
        assert_eq!(asker.get(&format!("/v1/kv?{wrong}")).problem().0, 400, "{wrong}");
    }
}

fn transactions(asker: &Asker<'_>) {
    let transaction = json!({
        "if": [{"key": "t", "present": false}],
        "then": [{"step": "put", "key": "t", "value_base64": "MQ=="}, {"step": "get", "key_base64": "dA=="}],
        "else": [{"step": "get", "key": "t"}, {"step": "delete", "key": "t"}],
    });
    let first = asker.send("POST /v1/transactions", &transaction).is(200).json();
    assert_eq!((&first["held"], &first["results"][0]["existed"]), (&true.into(), &false.into()));
    assert_eq!(first["results"][1]["entry"]["value_base64"], "MQ==");
    let second = asker.send("POST /v1/transactions", &transaction).is(200).json();
    assert_eq!((&second["held"], &second["results"][1]["existed"]), (&false.into(), &true.into()));
    for wrong in [
        json!({}),
        json!({"then": [{"step": "put", "key": "t"}]}),
        json!({"then": [{"step": "get", "key": "t", "lease": 1}]}),
        json!({"then": [{"step": "get", "key": "t", "key_base64": "dA=="}]}),
        json!({"then": [{"step": "get", "key": ""}]}),
        json!({"then": [], "if": [{"key": "t"}]}),
        json!({"then": [], "if": [{"key": "t", "present": true, "changed": 1}]}),
        json!({"then": [], "unless": []}),
    ] {
        let refused = asker.send("POST /v1/transactions", &wrong);
        assert_eq!(refused.problem(), (400, "invalid_request".into()), "{wrong}");
    }
    let many: Vec<_> = (0..129).map(|_| json!({"step": "get", "key": "t"})).collect();
    let refused = asker.send("POST /v1/transactions", &json!({"then": many}));
    assert_eq!(refused.problem().0, 413);
}

fn leases(asker: &Asker<'_>) {
    let grant = |ttl: u64| asker.send("POST /v1/leases", &json!({"ttl_ms": ttl}));
    let lease =
        |response: super::http::Response| response.json()["lease"].as_u64().expect("a lease");
    let (one, two) = (lease(grant(60_000).is(201)), lease(grant(60_000).is(201)));
    assert_eq!(grant(1).problem().0, 400);
    asker.ask(&format!("PUT /v1/kv/leased?lease={one}"), &[], b"x").is(201);
    assert_eq!(asker.get("/v1/kv/leased").json()["lease"], one);
    assert_eq!(asker.get(&format!("/v1/leases/{one}")).is(200).json()["ttl_ms"], 60_000);
    asker.ask(&format!("POST /v1/leases/{one}/renew"), &[], b"").is(200);
    let lock = |lease: u64| asker.send("PUT /v1/locks/door/1", &json!({"lease": lease}));
    let held = lock(one).is(200).json();
    assert_eq!(held["locked"], true);
    assert_eq!(lock(two).is(202).json(), json!({"locked": false, "ahead": 1}));
    let shown = asker.get("/v1/locks/door/1").is(200).json();
    assert_eq!((&shown["holder"]["lease"], &shown["waiting"]), (&one.into(), &1.into()));
    assert_eq!(shown["holder"]["token"], held["token"]);
    asker.ask(&format!("DELETE /v1/locks/door/1?lease={one}"), &[], b"").is(204);
    assert!(lock(two).is(200).json()["token"].as_u64() > held["token"].as_u64(), "tokens grow");
    assert_eq!(asker.ask("DELETE /v1/locks/door/1", &[], b"").problem().0, 400);
    let other = asker.ask(&format!("DELETE /v1/locks/door/1?lease={one}"), &[], b"");
    assert_eq!(other.problem(), (409, "conflict".into()));
    asker.ask(&format!("DELETE /v1/leases/{one}"), &[], b"").is(204);
    assert_eq!(asker.get("/v1/kv/leased").problem().0, 404, "it went with the lease");
    assert_eq!(asker.get(&format!("/v1/leases/{one}")).problem().0, 404);
    assert_eq!(asker.get("/v1/leases/x").problem().0, 400);
}

fn others(asker: &Asker<'_>) {
    let you = asker.get("/v1/auth/whoami").is(200).json();
    assert_eq!((&you["token"], &you["client"]["name"]), (&"me".into(), &"first".into()));
    let clients = asker.get("/v1/auth/clients?limit=10").is(200).json();
    assert_eq!(clients["clients"][0]["key"], you["key"]);
    let status = asker.get("/v1/status").is(200).json();
    assert_eq!((&status["f"], &status["gateway"]["trust"]), (&1.into(), &"own_gateway".into()));
    assert_eq!(status["servers"].as_array().map(Vec::len), Some(4));
    asker.get("/livez").is(200);
    let until = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while asker.get("/readyz").status != 200 {
        assert!(until > std::time::Instant::now(), "never ready");
    }
    let document = asker.get("/v1/openapi.json").is(200);
    assert_eq!(&document.json(), asker.document.as_json());
    assert_eq!(document.field("ravelin-trust"), "", "it serves one user on this host");
}

fn refusals(asker: &Asker<'_>) {
    for path in ["/", "/v1", "/v1/kv/", "/v2/kv/a", "/v1/leases/1/2"] {
        assert_eq!(asker.get(path).problem(), (404, "not_found".into()), "{path}");
    }
    let wrong = asker.ask("POST /v1/kv/a", &[], b"");
    assert_eq!(wrong.problem().0, 405);
    assert_eq!(wrong.field("allow"), "GET, PUT, DELETE");
    let json = [("Content-Type", "application/json")];
    for body in ["", "{", "[]", "{\"value_base64\": 1}", "{\"value_base64\": \"!\"}", "{\"a\": 1}"]
    {
        let refused = asker.ask("PUT /v1/kv/a", &json, body.as_bytes());
        assert_eq!(refused.problem(), (400, "invalid_request".into()), "{body}");
    }
    let nested = "[".repeat(100_000);
    assert_eq!(asker.ask("POST /v1/leases", &json, nested.as_bytes()).problem().0, 400);
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    assert_eq!(asker.ask("PUT /v1/kv/a", &form, b"a=b").problem().0, 415);
    assert_eq!(asker.ask("POST /v1/leases", &[], b"{}").problem().0, 415);
    assert_eq!(asker.ask("PUT /v1/kv/a?lease=0", &[], b"x").problem().0, 404, "no such lease");
    assert_eq!(asker.get("/v1/kv/%zz").problem().0, 400);
    let long = "k".repeat(1025);
    assert_eq!(asker.get(&format!("/v1/kv/{long}")).problem().0, 413);
    let large = vec![b'x'; (512 << 10) + 1];
    assert_eq!(asker.ask("PUT /v1/kv/a", &[], &large).problem().0, 413);
    asker.ask("PUT /v1/kv/largest", &[], &large[1..]).is(201);
    assert_eq!(asker.ask("GET /v1/kv/largest", &[BYTES], b"").body.len(), 512 << 10);
}
