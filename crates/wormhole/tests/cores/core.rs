//! What the core promises about counters: one digest for each position, rising positions, no
//! forged attestation, every field bound, and nothing brought back by a restart.

use std::collections::BTreeMap;

use crate::cluster::Chance;
use crate::host::{self, Host, REPLICA, Start, attest, peer, provisioned, wish};
use ravelin_wormhole::attestation::{
    Attestation, COUNTERS, ClusterId, Counter, CounterValue, Digest, Epoch, Forged, Identity,
    InstanceCertificate, InstanceId, Peer, ReplicaId, RollbackProof, Signature, Statement,
};
use ravelin_wormhole::client::decode_answer;
use ravelin_wormhole::core::{
    Action, Core, Counters, HaltReason, Input, Lease, Lock, Nanos, Output, Outputs,
};
use ravelin_wormhole::frame::{AttestCall, ExecCall, Refusal};
use ravelin_wormhole::keys::ProvisionedKey;

const SECOND: Nanos = Nanos::from_millis(1_000);

#[test]
fn no_position_is_ever_bound_to_two_digests_and_positions_rise() {
    for seed in 0..20 {
        let (host, mut chance) = (Host::new(), Chance::new(seed));
        let mut client = host.client(0);
        let mut bound: BTreeMap<(u8, u64, u64), Digest> = BTreeMap::new();
        let mut last = [(0_u64, 0_u64); COUNTERS];
        for _ in 0..400 {
            host.sleep(SECOND); // never refused for want of time
            let counter = Counter::ALL[usize::try_from(chance.below(4)).unwrap()];
            let (epoch, value) = &mut last[usize::from(counter as u8)];
            // Near the position, on both sides; every tenth in a new epoch.
            let new_epoch = u64::from(chance.below(10) == 0);
            let asked = AttestCall {
                counter,
                epoch: Epoch((*epoch + new_epoch).saturating_sub(chance.below(10) / 9)),
                expected_old: CounterValue(value.saturating_sub(chance.below(2)) * (1 - new_epoch)),
                new: CounterValue(chance.below(*value + 4)),
                digest: Digest([u8::try_from(chance.below(3)).unwrap(); 32]),
            };
            let stands = if asked.epoch.0 == *epoch { *value } else { 0 };
            let is_allowed =
                asked.epoch.0 >= *epoch && asked.expected_old.0 == stands && asked.new.0 > stands;
            let before = host.stored();
            match attest(&mut client, asked) {
                Ok(attestation) => {
                    assert!(is_allowed, "seed {seed}: {asked:?} after {epoch} {value}");
                    let statement = attestation.statement;
                    let position = (counter as u8, statement.epoch.0, statement.new.0);
                    assert_eq!(bound.insert(position, statement.digest), None, "seed {seed}");
                    assert!((statement.epoch.0, statement.new.0) > (*epoch, *value));
                    assert_eq!(statement.old.0, stands, "the gap is visible");
                    (*epoch, *value) = (statement.epoch.0, statement.new.0);
                }
                Err(refusal) => {
                    assert_eq!(refusal, Refusal::Conflict, "seed {seed}");
                    assert!(!is_allowed, "seed {seed}: {asked:?} after {epoch} {value}");
                    assert_eq!(host.stored(), before, "a refusal changes nothing");
                }
            }
        }
        assert!(bound.len() > 20, "seed {seed}: the test bound too little");
    }
}

#[test]
fn rule_of_positions_case_by_case() {
    // The counter stands at epoch 3, value 10.
    let cases = [
        (wish(3, 10, 11, 1), Ok(())),
        (wish(3, 10, 500, 1), Ok(())),
        (wish(4, 0, 1, 1), Ok(())),
        (wish(9, 0, 77, 1), Ok(())),
        (wish(3, 10, 10, 1), Err(Refusal::Conflict)), // bound already
        (wish(3, 10, 9, 1), Err(Refusal::Conflict)),
        (wish(3, 9, 11, 1), Err(Refusal::Conflict)), // mistaken about the last
        (wish(3, 11, 12, 1), Err(Refusal::Conflict)),
        (wish(3, 0, 11, 1), Err(Refusal::Conflict)),
        (wish(4, 10, 11, 1), Err(Refusal::Conflict)), // a new epoch begins at 0
        (wish(4, 0, 0, 1), Err(Refusal::Conflict)),   // 0 is bound to nothing
        (wish(2, 0, 1, 1), Err(Refusal::Conflict)),   // an old epoch
        (wish(2, 10, 11, 1), Err(Refusal::Conflict)),
    ];
    for (asked, expected) in cases {
        let host = Host::new();
        let mut client = host.client(0);
        attest(&mut client, wish(3, 0, 10, 0)).unwrap();
        assert_eq!(attest(&mut client, asked).map(|_| ()), expected, "{asked:?}");
    }
}

