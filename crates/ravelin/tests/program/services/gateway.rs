//! `ravelin gateway http` against a real cluster, asked by somebody who speaks HTTP only.

mod access;
mod document;
mod faults;
mod hostile;
mod http;
mod requests;
mod tokens;
mod watches;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ChildStderr};
use std::sync::{Mutex, PoisonError};

use self::document::Document;
use self::http::Asker;
use crate::services::cluster::Cluster;

/// A gateway that runs; it ends with this.
struct Gateway {
    child: Child,
    address: String,
    said: RefCell<BufReader<ChildStderr>>,
    document: Document,
}

impl Gateway {
    /// Starts one with the tokens in `tokens.toml`.
    fn start(cluster: &Cluster, more: &[&str]) -> Self {
        let listen = ["--listen", "127.0.0.1:0"];
        let listen = if more.contains(&"--listen") { &[][..] } else { &listen };
        let arguments = [&["gateway", "http", "--tokens", "tokens.toml"], listen, more].concat();
        let mut child = cluster.command(&arguments).spawn().expect("started");
        let mut url = String::new();
        let mut printed = BufReader::new(child.stdout.take().expect("piped"));
        printed.read_line(&mut url).expect("text");
        let mut said = BufReader::new(child.stderr.take().expect("piped"));
        let Some((_, address)) = url.trim().split_once("://") else {
            let lines: Vec<_> = said.by_ref().lines().map_while(Result::ok).collect();
            panic!("no gateway: {lines:?}");
        };
        let (address, said) = (address.to_owned(), RefCell::new(said));
        Self { child, address, said, document: Document::committed() }
    }

    /// Somebody with this token.
    fn asker(&self, token: &str) -> Asker<'_> {
        let token = Some(token.trim().to_owned());
        let (address, answered) = (self.address.clone(), Mutex::new(BTreeSet::new()));
        Asker { address, token, document: &self.document, answered }
    }

    /// Somebody without one.
    fn stranger(&self) -> Asker<'_> {
        Asker { token: None, ..self.asker("") }
    }

    /// Waits until this is said.
    fn hears(&self, what: &str) {
        let mut said = self.said.borrow_mut();
        let mut lines = said.by_ref().lines().map(|line| line.expect("text"));
        assert!(lines.any(|line| line.contains(what)), "never said: {what}");
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Makes a token for a key.
fn token(cluster: &Cluster, name: &str, key: &str) -> String {
    let add = ["gateway", "token", "add", name, "--tokens", "tokens.toml", "--key", key];
    cluster.done(&add).trim().to_owned()
}

/// Lets another client in, and makes a token for it.
fn another(cluster: &Cluster, name: &str) -> String {
    let file = format!("{name}.key");
    let key = cluster.done(&["auth", "keygen", "--out", &file]);
    cluster.done(&["auth", "enroll", name, key.trim(), "--key", "admin0.key"]);
    token(cluster, name, &file)
}

/// What was answered with success.
fn answered(asker: &Asker<'_>) -> BTreeSet<String> {
    asker.answered.lock().unwrap_or_else(PoisonError::into_inner).clone()
}
