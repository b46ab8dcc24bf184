//! Bearer tokens, and the client keys that they stand for.
//!
//! **Guarantee:** nothing keeps a token beyond the request that brings it, only digests are kept
//! (memory that a request gives back is not erased); how long a look-up takes does not depend on how much of a token is right.
//!
//! Assumes: tokens are drawn by [`Token::draw`], 256 random bits: a fast digest cannot be searched.

use std::fmt;
use std::io;

use ravelin_crypto::{SigningKey, domain_digest};
use ravelin_model::{Digest, PublicKey};
use zeroize::Zeroizing;

use crate::limits::TOKENS_MAX;

/// How tokens begin, so that scanners for leaked secrets can find them.
const PREFIX: &str = "rvl_";
/// Random bytes of a token.
const RANDOM_BYTES: usize = 32;
/// What digests of tokens are made for.
const CONTEXT: &str = "ravelin gateway token v1";

/// A bearer token in the clear. Erased when dropped; no `Debug`.
pub struct Token(Zeroizing<String>);

impl Token {
    /// A new one.
    ///
    /// # Errors
    /// The operating system gives no randomness.
    pub fn draw() -> io::Result<Self> {
        let mut bytes = Zeroizing::new([0; RANDOM_BYTES]);
        getrandom::fill(bytes.as_mut_slice())
            .map_err(|error| io::Error::other(error.to_string()))?;
        let mut text = Zeroizing::new(String::with_capacity(PREFIX.len() + 2 * RANDOM_BYTES));
        text.push_str(PREFIX);
        for byte in bytes.iter() {
            for half in [byte >> 4, byte & 15] {
                text.extend(char::from_digit(u32::from(half), 16));
            }
        }
        Ok(Self(text))
    }

    /// For showing it once to whoever shall have it.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }

    /// What is kept of it.
    #[must_use]
    pub fn digest(&self) -> Digest {
        digest(self.0.as_bytes())
    }
}

/// What is kept of a token.
fn digest(token: &[u8]) -> Digest {
    domain_digest(CONTEXT, &[token])
}

/// Who a token stands for.
#[derive(Clone)]
pub struct Bearer {
    /// What the token file calls it.
    pub name: String,
    /// The token's digest.
    pub digest: Digest,
    /// The client key.
    pub seed: Zeroizing<[u8; 32]>,
}

impl Bearer {
    /// The public half of its key.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        SigningKey::ed25519(&self.seed).public()
    }
}

impl fmt::Debug for Bearer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_tuple("Bearer").field(&self.name).finish()
    }
}

/// Why bearers cannot be served together.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokensError {
    /// Each has links to all servers.
    #[error("{count} tokens are more than the {TOKENS_MAX} that a gateway serves")]
    TooMany {
        /// How many there are.
        count: usize,
    },
    /// Names are how people tell tokens apart.
    #[error("two tokens are called `{name}`")]
    SameName {
        /// The name.
        name: String,
    },
    /// One token, one client: so the cluster can tell users apart.
    #[error("the tokens `{name}` and `{other}` have the same key")]
    SameKey {
        /// One of them.
        name: String,
        /// The other.
        other: String,
    },
}

/// Refuses bearers that cannot be served together.
///
/// # Errors
/// [`TokensError`].
pub fn check(bearers: &[Bearer]) -> Result<(), TokensError> {
    if bearers.len() > TOKENS_MAX {
        return Err(TokensError::TooMany { count: bearers.len() });
    }
    for (index, bearer) in bearers.iter().enumerate() {
        for other in bearers.iter().skip(index + 1) {
            if bearer.name == other.name {
                return Err(TokensError::SameName { name: bearer.name.clone() });
            }
            if bearer.seed == other.seed {
                let (name, other) = (bearer.name.clone(), other.name.clone());
                return Err(TokensError::SameKey { name, other });
            }
        }
    }
    Ok(())
}

/// The one of `known` whose token this is. Looks at all of them, and at all of each.
pub(crate) fn find<'a, T>(token: &[u8], known: impl Iterator<Item = (&'a Digest, T)>) -> Option<T> {
    let presented = digest(token);
    let mut found = None;
    for (digest, bearer) in known {
        if is_equal(&presented, digest) {
            found = Some(bearer);
        }
    }
    found
}

fn is_equal(one: &Digest, other: &Digest) -> bool {
    let differing = one.0.iter().zip(&other.0).fold(0, |bits, (one, other)| bits | (one ^ other));
    std::hint::black_box(differing) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(name: &str, key: u8) -> Bearer {
        let digest = digest(name.as_bytes());
        Bearer { name: name.to_owned(), digest, seed: Zeroizing::new([key; 32]) }
    }

    #[test]
    fn a_token_is_long_and_its_own() {
        let (one, other) = (Token::draw().unwrap(), Token::draw().unwrap());
        assert!(one.text().starts_with("rvl_") && one.text().len() == 68);
        assert_ne!(one.text(), other.text());
        assert_ne!(one.digest(), other.digest());
    }

    #[test]
    fn only_the_whole_token_is_found() {
        let tokens = [Token::draw().unwrap(), Token::draw().unwrap()];
        let known: Vec<_> = tokens.iter().map(Token::digest).collect();
        let found = |token: &str| find(token.as_bytes(), known.iter().zip(0..));
        assert_eq!(found(tokens[0].text()), Some(0));
        assert_eq!(found(tokens[1].text()), Some(1));
        let text = tokens[1].text();
        for wrong in ["", "rvl_", &text[..67], &format!("{text}0"), &text.to_uppercase()] {
            assert_eq!(found(wrong), None, "{wrong}");
        }
        assert_eq!(found(&known[0].to_string()), None, "the digest is no token");
    }

    #[test]
    fn digests_differ_in_any_bit() {
        let digest = digest(b"x");
        for bit in 0..256 {
            let mut other = digest;
            other.0[bit / 8] ^= 1 << (bit % 8);
            assert!(!is_equal(&digest, &other), "{bit}");
        }
        assert!(is_equal(&digest, &digest));
    }

    #[test]
    fn bearers_have_names_and_keys_of_their_own() {
        let both = |one, other| check(&[one, bearer("x", 9), other]);
        assert_eq!(both(bearer("a", 1), bearer("b", 2)), Ok(()));
        let name = "a".to_owned();
        assert_eq!(
            both(bearer("a", 1), bearer("a", 2)),
            Err(TokensError::SameName { name: name.clone() })
        );
        let other = "b".to_owned();
        assert_eq!(both(bearer("a", 1), bearer("b", 1)), Err(TokensError::SameKey { name, other }));
        let many: Vec<_> = (0..=TOKENS_MAX).map(|id| bearer(&id.to_string(), 0)).collect();
        assert_eq!(check(&many), Err(TokensError::TooMany { count: 257 }));
    }
}
