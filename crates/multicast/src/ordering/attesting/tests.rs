use ravelin_model::{Decode as _, FaultModel};

use super::*;
use crate::dag::tests::keys::{Fork, Keys};

const OWN: ReplicaId = ReplicaId(0);

/// Envelopes that wait to be ordered.
#[derive(Debug, Default)]
struct Waiting(Vec<Envelope>);

impl Payload for Waiting {
    fn is_waiting(&self) -> bool {
        !self.0.is_empty()
    }

    fn draw(&mut self, _: usize, _: usize) -> (Vec<Envelope>, Vec<Vote>) {
        (std::mem::take(&mut self.0), vec![])
    }

    fn give_back(&mut self, envelopes: &[Envelope]) {
        self.0.extend(envelopes.iter().cloned());
    }
}

/// One of three servers, its log, and what its wormhole attested last.
struct Server {
    keys: Keys,
    core: Ordering<Waiting>,
    log: Vec<LogRecord>,
    draft: Option<LogRecord>,
    attested: Option<LastAttested>,
    now: Time,
}

type Out = Actions<Ordering<Waiting>>;

impl Server {
    fn new() -> Self {
        let keys = Keys::new(3, 1, FaultModel::Hybrid);
        let core = core(&keys, None, None);
        Self { keys, core, log: vec![], draft: None, attested: None, now: Time(5_000_000) }
    }

    /// Starts; whoever has not lost its memory has its first block to make at once.
    fn resumed(mut self) -> (Self, Out) {
        let out = self.resume();
        (self, out)
    }

    fn resume(&mut self) -> Out {
        let mut out = vec![];
        self.core.payload_mut().0.push(self.keys.envelope(7, 16));
        self.core.resume(self.now, &mut out);
        self.core.on_time(self.now, &mut out);
        out
    }

    /// Stops, and starts with what is in the log.
    fn restart(&mut self) -> Out {
        self.core = core(&self.keys, self.attested, None);
        self.draft = None;
        for record in &self.log {
            let block = Block::decode("block", &record.bytes).expect("a record is a block");
            match Block::is_draft(&record.bytes) {
                true => self.core.restore_draft(block),
                false => self.core.restore(self.keys.keyring.verify_block(block).expect("good")),
            }
        }
        self.resume()
    }

    fn keep(&mut self, out: &[Action<Message, Event>]) {
        for entry in persisted(out) {
            self.log.push(entry.into_record(&mut self.draft));
        }
    }

    /// What its wormhole answers, which remembers that.
    fn attest(&mut self, header: &BlockHeader) -> Signature {
        let signature = self.keys.attest(header);
        self.attested = Some(LastAttested {
            epoch: header.epoch,
            previous: header.previous,
            round: header.reference.round,
            digest: header.reference.digest,
            signature,
        });
        signature
    }

    fn on_attested(&mut self, header: &BlockHeader, signature: Signature) -> Out {
        let mut out = vec![];
        self.core.on_attested(self.now, header, signature, &mut out);
        out
    }
}

fn core(
    keys: &Keys,
    attested: Option<LastAttested>,
    state: Option<OrderingState>,
) -> Ordering<Waiting> {
    Ordering::new(Start {
        keyring: keys.keyring.clone(),
        authorship: Authorship::Wormhole(attested),
        own: OWN,
        leaders: 1,
        checkpoint_every: 1024,
        payload: Waiting::default(),
        state,
        delivered: BTreeSet::new(),
        nonce: 1,
        views: Views::All,
    })
}

fn persisted(out: &[Action<Message, Event>]) -> Vec<LogEntry> {
    let entries = out.iter().filter_map(|action| match action {
        Action::Persist(entry) => Some(entry.clone()),
        _ => None,
    });
    entries.collect()
}

/// The block that the wormhole is to attest.
fn asked(out: &[Action<Message, Event>]) -> Option<BlockHeader> {
    out.iter().find_map(|action| match action {
        Action::Attest(header) => Some(*header),
        _ => None,
    })
}

