//! Why a command got no result: in words, and as an exit code.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use ravelin_model::{Group, PublicKey, Refusal, ReplicaId};

use super::{Client, Failure};
use crate::connection::CallError;
use crate::exit::{Error, Exit, Result};
use crate::reopening;

/// How long servers have to say how they are, when they gave no other answer.
const DIAGNOSIS_MAX: Duration = Duration::from_secs(2);

impl Client {
    /// The result, or why there is none.
    pub(super) async fn explained<T>(&self, outcome: Result<T, Failure>) -> Result<T> {
        match outcome {
            Ok(result) => Ok(result),
            Err(failure) => Err(self.explain(failure).await),
        }
    }

    async fn explain(&self, failure: Failure) -> Error {
        let call = match failure {
            Failure::Late => return self.silence(self.timeout()).await,
            Failure::Call(call) => call,
        };
        match call {
            CallError::Refused(refusal) => refused(refusal, self.public),
            CallError::Misuse(misuse) => {
                Error::caused(Exit::Usage, misuse, "send less at once").context("cannot ask")
            }
            CallError::NotProven => self.unproven(),
            CallError::Unanswered => match self.connection.lost() {
                Some(refusal) => refused(refusal, self.public),
                None => Error::caused(Exit::Failed, call, "look whether it was done, then repeat"),
            },
            CallError::NoSession => self.silence(self.timeout()).await,
        }
    }

    /// No server could prove an entry.
    fn unproven(&self) -> Error {
        let liars = self.liars();
        if liars.is_empty() {
            let cause = "no server has a state yet that a quorum signed";
            return Error::new(Exit::NoQuorum, cause, "try again soon, or without --stale-ok");
        }
        let cause = format!("no server showed a proof that holds; wrong ones came from {liars:?}");
        Error::new(Exit::VerificationFailed, cause, "read without --stale-ok, by a quorum's word")
    }

    /// Too few servers answered alike for as long as we `waited`: what can be said about it.
    pub(crate) async fn silence(&self, waited: Duration) -> Error {
        let asked = tokio::time::timeout(DIAGNOSIS_MAX, self.connection.status()).await;
        let reports = asked.ok().and_then(Result::ok).unwrap_or_default();
        let halted = reports.values().filter(|report| report.state == "fail_safe").count();
        if halted >= self.group.one_correct() {
            let cause = format!("{halted} of {} servers halted", self.group.size());
            return halted_error(cause);
        }
        let (liars, tolerated) = (self.liars(), self.group.faults());
        if liars.len() > tolerated {
            let cause = format!(
                "no answer can be verified: {} servers contradict the others, {tolerated} are \
                 tolerated",
                liars.len()
            );
            let hint = "believe nothing from this cluster until its administrators looked at it";
            return Error::new(Exit::VerificationFailed, cause, hint);
        }
        let cause = no_quorum(self.group, reports.len());
        let cause = format!("no quorum within {waited:?}: {cause}");
        let hint = after_silence(self.session.initialized());
        let learner_count = reports.values().filter(|report| report.state == "learner").count();
        let model = self.plan().plan.fault_model.name();
        if reopening::is_needed(model, learner_count, tolerated) {
            return Error::new(Exit::NoQuorum, cause, format!("{hint}; {}", reopening::ADVICE));
        }
        Error::new(Exit::NoQuorum, cause, hint)
    }

    /// Servers that told or did what no correct one does.
    fn liars(&self) -> BTreeSet<ReplicaId> {
        let accused = self.connection.accused().into_iter().map(|(server, _)| server);
        accused.chain(self.connection.contradicted()).collect()
    }
}

/// What to do about a silent cluster: without a session nothing was sent that could change anything.
fn after_silence(has_session: bool) -> &'static str {
    if has_session {
        "a change that was sent may still take effect: read first, and only then try again, for the \
         same command is a new change; `ravelin status` shows the servers"
    } else {
        "nothing was changed; `ravelin status` shows the servers; --timeout waits longer"
    }
}

/// Why nothing was agreed on while `connected` servers at least say how they are.
fn no_quorum(group: Group, connected: usize) -> String {
    let (size, needed) = (group.size(), group.quorum());
    if connected < needed {
        return format!(
            "{connected} of {size} servers answer, {needed} must agree: {} silent, {} tolerated",
            size - connected,
            group.faults()
        );
    }
    format!("{connected} of {size} servers are connected, but fewer than {needed} answered alike")
}

/// The cluster will not do it.
pub(crate) fn refused(refusal: Refusal, own: PublicKey) -> Error {
    let version = "client and servers are of different versions: see `ravelin version`";
    let (exit, cause, hint) = match refusal {
        Refusal::UnknownClient => {
            let hint = format!(
                "ask an administrator: ravelin auth enroll NAME {own} --key ADMINISTRATOR.key"
            );
            return Error::new(Exit::Denied, "the cluster does not know this client's key", hint);
        }
        Refusal::Halted => return halted_error("the servers halted".to_owned()),
        Refusal::UnknownSession | Refusal::Forgotten => (
            Exit::Failed,
            "the cluster ended this session; whether the request was executed is not known",
            "look whether it was done, then repeat",
        ),
        Refusal::TooManySessions => (
            Exit::Conflict,
            "this key has as many sessions open as it may",
            "wait for other commands with this key; those that were killed count for an hour",
        ),
        Refusal::StaleOpening { .. } => (
            Exit::Conflict,
            "another session was opened with this key at the same time",
            "try again; check this host's clock if that does not help",
        ),
        Refusal::TooLarge => (Exit::Usage, "the reply would be too large", "ask for less at once"),
        Refusal::TooMuchWork => (
            Exit::Usage,
            "what was sent with it took as much work as one envelope may cause",
            "send it again by itself",
        ),
        Refusal::Unfit => (
            Exit::Conflict,
            "the change does not fit the servers in force: there is no such one, the key is in use, \
             or another change ended the epoch just before",
            "`ravelin node check` on the server prints its next block key; then try again",
        ),
        Refusal::Malformed => (Exit::Failed, "the servers do not understand the request", version),
        Refusal::UnknownService => (Exit::Failed, "the servers lack this service", version),
    };
    Error::new(exit, cause, hint)
}

/// A reply that enough servers gave alike, and that means nothing here.
pub(crate) fn senseless(what: impl fmt::Display) -> Error {
    let hint = "client and servers may be of different versions: see `ravelin version`";
    Error::new(Exit::VerificationFailed, format!("the reply makes no sense: {what}"), hint)
}

fn halted_error(cause: String) -> Error {
    let hint = "they saw what cannot happen within f intrusions; administrators must judge: \
                `ravelin status` shows what is known, `ravelin node release` lets them go on";
    Error::new(Exit::FailSafe, format!("fail-safe stop: {cause}"), hint)
}

#[cfg(test)]
mod tests {
    use ravelin_model::FaultModel;

    use super::*;

    #[test]
    fn whether_a_change_may_take_effect_depends_on_whether_one_was_sent() {
        assert!(after_silence(true).contains("may still take effect: read first"));
        assert!(after_silence(true).contains("the same command is a new change"));
        assert!(after_silence(false).starts_with("nothing was changed"));
    }

    #[test]
    fn connected_servers_and_those_that_agree_are_told_apart() {
        let group = Group::new(4, 1, FaultModel::Arbitrary).expect("sound");
        let silent = "2 of 4 servers answer, 3 must agree: 2 silent, 1 tolerated";
        assert_eq!(no_quorum(group, 2), silent);
        let connected = "3 of 4 servers are connected, but fewer than 3 answered alike";
        assert_eq!(no_quorum(group, 3), connected);
    }
}
