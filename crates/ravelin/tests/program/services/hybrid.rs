//! Clusters of the fault model `hybrid`: real servers, each with a real wormhole.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::services::audit::verdicts;
use crate::services::cluster::{Cluster, Local, Run, free_listeners, tamper};

pub(crate) const HYBRID: [&str; 2] = ["--fault-model", "hybrid"];
const REOPEN: [&str; 6] =
    ["--config", "D/client.toml", "node", "reopen", "--key", "D/keys/administrator.key"];

/// The epoch in force.
pub(crate) fn epoch(cluster: &Local) -> u64 {
    let told = cluster.json(&REOPEN);
    assert_eq!(told["step"], "open", "{told}");
    told["epoch"].as_u64().expect("a number")
}

/// The process of a server, and that of its wormhole.
pub(crate) fn pids(cluster: &Local, id: usize) -> (String, String) {
    let pid = cluster.json(&["local", "status"])["servers"][id]["pid"].to_string();
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).expect("it runs");
    let wormhole = children.split_whitespace().next().expect("it has a wormhole").to_owned();
    (pid, wormhole)
}

pub(crate) fn kill(pid: &str) {
    assert!(Command::new("kill").args(["-9", pid]).status().expect("kill").success());
}

/// Waits until a process is gone, or dead.
pub(crate) fn wait_gone(pid: &str) {
    let until = Instant::now() + Duration::from_secs(10);
    let is_there = || {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
    };
    while is_there() {
        assert!(Instant::now() < until, "process {pid} goes on");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Every field stands in the wormhole's guide.
fn assert_described(value: &serde_json::Value) {
    let guide = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/guide/wormhole.md");
    let guide = fs::read_to_string(guide).expect("it is there");
    let (_, described) = guide.split_once("### As JSON").expect("it has the heading");
    let mut open = vec![value];
    while let Some(value) = open.pop() {
        open.extend(value.as_array().into_iter().flatten());
        for (field, value) in value.as_object().into_iter().flatten() {
            assert!(described.contains(&format!("`{field}`")), "{field} is not described");
            open.push(value);
        }
    }
}

/// Other commands want the client's file in the environment; this one has no use for it.
fn tell_clients_files_from_servers(cluster: &Local) {
    let of_client = cluster.path("D/client.toml");
    let command = &mut cluster.command(&["wormhole", "status"]);
    let output = command.env("RAVELIN_CONFIG", &of_client).output().expect("run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let words = "client.toml is the file of a client, not of a server";
    cluster.fails(&["--config", "D/client.toml", "wormhole", "status"], 2, words);
    cluster.fails(&["--config", "D/client.toml", "node", "check"], 2, words);
}

/// Each server's wormhole as it is, told and drawn, in epoch 2.
fn look_at_wormholes(cluster: &Local) {
    let standing = cluster.json(&["wormhole", "status", "--svg", "servers.svg"]);
    for server in standing["servers"].as_array().expect("servers") {
        let wormhole = &server["wormhole"];
        assert_eq!((&wormhole["mode"], &wormhole["attests"]), (&"local".into(), &true.into()));
        assert_eq!(wormhole["agreement"]["engine"], "none", "servers rest on none: {server}");
        assert!(wormhole["agreement"]["because"].is_string(), "{server}");
        let bound = &wormhole["counters"][0];
        assert_eq!((&bound["counter"], &bound["epoch"]), (&"ordering".into(), &2.into()));
        assert!(bound["value"].as_u64() > Some(0), "it attests blocks: {server}");
    }
    assert_described(&standing);
    tell_clients_files_from_servers(cluster);
    let drawn = fs::read_to_string(cluster.path("servers.svg")).expect("it is drawn");
    assert_eq!(drawn.matches("wormhole, local").count(), 3);
}

#[test]
fn a_server_comes_back_with_a_new_wormhole_by_an_epoch() {
    let cluster = Local::up_with("hybrid", &HYBRID);
    let status = cluster.json(&["local", "status"]);
    assert_eq!(status["fault_model"], "hybrid");
    assert_eq!(status["servers"].as_array().map(Vec::len), Some(3));
    assert_eq!(epoch(&cluster), 2, "the administrator opened it");
    cluster.fails(&[&REOPEN[..], &["--lost", "3"]].concat(), 2, "there is no server 3");
    cluster.client(&["kv", "put", "a", "1"]);
    look_at_wormholes(&cluster);

    // A server is killed, and its wormhole ends with it.
    let (server, wormhole) = pids(&cluster, 1);
    kill(&server);
    [&server, &wormhole].iter().for_each(|pid| wait_gone(pid));
    cluster.client(&["kv", "put", "b", "2"]);
    cluster.fails(&["wormhole", "status"], 7, "nothing is known of the wormhole of server-1");
    let file = "D/servers/1/node.toml";
    let hint = format!("see whether the server of {file} runs");
    cluster.fails(&["--config", file, "wormhole", "status"], 5, &hint);
    let begun = Instant::now();
    assert_eq!(cluster.client(&["kv", "get", "b"]), "2\n", "without the third it is ordered");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    let run = cluster.run(&["local", "up"]);
    assert!(run.exit == 0 && !run.stderr.contains("opened"), "the others let it in: {run:?}");
    assert_eq!(epoch(&cluster), 3);
    assert_eq!(cluster.client(&["kv", "get", "b"]), "2\n");

    // A wormhole is killed, and its server says nothing more.
    let (server, wormhole) = pids(&cluster, 2);
    kill(&wormhole);
    wait_gone(&server);
    let log = cluster.log(2);
    assert!(log.contains("this server can say nothing more"), "{log}");
    cluster.client(&["kv", "put", "c", "3"]);
    cluster.done(&["local", "up"]);
    assert_eq!(epoch(&cluster), 4);

    // With two wormholes gone, administrators are needed, and nothing else helps.
    [0, 1].iter().for_each(|id| cluster.kill(*id));
    let run = cluster.run(&["local", "up"]);
    assert!(run.exit == 0 && run.stderr.contains("opened the cluster"), "{run:?}");
    assert_eq!(epoch(&cluster), 5);
    for (key, value) in [("a", "1\n"), ("b", "2\n"), ("c", "3\n")] {
        assert_eq!(cluster.client(&["kv", "get", key]), value);
    }
    // What two of three signed, in each of these epochs, others can check: two programs of two hands.
    let export = ["audit", "export", "--key", "D/keys/administrator.key", "--out", "log.jsonl"];
    let until = Instant::now() + Duration::from_secs(20);
    while cluster.run(&[&["--config", "D/client.toml"], &export[..]].concat()).exit != 0 {
        assert!(Instant::now() < until, "no quorum signs a state");
        cluster.client(&["kv", "put", "d", "4"]);
    }
    let fingerprint = cluster.done(&["cluster", "fingerprint", "D/plan.toml"]);
    assert_eq!(verdicts(&cluster, "log.jsonl", fingerprint.trim()), [Some(0); 2]);
    let other = ["local", "up", "--fault-model", "arbitrary"];
    cluster.fails(&other, 9, "is `hybrid`");
    assert!(cluster.done(&["local", "down"]).contains("down"));
    cluster.done(&["local", "up", "--fault-model", "hybrid"]);
    cluster.wait_until_all_are_correct();
}

/// Writes one key after the other until told to stop; what was acknowledged, and how often it was not.
fn write(cluster: &Local, name: &str, stop: &AtomicBool) -> (BTreeMap<String, String>, usize) {
    let mut written = BTreeMap::new();
    let mut refused = 0;
    for count in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let (key, value) = (format!("{name}{count}"), format!("{count}"));
        let put = ["--config", "D/client.toml", "kv", "put", &key, &value, "--timeout", "2s"];
        match cluster.run(&put).exit {
            0 => drop(written.insert(key, value)),
            _ => refused += 1,
        }
    }
    (written, refused)
}

#[test]
fn what_was_acknowledged_is_there_after_all_were_down() {
    let cluster = Local::up_with("hybrid-down", &HYBRID);
    let stop = AtomicBool::new(false);
    let written = std::thread::scope(|threads| {
        let writers: Vec<_> = ["x", "y", "z"]
            .map(|name| threads.spawn(|| write(&cluster, name, &stop)))
            .into_iter()
            .collect();
        for round in 0..4 {
            std::thread::sleep(Duration::from_millis(700));
            match round {
                // In good order; killed at once; killed one after the other, which leaves each with
                // another end of its log; only the wormholes.
                0 => drop(cluster.done(&["local", "down"])),
                3 => (0..3).map(|id| pids(&cluster, id)).for_each(|(_, wormhole)| kill(&wormhole)),
                _ => (0..3).map(|id| pids(&cluster, id)).for_each(|(server, _)| {
                    kill(&server);
                    std::thread::sleep(Duration::from_millis(150 * (round - 1)));
                }),
            }
            std::thread::sleep(Duration::from_millis(600));
            let run = cluster.run(&["local", "up"]);
            assert!(run.exit == 0 && run.stderr.contains("opened the cluster"), "{run:?}");
        }
        stop.store(true, Ordering::Relaxed);
        let written = writers.into_iter().map(|writer| writer.join().expect("it writes"));
        written.collect::<Vec<_>>()
    });
    let count: usize = written.iter().map(|(written, _)| written.len()).sum();
    assert!(count > 10, "only {count} were acknowledged");
    for (key, value) in written.iter().flat_map(|(written, _)| written) {
        assert_eq!(cluster.client(&["kv", "get", key]), format!("{value}\n"), "{key}");
    }
    cluster.wait_until_all_are_correct();
}

#[test]
fn a_disk_is_lost_while_all_are_down_and_a_server_for_good() {
    let cluster = Local::up_with("hybrid-disk", &HYBRID);
    cluster.client(&["kv", "put", "a", "1"]);
    cluster.done(&["local", "down"]);
    let data = cluster.path("D/servers/0/data");
    fs::remove_dir_all(&data).expect("ours");
    fs::create_dir(&data).expect("ours");
    fs::set_permissions(&data, fs::Permissions::from_mode(0o700)).expect("ours");
    // It learns of the epoch that the others close, and holds nothing of it.
    assert!(cluster.run(&["local", "up"]).stderr.contains("opened the cluster"));
    assert_eq!(cluster.client(&["kv", "get", "a"]), "1\n");
    cluster.wait_until_all_are_correct();
    kill(&pids(&cluster, 0).0);
    let told = cluster.json(&[&REOPEN[..], &["--lost", "0", "--anyway"]].concat());
    assert_eq!((&told["step"], &told["lost"]), (&"reopened".into(), &serde_json::json!([0])));
    assert_eq!(cluster.client(&["kv", "get", "a"]), "1\n");
    cluster.done(&["local", "up"]);
    cluster.wait_until_all_are_correct();
}

#[test]
fn a_server_that_begins_again_inside_its_process_keeps_its_wormhole() {
    let cluster = Local::up_with("hybrid-diverged", &HYBRID);
    cluster.client(&["kv", "put", "a", "innocent"]);
    cluster.done(&["local", "down"]);
    tamper(&cluster.path("D/servers/1/data/state"), b"innocent", b"tampered");
    // The plan that follows names the state: who has another one is found out already here.
    let run = cluster.run(&["local", "up"]);
    assert!(run.exit == 0 || run.exit == 7, "{run:?}");
    let before = pids(&cluster, 1);
    cluster.client(&["kv", "cas", "a", "innocent", "changed"]);
    let until = Instant::now() + Duration::from_secs(60);
    let advice = "ravelin auth rekey 1 --block ";
    let key = loop {
        let log = cluster.log(1);
        if let Some(key) = log.split(advice).nth(1).and_then(|rest| rest.get(..64)) {
            break key.to_owned();
        }
        assert!(Instant::now() < until, "it does not say what to do: {log}");
        std::thread::sleep(Duration::from_millis(100));
    };
    assert!(cluster.aside(1)[0].ends_with("-diverged"), "{:?}", cluster.aside(1));
    // It may have asked for that key by itself before the others held proof of what it signed.
    let rekey = ["auth", "rekey", "1", "--block", &key, "--key", "D/keys/administrator.key"];
    let run = cluster.run(&[&["--config", "D/client.toml"], &rekey[..]].concat());
    assert!(run.exit == 0 || run.exit == 9, "{run:?}");
    while cluster.run(&["--config", "D/client.toml", "status"]).exit != 0 {
        assert!(Instant::now() < until, "it does not come back: {}", cluster.log(1));
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(pids(&cluster, 1), before, "neither process began anew");
    assert_eq!(cluster.client(&["kv", "get", "a"]), "changed\n");
}

/// A copy of a server, with its keys and its wormhole's, as whoever has its disk can start it.
struct Copy(Child);

impl Copy {
    fn of(cluster: &Local, id: usize) -> Self {
        let (from, to) = (format!("D/servers/{id}"), "D/servers/copy");
        copy_dir(&cluster.path(&from), &cluster.path(to));
        let listeners = free_listeners(2);
        let [peer, client] = [0, 1].map(|at: usize| listeners[at].local_addr().expect("bound"));
        drop(listeners);
        let (peer, client) = (peer.to_string(), client.to_string());
        let file = format!("{to}/node.toml");
        let start = ["node", "start", "--config", &file, "--peer-listen", &peer];
        let listens = ["--client-listen", &client, "--admin-listen", "off"];
        let mut command = cluster.command(&[&start[..], &listens].concat());
        Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("started"))
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir(to).expect("made");
    fs::set_permissions(to, fs::metadata(from).expect("there").permissions()).expect("ours");
    for entry in fs::read_dir(from).expect("listed") {
        let path: PathBuf = entry.expect("listed").path();
        let target = to.join(path.file_name().expect("a name"));
        match path.is_dir() {
            true => copy_dir(&path, &target),
            false => drop(fs::copy(&path, &target).expect("copied")),
        }
    }
}

#[test]
fn a_copy_of_a_server_and_its_wormhole_is_another_instance() {
    let cluster = Local::up_with("hybrid-copy", &HYBRID);
    cluster.client(&["kv", "put", "a", "1"]);
    // The state of the wormhole, too, is that of a moment ago: what it then attested is not in it.
    cluster.kill(1);
    let copy = Copy::of(&cluster, 1);
    for count in 0..10 {
        cluster.client(&["kv", "put", "b", &count.to_string()]);
    }
    let run = cluster.run(&["local", "up"]);
    assert!(run.exit == 0 || run.exit == 7, "one of two is let in: {run:?}");
    let until = Instant::now() + Duration::from_secs(8);
    while Instant::now() < until {
        cluster.client(&["kv", "put", "c", "3"]);
        assert_eq!(cluster.client(&["kv", "get", "b"]), "9\n");
    }
    drop(copy);
    let run = cluster.run(&["--config", "D/client.toml", "status"]);
    assert!(!run.stdout.contains("hold proof"), "neither can contradict itself: {run:?}");
    cluster.done(&["local", "up"]);
    assert_eq!(cluster.client(&["kv", "get", "c"]), "3\n");
}

/// What a server answers on its admin listener, all of it.
fn asked(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(5))).expect("set");
    write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").expect("asked");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    answer
}

/// A process that stands still until this is dropped.
struct Frozen(String);

impl Frozen {
    fn new(pid: String) -> Self {
        assert!(Command::new("kill").args(["-STOP", &pid]).status().expect("kill").success());
        Self(pid)
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-CONT", &self.0]).status();
    }
}

#[test]
fn a_wormhole_that_hangs_is_told_of_in_time() {
    let cluster = Local::up_with("hybrid-frozen", &HYBRID);
    cluster.client(&["kv", "put", "a", "1"]);
    let (_, wormhole) = pids(&cluster, 1);
    let admin = cluster.json(&["local", "status"])["servers"][1]["admin_address"].clone();
    let admin = admin.as_str().expect("it has one");
    assert!(asked(admin, "/wormhole").contains("200 OK"));
    let frozen = Frozen::new(wormhole);
    // The server waits for an attestation now, and another monitor's question for its answer.
    cluster.client(&["kv", "put", "b", "2"]);
    std::thread::sleep(Duration::from_secs(1)); // what was seen is told again for so long
    let begun = Instant::now();
    for silence in ["the wormhole does not answer", "being asked already"] {
        std::thread::sleep(Duration::from_millis(20));
        let answer = asked(admin, "/wormhole");
        assert!(answer.contains(" 503 ") && answer.contains(silence), "{answer}");
    }
    let run = cluster.run(&["wormhole", "status"]);
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    drop(frozen);
    assert_eq!(run.exit, 7, "{run:?}");
    assert!(run.stdout.contains("server-1  the server's wormhole does not answer it"), "{run:?}");
    assert!(run.stderr.contains("is stopped or starved"), "{run:?}");
    cluster.client(&["kv", "put", "c", "3"]);
    cluster.done(&["local", "up"]);
    assert_eq!(epoch(&cluster), 2, "it went on where it was");
}

#[test]
fn a_server_that_does_not_start_is_shown_with_its_cause_and_the_way_on() {
    let cluster = Local::up_with("hybrid-unstarted", &HYBRID);
    cluster.kill(1);
    fs::remove_dir_all(cluster.path("D/servers/1/data")).expect("ours");
    let run = cluster.run(&["local", "up"]);
    let is_explained = |run: &Run| {
        run.stderr.contains("server 1 is down: ")
            && run.stderr.contains("cannot use the data directory")
            && run.stderr.contains("`mkdir -m 700`")
    };
    assert!(run.exit == 7 && is_explained(&run), "{run:?}");
    // After all were down nobody else opens the cluster, and it is said at once how.
    [0, 2].iter().for_each(|id| cluster.kill(*id));
    let begun = Instant::now();
    let run = cluster.run(&["local", "up"]);
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert!(run.exit == 5 && is_explained(&run), "{run:?}");
    let (_, declare) = run.stderr.rsplit_once(": `ravelin ").expect("a command");
    let (declare, _) = declare.split_once('`').expect("its end");
    assert!(declare.ends_with("/keys/administrator.key --lost 1"), "{declare}");
    cluster.done(&declare.split(' ').collect::<Vec<_>>());
    cluster.client(&["kv", "put", "a", "1"]);
    // What a server says when it stops in good order is no cause.
    cluster.done(&["local", "down"]);
    let status = cluster.json(&["local", "status"]);
    assert!(status["servers"][0]["ended"].is_null(), "{status}");
    assert!(status["servers"][1]["ended"].is_array(), "{status}");
}

/// The public half of a key file.
fn key(cluster: &Cluster, file: &str) -> String {
    let text = fs::read_to_string(cluster.path(file)).expect("it is there");
    let public = text.lines().find_map(|line| line.strip_prefix("public = "));
    public.expect("it is in the file").trim_matches('"').to_owned()
}

/// Types `node reopen` until the servers listen.
fn reopen(cluster: &Cluster, arguments: &[&str]) -> Run {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let run = cluster.run(&[&["node", "reopen"], arguments].concat());
        if !run.stderr.contains("without an answer") || Instant::now() > until {
            return run;
        }
    }
}

