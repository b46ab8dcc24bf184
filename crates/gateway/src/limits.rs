//! Every limit and default of gateways. `docs/limits.md` gives reasons, and what happens at each.

use std::time::Duration;

/// Proofs and suspicions against servers that one connection to a cluster keeps.
pub const ACCUSATIONS_MAX: usize = 1024;
/// Bytes of changes that wait for the reader of one watch.
pub const WATCH_QUEUE_BYTES_MAX: usize = 8 << 20;

/// Tokens of a gateway: each has links to all servers once it is used.
pub const TOKENS_MAX: usize = 256;
/// Connections at once on which no known token was shown yet.
pub const STRANGERS_MAX: usize = 192;
/// Of them, from one address (of IPv6, one /64); from this host as many as there may be.
pub const STRANGERS_PER_ADDRESS_MAX: usize = 64;
/// Connections at once on which one was.
pub const ACQUAINTED_MAX: usize = 320;
/// Bytes of a request's path that its observer is told.
pub const OBSERVED_PATH_BYTES_MAX: usize = 2 << 10;
/// Bytes of a request's method that its observer is told.
pub const OBSERVED_METHOD_BYTES_MAX: usize = 32;
/// Bytes of a request's line and header.
pub const HEAD_BYTES_MAX: usize = 16 << 10;
/// Fields of a request's header.
pub const HEAD_FIELDS_MAX: usize = 64;
/// How long a request's header, or the next request of a connection, is waited for.
pub const HEAD_WAIT_MAX: Duration = Duration::from_secs(10);
/// How long a TLS handshake may take.
pub const HANDSHAKE_WAIT_MAX: Duration = Duration::from_secs(10);
/// Bytes of a request's body.
pub const BODY_BYTES_MAX: usize = 2 << 20;
/// How long a request's body may take to arrive.
pub const BODY_WAIT_MAX: Duration = Duration::from_secs(15);
/// How long a client may take none of what is sent to it.
pub const STALL_MAX: Duration = Duration::from_secs(30);
/// Requests of one token at once, streams that have begun apart.
pub const REQUESTS_PER_TOKEN_MAX: usize = 32;
/// Streams of changes of one token at once; as many watches as one session can have.
pub const STREAMS_PER_TOKEN_MAX: usize = 16;
/// Pause between two signs of life in a stream of changes, and between two looks whether the cluster
/// still serves the token.
pub const STREAM_HEARTBEAT: Duration = Duration::from_secs(5);
/// How long a stream's first news is waited for, so that one that cannot begin is refused in full.
pub const FIRST_NEWS_WAIT_MAX: Duration = Duration::from_millis(250);
/// After so long without use a session is replaced, well before the cluster would end it.
pub const SESSION_RENEW_AFTER: Duration = Duration::from_secs(20 * 60);
/// Pause between two looks whether the cluster serves.
pub const READY_LOOK_EVERY: Duration = Duration::from_secs(2);
/// How long such a look may take.
pub const READY_LOOK_MAX: Duration = Duration::from_secs(2);
/// What busy clients are told to wait.
pub const RETRY_AFTER: Duration = Duration::from_secs(1);
/// How long servers have to say how they are, when they gave no other answer.
pub const DIAGNOSIS_MAX: Duration = Duration::from_secs(2);
/// How long servers are waited for after the first one told how it is.
pub const STATUS_WAIT_MAX: Duration = Duration::from_millis(1500);
/// How long requests under way have, once the gateway is told to stop.
pub const STOP_WAIT_MAX: Duration = Duration::from_secs(5);
