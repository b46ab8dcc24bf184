//! Those who took over a server: they have its key and see what it sees.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;

use ravelin_crypto::{Keyring, SigningKey, Verified};
use ravelin_model::{Action, Block, BlockBody, BlockRef, Protocol as _, ReplicaId, Round, Time};
use ravelin_multicast::{CommitRule, Dag, Event, Message, validity};

use crate::network::Core;

type Sent = Vec<(ReplicaId, Message)>;

/// What sits in a taken-over server's place.
pub(crate) trait Intruder {
    fn on_message(&mut self, now: Time, from: ReplicaId, message: &Message, out: &mut Sent);

    fn on_time(&mut self, _: Time, _: &mut Sent) {}

    fn next_deadline(&self) -> Option<Time> {
        None
    }
}

/// Says nothing.
pub(crate) struct Mute;

impl Intruder for Mute {
    fn on_message(&mut self, _: Time, _: ReplicaId, _: &Message, _: &mut Sent) {}
}

/// What a wrapped server sends to `to` instead of a message.
pub(crate) type Rewrite = Box<dyn FnMut(ReplicaId, Message) -> Vec<Message>>;

/// A correct server whose messages are rewritten on their way out.
pub(crate) struct Wrapped {
    core: Core,
    own: ReplicaId,
    rewrite: Rewrite,
    deadline: Option<Time>,
    is_started: bool,
}

impl Wrapped {
    pub(crate) fn boxed(core: Core, own: ReplicaId, rewrite: Rewrite) -> Box<Self> {
        Box::new(Self { core, own, rewrite, deadline: None, is_started: false })
    }

    fn perform(&mut self, now: Time, actions: Vec<Action<Message, Event>>, out: &mut Sent) {
        let others = || self.core.dag().group().members().filter(|member| *member != self.own);
        let mut own = vec![];
        let mut wanted = vec![];
        for action in actions {
            match action {
                Action::Send(to, message) => wanted.push((to, message)),
                Action::Broadcast(message) => {
                    wanted.extend(others().map(|to| (to, message.clone())));
                    own.push(message);
                }
                Action::Persist(_) | Action::Attest(_) | Action::Emit(_) | Action::Accuse(..) => {}
            }
        }
        for (to, message) in wanted {
            out.extend((self.rewrite)(to, message).into_iter().map(|message| (to, message)));
        }
        for message in own {
            let mut actions = vec![];
            self.core.on_message(now, self.own, message, &mut actions);
            self.perform(now, actions, out);
        }
        self.deadline = self.core.next_deadline();
    }
}

impl Intruder for Wrapped {
    fn on_message(&mut self, now: Time, from: ReplicaId, message: &Message, out: &mut Sent) {
        let mut actions = vec![];
        self.core.on_message(now, from, message.clone(), &mut actions);
        self.perform(now, actions, out);
    }

    fn on_time(&mut self, now: Time, out: &mut Sent) {
        let mut actions = vec![];
        if !std::mem::replace(&mut self.is_started, true) {
            self.core.resume(now, &mut actions);
        }
        self.core.on_time(now, &mut actions);
        self.perform(now, actions, out);
    }

    fn next_deadline(&self) -> Option<Time> {
        self.deadline
    }
}

/// Signs a second block beside each of its own and shows it to the replicas of `half`.
pub(crate) fn equivocate(keyring: Keyring, key: SigningKey, half: Vec<ReplicaId>) -> Rewrite {
    let mut seconds: BTreeMap<BlockRef, Verified<Block>> = BTreeMap::new();
    Box::new(move |to, message| match &message {
        Message::Block(block)
            if keyring.member(block.body.author) == Some(&key.public()) && half.contains(&to) =>
        {
            let second = seconds.entry(block.reference()).or_insert_with(|| {
                let mut body = block.body.clone();
                body.timestamp.0 += 1;
                keyring.sign_block(&key, body)
            });
            vec![Message::Block(second.clone())]
        }
        _ => vec![message],
    })
}

/// Two servers with one key, each showing its blocks to its own half.
pub(crate) struct Twins(pub(crate) [(Box<Wrapped>, Vec<ReplicaId>); 2]);

