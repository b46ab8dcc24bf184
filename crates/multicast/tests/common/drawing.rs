//! DAGs drawn as text: the drawing is the test's picture and its input.
//!
//! Each word is a block: its author's letter, its round, a `'` for a second block of one author and
//! round; after `:` its parents, each a letter for that author's newest block so far of a lower
//! round (with a number: of that round; with `'`: the second one); after `!` whom it exposes. A
//! block's own parent is found by itself. Without `:` its parents are everyone's newest.

use std::collections::BTreeMap;

use ravelin_crypto::Verified;
use ravelin_model::{Block, BlockRef, FaultModel, ReplicaId, Round};

use super::keys::{Fork, Keys, proof};

pub(crate) struct Drawing {
    pub(crate) keys: Keys,
    blocks: BTreeMap<String, Verified<Block>>,
}

impl Drawing {
    pub(crate) fn new(n: u16, f: u16, model: FaultModel, text: &str) -> Self {
        let mut drawing = Self { keys: Keys::new(n, f, model), blocks: BTreeMap::new() };
        for word in text.split_whitespace() {
            drawing.draw(word);
        }
        drawing
    }

    pub(crate) fn block(&self, name: &str) -> &Verified<Block> {
        self.blocks.get(name).unwrap_or_else(|| panic!("{name} is not drawn"))
    }

    pub(crate) fn at(&self, name: &str) -> BlockRef {
        self.block(name).reference()
    }

    /// The names of all blocks.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.blocks.keys().map(String::as_str)
    }

    /// All blocks, each after its parents.
    pub(crate) fn blocks(&self) -> impl Iterator<Item = &Verified<Block>> {
        let mut all: Vec<_> = self.blocks.values().collect();
        all.sort_by_key(|block| block.reference());
        all.into_iter()
    }

    pub(crate) fn draw(&mut self, word: &str) {
        let (rest, exposed) = word.split_once('!').unwrap_or((word, ""));
        let (name, parents) = rest.split_once(':').unwrap_or((rest, ""));
        let author = author(&name[..1]);
        let is_second = name.ends_with('\'');
        let round = Round(name[1..].trim_end_matches('\'').parse().expect("a round"));
        let everyone = || {
            let members = self.keys.keyring.group().members();
            members.map(letter).collect::<String>()
        };
        let listed = if rest.contains(':') { parents.to_string() } else { everyone() };
        let mut named: Vec<BlockRef> =
            names(&listed).iter().map(|name| self.newest(name, round)).collect();
        named.sort_by_key(|parent| (parent.author != author, parent.author));
        if named.first().is_none_or(|first| first.author != author) {
            let mut own = letter(author).to_string();
            if is_second && self.blocks.keys().any(|at| at.starts_with(&own) && at.ends_with('\''))
            {
                own.push('\'');
            }
            named.insert(0, self.newest(&own, round));
        }
        let exposed: Vec<ReplicaId> =
            names(exposed).iter().map(|name| self::author(name)).collect();
        let proofs = exposed.iter().filter_map(|member| self.proof_against(*member)).collect();
        let salt = u64::from(is_second);
        let block = self.keys.block(author, round, named, &Fork { exposed, proofs }, salt);
        self.blocks.insert(name.to_string(), block);
    }

    /// Draws a block that carries so many bytes for a client.
    #[allow(dead_code, reason = "most drawings carry nothing")]
    pub(crate) fn draw_carrying(&mut self, word: &str, bytes: usize) {
        self.draw(word);
        let name = word.split(':').next().unwrap_or(word);
        let mut body = self.block(name).body.clone();
        body.envelopes.push(self.keys.envelope(body.round.0, bytes));
        self.blocks.insert(name.to_string(), self.keys.sign(body));
    }

    /// The newest block below `round` that `name` (letter, perhaps number, perhaps `'`) means.
    fn newest(&self, name: &str, round: Round) -> BlockRef {
        let by = author(&name[..1]);
        let is_second = name.ends_with('\'');
        let given: Option<u64> = name[1..].trim_end_matches('\'').parse().ok();
        let fits = |(at, block): &(&String, &Verified<Block>)| {
            block.body.author == by
                && at.ends_with('\'') == is_second
                && block.body.round < round
                && given.is_none_or(|given| block.body.round == Round(given))
        };
        let newest = self.blocks.iter().filter(fits).max_by_key(|(_, block)| block.body.round);
        newest.map_or_else(|| self.keys.genesis(by), |(_, block)| block.reference())
    }

    fn proof_against(&self, member: ReplicaId) -> Option<ravelin_model::Evidence> {
        let of = || self.blocks.values().filter(|block| block.body.author == member);
        let pairs = of().flat_map(|one| of().map(move |other| (one, other)));
        let mut forked = pairs.filter(|(one, other)| {
            one.signed_header().header.contradicts(&other.signed_header().header)
        });
        forked.next().map(|(one, other)| proof(one, other))
    }
}

fn author(letter: &str) -> ReplicaId {
    let first = letter.bytes().next().expect("a letter");
    ReplicaId(u16::from(first - b'A'))
}

fn letter(member: ReplicaId) -> char {
    char::from(b'A' + u8::try_from(member.0).expect("small groups"))
}

/// Splits `AB2'C` into `A`, `B2'`, `C`.
fn names(text: &str) -> Vec<String> {
    let mut names: Vec<String> = vec![];
    for character in text.chars() {
        if character.is_ascii_uppercase() {
            names.push(character.to_string());
        } else {
            names.last_mut().expect("a letter first").push(character);
        }
    }
    names
}