#[test]
fn exhausted_epoch_is_refused_and_the_next_one_goes_on() {
    let host = Host::new();
    let mut client = host.client(0);
    attest(&mut client, wish(0, 0, u64::MAX, 0)).unwrap();
    let top = u64::MAX;
    assert_eq!(attest(&mut client, wish(0, top, top, 1)), Err(Refusal::Exhausted));
    assert_eq!(attest(&mut client, wish(0, top, 0, 1)), Err(Refusal::Exhausted));
    attest(&mut client, wish(u64::MAX, 0, top, 0)).unwrap();
    assert_eq!(attest(&mut client, wish(u64::MAX, top, top, 1)), Err(Refusal::Exhausted));
    assert_eq!(attest(&mut client, wish(0, 0, 1, 1)), Err(Refusal::Conflict));
}

#[test]
fn counters_are_independent_and_last_gives_the_whole_attestation() {
    let host = Host::new();
    let mut client = host.client(0);
    for counter in Counter::ALL {
        assert_eq!(client.last(counter).unwrap(), None);
        let mine = AttestCall { counter, ..wish(1, 0, 5, counter as u8) };
        let attestation = attest(&mut client, mine).unwrap();
        assert_eq!(client.last(counter).unwrap(), Some(attestation));
        assert_eq!(attest(&mut client, mine), Err(Refusal::Conflict), "only `last` repeats");
        assert_eq!(client.last(counter).unwrap(), Some(attestation));
    }
}

#[test]
fn any_entity_sees_the_same_counters() {
    let host = Host::new();
    let (mut one, mut other) = (host.client(0), host.client(0));
    let attestation = attest(&mut one, wish(1, 0, 5, 1)).unwrap();
    assert_eq!(attest(&mut other, wish(1, 0, 5, 2)), Err(Refusal::Conflict));
    for mut anybody in [other, host.client(1)] {
        assert_eq!(anybody.last(Counter::Ordering).unwrap(), Some(attestation));
    }
}

/// An attestation and its certificate, from a core.
fn attested() -> (InstanceCertificate, Attestation) {
    let host = Host::new();
    let mut client = host.client(0);
    let attestation = attest(&mut client, wish(3, 0, 10, 4)).unwrap();
    (*client.certificate(), attestation)
}

#[test]
fn attestation_names_what_was_asked_and_holds() {
    let (certificate, attestation) = attested();
    let statement = attestation.statement;
    assert_eq!(statement.identity, certificate.identity);
    assert_eq!(statement.identity.cluster, host::CLUSTER);
    assert_eq!(statement.identity.replica, REPLICA);
    let asked = wish(3, 0, 10, 4);
    assert_eq!(
        (statement.counter, statement.epoch, statement.old, statement.new, statement.digest),
        (asked.counter, asked.epoch, asked.expected_old, asked.new, asked.digest)
    );
    assert_eq!(peer().check(&certificate, &attestation), Ok(()));
}