impl Intruder for Twins {
    fn on_message(&mut self, now: Time, from: ReplicaId, message: &Message, out: &mut Sent) {
        for (twin, half) in &mut self.0 {
            let mut said = vec![];
            twin.on_message(now, from, message, &mut said);
            out.extend(said.into_iter().filter(|(to, message)| {
                half.contains(to) || !matches!(message, Message::Block(_))
            }));
        }
    }

    fn on_time(&mut self, now: Time, out: &mut Sent) {
        for (twin, half) in &mut self.0 {
            let mut said = vec![];
            twin.on_time(now, &mut said);
            out.extend(said.into_iter().filter(|(to, message)| {
                half.contains(to) || !matches!(message, Message::Block(_))
            }));
        }
    }

    fn next_deadline(&self) -> Option<Time> {
        self.0.iter().filter_map(|(twin, _)| twin.next_deadline()).min()
    }
}

/// Keeps every rule, makes each block as early as the rules allow, votes for none of the leaders
/// that it can leave out, and proposes nothing that could be committed.
pub(crate) struct NeverVotes {
    keyring: Keyring,
    key: SigningKey,
    own: ReplicaId,
    rule: CommitRule,
    dag: Dag,
    waiting: Vec<Verified<Block>>,
    last: BlockRef,
    /// Leader slots that it did not vote for.
    refused: Rc<Cell<u64>>,
}

impl NeverVotes {
    pub(crate) fn new(
        keyring: Keyring,
        key: SigningKey,
        own: ReplicaId,
        leaders: u16,
        refused: Rc<Cell<u64>>,
    ) -> Self {
        let group = keyring.group();
        Self {
            rule: CommitRule::new(group, leaders),
            dag: Dag::new(group, keyring.genesis(), Round(0)),
            waiting: vec![],
            last: BlockRef::genesis(own, keyring.genesis()),
            refused,
            keyring,
            key,
            own,
        }
    }

    fn take_in(&mut self) {
        loop {
            let ready = self
                .waiting
                .iter()
                .position(|block| block.body.parents.iter().all(|parent| self.dag.has(parent)));
            let Some(ready) = ready else { return };
            let block = self.waiting.swap_remove(ready);
            if !self.dag.has(&block.reference()) {
                self.dag.insert(block);
            }
        }
    }

    /// A block that leaves out `unloved`: its block of the round before, that is.
    fn body(&self, now: Time, round: Round, unloved: Option<ReplicaId>) -> BlockBody {
        let others = self.rule.group.members().filter(|member| *member != self.own);
        let newest = others.filter_map(|member| {
            let until = round.minus(if Some(member) == unloved { 2 } else { 1 });
            self.dag.newest_until(member, until)
        });
        BlockBody {
            cluster: self.keyring.cluster(),
            genesis: self.keyring.genesis(),
            epoch: self.keyring.epoch(),
            author: self.own,
            round,
            parents: std::iter::once(self.last).chain(newest).collect(),
            exposed: vec![],
            timestamp: now,
            envelopes: vec![],
            votes: vec![],
        }
    }

    fn speak(&mut self, now: Time, out: &mut Sent) {
        loop {
            let leads = |round| self.rule.leaders_of(round).any(|leader| leader == self.own);
            let next = self.last.round.next();
            let round = if leads(next) { next.next() } else { next };
            let unloved = self.rule.leaders_of(round.minus(1)).find(|leader| *leader != self.own);
            let block = self.keyring.sign_block(&self.key, self.body(now, round, unloved));
            if !validity::is_well_formed(&self.dag, &block) {
                return;
            }
            self.refused.set(self.refused.get() + u64::from(unloved.is_some()));
            self.last = block.reference();
            self.dag.insert(block.clone());
            for to in self.rule.group.members().filter(|to| *to != self.own) {
                out.push((to, Message::Block(block.clone())));
            }
        }
    }
}

impl Intruder for NeverVotes {
    fn on_message(&mut self, now: Time, from: ReplicaId, message: &Message, out: &mut Sent) {
        match message {
            Message::Block(block) => self.waiting.push(block.clone()),
            Message::Recall(nonce) => return out.push((from, Message::Recalled(*nonce, None))),
            _ => return,
        }
        self.take_in();
        self.speak(now, out);
    }
}

