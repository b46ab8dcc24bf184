//! Why a request was not carried out, in the form of RFC 9457.
//!
//! **Guarantee:** codes and their types are stable: a client may act on them. Each corresponds to an
//! exit code of the command line.
//!
//! # Source
//! RFC 9457, *Problem Details for HTTP APIs*.

use std::time::Duration;

use hyper::StatusCode;
use ravelin_model::{PublicKey, Refusal};
use serde_json::{Map, Value, json};

use crate::limits::RETRY_AFTER;

/// Where the types of problems are explained.
const TYPES: &str = "https://github.com/ravelin/ravelin/blob/main/docs/guide/gateway.md#";

/// What kind of problem it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// The request makes no sense.
    InvalidRequest,
    /// No token, or one that is not known.
    Unauthenticated,
    /// The cluster does not let this token's client do it.
    Denied,
    /// There is no such thing.
    NotFound,
    /// What is there cannot be treated so.
    MethodNotAllowed,
    /// The request's body did not arrive in time.
    RequestTimeout,
    /// What is there does not permit it.
    Conflict,
    /// The changes asked for are forgotten.
    Gone,
    /// `If-Match` or `If-None-Match` does not hold.
    ConditionFailed,
    /// More than fits.
    TooLarge,
    /// A body of a kind that is not understood here.
    UnsupportedMediaType,
    /// Too much at once.
    Busy,
    /// A failure of the gateway or of its versions.
    Failed,
    /// Answers that cannot be verified.
    VerificationFailed,
    /// Too few servers answer.
    NoQuorum,
    /// A change was sent, and it is not known whether it was made.
    OutcomeUnknown,
    /// The servers halted.
    FailSafe,
}

impl Code {
    /// All of them.
    pub const ALL: [Self; 17] = [
        Self::InvalidRequest,
        Self::Unauthenticated,
        Self::Denied,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::RequestTimeout,
        Self::Conflict,
        Self::Gone,
        Self::ConditionFailed,
        Self::TooLarge,
        Self::UnsupportedMediaType,
        Self::Busy,
        Self::Failed,
        Self::VerificationFailed,
        Self::NoQuorum,
        Self::OutcomeUnknown,
        Self::FailSafe,
    ];

    /// Its name, its status, and the exit code of the command line that says the same.
    fn row(self) -> (&'static str, u16, u8) {
        match self {
            Self::InvalidRequest => ("invalid_request", 400, 2),
            Self::Unauthenticated => ("unauthenticated", 401, 3),
            Self::Denied => ("denied", 403, 3),
            Self::NotFound => ("not_found", 404, 4),
            Self::MethodNotAllowed => ("method_not_allowed", 405, 2),
            Self::RequestTimeout => ("request_timeout", 408, 2),
            Self::Conflict => ("conflict", 409, 9),
            Self::Gone => ("gone", 410, 9),
            Self::ConditionFailed => ("condition_failed", 412, 9),
            Self::TooLarge => ("too_large", 413, 2),
            Self::UnsupportedMediaType => ("unsupported_media_type", 415, 2),
            Self::Busy => ("busy", 429, 5),
            Self::Failed => ("failed", 500, 1),
            Self::VerificationFailed => ("verification_failed", 502, 6),
            Self::NoQuorum => ("no_quorum", 503, 5),
            Self::OutcomeUnknown => ("outcome_unknown", 503, 1),
            Self::FailSafe => ("fail_safe", 503, 8),
        }
    }

    /// What clients call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().0
    }

    /// Its status.
    #[must_use]
    pub fn status(self) -> StatusCode {
        StatusCode::from_u16(self.row().1).expect("the table has three digits in each row")
    }

    /// The exit code with which the command line says the same.
    #[must_use]
    pub fn exit(self) -> u8 {
        self.row().2
    }

    fn title(self) -> &'static str {
        match self {
            Self::InvalidRequest => "the request makes no sense",
            Self::Unauthenticated => "a known token is needed",
            Self::Denied => "denied",
            Self::NotFound => "not found",
            Self::MethodNotAllowed => "this method does not apply here",
            Self::RequestTimeout => "the request took too long to arrive",
            Self::Conflict => "conflict with what is there",
            Self::Gone => "these changes are forgotten",
            Self::ConditionFailed => "the condition does not hold",
            Self::TooLarge => "more than fits",
            Self::UnsupportedMediaType => "this kind of body is not understood here",
            Self::Busy => "too much at once",
            Self::Failed => "failed",
            Self::VerificationFailed => "the servers' answers cannot be verified",
            Self::NoQuorum => "no quorum of servers reachable",
            Self::OutcomeUnknown => "it is not known whether the change was made",
            Self::FailSafe => "the servers halted: fail-safe stop",
        }
    }
}

/// Why a request was not carried out, and what to try.
#[derive(Clone, Debug)]
pub struct Problem {
    code: Code,
    detail: String,
    hint: String,
    /// Whether a change was sent that may still be made.
    may_take_effect: bool,
    more: Map<String, Value>,
    headers: Vec<(&'static str, String)>,
}

impl Problem {
    /// `detail`: what happened here; `hint`: what to try.
    pub fn new(code: Code, detail: impl Into<String>, hint: impl Into<String>) -> Self {
        let (detail, hint) = (detail.into(), hint.into());
        let (may_take_effect, more, headers) = (false, Map::new(), Vec::new());
        let problem = Self { code, detail, hint, may_take_effect, more, headers };
        match code {
            Code::Busy | Code::NoQuorum => problem.header("retry-after", seconds(RETRY_AFTER)),
            Code::Unauthenticated => problem.header("www-authenticate", "Bearer".to_owned()),
            _ => problem,
        }
    }

