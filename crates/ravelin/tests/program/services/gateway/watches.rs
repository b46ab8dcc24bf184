//! Streams of changes: nothing is left out, and an end is an end.

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use super::http::Asker;
use super::{Gateway, token};
use crate::services::cluster::Cluster;

#[test]
fn streams_go_on_where_they_were_cut_and_end_when_changes_are_forgotten() {
    let mut cluster = Cluster::start("gateway-watches", 1);
    let token = token(&cluster, "me", "client.key");
    let gateway = Gateway::start(&cluster, &[]);
    let asker = gateway.asker(&token);
    asker.ask("PUT /v1/kv/w/before", &[], b"0").is(201);
    let mut stream = asker.watch("?prefix=w%2F", &[]);
    let put = asker.ask("PUT /v1/kv/w/1", &[], b"one").is(201).json();
    asker.ask("PUT /v1/kv/elsewhere", &[], b"x").is(201);
    asker.ask("DELETE /v1/kv/w/1", &[], b"").is(200);
    let first = stream.next().expect("an event");
    let position = put["position"].as_u64().expect("a position");
    assert_eq!((first.kind.as_str(), first.id), ("put", Some(position)));
    assert_eq!(
        first.data,
        json!({"position": position, "key": "w/1", "key_base64": "dy8x", "value_base64": "b25l",
               "created": position, "version": 1, "lease": null})
    );
    let schema = json!({"$ref": "#/components/schemas/Change"});
    assert_eq!(gateway.document.complaint(&schema, &first.data), None);
    let second = stream.next().expect("an event");
    assert_eq!(second.kind, "delete");
    assert_eq!(gateway.document.complaint(&schema, &second.data), None);
    drop(stream);

    // What happened while nobody listened is told, and nothing twice.
    let steps = json!({"then": [{"step": "put", "key": "w/2", "value_base64": ""},
                                {"step": "put", "key": "w/3", "value_base64": ""}]});
    asker.send("POST /v1/transactions", &steps).is(200);
    let last = position.to_string();
    let mut stream = asker.watch("?prefix=w/&from=1", &[("Last-Event-ID", &last)]);
    let kinds: Vec<_> = (0..3)
        .map(|_| {
            let event = stream.next().expect("an event");
            (event.kind, event.data["key"].as_str().expect("a key").to_owned(), event.id.is_some())
        })
        .collect();
    let expected = |kind: &str, key: &str, has_id| (kind.to_owned(), key.to_owned(), has_id);
    assert_eq!(
        kinds,
        [
            expected("delete", "w/1", true),
            expected("put", "w/2", false), // who is cut off here hears it again
            expected("put", "w/3", true),
        ]
    );
    let mut from = asker.watch(&format!("?prefix=w/&from={position}"), &[]);
    assert_eq!(from.next().expect("an event"), first);
    drop(from);
    for wrong in ["?from=x", "?to=1"] {
        assert_eq!(asker.get(&format!("/v1/watch{wrong}")).problem().0, 400, "{wrong}");
    }
    let wrong = [("Last-Event-ID", "x")];
    assert_eq!(asker.ask("GET /v1/watch", &wrong, b"").problem().0, 400);

    drop(stream);
    forgotten(&mut cluster, &gateway, &asker, &last);
}

/// Servers that stopped in good order have nothing left of their changes; the stream says so, and so does
/// who asks anew.
fn forgotten(cluster: &mut Cluster, gateway: &Gateway, asker: &Asker<'_>, last: &str) {
    let mut stream = asker.watch("?prefix=w/", &[]);
    let id = Pid::from_child(&gateway.child);
    kill_process(id, Signal::STOP).expect("ours");
    cluster.done(&["kv", "put", "elsewhere", "y"]); // which the gateway does not hear of
    (0..4).for_each(|id| cluster.stop(id));
    (0..4).for_each(|id| cluster.restart(id));
    kill_process(id, Signal::CONT).expect("ours");
    let problem = json!({"$ref": "#/components/schemas/Problem"});
    let gone = stream.next().expect("an event");
    assert_eq!((gone.kind.as_str(), &gone.data["code"]), ("gone", &"gone".into()));
    assert_eq!(gateway.document.complaint(&problem, &gone.data), None);
    assert_eq!(stream.next(), None, "it has ended");
    let refused = asker.ask("GET /v1/watch", &[("Last-Event-ID", last)], b"");
    assert_eq!(refused.problem(), (410, "gone".into()));
    let mut stream = asker.watch("?prefix=w/", &[]);
    asker.ask("PUT /v1/kv/w/4", &[], b"").is(201);
    assert_eq!(stream.next().expect("an event").data["key"], "w/4");
}

#[test]
fn a_stream_that_is_read_too_slowly_ends_with_what_to_do() {
    let cluster = Cluster::start("gateway-slow-watch", 1);
    let token = token(&cluster, "me", "client.key");
    let gateway = Gateway::start(&cluster, &[]);
    let asker = gateway.asker(&token);
    let mut stream = asker.watch("?prefix=large", &[]);
    let mut quick = asker.watch("?prefix=small", &[]);
    // More than the gateway keeps, and what the system buffers besides.
    let value = vec![b'x'; 512 << 10];
    for round in 0..40 {
        let put = asker.ask("PUT /v1/kv/large", &[], &value);
        assert!([200, 201].contains(&put.status), "{round}: {put:?}");
    }
    asker.ask("PUT /v1/kv/small", &[], b"").is(201);
    assert_eq!(quick.next().expect("an event").data["key"], "small", "others are not held up");
    let mut told = Vec::new();
    let gone = loop {
        let event = stream.next().expect("an event");
        match event.id {
            Some(position) => told.push(position),
            None => break event,
        }
    };
    assert_eq!((gone.kind.as_str(), &gone.data["code"]), ("gone", &"busy".into()));
    assert_eq!(stream.next(), None);
    assert!(told.len() < 40, "nothing was dropped: {}", told.len());
    assert!(told.windows(2).all(|pair| pair[0] < pair[1]), "each once and in order");
}
