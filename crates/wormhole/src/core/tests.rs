//! What no test can bring about from outside.

use super::*;
use crate::attestation::{ClusterId, Counter, CounterValue, Digest, Epoch, ReplicaId, Statement};
use crate::client::{decode_answer, encode_call};
use crate::keys::{InstanceSecret, MacKey, ProvisionedKey, SessionKeys};

const CONNECTION: u8 = 0;

fn core() -> Core {
    let provisioned = ProvisionedKey::from_seed(&[9; 32]);
    let member = (ClusterId([7; 32]), ReplicaId(2));
    let keys = Keys::new(provisioned, &InstanceSecret([1; 32]), member, RollbackProof::Absent);
    let config = Config { lease: Lease::Run, protections: 0, rights: Rights::BY_DEFAULT };
    Core::new(config, keys, Seed([1; 32]), None)
}

fn session_keys() -> SessionKeys {
    SessionKeys { calls: MacKey([1; 32]), answers: MacKey([2; 32]) }
}

/// Makes the entity's next call, and gives everything that came out, the answer read.
fn call(core: &mut Core, sequence: u64, call: &Call) -> (Vec<Output>, Result<Answer, Refusal>) {
    let mut frame = encode_call(EntityId(1), Sequence(sequence), call);
    seal(&mut frame, &session_keys().calls);
    let mut out = Outputs::new();
    core.step(Nanos(0), Input::Call { connection: CONNECTION, frame: &frame }, &mut out);
    let outputs: Vec<_> = out.iter().copied().collect();
    let Some(Output::Answer { frame, .. }) = outputs.last() else { panic!("an answer") };
    let answer = decode_answer(frame).expect("answers read");
    (outputs, answer)
}

fn open_session(core: &mut Core) {
    let session = Session::new(EntityId(1), session_keys());
    core.sessions.connection(CONNECTION).expect("a connection").open(session);
}

#[test]
fn core_without_new_names_halts() {
    let (mut out, reason) = (Outputs::new(), HaltReason::NamesUsedUp);
    let hello = Hello { public: [9; 32], challenge: [0; 32] };
    let frame = encode_call(EntityId(0), Sequence(0), &Call::Hello(hello));
    let mut without_eids = core();
    without_eids.last_eid = u64::MAX;
    let input = Input::Call { connection: CONNECTION, frame: &frame };
    without_eids.step(Nanos(0), input, &mut out);
    assert_eq!(out.iter().next(), Some(&Output::Halt(reason)));

    let mut without_tags = core();
    open_session(&mut without_tags);
    without_tags.last_tag = u64::MAX;
    let (outputs, answer) = call(&mut without_tags, 1, &Call::DurationStart);
    assert_eq!(outputs.first(), Some(&Output::Halt(reason)));
    assert_eq!(answer, Err(Refusal::Halted { reason }));
    let (outputs, answer) = call(&mut without_tags, 2, &Call::Random);
    assert_eq!(outputs.len(), 1, "it halts once");
    assert_eq!(answer, Err(Refusal::Halted { reason }));
}

#[test]
fn last_sequence_number_is_the_last_call() {
    let mut core = core();
    open_session(&mut core);
    assert!(call(&mut core, u64::MAX, &Call::Random).1.is_ok());
    for sequence in [0, 1, u64::MAX] {
        assert_eq!(call(&mut core, sequence, &Call::Random).1, Err(Refusal::Replay));
    }
}

#[test]
fn erased_key_is_gone() {
    let mut core = core();
    core.keys.erase_instance();
    let statement = Statement {
        identity: core.keys.certificate().identity,
        counter: Counter::Spare,
        epoch: Epoch(0),
        old: CounterValue(0),
        new: CounterValue(1),
        digest: Digest([0; 32]),
    };
    assert_eq!(core.keys.attest(statement), None);
    assert_eq!(core.keys.heartbeat(core.process, 0, 1), None);
}