#[test]
fn administrators_open_a_cluster_by_as_many_signatures_as_the_plan_says() {
    let mut cluster = Cluster::start_hybrid("hybrid-reopen");
    let run = reopen(&cluster, &["--key", "admin0.key"]);
    assert!(run.exit == 3 && run.stderr.contains("too few administrators signed"), "{run:?}");
    let run = reopen(&cluster, &["--key", "admin0.key", "--key", "client.key"]);
    assert!(run.exit == 3 && run.stderr.contains("is no administrator"), "{run:?}");
    // Nobody need know what a learner is to be told what mends it.
    let mends = "`ravelin node reopen --key FILE`";
    cluster.fails(&["kv", "put", "a", "1", "--timeout", "2s"], 5, mends);
    cluster.fails(&["status"], 7, mends);
    let two = ["node", "reopen", "--key", "admin0.key", "--key", "admin1.key"];
    cluster.fails(&[&two[..], &["--lost", "3"]].concat(), 2, "there is no server 3");
    cluster.fails(
        &[&two[..], &["--lost", "1", "--lost", "2"]].concat(),
        2,
        "cannot be declared lost",
    );

    sign_one_after_the_other(&cluster);
    let told = cluster.json(&["node", "reopen", "--signed", "r.toml"]);
    assert_eq!((&told["step"], &told["epoch"]), (&"reopened".into(), &2.into()), "{told}");
    assert_eq!(told["open"], serde_json::json!([0, 1, 2]));
    cluster.done(&["kv", "put", "a", "1"]);
    let told = cluster.json(&two);
    assert_eq!((&told["step"], told.get("left_out")), (&"open".into(), None), "nothing to do");
    cluster.fails(&["node", "reopen", "--signed", "r.toml"], 9, "another epoch");

    // A cluster that is open can be opened once more, for whoever is not let in otherwise.
    let told = cluster.json(&[&two[..], &["--anyway"]].concat());
    assert_eq!((&told["step"], &told["epoch"]), (&"reopened".into(), &3.into()), "{told}");
    cluster.done(&["kv", "put", "a", "1"]);

    // Open without one: it is named, with what lets it in, and no order is written unasked.
    cluster.kill(2);
    let run = cluster.run(&["node", "reopen", "--draft", "again.toml"]);
    assert!(run.exit == 0 && run.stdout.starts_with("open      already"), "{run:?}");
    assert!(run.stdout.contains("left out  server 2: no answer"), "{run:?}");
    assert!(run.stderr.contains("again.toml is not written"), "{run:?}");
    assert!(run.stderr.contains("--anyway"), "{run:?}");
    assert_eq!(cluster.json(&two)["left_out"][0]["server"], 2);

    // A disk is gone for good, and all others lose their wormholes.
    (0..2).for_each(|id| cluster.kill(id));
    (0..2).for_each(|id| cluster.restart(id));
    let until = Instant::now() + Duration::from_secs(20);
    let words = "without an answer, or without a wormhole: server 2";
    while !cluster.run(&two).stderr.contains(words) {
        assert!(Instant::now() < until, "it waits for server 2, and for no other");
    }
    let told = cluster.json(&[&two[..], &["--lost", "2"]].concat());
    assert_eq!((&told["epoch"], &told["lost"]), (&4.into(), &serde_json::json!([2])), "{told}");
    assert_eq!(told["open"], serde_json::json!([0, 1]));
    assert_eq!(cluster.done(&["kv", "get", "a"]), "1\n");
    cluster.done(&["kv", "put", "a", "2"]);

    // It comes back after all, as any server does whose wormhole began anew.
    let check = cluster.run(&["node", "check", "--config", "s2/node.toml"]);
    assert!(check.stdout.contains("ok       wormhole: provisioned key"), "{check:?}");
    check_tpm(&cluster);
    lose_the_wormhole(&cluster);
}