/// Prepares a tree of forked blocks with a colluder's key, each block linking two branches below
/// it, shows the tip alone, and answers whoever asks for more.
pub(crate) struct Bomber {
    keyring: Keyring,
    keys: [(ReplicaId, SigningKey); 2],
    depth: u64,
    /// How many rounds lower the branch of the other key begins.
    skip: u64,
    dag: Dag,
    waiting: Vec<Verified<Block>>,
    tree: BTreeMap<BlockRef, Verified<Block>>,
    /// The first round of the next tree.
    base: Round,
    /// Trees shown, and blocks that others fetched from them.
    shown_and_served: Rc<Cell<(u64, u64)>>,
}

impl Bomber {
    pub(crate) fn new(
        keyring: Keyring,
        keys: [(ReplicaId, SigningKey); 2],
        (depth, skip): (u64, u64),
        shown_and_served: Rc<Cell<(u64, u64)>>,
    ) -> Self {
        let dag = Dag::new(keyring.group(), keyring.genesis(), Round(0));
        let (waiting, tree) = (vec![], BTreeMap::new());
        Self { keyring, keys, depth, skip, dag, waiting, tree, base: Round(5), shown_and_served }
    }

    fn take_in(&mut self, block: Verified<Block>) {
        self.waiting.push(block);
        while let Some(ready) = self
            .waiting
            .iter()
            .position(|block| block.body.parents.iter().all(|parent| self.dag.has(parent)))
        {
            let block = self.waiting.swap_remove(ready);
            if !self.dag.has(&block.reference()) {
                self.dag.insert(block);
            }
        }
    }

    /// The tree whose root is a block of `round` by the `which`-th key; all its blocks are kept.
    fn grow(&mut self, round: Round, which: usize, salt: &mut u64) -> BlockRef {
        let (own, other) = if round > self.base {
            let own = self.grow(round.minus(1), which, salt);
            let below = round.minus(self.skip);
            (own, (below >= self.base).then(|| self.grow(below, 1 - which, salt)))
        } else {
            (BlockRef::genesis(self.keys[which].0, self.keyring.genesis()), None)
        };
        let colluders = [self.keys[0].0, self.keys[1].0];
        let group = self.keyring.group();
        let correct = group.members().filter(|member| !colluders.contains(member));
        let correct = correct.filter_map(|member| self.dag.newest_until(member, round.minus(1)));
        let mut others: Vec<BlockRef> = correct.chain(other).collect();
        others.sort_by_key(|parent| parent.author);
        *salt += 1;
        let body = BlockBody {
            cluster: self.keyring.cluster(),
            genesis: self.keyring.genesis(),
            epoch: self.keyring.epoch(),
            author: self.keys[which].0,
            round,
            parents: std::iter::once(own).chain(others).collect(),
            exposed: vec![],
            timestamp: Time(*salt),
            envelopes: vec![],
            votes: vec![],
        };
        let block = self.keyring.sign_block(&self.keys[which].1, body);
        self.tree.insert(block.reference(), block.clone());
        block.reference()
    }
}

impl Intruder for Bomber {
    fn on_message(&mut self, _: Time, from: ReplicaId, message: &Message, out: &mut Sent) {
        match message {
            Message::Block(block) => self.take_in(block.clone()),
            Message::Fetch(wanted) => {
                for block in wanted.iter().filter_map(|chain| self.tree.get(&chain.tip)) {
                    let (shown, served) = self.shown_and_served.get();
                    self.shown_and_served.set((shown, served + 1));
                    out.push((from, Message::Block(block.clone())));
                }
                return;
            }
            _ => return,
        }
        let tip = self.base.plus(self.depth);
        if self.dag.width(tip.minus(1)) >= self.keyring.group().quorum() {
            let tip = self.grow(tip, 0, &mut 0);
            let block = self.tree[&tip].clone();
            let members = self.keyring.group().members();
            out.extend(members.map(|to| (to, Message::Block(block.clone()))));
            self.base = self.base.plus(self.depth + 1);
            let (shown, served) = self.shown_and_served.get();
            self.shown_and_served.set((shown + 1, served));
        }
    }
}
