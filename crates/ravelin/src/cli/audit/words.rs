//! Operations of the audit log in words.

use ravelin_model::requests::auth::{AuthAction, AuthRequest};
use ravelin_model::requests::kv::KvRequest;
use ravelin_model::{AuditOutcome, AuditedOperation, Decode as _, Refusal, ServiceId};

use crate::cli::kv::bytes::Shown;

/// All refusals, but for numbers in them.
pub(super) const REFUSALS: [Refusal; 11] = [
    Refusal::UnknownClient,
    Refusal::UnknownSession,
    Refusal::Forgotten,
    Refusal::TooManySessions,
    Refusal::StaleOpening { last: 0 },
    Refusal::Malformed,
    Refusal::UnknownService,
    Refusal::TooLarge,
    Refusal::Halted,
    Refusal::TooMuchWork,
    Refusal::Unfit,
];

const SESSION_VERBS: [&str; 2] = ["session open", "session close"];
const SESSION_KINDS: [&str; 2] = ["opened", "closed"];
const AUTH_VERBS: [&str; 3] = ["auth change", "auth list", "auth whoami"];
const AUTH_KINDS: [&str; 9] = [
    "changed",
    "clients",
    "you",
    "not approved",
    "wrong serial",
    "wrong cluster",
    "exists",
    "not found",
    "invalid",
];
const KV_VERBS: [&str; 11] = [
    "kv get",
    "kv list",
    "kv write",
    "kv txn",
    "kv lease grant",
    "kv lease renew",
    "kv lease revoke",
    "kv lease show",
    "kv lock",
    "kv unlock",
    "kv lock show",
];
const KV_KINDS: [&str; 18] = [
    "entry",
    "absent",
    "entries",
    "written",
    "conflict",
    "transaction",
    "lease",
    "lease ended",
    "locked",
    "queued",
    "unlocked",
    "lock",
    "no lease",
    "not holder",
    "lease full",
    "queue full",
    "too large",
    "invalid",
];

/// The name of a refusal.
pub(super) fn refusal(refusal: Refusal) -> String {
    match refusal {
        Refusal::UnknownClient => "unknown_client",
        Refusal::UnknownSession => "unknown_session",
        Refusal::Forgotten => "forgotten",
        Refusal::TooManySessions => "too_many_sessions",
        Refusal::StaleOpening { .. } => "stale_opening", // never recorded
        Refusal::Malformed => "malformed",
        Refusal::UnknownService => "unknown_service",
        Refusal::TooLarge => "too_large",
        Refusal::Halted => "halted",
        Refusal::TooMuchWork => "too_much_work",
        Refusal::Unfit => "unfit",
    }
    .to_owned()
}

/// What was asked, as far as it is shown: with the request if there is one.
pub(super) fn what(operation: &AuditedOperation, request: &[u8]) -> String {
    let told = match operation.service {
        ServiceId::KV => KvRequest::decode("request", request).ok().map(|it| of_kv(&it)),
        ServiceId::AUTH => AuthRequest::decode("request", request).ok().and_then(|it| of_auth(&it)),
        _ => None,
    };
    told.unwrap_or_else(|| {
        let verbs: &[&str] = match operation.service {
            ServiceId::SESSION => &SESSION_VERBS,
            ServiceId::AUTH => &AUTH_VERBS,
            ServiceId::KV => &KV_VERBS,
            _ => &[],
        };
        let verb = verbs.get(usize::from(operation.verb)).map(|verb| (*verb).to_owned());
        verb.unwrap_or_else(|| format!("service {} verb {}", operation.service.0, operation.verb))
    })
}

fn of_kv(request: &KvRequest) -> String {
    match request {
        KvRequest::Get { key } => format!("kv get {}", Shown(key)),
        KvRequest::List { prefix, .. } => format!("kv list {}", Shown(prefix)),
        KvRequest::Write(write) => {
            let verb = if write.value.is_some() { "put" } else { "delete" };
            format!("kv {verb} {}", Shown(&write.key))
        }
        KvRequest::Transaction { then, otherwise, .. } => {
            format!("kv txn of {} or {} steps", then.len(), otherwise.len())
        }
        KvRequest::LeaseGrant { ttl_ms } => format!("kv lease grant {ttl_ms}ms"),
        KvRequest::LeaseRenew { lease } => format!("kv lease renew {}", lease.0),
        KvRequest::LeaseRevoke { lease } => format!("kv lease revoke {}", lease.0),
        KvRequest::LeaseShow { lease } => format!("kv lease show {}", lease.0),
        KvRequest::Lock { name, lease } => format!("kv lock {} --lease {}", Shown(name), lease.0),
        KvRequest::Unlock { name, lease } => {
            format!("kv unlock {} --lease {}", Shown(name), lease.0)
        }
        KvRequest::LockShow { name } => format!("kv lock show {}", Shown(name)),
    }
}

fn of_auth(request: &AuthRequest) -> Option<String> {
    let AuthRequest::Change { order, .. } = request else { return None };
    Some(match &order.action {
        AuthAction::Enroll { name, key } => format!("auth enroll {} {key}", Shown(name.as_bytes())),
        AuthAction::Revoke { name } => format!("auth revoke {}", Shown(name.as_bytes())),
        AuthAction::Rekey { member, block } => format!("auth rekey {member} --block {block}"),
    })
}

/// What came of it.
pub(super) fn outcome(operation: &AuditedOperation) -> String {
    let kind = match operation.outcome {
        AuditOutcome::Refused(refused) => {
            return format!("refused: {}", refusal(refused).replace('_', " "));
        }
        AuditOutcome::Done { kind, .. } => kind,
    };
    let kinds: &[&str] = match operation.service {
        ServiceId::SESSION => &SESSION_KINDS,
        ServiceId::AUTH => &AUTH_KINDS,
        ServiceId::KV => &KV_KINDS,
        _ => &[],
    };
    kinds.get(usize::from(kind)).map_or_else(|| format!("done: {kind}"), |kind| (*kind).to_owned())
}