/// Administrators sign an order by a file, `r.toml`, and nobody else does.
fn sign_one_after_the_other(cluster: &Cluster) {
    cluster.done(&["node", "reopen", "--draft", "r.toml"]);
    cluster.fails(&["node", "reopen", "--draft", "r.toml"], 9, "exists already");
    // What is signed is shown first, whoever signed before.
    let before = fs::read(cluster.path("r.toml")).expect("it was drafted");
    for key in [&[][..], &["--key", "admin0.key"]] {
        let shown = cluster.json(&[&["node", "reopen", "--approve", "r.toml"], key].concat());
        assert_eq!((&shown["step"], &shown["signatures"]), (&"shown".into(), &0.into()), "{shown}");
        assert_eq!(shown["open"], serde_json::json!([0, 1, 2]));
        assert_eq!(fs::read(cluster.path("r.toml")).expect("it is there"), before);
    }
    // A key of nobody who may sign leaves the file as it was.
    let approve = |key| ["node", "reopen", "--approve", "r.toml", "--key", key, "--yes"];
    cluster.fails(&approve("client.key"), 3, "is no administrator of this cluster");
    assert_eq!(fs::read(cluster.path("r.toml")).expect("it is there"), before);
    let signed = cluster.json(&approve("admin0.key"));
    let counts = [&signed["signatures"], &signed["signatures_needed"]];
    assert_eq!(counts, [&serde_json::json!(1), &serde_json::json!(2)], "{signed}");
    let one = fs::read_to_string(cluster.path("r.toml")).expect("it is there");
    assert!(one.contains(signed["signed_by"][0].as_str().expect("who signed")), "{one}");
    cluster.fails(&["node", "reopen", "--signed", "r.toml"], 3, "too few administrators");
    // One that is there all the same is named, before anybody else signs and before the servers see it.
    let (administrator, client) = (key(cluster, "admin0.key"), key(cluster, "client.key"));
    let spoilt = one.replace(&administrator, &client);
    fs::write(cluster.path("spoilt.toml"), &spoilt).expect("written");
    let named = format!("{client} is no administrator");
    for arguments in [&["--signed"][..], &["--key", "admin1.key", "--yes", "--approve"]] {
        let arguments = [&["node", "reopen"], arguments, &["spoilt.toml"]].concat();
        cluster.fails(&arguments, 3, &named);
    }
    cluster.done(&approve("admin1.key"));
}