fn said(out: &[Action<Message, Event>]) -> Vec<BlockRef> {
    let blocks = out.iter().filter_map(|action| match action {
        Action::Broadcast(Message::Block(block)) => Some(block.reference()),
        _ => None,
    });
    blocks.collect()
}

fn position(
    out: &[Action<Message, Event>],
    is_it: impl Fn(&Action<Message, Event>) -> bool,
) -> usize {
    out.iter().position(is_it).expect("it is there")
}

#[test]
fn a_block_is_durable_before_it_is_attested_and_attested_before_it_is_said() {
    let (mut server, out) = Server::new().resumed();
    let header = asked(&out).expect("its first block");
    let draft = position(&out, |action| matches!(action, Action::Persist(LogEntry::Draft(_))));
    assert!(draft < position(&out, |action| matches!(action, Action::Attest(_))));
    assert_eq!((persisted(&out).len(), said(&out)), (1, vec![]));
    assert_eq!(server.core.round(), Round(0), "not made before it is attested");
    assert!(server.core.next_deadline().is_none(), "it waits for nothing but the wormhole");

    server.keep(&out);
    let signature = server.attest(&header);
    let out = server.on_attested(&header, signature);
    assert_eq!(said(&out), [header.reference]);
    let place = Place { epoch: header.epoch, round: header.reference.round };
    let written = LogEntry::Attested { place, attestation: signature };
    assert_eq!(persisted(&out), [written], "and nothing again of the draft");
    server.keep(&out);
    let record = server.log.last().expect("the block");
    let block = Block::decode("block", &record.bytes).unwrap();
    let block = server.keys.keyring.verify_block(block).expect("attested");
    assert_eq!(block.reference(), header.reference);
    assert!(server.core.dag().has(&header.reference) && server.core.last() == header.reference);
}

/// What is decided on it must follow from the log alone when the power fails again.
#[test]
fn an_own_block_that_the_log_lost_is_written_down_when_it_comes_back() {
    let (mut server, out) = Server::new().resumed();
    let header = asked(&out).expect("its first block");
    server.keep(&out);
    let signature = server.attest(&header);
    let out = server.on_attested(&header, signature);
    let said = out.iter().find_map(|action| match action {
        Action::Broadcast(Message::Block(block)) => Some(block.clone()),
        _ => None,
    });
    let block = said.expect("it goes out");
    // The power fails before it is durable, and the wormhole forgets with that.
    server.attested = None;
    server.restart();
    assert!(!server.core.dag().has(&header.reference));
    let mut out = vec![];
    server.core.on_message(server.now, ReplicaId(1), Message::Block(block.clone()), &mut out);
    assert!(server.core.dag().has(&header.reference));
    let written = LogEntry::Whole(LogRecord::of(&block));
    assert_eq!(persisted(&out), [written], "the block, and nothing else");
}

#[test]
fn a_second_answer_and_an_answer_about_another_block_have_no_effect() {
    let (mut server, out) = Server::new().resumed();
    let header = asked(&out).expect("its first block");
    let mut other = header;
    other.reference.digest = ravelin_model::Digest([9; 32]);
    let signature = server.keys.attest(&other);
    assert!(server.on_attested(&other, signature).is_empty());
    let signature = server.attest(&header);
    assert_eq!(said(&server.on_attested(&header, signature)), [header.reference]);
    assert!(server.on_attested(&header, signature).is_empty());
}

#[test]
fn what_another_instance_attests_is_not_said_and_its_envelopes_are_given_back() {
    let (mut server, out) = Server::new().resumed();
    let header = asked(&out).expect("its first block");
    assert!(server.core.payload().0.is_empty());
    let out = server.on_attested(&header, Signature([7; 64]));
    assert_eq!((said(&out), persisted(&out).len()), (vec![], 0));
    assert_eq!(server.core.standing(), Standing::Learner);
    assert_eq!(server.core.payload().0.len(), 1);
}

