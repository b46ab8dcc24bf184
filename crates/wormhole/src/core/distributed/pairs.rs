//! Keys for two processes of different hosts: each asks its own wormhole, and they get the same one.
//!
//! **Guarantee:** a key is given to two processes at most, each of which named the other, to each once; it
//! is new, and does not pass over the control channel. Both get it if both go on asking and frames
//! arrive. Assumes that nobody has the provisioned keys of the two hosts.
//!
//! The process whose host stands later among the members wishes, the other is given: when both have asked,
//! the earlier host's wormhole draws the last part and tells it. Every call says the wish again, so
//! nothing here needs the time.
//!
//! # Source
//! Veríssimo, Neves and Correia, section 7.5: distributed trust for low-level operations, as the
//! distribution of message authentication codes.

use super::{Distributed, Proposer, Turn};
use crate::core::ENTITIES_MAX;
use crate::frame::{Entity, EntityId, KeyWish, Message, Nanos, Refusal};

/// Keys that a process may have asked for and not got.
const KEYS_PER_ENTITY: usize = 4;
/// Wishes of another host's processes that are known here.
const KEYS_PER_HOST: usize = 16;
/// How long a wish is kept after it was said last.
const KEY_WISH_RETENTION: Nanos = Nanos::from_millis(60_000);

/// A wish, and what it was answered with.
struct Wished {
    wish: KeyWish,
    /// Of the wishing process at its own wormhole.
    eid: EntityId,
    given: Option<[u8; 32]>,
    kept_until: Nanos,
}

/// The wishes of processes of this host, and those for them.
pub(super) struct Pairs {
    own: Box<[Option<Wished>]>,
    heard: Box<[Option<Wished>]>,
    last: u64,
}

impl Pairs {
    pub(super) fn new(member_count: usize) -> Self {
        let own = (0..ENTITIES_MAX * KEYS_PER_ENTITY).map(|_| None).collect();
        let heard = (0..member_count * KEYS_PER_HOST).map(|_| None).collect();
        Self { own, heard, last: 0 }
    }
}

impl Distributed {
    /// A key for the calling process and `other`; none yet, if that has not asked.
    pub(in crate::core) fn pair_key(
        &mut self,
        caller: Proposer,
        other: Entity,
        turn: &mut Turn<'_>,
    ) -> Result<Option<[u8; 32]>, Refusal> {
        let host = self.links.place(other.replica).filter(|host| *host != self.links.own);
        let host = host.ok_or(Refusal::Conflict)?;
        let own = self.links.entity(caller.eid).ok_or(Refusal::NotAuthenticated)?;
        if self.links.own < host {
            Ok(self.give(own, other, turn))
        } else {
            self.wish(caller, own, other, turn)
        }
    }

    /// Answers the other's wish, if there is one that was not answered.
    fn give(&mut self, own: Entity, other: Entity, turn: &mut Turn<'_>) -> Option<[u8; 32]> {
        let is_it =
            |one: &&mut Wished| (one.wish.from, one.wish.to, one.given) == (other, own, None);
        let wished = self.pairs.heard.iter_mut().flatten().find(is_it)?;
        let (wish, nonce) = (wished.wish, turn.random.draw());
        wished.given = Some(nonce);
        let host = self.links.place(other.replica)?;
        self.links.send(host, &Message::KeyGiven(wish, nonce), turn);
        self.links.pair_key(host, &wish, &nonce)
    }

    fn wish(
        &mut self,
        caller: Proposer,
        own: Entity,
        other: Entity,
        turn: &mut Turn<'_>,
    ) -> Result<Option<[u8; 32]>, Refusal> {
        let host = self.links.place(other.replica).ok_or(Refusal::Conflict)?;
        let first = caller.place * KEYS_PER_ENTITY;
        let places = self.pairs.own.get_mut(first..first + KEYS_PER_ENTITY).unwrap_or_default();
        let is_it = |one: &Wished| one.eid == caller.eid && one.wish.to == other;
        let asked = places.iter().position(|place| place.as_ref().is_some_and(is_it));
        let place = match asked {
            Some(place) => places.get_mut(place),
            None => places.iter_mut().min_by_key(|one| one.as_ref().map(|one| one.kept_until)),
        };
        let place = place.ok_or(Refusal::Conflict)?;
        if asked.is_none() {
            if let Some(one) = place.as_ref().filter(|one| one.kept_until > turn.now) {
                return Err(Refusal::NoResources { next_free: one.kept_until });
            }
            self.pairs.last += 1;
            let (number, nonce) = (self.pairs.last, turn.random.draw());
            let wish = KeyWish { from: own, to: other, number, nonce };
            *place = Some(Wished { wish, eid: caller.eid, given: None, kept_until: turn.now });
        }
        let Some(wished) = place else { return Ok(None) };
        wished.kept_until = turn.now.after(KEY_WISH_RETENTION);
        let wish = wished.wish;
        match wished.given {
            Some(nonce) => {
                *place = None;
                Ok(self.links.pair_key(host, &wish, &nonce))
            }
            None => {
                self.links.send(host, &Message::KeyWish(wish), turn);
                Ok(None)
            }
        }
    }

    pub(super) fn on_key_wish(&mut self, from: usize, wish: &KeyWish, turn: &mut Turn<'_>) {
        let hosts = (self.links.place(wish.from.replica), self.links.place(wish.to.replica));
        if hosts != (Some(from), Some(self.links.own)) || from < self.links.own {
            return;
        }
        let first = from * KEYS_PER_HOST;
        let places = self.pairs.heard.get_mut(first..first + KEYS_PER_HOST).unwrap_or_default();
        let is_it = |one: &Wished| (one.wish.from, one.wish.to) == (wish.from, wish.to);
        let known = places.iter().position(|place| place.as_ref().is_some_and(is_it));
        let place = match known {
            Some(place) => places.get_mut(place),
            None => {
                let oldest =
                    places.iter_mut().min_by_key(|one| one.as_ref().map(|one| one.kept_until));
                oldest.filter(|one| one.as_ref().is_none_or(|one| one.kept_until <= turn.now))
            }
        };
        let Some(place) = place else { return };
        let kept_until = turn.now.after(KEY_WISH_RETENTION);
        match place {
            Some(one) if known.is_some() && one.wish.number > wish.number => {}
            Some(one) if known.is_some() && one.wish == *wish => {
                one.kept_until = kept_until;
                if let Some(nonce) = one.given {
                    self.links.send(from, &Message::KeyGiven(*wish, nonce), turn);
                }
            }
            _ => *place = Some(Wished { wish: *wish, eid: EntityId(0), given: None, kept_until }),
        }
    }

    pub(super) fn on_key_given(&mut self, from: usize, wish: &KeyWish, nonce: [u8; 32]) {
        if self.links.place(wish.to.replica) == Some(from)
            && let Some(own) = self.pairs.own.iter_mut().flatten().find(|one| one.wish == *wish)
        {
            own.given.get_or_insert(nonce);
        }
    }
}