/// What is said of a server whose wormhole's key is gone.
fn lose_the_wormhole(cluster: &Cluster) {
    fs::remove_dir_all(cluster.path("s2/wormhole")).expect("ours");
    let check = cluster.run(&["node", "check", "--config", "s2/node.toml"]);
    assert!(check.exit == 4 && check.stdout.contains("REFUSED  wormhole"), "{check:?}");
    let card = cluster.run(&["node", "card", "--config", "s2/node.toml"]);
    assert!(card.exit == 4 && card.stderr.contains("there is no wormhole's key"), "{card:?}");
    assert!(check.stderr.contains("the server is lost for this cluster"), "{check:?}");
    // Another key does not help: the plan names the one that is gone.
    let init = ["node", "init", "--dir", "s9", "--name", "s9", "--peer-address", "127.0.0.1:1"];
    let model = ["--client-address", "127.0.0.1:2", "--fault-model", "hybrid"];
    cluster.done(&[&init[..], &model].concat());
    copy_dir(&cluster.path("s9/wormhole"), &cluster.path("s2/wormhole"));
    let check = cluster.run(&["node", "check", "--config", "s2/node.toml"]);
    assert!(check.exit == 9 && check.stdout.contains("not the plan's"), "{check:?}");
    assert!(check.stderr.contains("the server is lost for this cluster"), "{check:?}");
}

/// `node check` of a server that is to use a TPM says what a start would say.
fn check_tpm(cluster: &Cluster) {
    let node_file = cluster.path("s2/node.toml");
    let before = fs::read_to_string(&node_file).expect("it is there");
    let socket = std::env::temp_dir().join(format!("ravelin-tpm-{}", std::process::id()));
    let table = format!("[wormhole]\ntpm = \"{}\"", socket.display());
    let with_tpm = before.replace("[wormhole]", &table);
    assert_ne!(before, with_tpm);
    fs::write(&node_file, &with_tpm).expect("written");
    let check = ["node", "check", "--config", "s2/node.toml"];
    cluster.fails(&check, 1, "cannot use the wormhole's TPM");
    let listener = UnixListener::bind(&socket).expect("bound");
    cluster.fails(&check, 1, "no counter of a TPM was made");
    fs::write(cluster.path("s2/wormhole/anchor"), "").expect("written");
    let found = cluster.run(&check); // others may have its port
    assert!(found.stdout.contains("ok       wormhole's TPM: "), "{found:?}");
    drop(listener);
    cluster.fails(&check, 1, "cannot use the wormhole's TPM");
    fs::remove_file(&socket).expect("ours");
    fs::write(&node_file, before).expect("written");
}
