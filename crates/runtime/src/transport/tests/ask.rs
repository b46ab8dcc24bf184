//! Asking a server whose key is not known.

use std::time::Duration;

use tokio::io::AsyncWriteExt;

use super::{TIMING, key, listen, message, soon};
use crate::transport::ask::{AskError, ask};
use crate::transport::clients::{ClientConfig, ClientEvent, ClientLimits, ClientListener};

const PATIENCE: Duration = Duration::from_secs(10);
const SHORT: Duration = Duration::from_millis(200);

#[tokio::test]
async fn answer_comes_with_the_key_of_who_gave_it() {
    let (listener, address) = listen().await;
    let limits = ClientLimits::default();
    let config = ClientConfig { key: key(7), listener, limits, timing: TIMING };
    let (listener, mut events) = ClientListener::start(config);
    let serving = tokio::spawn(async move {
        while let Some(event) = events.recv().await {
            if let ClientEvent::Frame { connection, bytes } = event {
                assert_eq!(*bytes, *b"who are you");
                listener.send(connection, message(6, 100_000));
            }
        }
    });
    let address = address.to_string();
    let answer = soon(ask(&key(1), &address, b"who are you", PATIENCE)).await.unwrap();
    assert_eq!((answer.server_key, answer.bytes), (key(7).public_key(), vec![6; 100_000]));
    serving.abort();
}

#[tokio::test]
async fn server_that_says_nothing_costs_no_more_than_the_patience() {
    let (listener, address) = listen().await;
    let limits = ClientLimits::default();
    let config = ClientConfig { key: key(7), listener, limits, timing: TIMING };
    let (_listener, mut events) = ClientListener::start(config);
    let address = address.to_string();
    // Keepalives come all the time: they are no answer.
    let outcome = soon(ask(&key(1), &address, b"anybody there", SHORT)).await;
    assert!(matches!(outcome, Err(AskError::Late | AskError::NoAnswer { .. })), "{outcome:?}");
    assert!(matches!(soon(events.recv()).await, Some(ClientEvent::Opened { .. })));
}

#[tokio::test]
async fn who_speaks_no_tls_or_is_not_there_gives_no_answer() {
    let (listener, address) = listen().await;
    let address = address.to_string();
    let babbling = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.0 400 Bad Request\r\n\r\n").await.unwrap();
        listener
    });
    let outcome = soon(ask(&key(1), &address, b"anybody there", PATIENCE)).await;
    assert!(matches!(outcome, Err(AskError::NoConnection { .. })), "{outcome:?}");
    drop(babbling.await.unwrap());
    let outcome = soon(ask(&key(1), &address, b"anybody there", PATIENCE)).await;
    assert!(matches!(outcome, Err(AskError::NoConnection { .. })), "{outcome:?}");
}