    /// A request that makes no sense.
    pub fn invalid(detail: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(Code::InvalidRequest, detail, hint)
    }

    /// A reply on which enough servers agree, and that means nothing here.
    pub(crate) fn senseless(what: impl std::fmt::Debug) -> Self {
        let detail = format!("the reply makes no sense: {what:?}");
        Self::new(Code::VerificationFailed, detail, "gateway and servers may differ in version")
    }

    /// Says whether a change was sent that may still be made.
    #[must_use]
    pub(crate) fn may_take_effect(self, may: bool) -> Self {
        Self { may_take_effect: may, ..self }
    }

    /// Adds a member to the body.
    #[must_use]
    pub(crate) fn with(mut self, name: &str, value: Value) -> Self {
        self.more.insert(name.to_owned(), value);
        self
    }

    /// Adds a field to the header.
    #[must_use]
    pub(crate) fn header(mut self, name: &'static str, value: String) -> Self {
        self.headers.push((name, value));
        self
    }

    /// What kind it is.
    #[must_use]
    pub fn code(&self) -> Code {
        self.code
    }

    /// What happened, in words.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// The fields that its response has.
    pub(crate) fn headers(&self) -> &[(&'static str, String)] {
        &self.headers
    }

    /// The body of its response, as `application/problem+json`.
    #[must_use]
    pub fn json(&self) -> Value {
        let mut body = json!({
            "type": format!("{TYPES}{}", self.code.name()),
            "title": self.code.title(),
            "status": self.code.status().as_u16(),
            "code": self.code.name(),
            "detail": self.detail,
            "hint": self.hint,
        });
        if let Value::Object(members) = &mut body {
            if self.may_take_effect {
                members.insert("may_take_effect".to_owned(), true.into());
            }
            members.extend(self.more.clone());
        }
        body
    }

    /// The cluster will not do it.
    pub(crate) fn refused(refusal: Refusal, own: PublicKey) -> Self {
        let version = "gateway and servers may differ in version";
        let (code, detail, hint) = match refusal {
            Refusal::UnknownClient => {
                let hint = format!(
                    "ask an administrator: ravelin auth enroll NAME {own} --key ADMINISTRATOR.key"
                );
                let detail = "the cluster does not know the key that this token stands for";
                return Self::new(Code::Denied, detail, hint);
            }
            Refusal::Halted => return Self::halted("the servers halted".to_owned()),
            Refusal::UnknownSession | Refusal::Forgotten => {
                return Self::new(
                    Code::OutcomeUnknown,
                    "the cluster ended this session",
                    "look whether it was done, then repeat",
                )
                .may_take_effect(true);
            }
            Refusal::TooManySessions => (
                Code::Conflict,
                "this token's key has as many sessions open as it may",
                "wait for other programs with this key; those that were killed count for an hour",
            ),
            Refusal::StaleOpening { .. } => (
                Code::Conflict,
                "another session was opened with this key at the same time",
                "try again; give each gateway a key of its own",
            ),
            Refusal::TooLarge => {
                (Code::TooLarge, "the reply would be too large", "ask for less at once")
            }
            Refusal::TooMuchWork => (
                Code::Busy,
                "what was sent with it took as much work as one envelope may cause",
                "send it again by itself",
            ),
            Refusal::Unfit => (
                Code::Conflict,
                "the change does not fit the servers in force",
                "look, and try anew",
            ),
            Refusal::Malformed => {
                (Code::Failed, "the servers do not understand the request", version)
            }
            Refusal::UnknownService => (Code::Failed, "the servers lack this service", version),
        };
        Self::new(code, detail, hint)
    }

    /// The servers saw what cannot happen.
    pub(crate) fn halted(detail: String) -> Self {
        let hint = "they saw what cannot happen within f intrusions; administrators must judge: \
                    `ravelin status` shows what is known";
        Self::new(Code::FailSafe, detail, hint)
    }
}

fn seconds(span: Duration) -> String {
    span.as_secs().max(1).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_distinct_and_errors() {
        for (index, code) in Code::ALL.iter().enumerate() {
            assert!(code.status().is_client_error() || code.status().is_server_error());
            assert_ne!(code.exit(), 0);
            for other in Code::ALL.iter().skip(index + 1) {
                assert_ne!(code.name(), other.name());
            }
        }
    }

    #[test]
    fn a_problem_has_the_form_of_the_standard() {
        let problem = Problem::new(Code::NoQuorum, "2 of 4", "wait").may_take_effect(true);
        let json = problem.with("x", 1.into()).json();
        assert_eq!(
            json,
            json!({
                "type": "https://github.com/ravelin/ravelin/blob/main/docs/guide/gateway.md#no_quorum",
                "title": "no quorum of servers reachable",
                "status": 503,
                "code": "no_quorum",
                "detail": "2 of 4",
                "hint": "wait",
                "may_take_effect": true,
                "x": 1,
            })
        );
    }

    #[test]
    fn who_is_to_come_back_is_told_when() {
        for code in Code::ALL {
            let problem = Problem::new(code, "", "");
            let has = |name| problem.headers().iter().any(|(known, _)| *known == name);
            assert_eq!(has("retry-after"), matches!(code, Code::Busy | Code::NoQuorum));
            assert_eq!(has("www-authenticate"), code == Code::Unauthenticated);
        }
    }
}
