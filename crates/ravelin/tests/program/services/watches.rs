//! Watches end when nothing can come any more, and not before.

use std::io::{BufRead as _, BufReader, Lines};
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use crate::services::cluster::{Cluster, finish};

/// A `kv watch` that has begun.
struct Watch {
    child: Child,
    said: Lines<BufReader<ChildStderr>>,
    changes: Lines<BufReader<ChildStdout>>,
}

impl Watch {
    fn begin(cluster: &Cluster, more: &[&str]) -> Self {
        let wanted = cluster.command(&[&["kv", "watch"], more].concat());
        // One that never ends must fail, not hang.
        let mut command = Command::new("timeout");
        command.arg("150").arg(wanted.get_program()).args(wanted.get_args()).env_clear();
        command.envs(wanted.get_envs().filter_map(|(key, value)| Some((key, value?))));
        command.current_dir(wanted.get_current_dir().expect("given"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("started");
        let said = BufReader::new(child.stderr.take().expect("piped")).lines();
        let changes = BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut watch = Self { child, said, changes };
        watch.hears("watching from position");
        watch
    }

    /// Waits until this is said.
    fn hears(&mut self, what: &str) {
        let mut lines = self.said.by_ref().map(|line| line.expect("text"));
        assert!(lines.any(|line| line.contains(what)), "never said: {what}");
    }

    fn change(&mut self) -> String {
        self.changes.next().expect("a change").expect("text")
    }

    /// Waits for its end, and compares exit code and cause.
    fn ends(mut self, exit: i32, cause: &str) {
        self.hears(cause);
        assert_eq!(finish(self.child).exit, exit);
    }
}

#[test]
fn watches_outlive_restarts_and_end_when_nothing_can_come() {
    let mut cluster = Cluster::start("watches", 1);
    let mut watch = Watch::begin(&cluster, &["w/"]);
    let ends_late = Watch::begin(&cluster, &["--timeout", "6s"]);
    let shut_out = {
        let key = cluster.done(&["auth", "keygen", "--out", "bob.key"]);
        cluster.done(&["auth", "enroll", "bob", key.trim(), "--key", "admin0.key"]);
        cluster.done(&["trust", "add", "bobs", "--plan", "plan.toml", "--key", "bob.key"]);
        Watch::begin(&cluster, &["--context", "bobs"])
    };
    cluster.done(&["auth", "revoke", "bob", "--key", "admin0.key"]);
    shut_out.ends(3, "does not know this client");

    // One after the other, while only keys change that the watch has nothing to do with.
    for id in 0..4 {
        cluster.kill(id);
        watch.hears(&format!("server {id} is lost: 3 of 4 connected"));
        cluster.done(&["kv", "put", "elsewhere", "1"]);
        cluster.restart(id);
        watch.hears(&format!("server {id} is back: 4 of 4 connected"));
        cluster.done(&["kv", "put", "elsewhere", "2"]);
        until_all_serve(&cluster);
    }
    cluster.done(&["kv", "put", "w/1", "after"]);
    assert_eq!(watch.change(), "put\tw/1\tafter");

    cluster.done(&["kv", "put", "elsewhere", "3"]);
    (0..4).for_each(|id| cluster.stop(id));
    ends_late.ends(5, "no quorum within 6s: 0 of 4 servers answer");
    (0..4).for_each(|id| cluster.restart(id));
    watch.ends(9, "are forgotten");
}

fn until_all_serve(cluster: &Cluster) {
    let until = Instant::now() + Duration::from_secs(60);
    while cluster.run(&["status"]).exit != 0 {
        assert!(Instant::now() < until, "a restarted server does not serve");
    }
}