#[test]
fn every_field_of_an_attestation_is_bound() {
    let (certificate, attestation) = attested();
    let statement = attestation.statement;
    let identity = statement.identity;
    let others = [
        Statement { identity: Identity { cluster: ClusterId([8; 32]), ..identity }, ..statement },
        Statement { identity: Identity { replica: ReplicaId(3), ..identity }, ..statement },
        Statement { counter: Counter::Recovery, ..statement },
        Statement { epoch: Epoch(4), ..statement },
        Statement { old: CounterValue(1), ..statement },
        Statement { new: CounterValue(11), ..statement },
        Statement { digest: Digest([5; 32]), ..statement },
    ];
    for other in others {
        // Even where the certificate goes along with the lie, the signature does not.
        let certificate = resigned(InstanceCertificate { identity: other.identity, ..certificate });
        let peer = Peer {
            cluster: other.identity.cluster,
            replica: other.identity.replica,
            provisioned: peer().provisioned,
        };
        let forged = Attestation { statement: other, ..attestation };
        assert_eq!(peer.check(&certificate, &forged), Err(Forged::BadSignature), "{other:?}");
    }
    for bit in 0..512 {
        let mut signature = attestation.signature;
        signature.0[bit / 8] ^= 1 << (bit % 8);
        let forged = Attestation { signature, ..attestation };
        assert_eq!(peer().check(&certificate, &forged), Err(Forged::BadSignature));
    }
}

/// The certificate, signed as if the wormhole had certified it.
fn resigned(certificate: InstanceCertificate) -> InstanceCertificate {
    use ed25519_dalek::Signer as _;
    let InstanceCertificate { identity, rollback_proof, .. } = certificate;
    let bytes = InstanceCertificate::signed_bytes(&identity, rollback_proof);
    let key = ed25519_dalek::SigningKey::from_bytes(&[9; 32]);
    assert_eq!(key.verifying_key().to_bytes(), provisioned().id().0);
    InstanceCertificate { signature: Signature(key.sign(&bytes).to_bytes()), ..certificate }
}

#[test]
fn every_field_of_a_certificate_is_bound() {
    let (certificate, attestation) = attested();
    let identity = certificate.identity;
    let with = |identity| InstanceCertificate { identity, ..certificate };
    let check = |certificate: &InstanceCertificate, peer: &Peer| {
        peer.check_certificate(certificate).expect_err("forged")
    };
    let other_cluster = with(Identity { cluster: ClusterId([8; 32]), ..identity });
    assert_eq!(check(&other_cluster, &peer()), Forged::OtherMember);
    let peer_there = Peer { cluster: ClusterId([8; 32]), ..peer() };
    assert_eq!(check(&other_cluster, &peer_there), Forged::BadSignature);
    let other_replica = with(Identity { replica: ReplicaId(3), ..identity });
    assert_eq!(check(&other_replica, &peer()), Forged::OtherMember);
    let peer_there = Peer { replica: ReplicaId(3), ..peer() };
    assert_eq!(check(&other_replica, &peer_there), Forged::BadSignature);
    let other_instance = with(Identity { instance: InstanceId([3; 32]), ..identity });
    assert_eq!(check(&other_instance, &peer()), Forged::BadSignature);
    let proof = InstanceCertificate { rollback_proof: RollbackProof::Present, ..certificate };
    assert_eq!(check(&proof, &peer()), Forged::BadSignature);
    let stranger = ProvisionedKey::from_seed(&[10; 32]).id();
    let peer_stranger = Peer { provisioned: stranger, ..peer() };
    assert_eq!(peer_stranger.check(&certificate, &attestation), Err(Forged::BadSignature));
}

#[test]
fn attestation_of_another_instance_does_not_pass_for_this_one() {
    let (certificate, _) = attested();
    let host = Host::start(Start { secret: 2, ..Start::default() });
    let mut client = host.client(0);
    let attestation = attest(&mut client, wish(3, 0, 10, 4)).unwrap();
    assert_eq!(peer().check(client.certificate(), &attestation), Ok(()));
    assert_eq!(peer().check(&certificate, &attestation), Err(Forged::OtherInstance));
}

#[test]
fn small_order_key_signs_nothing() {
    // With the neutral element as key, a lax check takes (neutral, 0) as signature of everything.
    let mut neutral = [0; 32];
    neutral[0] = 1;
    let mut signature = [0; 64];
    signature[0] = 1;
    let (certificate, attestation) = attested();
    let identity = Identity { instance: InstanceId(neutral), ..certificate.identity };
    let certificate = resigned(InstanceCertificate { identity, ..certificate });
    let statement = Statement { identity, ..attestation.statement };
    let forged = Attestation { statement, signature: Signature(signature) };
    assert_eq!(peer().check(&certificate, &forged), Err(Forged::BadSignature));
}

