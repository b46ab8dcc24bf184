use ravelin_model::{Digest, Epoch, Position, Signature, Time};

use super::*;
use crate::testing::{Chance, World};

const OWN: ReplicaId = ReplicaId(0);

/// What `member` states about `commit`; `result` tells true from false.
fn signed(world: &World, member: u16, commit: u64, result: u8) -> SignedStatement {
    let statement = CommitStatement {
        cluster: world.keyring.cluster(),
        incarnation: world.keyring.incarnation(),
        epoch: world.keyring.epoch(),
        commit: CommitIndex(commit),
        position: Position(commit),
        time: Time(commit),
        answers: Digest([result; 32]),
        state: Digest([result; 32]),
        ordering: None,
    };
    let member = ReplicaId(member);
    world.keyring.sign_statement(&world.block_key(member), member, statement)
}

/// The same, under a bad signature.
fn unsigned(world: &World, member: u16, commit: u64, result: u8) -> SignedStatement {
    SignedStatement { signature: Signature([6; 64]), ..signed(world, member, commit, result) }
}

fn statements(world: &World) -> Statements {
    Statements::new(world.keyring.clone(), OWN)
}

fn accused(findings: &[Finding]) -> Vec<ReplicaId> {
    let who = |finding: &Finding| match finding {
        Finding::Wrong(evidence) => Some(evidence.accused()),
        _ => None,
    };
    findings.iter().filter_map(who).collect()
}

#[test]
fn a_certificate_needs_a_quorum_of_distinct_members() {
    let world = World::new(4, 1);
    let mut statements = statements(&world);
    assert!(statements.state(signed(&world, 0, 1, 1)).is_empty());
    for _ in 0..5 {
        assert!(statements.hear(signed(&world, 1, 1, 1)).is_empty());
        assert_eq!(statements.certificate(|_| true), None);
    }
    let certified = Finding::Certified(signed(&world, 0, 1, 1).statement);
    assert_eq!(statements.hear(signed(&world, 2, 1, 1)), [certified]);
    let certificate = statements.certificate(|_| true).unwrap();
    let members: Vec<_> = certificate.iter().map(|signed| signed.replica.0).collect();
    assert_eq!(members, [0, 1, 2]);
    assert!(certificate.iter().all(|signed| world.keyring.holds(signed)));
    assert!(statements.hear(signed(&world, 3, 1, 1)).is_empty(), "once a commit");
}

#[test]
fn a_certificate_is_of_the_newest_commit_that_can_be_shown() {
    let world = World::new(4, 1);
    let mut statements = statements(&world);
    for commit in 1..=3 {
        statements.state(signed(&world, 0, commit, 1));
        for member in [1, 2] {
            statements.hear(signed(&world, member, commit, 1));
        }
    }
    let of = |certificate: Option<&[SignedStatement]>| certificate.unwrap()[0].statement.commit.0;
    assert_eq!(of(statements.certificate(|commit| commit.0 < 3)), 2);
    assert_eq!(of(statements.certificate(|commit| commit.0 == 1)), 2, "none older than one had");
    assert_eq!(of(statements.certificate(|_| true)), 3);
}

#[test]
fn what_a_member_did_not_sign_is_in_no_certificate() {
    let world = World::new(4, 1);
    let mut statements = statements(&world);
    statements.state(signed(&world, 0, 1, 1));
    statements.hear(unsigned(&world, 3, 1, 1));
    let findings = statements.hear(signed(&world, 1, 1, 1));
    assert!(matches!(findings[..], [Finding::Certified(_)]), "the blocks vouch for it");
    let checked = statements.commits[&CommitIndex(1)].first.values().filter(|it| it.is_checked);
    assert_eq!(checked.count(), 1, "its own; nothing was worth a check yet");
    assert_eq!(statements.certificate(|_| true), None);
    statements.hear(signed(&world, 2, 1, 1));
    let certificate = statements.certificate(|_| true).unwrap();
    assert!(certificate.iter().all(|signed| world.keyring.holds(signed)));
    assert_eq!(certificate.len(), 3);
}

#[test]
fn a_newer_commit_without_a_signed_quorum_hides_no_older_certificate() {
    let world = World::new(4, 1);
    let mut statements = statements(&world);
    for commit in 1..=3 {
        statements.state(signed(&world, 0, commit, 1));
        statements.hear(signed(&world, 1, commit, 1));
        statements.hear(unsigned(&world, 3, commit, 1));
    }
    statements.hear(signed(&world, 2, 2, 1));
    let commit =
        |statements: &mut Statements| statements.certificate(|_| true).unwrap()[0].statement.commit;
    assert_eq!(commit(&mut statements), CommitIndex(2));
    statements.hear(signed(&world, 2, 3, 1));
    assert_eq!(commit(&mut statements), CommitIndex(3));
}

