//! Several changes as one step.

use ravelin_model::limits::{TRANSACTION_CONDITIONS_MAX, TRANSACTION_STEPS_MAX};
use ravelin_model::requests::kv::{
    Condition, KvReply, KvRequest, LeaseId, Step, StepResult, Token,
};
use ravelin_model::{Position, ServiceId};
use serde::{Deserialize, Serialize};

use super::answer::Answer;
use super::kv::check_value;
use super::request::{Asked, check_key};
use super::shapes::{EntryShape, refused};
use super::spelling::Base64;
use crate::customer::Customer;
use crate::problem::{Code, Problem};

/// What is asked for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asking {
    #[serde(default, rename = "if")]
    conditions: Vec<ConditionShape>,
    then: Vec<StepShape>,
    #[serde(default, rename = "else")]
    otherwise: Vec<StepShape>,
}

/// A key with what must hold of it: one of these.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConditionShape {
    key: Option<String>,
    key_base64: Option<Base64>,
    present: Option<bool>,
    value_base64: Option<Base64>,
    changed: Option<u64>,
    locked_with: Option<u64>,
}

/// One step.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StepShape {
    step: Verb,
    key: Option<String>,
    key_base64: Option<Base64>,
    value_base64: Option<Base64>,
    lease: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Verb {
    Get,
    Put,
    Delete,
}

impl ConditionShape {
    fn read(self) -> Result<(Vec<u8>, Condition), Problem> {
        let key = key(self.key, self.key_base64)?;
        let condition = match (self.present, self.value_base64, self.changed, self.locked_with) {
            (Some(true), None, None, None) => Condition::Present,
            (Some(false), None, None, None) => Condition::Absent,
            (None, Some(value), None, None) => {
                check_value(&value.0)?;
                Condition::ValueIs(value.0)
            }
            (None, None, Some(changed), None) => Condition::ChangedAt(Position(changed)),
            (None, None, None, Some(token)) => Condition::LockedWith(Token(token)),
            _ => {
                let detail = "a condition says not one thing of its key";
                let hint = "one of present, value_base64, changed and locked_with";
                return Err(Problem::invalid(detail, hint));
            }
        };
        Ok((key, condition))
    }
}

impl StepShape {
    fn read(self) -> Result<Step, Problem> {
        let key = key(self.key, self.key_base64)?;
        match (self.step, self.value_base64, self.lease) {
            (Verb::Get, None, None) => Ok(Step::Get(key)),
            (Verb::Delete, None, None) => Ok(Step::Delete(key)),
            (Verb::Put, Some(value), lease) => {
                check_value(&value.0)?;
                Ok(Step::Put { key, value: value.0, lease: lease.map(LeaseId) })
            }
            _ => {
                let detail = "a step has too little or too much";
                let hint = "put has value_base64 and perhaps lease; get and delete have neither";
                Err(Problem::invalid(detail, hint))
            }
        }
    }
}

fn key(text: Option<String>, base64: Option<Base64>) -> Result<Vec<u8>, Problem> {
    let key = match (text, base64) {
        (Some(text), None) => text.into_bytes(),
        (None, Some(base64)) => base64.0,
        _ => return Err(Problem::invalid("there is not one key", "key or key_base64")),
    };
    check_key(&key)?;
    Ok(key)
}

/// What came of it.
#[derive(Serialize)]
struct Outcome {
    held: bool,
    /// Where it stands in the total order, if enough servers name one place.
    position: Option<u64>,
    results: Vec<ResultShape>,
}

/// What came of one step.
#[derive(Serialize)]
#[serde(untagged)]
enum ResultShape {
    Read { entry: Option<EntryShape> },
    Done { existed: bool },
}

/// Carries a transaction out.
pub(crate) async fn transact(customer: &Customer, asked: &Asked) -> Result<Answer, Problem> {
    asked.check_query(&[])?;
    let asking: Asking = asked.json()?;
    for (what, count, max) in [
        ("conditions", asking.conditions.len(), TRANSACTION_CONDITIONS_MAX),
        ("steps in `then`", asking.then.len(), TRANSACTION_STEPS_MAX),
        ("steps in `else`", asking.otherwise.len(), TRANSACTION_STEPS_MAX),
    ] {
        if count > max {
            let detail = format!("{count} {what} are too many");
            return Err(Problem::new(Code::TooLarge, detail, format!("at most {max} fit")));
        }
    }
    let steps = |steps: Vec<StepShape>| {
        steps.into_iter().map(StepShape::read).collect::<Result<Vec<_>, _>>()
    };
    let request = KvRequest::Transaction {
        conditions: asking
            .conditions
            .into_iter()
            .map(ConditionShape::read)
            .collect::<Result<_, _>>()?,
        then: steps(asking.then)?,
        otherwise: steps(asking.otherwise)?,
    };
    let (reply, place) = customer.order(ServiceId::KV, &request).await?;
    let KvReply::Transaction { held, results } = reply else { return Err(refused(reply)) };
    let result = |result| match result {
        StepResult::Entry(entry) => {
            ResultShape::Read { entry: entry.map(|entry| EntryShape::of(entry, true)) }
        }
        StepResult::Done { existed } => ResultShape::Done { existed },
    };
    let results = results.into_iter().map(result).collect();
    let outcome = Outcome { held, position: place.map(|place| place.0), results };
    Ok(Answer::json(&outcome).at(place.unwrap_or_else(|| customer.seen())))
}