#[test]
fn who_stops_before_its_block_was_attested_makes_another() {
    let (mut server, out) = Server::new().resumed();
    let first = asked(&out).expect("its first block");
    server.keep(&out);
    server.now = server.now.after(std::time::Duration::from_millis(3));
    let out = server.restart();
    assert_eq!(server.core.standing(), Standing::Active);
    let second = asked(&out).expect("its first block, again");
    assert_ne!(first, second);
    assert_eq!(first.reference.round, second.reference.round);
}

#[test]
fn who_stops_before_an_attested_block_is_durable_has_it_back() {
    let (mut server, out) = Server::new().resumed();
    let header = asked(&out).expect("its first block");
    server.keep(&out); // and of what follows nothing is durable, nor told the replica
    server.attest(&header);
    let out = server.restart();
    assert_eq!(server.core.standing(), Standing::Active);
    assert_eq!(server.core.last(), header.reference);
    let block = server.core.dag().block(&header.reference).expect("in the DAG");
    assert!(!block.body.envelopes.is_empty() && block.authenticator != Block::UNATTESTED);
    let written = LogEntry::Whole(LogRecord::of(block));
    assert!(persisted(&out).contains(&written), "now it is durable");

    // Whoever stops again finds the draft and the block.
    server.keep(&out);
    let out = server.restart();
    assert_eq!((server.core.standing(), server.core.last()), (Standing::Active, header.reference));
    assert!(persisted(&out).is_empty());
}

#[test]
fn only_the_draft_that_was_attested_comes_back() {
    let (mut server, out) = Server::new().resumed();
    server.keep(&out); // never attested
    server.now = server.now.after(std::time::Duration::from_millis(3));
    let out = server.restart();
    let header = asked(&out).expect("its first block, again");
    server.keep(&out);
    server.attest(&header);
    server.restart();
    assert_eq!((server.core.standing(), server.core.last()), (Standing::Active, header.reference));
}

#[test]
fn who_lacks_what_its_wormhole_remembers_does_not_speak() {
    let (mut server, out) = Server::new().resumed();
    let header = asked(&out).expect("its first block");
    let signature = server.attest(&header);
    server.on_attested(&header, signature);
    let out = server.restart(); // with a log in which there is nothing
    assert_eq!(server.core.standing(), Standing::Learner);
    assert!(asked(&out).is_none() && said(&out).is_empty());
}

#[test]
fn who_has_blocks_of_which_its_wormhole_knows_nothing_does_not_speak() {
    let (mut server, out) = Server::new().resumed();
    let header = asked(&out).expect("its first block");
    server.keep(&out);
    let signature = server.attest(&header);
    let out = server.on_attested(&header, signature);
    server.keep(&out);
    server.attested = None; // put back, or another instance
    server.restart();
    assert_eq!(server.core.standing(), Standing::Learner);
}

#[test]
fn what_the_wormhole_attested_in_an_earlier_epoch_is_no_hindrance() {
    let mut server = Server::new();
    let digest = ravelin_model::Digest([3; 32]);
    let signature = Signature([3; 64]);
    let (previous, round) = (Round(40), Round(41));
    server.attested =
        Some(LastAttested { epoch: ravelin_model::Epoch(0), previous, round, digest, signature });
    let out = server.restart();
    assert_eq!(server.core.standing(), Standing::Active);
    assert!(asked(&out).is_some());
}

#[test]
fn who_forgot_that_it_spoke_in_a_later_epoch_does_not_speak_in_this_one() {
    let mut server = Server::new();
    let digest = ravelin_model::Digest([3; 32]);
    let signature = Signature([3; 64]);
    let (previous, round) = (Round(0), Round(1));
    server.attested =
        Some(LastAttested { epoch: ravelin_model::Epoch(2), previous, round, digest, signature });
    let out = server.restart(); // with the disk it lost the plan of epoch 2
    assert_eq!(server.core.standing(), Standing::Learner);
    assert!(asked(&out).is_none(), "the wormhole would refuse");
}