#[test]
fn counter_that_does_not_rise_is_nobodys_word() {
    let (certificate, attestation) = attested();
    for new in [0, 5] {
        let (old, new) = (CounterValue(5), CounterValue(new));
        let statement = Statement { old, new, ..attestation.statement };
        let forged = Attestation { statement, ..attestation };
        assert_eq!(peer().check(&certificate, &forged), Err(Forged::NotRising));
    }
}

#[test]
fn signed_bytes_are_these() {
    let identity = Identity {
        cluster: ClusterId([0xc1; 32]),
        replica: ReplicaId(0x0201),
        instance: InstanceId([0x1d; 32]),
    };
    let statement = Statement {
        identity,
        counter: Counter::Recovery,
        epoch: Epoch(3),
        old: CounterValue(4),
        new: CounterValue(5),
        digest: Digest([0xdd; 32]),
    };
    let mut golden = vec![22];
    golden.extend(b"ravelin attestation v1");
    golden.extend([0xc1; 32]);
    golden.extend([1, 2]);
    golden.extend([0x1d; 32]);
    golden.extend([2, 3, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0]);
    golden.extend([0xdd; 32]);
    assert_eq!(statement.signed_bytes().to_vec(), golden);

    let mut golden = vec![28];
    golden.extend(b"ravelin wormhole instance v1");
    golden.extend([0xc1; 32]);
    golden.extend([1, 2]);
    golden.extend([0x1d; 32]);
    golden.push(1);
    let bytes = InstanceCertificate::signed_bytes(&identity, RollbackProof::Present);
    assert_eq!(bytes.to_vec(), golden);
}

#[test]
fn attestation_is_durable_before_it_shows() {
    let start =
        Start { lease: Lease::Every, rollback_proof: RollbackProof::Present, ..Start::default() };
    let host = Host::start(start);
    let mut client = host.client(0);
    host.world().outputs.clear();
    let attestation = attest(&mut client, wish(0, 0, 1, 1)).unwrap();
    assert!(matches!(host.world().outputs.as_slice(), [Output::Keep, Output::Answer { .. }]));
    // What is kept then is enough to give the very attestation again.
    let resumed = Counters::from_bytes(&host.stored()).unwrap();
    let again = Host::start(Start {
        rollback_proof: RollbackProof::Present,
        resumed: Some(resumed),
        ..Start::default()
    });
    assert_eq!(again.client(0).last(Counter::Ordering).unwrap(), Some(attestation));

    host.world().outputs.clear();
    assert_eq!(attest(&mut client, wish(0, 0, 1, 2)), Err(Refusal::Conflict));
    assert!(matches!(host.world().outputs.as_slice(), [Output::Answer { .. }]), "nothing to keep");

    let host = Host::new();
    let mut client = host.client(0);
    attest(&mut client, wish(0, 0, 1, 1)).unwrap();
    assert!(!host.world().outputs.contains(&Output::Keep), "kept at the stop");
}

#[test]
fn failed_store_halts() {
    let host = Host::start(Start { lease: Lease::Every, ..Start::default() });
    let mut client = host.client(0);
    host.world().outputs.clear();
    host.step(Input::StoreFailed);
    assert_eq!(host.world().outputs.as_slice(), [Output::Halt(HaltReason::Store)]);
    let halted = Refusal::Halted { reason: HaltReason::Store };
    assert_eq!(attest(&mut client, wish(0, 0, 1, 1)), Err(halted));
    assert_eq!(host.world().core.halted(), Some(HaltReason::Store));
}

#[test]
fn store_that_failed_is_asked_for_nothing_more_and_the_reason_stays() {
    let host = Host::start(Start { lease: Lease::Every, ..Start::default() });
    let mut client = host.client(0);
    let (action, not_before) = (Action::FailSafeLock, SECOND);
    client.exec_at(ExecCall { action, not_before, within: SECOND }).unwrap();
    host.sleep(SECOND); // the lock is due when the store fails
    host.world().outputs.clear();
    host.step(Input::StoreFailed);
    assert_eq!(host.world().outputs.as_slice(), [Output::Halt(HaltReason::Store)]);
    host.step(Input::Time);
    assert_eq!(host.world().outputs.len(), 1);
    assert_eq!(host.world().core.counters().lock(), Lock::Open);
}

