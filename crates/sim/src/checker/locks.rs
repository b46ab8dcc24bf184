//! Fencing tokens: no two holders have one, and a later holder's is larger.

use ravelin_model::requests::kv::{KvReply, KvRequest};

use super::{Operation, Violation};

/// Whether the tokens of each lock rise from holder to holder.
///
/// # Errors
/// A [`Violation`] that names two grants.
pub fn check(operations: &[Operation]) -> Result<(), Violation> {
    let grants: Vec<_> = operations.iter().filter_map(grant).collect();
    for (index, one) in grants.iter().enumerate() {
        for other in grants.iter().skip(index + 1).filter(|other| other.client != one.client) {
            let is_over = other.invoked_us > one.responded_us;
            if other.token == one.token || (is_over && other.token < one.token) {
                let what = format!("{one:?} and {other:?}");
                return Err(Violation::new("fencing", what));
            }
        }
    }
    Ok(())
}

/// A lock that was got.
#[derive(Debug)]
#[allow(dead_code, reason = "shown when a violation is found")]
struct Grant {
    name: Vec<u8>,
    client: u32,
    token: u64,
    invoked_us: u64,
    responded_us: u64,
}

fn grant(operation: &Operation) -> Option<Grant> {
    let KvRequest::Lock { name, .. } = &operation.request else { return None };
    let Some(KvReply::Locked { token }) = operation.reply else { return None };
    Some(Grant {
        name: name.clone(),
        client: operation.client,
        token: token.0,
        invoked_us: operation.invoked_us,
        responded_us: operation.responded_us?,
    })
}

#[cfg(test)]
mod tests {
    use ravelin_model::requests::kv::{LeaseId, Token};

    use super::*;

    fn got(client: u32, span: (u64, u64), token: u64) -> Operation {
        Operation {
            client,
            invoked_us: span.0,
            responded_us: Some(span.1),
            request: KvRequest::Lock { name: b"l".to_vec(), lease: LeaseId(1) },
            reply: Some(KvReply::Locked { token: Token(token) }),
        }
    }

    #[test]
    fn tokens_rise_and_are_never_shared() {
        assert!(check(&[got(1, (0, 5), 1), got(2, (6, 9), 2), got(2, (10, 12), 2)]).is_ok());
        assert!(check(&[got(1, (0, 5), 1), got(2, (3, 9), 1)]).is_err(), "shared");
        assert!(check(&[got(1, (0, 5), 7), got(2, (6, 9), 2)]).is_err(), "falling");
        assert!(check(&[got(1, (0, 5), 7), got(2, (4, 9), 2)]).is_ok(), "at the same time");
    }
}