#[test]
fn nobody_is_accused_with_what_others_did_not_sign() {
    let world = World::new(4, 1);
    let mut statements = statements(&world);
    statements.state(signed(&world, 0, 1, 1));
    statements.hear(unsigned(&world, 3, 1, 1));
    assert!(statements.hear(signed(&world, 2, 1, 2)).is_empty(), "one against one");
    let findings = statements.hear(signed(&world, 1, 1, 1));
    let [Finding::Wrong(evidence)] = &findings[..] else { panic!("{findings:?}") };
    assert_eq!(evidence.accused(), ReplicaId(2));
    assert!(world.keyring.proves(evidence));
}

#[test]
fn a_certificate_needs_equal_statements() {
    let world = World::new(7, 2);
    let mut statements = statements(&world);
    statements.state(signed(&world, 0, 1, 1));
    for member in 1..4 {
        statements.hear(signed(&world, member, 1, 1));
    }
    for (member, result) in [(4, 2), (5, 3)] {
        statements.hear(signed(&world, member, 1, result));
    }
    assert_eq!(statements.certificate(|_| true), None);
    statements.hear(signed(&world, 6, 1, 1));
    assert_eq!(statements.certificate(|_| true).unwrap().len(), 5);
}

#[test]
fn an_older_commit_is_certified_too_but_the_certificate_stays_the_newest() {
    let world = World::new(4, 1);
    let mut statements = statements(&world);
    for commit in 1..=2 {
        statements.state(signed(&world, 0, commit, 1));
    }
    for commit in [2, 1] {
        statements.hear(signed(&world, 1, commit, 1));
        let findings = statements.hear(signed(&world, 2, commit, 1));
        assert_eq!(findings, [Finding::Certified(signed(&world, 0, commit, 1).statement)]);
    }
    assert_eq!(statements.certificate(|_| true).unwrap()[0].statement.commit, CommitIndex(2));
}

#[test]
fn two_statements_of_one_member_are_proof_for_everybody() {
    let world = World::new(4, 1);
    let mut statements = statements(&world);
    statements.state(signed(&world, 0, 1, 1));
    statements.hear(signed(&world, 3, 1, 2));
    let findings = statements.hear(signed(&world, 3, 1, 3));
    let (first, second) = (signed(&world, 3, 1, 2), signed(&world, 3, 1, 3));
    let evidence = Evidence::TwoStatements { first, second };
    assert!(world.keyring.proves(&evidence));
    assert_eq!(findings, [Finding::Wrong(evidence)]);
    assert!(statements.hear(signed(&world, 3, 1, 4)).is_empty(), "accused once");
}

#[test]
fn a_statement_against_f_plus_1_equal_ones_is_proof_in_either_order() {
    let world = World::new(4, 1);
    for is_early in [true, false] {
        let mut statements = statements(&world);
        statements.state(signed(&world, 0, 1, 1));
        let mut findings = Vec::new();
        if is_early {
            findings.extend(statements.hear(signed(&world, 3, 1, 2)));
            assert!(findings.is_empty(), "one against one proves nothing");
        }
        findings.extend(statements.hear(signed(&world, 1, 1, 1)));
        if !is_early {
            findings.extend(statements.hear(signed(&world, 3, 1, 2)));
        }
        let [Finding::Wrong(evidence)] = &findings[..] else { panic!("{findings:?}") };
        assert_eq!(evidence.accused(), ReplicaId(3));
        assert!(world.keyring.proves(evidence));
    }
}

#[test]
fn this_replica_diverged_if_f_plus_1_contradict_it_and_accuses_nobody_then() {
    let world = World::new(4, 1);
    let mut statements = statements(&world);
    statements.state(signed(&world, 0, 1, 2));
    assert!(statements.hear(signed(&world, 1, 1, 1)).is_empty());
    assert_eq!(statements.hear(signed(&world, 2, 1, 1)), [Finding::Diverged(CommitIndex(1))]);
    // An earlier life that stated something else is no better.
    let mut statements = self::statements(&world);
    statements.state(signed(&world, 0, 1, 1));
    assert_eq!(statements.hear(signed(&world, 0, 1, 2)), [Finding::Diverged(CommitIndex(1))]);
}

#[test]
fn who_has_no_key_any_more_is_not_bound_by_what_an_earlier_life_stated() {
    let world = World::new(4, 1);
    // By a key that is no member's: nobody hears it.
    let unspoken = |result| {
        let statement = signed(&world, 0, 1, result).statement;
        world.keyring.sign_statement(&world.block_key_of(OWN, 1), OWN, statement)
    };
    let mut statements = statements(&world);
    statements.state(unspoken(1));
    assert!(statements.hear(signed(&world, 0, 1, 2)).is_empty());
    assert!(statements.hear(signed(&world, 1, 1, 1)).is_empty());
    // The others bind it still.
    let mut statements = self::statements(&world);
    statements.state(unspoken(1));
    assert!(statements.hear(signed(&world, 1, 1, 2)).is_empty());
    assert_eq!(statements.hear(signed(&world, 2, 1, 2)), [Finding::Diverged(CommitIndex(1))]);
}

