//! One question to a server whose key is not known yet, and the key that it turned out to hold.
//!
//! **Guarantee:** the answer came from the holder of the key that is returned with it, and cost no
//! more memory and time than was allowed. Not guaranteed: that the key is anybody's in particular;
//! the caller must judge the answer by what it says, and the key by the answer.

use std::sync::Arc;
use std::time::Duration;

use ravelin_model::PublicKey;
use tokio::time::{Instant, timeout_at};

use super::connect::dial;
use super::frame::{FrameReader, Patience, write_frames};
use super::identity::{Accepted, dialer_config, key_of_other_end};
use super::{ALPN_CLIENT, ChannelLimits, TransportKey};

/// What a stranger answered.
#[derive(Debug)]
pub struct Answer {
    /// The key that the stranger proved to hold.
    pub server_key: PublicKey,
    /// The first message that it sent.
    pub bytes: Vec<u8>,
}

/// Connects to `address` (`host:port`), sends `question` and waits for one message, all within
/// `patience`. `own`: the key to be known by; anybody may ask.
///
/// # Errors
/// [`AskError`]; another server, or a later attempt, may do better.
pub async fn ask(
    own: &TransportKey,
    address: &str,
    question: &[u8],
    patience: Duration,
) -> Result<Answer, AskError> {
    let until = Instant::now() + patience;
    let tls = dialer_config(own, Accepted::AnyKey, ALPN_CLIENT);
    let mut stream = dial(address, &tls, patience)
        .await
        .map_err(|error| AskError::NoConnection { source: Box::new(error) })?;
    let server_key = key_of_other_end(stream.get_ref().1).ok_or(AskError::NoKey)?;
    let exchange = async {
        write_frames(&mut stream, &[Arc::from(question)])
            .await
            .map_err(|error| AskError::NoAnswer { source: Box::new(error) })?;
        let waiting = Patience { silence_max: patience, message_by: Some(until) };
        let mut reader = FrameReader::new(stream, ChannelLimits::LINK.received_bytes_max);
        let no_answer = |error| AskError::NoAnswer { source: Box::new(error) };
        loop {
            if let Some(length) = reader.length(waiting).await.map_err(no_answer)? {
                return reader.message(length, waiting).await.map_err(no_answer);
            }
        }
    };
    let bytes = timeout_at(until, exchange).await.unwrap_or(Err(AskError::Late))?;
    Ok(Answer { server_key, bytes })
}

/// Why a stranger gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// There is no such server, or it speaks another protocol.
    #[error("cannot connect")]
    NoConnection {
        /// What went wrong.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It showed no key.
    #[error("the other end shows no Ed25519 key")]
    NoKey,
    /// It ended the connection, or sent something that is no message.
    #[error("the other end does not answer")]
    NoAnswer {
        /// What went wrong.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The answer took too long.
    #[error("the other end takes too long")]
    Late,
}