#[test]
fn resumed_instance_goes_on_where_it_was() {
    let host = Host::start(Start { rollback_proof: RollbackProof::Present, ..Start::default() });
    let mut client = host.client(0);
    attest(&mut client, wish(3, 0, 10, 1)).unwrap();
    let resumed = Counters::from_bytes(&host.stored()).unwrap();
    let host = Host::start(Start {
        rollback_proof: RollbackProof::Present,
        resumed: Some(resumed),
        ..Start::default()
    });
    let mut again = host.client(0);
    assert_eq!(again.certificate(), client.certificate());
    assert_eq!(attest(&mut again, wish(3, 0, 10, 2)), Err(Refusal::Conflict));
    assert!(attest(&mut again, wish(3, 10, 11, 2)).is_ok());
}

#[test]
fn instance_without_rollback_proof_never_resumes() {
    let host = Host::start(Start { resumed: Some(Counters::new()), ..Start::default() });
    assert_eq!(host.world().core.halted(), Some(HaltReason::NotResumable));
    assert!(host.try_client(0).is_err());
}

#[test]
fn lock_survives_a_restart() {
    for (action, lock) in [(Action::FailSafeLock, Lock::Locked), (Action::EraseKey, Lock::Erased)] {
        let host = Host::new();
        let mut client = host.client(0);
        let exec = ExecCall { action, not_before: Nanos(0), within: Nanos(0) };
        client.exec_at(exec).unwrap();
        let resumed = Counters::from_bytes(&host.stored()).unwrap();
        assert_eq!(resumed.lock(), lock);
        let host = Host::start(Start {
            rollback_proof: RollbackProof::Present,
            resumed: Some(resumed),
            ..Start::default()
        });
        assert_eq!(attest(&mut host.client(0), wish(0, 0, 1, 1)), Err(Refusal::Locked));
    }
}

#[test]
fn stored_counters_have_one_encoding() {
    let host = Host::new();
    let mut client = host.client(0);
    attest(&mut client, wish(3, 0, 10, 1)).unwrap();
    let bytes = host.stored();
    assert_eq!(Counters::from_bytes(&bytes).unwrap().to_bytes(), bytes);
    for bit in 0..8 * Counters::BYTES {
        let mut other = bytes;
        other[bit / 8] ^= 1 << (bit % 8);
        if let Ok(counters) = Counters::from_bytes(&other) {
            assert_eq!(counters.to_bytes(), other, "bit {bit}");
        }
    }
    assert_eq!(Counters::from_bytes(&Counters::new().to_bytes()).unwrap(), Counters::new());
}

#[test]
fn same_inputs_give_the_same_outputs() {
    let (one, other) = (Host::new(), Host::new());
    for host in [&one, &other] {
        let mut client = host.client(0);
        attest(&mut client, wish(0, 0, 1, 1)).unwrap();
        client.random().unwrap();
        client.status().unwrap();
    }
    assert_eq!(one.world().outputs, other.world().outputs);
}

#[test]
fn random_numbers_differ() {
    let host = Host::new();
    let mut clients = [host.client(0), host.client(1)];
    let mut seen = Vec::new();
    for client in &mut clients {
        for _ in 0..50 {
            let number = client.random().unwrap();
            assert!(!seen.contains(&number));
            seen.push(number);
        }
    }
    let other = Host::start(Start { seed: 2, ..Start::default() });
    assert!(!seen.contains(&other.client(0).random().unwrap()), "another seed");
}

#[test]
fn steps_replace_the_outputs_of_the_step_before() {
    let mut core: Core = host::core(Start::default());
    let mut out = Outputs::new();
    for _ in 0..100 {
        core.step(Nanos(0), Input::Call { connection: 0, frame: &[0; 512] }, &mut out);
        assert_eq!(out.iter().count(), 1);
        let Some(Output::Answer { frame, .. }) = out.iter().next() else { panic!("an answer") };
        assert_eq!(decode_answer(frame), Ok(Err(Refusal::NotAuthenticated)));
    }
}