#[test]
fn what_is_foreign_forged_or_far_has_no_effect() {
    let world = World::new(4, 1);
    let mut statements = statements(&world);
    for commit in 1..=300 {
        statements.state(signed(&world, 0, commit, 1));
    }
    let forged = SignedStatement { replica: ReplicaId(2), ..signed(&world, 1, 300, 2) };
    let mut foreign = signed(&world, 1, 300, 2).statement;
    foreign.epoch = Epoch(2);
    let key = world.block_key(ReplicaId(1));
    let foreign = world.keyring.sign_statement(&key, ReplicaId(1), foreign);
    let stranger = SignedStatement { replica: ReplicaId(9), ..signed(&world, 1, 300, 2) };
    let forgotten = signed(&world, 1, 44, 2);
    let future = signed(&world, 1, 301, 2);
    let end = signed(&world, 1, u64::MAX, 2);
    for without_effect in [forged, foreign, stranger, forgotten, future, end] {
        assert!(statements.hear(without_effect).is_empty());
    }
    let heard = statements.commits.values().map(|known| known.first.len());
    assert_eq!(heard.collect::<Vec<_>>(), vec![1; STATEMENT_COMMITS_MAX]);
}

/// A liar who states the future in ever larger steps must not push today out of memory.
#[test]
fn a_liar_about_the_future_stops_no_certificate() {
    let world = World::new(4, 1);
    let mut statements = statements(&world);
    let mut last = 0;
    for commit in 1..=50 {
        statements.state(signed(&world, 0, commit, 1));
        for _ in 0..8 {
            last += 200;
            statements.hear(signed(&world, 3, last, 1));
        }
        for member in [1, 2] {
            statements.hear(signed(&world, member, commit, 1));
        }
        let certificate = statements.certificate(|_| true).expect("three of four agree");
        assert_eq!(certificate[0].statement.commit, CommitIndex(commit));
        assert!(statements.commits.len() <= STATEMENT_COMMITS_MAX);
    }
}

/// `f` liars who say anything at all, in any order, about any commit.
#[test]
fn no_correct_member_is_ever_accused() {
    for seed in 0..400 {
        let mut chance = Chance(seed);
        let (n, f) = [(4, 1), (7, 2), (10, 3)][chance.index(3)];
        let world = World::new(n, f);
        let mut statements = statements(&world);
        let is_liar = |member: u16| member >= n - f;
        let mut queue = Vec::new();
        for commit in 1..=6 {
            assert!(no_harm(&statements.state(signed(&world, 0, commit, 1)), &is_liar));
            for member in 1..n {
                queue.push(signed(&world, member, commit, 1));
                for _ in 0..if is_liar(member) { chance.below(4) } else { 0 } {
                    let lie = u8::try_from(chance.below(3)).unwrap();
                    let say = [signed, unsigned][chance.index(2)];
                    queue.push(say(&world, member, commit, lie));
                }
            }
        }
        chance.shuffle(&mut queue);
        let mut blamed = BTreeSet::new();
        for heard in queue {
            let findings = statements.hear(heard);
            assert!(no_harm(&findings, &is_liar), "seed {seed}: {findings:?}");
            for finding in &findings {
                if let Finding::Wrong(evidence) = finding {
                    assert!(world.keyring.proves(evidence), "seed {seed}");
                }
            }
            for who in accused(&findings) {
                assert!(blamed.insert(who), "seed {seed}: accused once");
            }
        }
        let certificate = statements.certificate(|_| true).expect("all correct members agree");
        assert_eq!(certificate[0].statement, signed(&world, 0, 6, 1).statement);
    }
}

fn no_harm(findings: &[Finding], is_liar: &impl Fn(u16) -> bool) -> bool {
    findings.iter().all(|finding| match finding {
        Finding::Certified(statement) => statement.state == Digest([1; 32]),
        Finding::Wrong(evidence) => is_liar(evidence.accused().0),
        Finding::Diverged(_) => false,
    })
}

#[test]
fn more_than_f_liars_who_agree_are_accused_by_one_side_or_stop_the_other() {
    let world = World::new(4, 1);
    // Two against two: whoever reached f+1 first accuses the rest; there are more than f of them.
    let mut statements = statements(&world);
    statements.state(signed(&world, 0, 1, 1));
    let mut findings = statements.hear(signed(&world, 1, 1, 1));
    findings.extend(statements.hear(signed(&world, 2, 1, 2)));
    findings.extend(statements.hear(signed(&world, 3, 1, 2)));
    assert_eq!(accused(&findings), [ReplicaId(2), ReplicaId(3)]);
}
