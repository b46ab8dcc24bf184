//! Who may use a gateway, from where, and what it says of itself.

use std::fs::{self, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::{Gateway, another, token};
use crate::services::cluster::{Cluster, finish};

#[test]
fn tokens_come_and_go_and_a_shared_gateway_says_so() {
    let cluster = Cluster::start("gateway-tokens", 1);
    let mine = token(&cluster, "me", "client.key");
    let file = fs::read_to_string(cluster.path("tokens.toml")).expect("text");
    assert!(!file.contains(&mine) && !file.contains(&mine[4..]), "it holds no token");
    let mode = fs::metadata(cluster.path("tokens.toml")).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    refusals(&cluster);

    let gateway = Gateway::start(&cluster, &[]);
    assert_eq!(gateway.asker(&mine).get("/livez").field("ravelin-trust"), "");
    let theirs = another(&cluster, "they");
    gateway.hears("2 tokens now");
    gateway.hears("WARNING: this gateway is a trusted node");
    let they = gateway.asker(&theirs);
    let you = they.get("/v1/auth/whoami").is(200);
    assert_eq!(you.json()["client"]["name"], "they", "each speaks with a key of its own");
    assert_eq!(you.field("ravelin-trust"), "shared-gateway");
    assert_eq!(gateway.stranger().get("/nothing").field("ravelin-trust"), "shared-gateway");
    let status = they.get("/v1/status").is(200).json();
    assert_eq!(status["gateway"]["trust"], "shared_gateway");
    assert_eq!(status["gateway"]["tokens"], 2);

    // What the cluster does not let a client do, its token cannot do either.
    let mut stream = they.watch("", &[]);
    cluster.done(&["auth", "revoke", "they", "--key", "admin0.key"]);
    assert_eq!(they.ask("PUT /v1/kv/a", &[], b"1").problem(), (403, "denied".into()));
    assert_eq!(they.get("/v1/kv/a").problem(), (403, "denied".into()));
    let gone = stream.next().expect("an event");
    assert_eq!((gone.kind.as_str(), &gone.data["code"]), ("gone", &"denied".into()));
    assert_eq!(stream.next(), None);

    // A token that is removed ends, with what goes on under it; the others do not.
    let me = gateway.asker(&mine);
    let mut stream = me.watch("", &[]);
    let third = another(&cluster, "third");
    gateway.hears("3 tokens now");
    let mut other = gateway.asker(&third).watch("?prefix=w", &[]);
    cluster.done(&["gateway", "token", "remove", "me", "--tokens", "tokens.toml"]);
    let gone = stream.next().expect("an event");
    assert_eq!((gone.kind.as_str(), &gone.data["code"]), ("gone", &"unauthenticated".into()));
    assert_eq!(me.get("/v1/kv/a").problem(), (401, "unauthenticated".into()));
    gateway.asker(&third).ask("PUT /v1/kv/w", &[], b"1").is(201);
    assert_eq!(other.next().expect("an event").data["key"], "w");

    // A file that makes no sense changes nothing.
    fs::write(cluster.path("tokens.toml"), "version = 2\n").expect("written");
    gateway.hears("cannot be used, so that the tokens before it stay in force");
    gateway.asker(&third).get("/v1/kv/w").is(200);
    exposed(&cluster);
}

fn refusals(cluster: &Cluster) {
    let add = |name: &str, key: &str| {
        let arguments = ["gateway", "token", "add", name, "--tokens", "tokens.toml", "--key", key];
        cluster.run(&arguments)
    };
    let run = add("me", "admin0.key");
    assert!(run.exit == 9 && run.stderr.contains("already"), "{run:?}");
    let run = add("again", "client.key");
    assert!(run.exit == 9 && run.stderr.contains("the same key"), "{run:?}");
    assert_eq!(add("nobody", "nowhere.key").exit, 4);
    let list = cluster.json(&["gateway", "token", "list", "--tokens", "tokens.toml"]);
    assert_eq!(list["tokens"].as_array().map(Vec::len), Some(1));
    assert_eq!(list["tokens"][0]["name"], "me");
    let remove = ["gateway", "token", "remove", "you", "--tokens", "tokens.toml"];
    cluster.fails(&remove, 4, "no token `you`");
    let serve = ["gateway", "http", "--tokens", "tokens.toml"];
    let exposed = [&serve[..], &["--listen", "0.0.0.0:0"]].concat();
    cluster.fails(&exposed, 2, "reachable from beyond this host");
    let path = cluster.path("tokens.toml");
    fs::set_permissions(&path, Permissions::from_mode(0o640)).expect("ours");
    cluster.fails(&serve, 3, "others can read this secret");
    fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("ours");
    fs::write(cluster.path("empty.toml"), "version = 1\n").expect("written");
    fs::set_permissions(cluster.path("empty.toml"), Permissions::from_mode(0o600)).expect("ours");
    cluster.fails(&["gateway", "http", "--tokens", "empty.toml"], 2, "there is no token");
}

/// One that can be reached from elsewhere says so too, and speaks TLS with those who know its name.
fn exposed(cluster: &Cluster) {
    fs::remove_file(cluster.path("tokens.toml")).expect("there");
    let mine = token(cluster, "me", "client.key");
    let plain = Gateway::start(cluster, &["--listen", "0.0.0.0:0", "--insecure-plaintext"]);
    let mut asker = plain.asker(&mine);
    asker.address = asker.address.replace("0.0.0.0", "127.0.0.1");
    assert_eq!(asker.get("/v1/auth/whoami").is(200).field("ravelin-trust"), "shared-gateway");
    drop(asker);

    for (name, text) in [
        ("tls.crt", include_str!("tls.crt")),
        ("tls.key", include_str!("tls.key")),
        ("no.crt", "no certificate"),
    ] {
        fs::write(cluster.path(name), text).expect("written");
        fs::set_permissions(cluster.path(name), Permissions::from_mode(0o600)).expect("ours");
    }
    let with =
        |certificate| ["gateway", "http", "--tokens", "tokens.toml", "--tls-cert", certificate];
    let wrong = [&with("no.crt")[..], &["--tls-key", "tls.key"]].concat();
    cluster.fails(&wrong, 2, "there is no certificate in PEM");
    let secure = Gateway::start(cluster, &["--tls-cert", "tls.crt", "--tls-key", "tls.key"]);
    if Command::new("curl").arg("--version").stdout(Stdio::null()).status().is_err() {
        // Not by a macro, whose output is kept from whoever runs the tests.
        let _ = writeln!(std::io::stderr(), "SKIPPED: TLS is not tried, for there is no curl");
        return;
    }
    let port = secure.address.rsplit(':').next().expect("a port");
    let url = format!("https://localhost:{port}/v1/auth/whoami");
    let header = format!("Authorization: Bearer {mine}");
    let mut curl = Command::new("curl");
    curl.args(["-sS", "--max-time", "30", "--tlsv1.3", "--resolve"]);
    curl.arg(format!("localhost:{port}:127.0.0.1")).args(["-H", &header, &url]);
    curl.stdout(Stdio::piped()).stderr(Stdio::piped());
    let run = finish(curl.spawn().expect("started"));
    assert_eq!(run.exit, 60, "an unknown certificate is refused: {run:?}");
    curl.arg("--cacert").arg(cluster.path("tls.crt"));
    let run = finish(curl.spawn().expect("started"));
    assert!(run.exit == 0 && run.stdout.contains("\"token\":\"me\""), "{run:?}");
}

#[test]
fn it_stops_in_good_order() {
    let cluster = Cluster::start("gateway-stops", 1);
    let mine = token(&cluster, "me", "client.key");
    let mut gateway = Gateway::start(&cluster, &[]);
    gateway.asker(&mine).ask("PUT /v1/kv/a", &[], b"1").is(201);
    let mut stream = gateway.asker(&mine).watch("", &[]);
    let id = rustix::process::Pid::from_child(&gateway.child);
    let begun = Instant::now();
    rustix::process::kill_process(id, rustix::process::Signal::TERM).expect("ours");
    assert_eq!(stream.next(), None, "the stream is not cut off");
    gateway.hears("stopped in good order");
    assert!(begun.elapsed() < Duration::from_secs(4), "nothing is waited for that has ended");
    assert!(gateway.child.wait().expect("ours").success());
}