#[test]
fn an_epoch_that_ends_with_a_draft_under_way_gives_its_envelopes_back() {
    let (mut server, out) = Server::new().resumed();
    let header = asked(&out).expect("its first block");
    assert!(server.core.payload().0.is_empty());
    server.core.end();
    let signature = server.attest(&header);
    assert!(server.on_attested(&header, signature).is_empty(), "too late to be said");
    assert_eq!(server.core.into_payload().0.len(), 1);
}

#[test]
fn an_ordering_that_goes_on_from_a_later_state_keeps_the_draft_under_way() {
    let (mut server, out) = Server::new().resumed();
    let header = asked(&out).expect("its first block");
    let group = server.keys.keyring.group();
    let first_slot = CommitRule::new(group, 1).first_slot();
    let state = OrderingState::first(group, server.keys.keyring.genesis(), first_slot);
    let later = core(&server.keys, None, Some(state));
    let left = std::mem::replace(&mut server.core, later).into_remains(Round(0));
    assert!(left.payload.0.is_empty(), "its envelopes are under way");
    *server.core.payload_mut() = server.core.take_over(left);
    let out = server.resume();
    assert!(asked(&out).is_none(), "one block at a time");
    let signature = server.attest(&header);
    assert_eq!(said(&server.on_attested(&header, signature)), [header.reference]);
}

/// The state after which rounds up to 72 are behind the horizon.
fn far_ahead(keys: &Keys) -> OrderingState {
    let group = keys.keyring.group();
    let first_slot = CommitRule::new(group, 1).first_slot();
    let first = OrderingState::first(group, keys.keyring.genesis(), first_slot);
    let next = Slot { round: Round(201), index: 0 };
    OrderingState { leader_round: Round(200), next, ..first }
}

#[test]
fn what_was_attested_while_a_state_was_fetched_counts_though_it_lies_behind_the_horizon() {
    let (mut server, out) = Server::new().resumed();
    let header = asked(&out).expect("its first block");
    server.core.end(); // it fetches, and takes part in nothing
    let signature = server.attest(&header);
    assert!(server.on_attested(&header, signature).is_empty());
    let later = core(&server.keys, server.attested, Some(far_ahead(&server.keys)));
    let horizon = later.dag().horizon();
    assert!(horizon > header.reference.round);
    let left = std::mem::replace(&mut server.core, later).into_remains(horizon);
    *server.core.payload_mut() = server.core.take_over(left);
    let mut out = vec![];
    server.core.resume(server.now, &mut out);
    assert_eq!((server.core.standing(), server.core.last()), (Standing::Active, header.reference));
    assert_eq!(persisted(&out).len(), 1);
    assert_eq!(server.core.payload().0.len(), 1, "nobody will order what it carried");
}

#[test]
fn what_is_left_for_another_epoch_holds_the_envelopes_of_the_draft() {
    let (mut server, out) = Server::new().resumed();
    assert!(asked(&out).is_some());
    let later = core(&server.keys, None, None);
    let left = std::mem::replace(&mut server.core, later).into_remains(Round(0));
    assert_eq!(left.into_void_payload().0.len(), 1);
}

#[test]
fn two_attestations_of_one_value_are_a_proof() {
    let (mut server, _) = Server::new().resumed();
    let other = ReplicaId(1);
    let genesis = [other, OWN, ReplicaId(2)].map(|author| server.keys.genesis(author));
    let [first, second] = [1, 2]
        .map(|salt| server.keys.block(other, Round(1), genesis.to_vec(), &Fork::default(), salt));
    let mut out = vec![];
    for block in [first, second] {
        server.core.on_message(server.now, other, Message::Block(block), &mut out);
    }
    let is_proof = |action: &Action<Message, Event>| {
        matches!(action, Action::Accuse(who, Misbehaviour::Proven(Evidence::Equivocation { .. }))
            if *who == other)
    };
    assert!(out.iter().any(is_proof));
}
