//! What the core promises about who calls: only the wormhole welcomes, only the entity speaks in its
//! name, each call counts once, and nobody takes what is another's.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::time::Duration;

use crate::cluster::Chance;
use crate::host::{Host, Insider, REPLICA, Start, Wire, attest, has_mac, peer, refusal, wish};
use ravelin_wormhole::attestation::{Counter, Forged, Peer, ReplicaId};
use ravelin_wormhole::client::{
    CallError, Channel as _, Client, HelloError, LATE_FRAMES_MAX, SeqPacket, decode_answer,
    encode_call,
};
use ravelin_wormhole::core::{
    ACTIONS_PER_ENTITY, ARMED_PER_ENTITY, CONNECTIONS, DURATIONS_PER_ENTITY,
    ENTITIES_PER_CONNECTION, HORIZON, HaltReason, Input, Lease, Nanos, Output, RETENTION, Rights,
};
use ravelin_wormhole::frame::{
    Action, Agreement, Answer, AttestCall, Call, DecisionFunction, Entity, EntityId, ExecCall,
    Frame, Header, Hello, Kind, ProposeCall, Refusal, Sequence, Tag,
};
use ravelin_wormhole::keys::ProvisionedKey;

const SECOND: Nanos = Nanos::from_millis(1_000);

/// What an unauthenticated answer claims.
fn claim(answer: &Frame) -> Refusal {
    assert!(!has_mac(answer), "a MAC on what was not authenticated");
    decode_answer(answer).unwrap().expect_err("a refusal")
}

#[test]
fn garbage_gets_one_coarse_answer_takes_no_slot_and_counts_as_no_call() {
    let (host, mut chance) = (Host::new(), Chance::new(1));
    let mut client = host.client(0);
    let before = client.status().unwrap();
    let mut answers: Vec<Frame> = Vec::new();
    for _ in 0..1_000 {
        let mut frame = [0; 512];
        frame.fill_with(|| chance.next().to_le_bytes()[0]);
        frame[0] = u8::try_from(chance.below(2)).unwrap(); // half of them of our version
        answers.push(host.send(u8::try_from(chance.below(6)).unwrap(), &frame));
    }
    answers.dedup();
    assert_eq!(answers.len(), 1);
    assert_eq!(claim(&answers[0]), Refusal::NotAuthenticated);
    let after = client.status().unwrap();
    assert_eq!((after.entities, after.refused), (before.entities, before.refused + 1_000));
    assert_eq!(after.calls.iter().sum::<u64>(), before.calls.iter().sum::<u64>() + 1);
}

#[test]
fn frame_with_any_bit_changed_is_refused_and_does_nothing() {
    let host = Host::new();
    let mut client = host.client(0);
    let before = host.stored();
    // The host holds a call back: it lets the wormhole see nothing of it but what it makes of it.
    host.tamper(|answer| *answer = [0; 512]);
    let _ = client.attest(wish(0, 0, 1, 1));
    host.world().tamper = None;
    let frame = host.last_call();
    let host = Host::new();
    let _client = host.client(0); // the same session: same seed, same entropy
    for bit in 0..8 * 512 {
        let mut other = frame;
        other[bit / 8] ^= 1 << (bit % 8);
        claim(&host.send(0, &other));
        assert_eq!(host.stored(), before, "bit {bit}");
    }
    assert!(has_mac(&host.send(0, &frame)), "the frame itself is served");
    assert_ne!(host.stored(), before);
}

#[test]
fn replayed_call_is_refused_and_does_nothing() {
    let host = Host::new();
    let mut client = host.client(0);
    client.random().unwrap();
    let first = host.last_call();
    assert_eq!(claim(&host.send(0, &first)), Refusal::Replay, "at once");
    client.duration_start().unwrap();
    let start = host.last_call();
    for old in [first, start] {
        assert_eq!(claim(&host.send(0, &old)), Refusal::Replay);
    }
    assert_eq!(client.status().unwrap().durations, 1);
}

#[test]
fn replay_of_a_refused_call_is_refused_too() {
    let host = Host::new();
    let mut client = host.client(0);
    assert_eq!(attest(&mut client, wish(0, 1, 2, 1)), Err(Refusal::Conflict));
    let refused = host.last_call();
    attest(&mut client, wish(0, 0, 1, 1)).unwrap();
    // It would be served now: the host must not choose when.
    assert_eq!(claim(&host.send(0, &refused)), Refusal::Replay);
    assert!(attest(&mut client, wish(0, 1, 2, 2)).is_ok());
}

#[test]
fn every_call_has_at_most_one_authentic_answer() {
    let (host, mut chance) = (Host::new(), Chance::new(2));
    let mut client = host.client(0);
    for _ in 0..300 {
        let _ = client.call(&Call::Attest(wish(0, chance.below(4), chance.below(5), 0)));
        let mut old = {
            let world = host.world();
            world.calls[usize::try_from(chance.below(world.calls.len() as u64)).unwrap()]
        };
        if chance.below(2) == 0 {
            old[usize::try_from(chance.below(512)).unwrap()] ^= 1;
        }
        host.send(u8::try_from(chance.below(2)).unwrap(), &old);
    }
    let mut authentic: BTreeMap<u64, Frame> = BTreeMap::new();
    for answer in host.world().answers.iter().filter(|answer| has_mac(answer)) {
        let sequence = Header::take(answer).unwrap().sequence.0;
        assert_eq!(authentic.insert(sequence, *answer), None, "call {sequence}");
    }
    assert_eq!(authentic.len(), 300);
}

#[test]
fn session_is_good_on_its_own_connection_only() {
    let host = Host::new();
    let mut client = host.client(0);
    host.tamper(|answer| *answer = [0; 512]);
    let _ = client.random();
    let frame = host.last_call();
    let host = Host::new();
    let _client = host.client(0);
    let _other = host.client(1);
    assert_eq!(claim(&host.send(1, &frame)), Refusal::NotAuthenticated);
    assert_eq!(claim(&host.send(200, &frame)), Refusal::NotAuthenticated);
    assert!(has_mac(&host.send(0, &frame)));
}

#[test]
fn tags_of_another_entity_are_unknown() {
    let host = Host::new();
    let (mut one, mut other) = (host.client(0), host.client(0));
    let duration = one.duration_start().unwrap();
    let armed = one.arm(SECOND).unwrap();
    let action = Action::SignedHeartbeat;
    let planned = one.exec_at(ExecCall { action, not_before: SECOND, within: SECOND }).unwrap();
    let unknown = Some(Refusal::UnknownTag);
    let check = |thief: &mut Client<Wire>| {
        assert_eq!(refusal(thief.duration_stop(duration)).err(), unknown);
        assert_eq!(refusal(thief.end(armed)).err(), unknown);
        assert_eq!(refusal(thief.outcome(planned)).err(), unknown);
    };
    check(&mut other);
    // Nor does a new entity inherit them with the place.
    one.bye().unwrap();
    let mut heir = host.client(0);
    check(&mut heir);
    host.wake_at(SECOND);
    check(&mut heir);
    // Nor are tags of one kind tags of another.
    let tag = heir.duration_start().unwrap();
    assert_eq!(refusal(heir.end(tag)).err(), unknown);
    assert_eq!(refusal(heir.outcome(tag)).err(), unknown);
    assert!(heir.duration_stop(tag).is_ok());
    assert_eq!(refusal(heir.duration_stop(tag)).err(), unknown, "once");
    assert_eq!(refusal(heir.duration_stop(Tag(u64::MAX))).err(), unknown);
}

#[test]
fn closed_connection_frees_its_sessions_and_no_entity_has_an_old_name() {
    let host = Host::new();
    let mut keeper = host.client(1);
    let mut names = Vec::new();
    for _ in 0..5 {
        for _ in 0..ENTITIES_PER_CONNECTION {
            host.sleep(SECOND);
            let mut client = host.client(0);
            client.random().unwrap();
            names.push(Header::take(&host.last_call()).unwrap().eid.0);
        }
        let last = host.last_call();
        host.step(Input::Closed { connection: 0 });
        assert_eq!(claim(&host.send(0, &last)), Refusal::NotAuthenticated);
        assert_eq!(keeper.status().unwrap().entities, 1);
    }
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
}

#[test]
fn bye_ends_the_session() {
    let host = Host::new();
    host.client(0).bye().unwrap();
    let mut replay = host.last_call();
    assert_eq!(claim(&host.send(0, &replay)), Refusal::NotAuthenticated);
    replay[12] += 1;
    assert_eq!(claim(&host.send(0, &replay)), Refusal::NotAuthenticated);
    assert_eq!(host.client(1).status().unwrap().entities, 1);
}

#[test]
fn welcome_with_any_bit_changed_is_not_believed() {
    for bit in 0..8 * 512 {
        let host = Host::new();
        host.tamper(move |answer| answer[bit / 8] ^= 1 << (bit % 8));
        assert!(host.try_client(0).is_err(), "bit {bit}");
    }
}

#[test]
fn welcome_of_another_wormhole_is_not_believed() {
    let provisioned = ProvisionedKey::from_seed(&[10; 32]).id();
    let stranger = Peer { provisioned, ..peer() };
    let result = Host::new().hello(0, &stranger, 3);
    assert!(matches!(result.err(), Some(HelloError::Forged(Forged::BadSignature))));
    let elsewhere = Peer { replica: ReplicaId(5), ..peer() };
    let result = Host::new().hello(0, &elsewhere, 3);
    assert!(matches!(result.err(), Some(HelloError::Forged(Forged::OtherMember))));
}

#[test]
fn welcome_of_an_earlier_hello_is_not_believed() {
    let host = Host::new();
    host.client(0);
    let welcome = host.world().answers[0];
    host.tamper(move |answer| *answer = welcome);
    let result = host.hello(0, &peer(), 4);
    assert!(matches!(result.err(), Some(HelloError::Forged(Forged::BadSignature))));
}

#[test]
fn key_of_small_order_makes_no_session() {
    let host = Host::new();
    for point in [[0; 32], one()] {
        let hello = Call::Hello(Hello { public: point, challenge: [1; 32] });
        let answer = host.send(0, &encode_call(EntityId(0), Sequence(0), &hello));
        assert_eq!(claim(&answer), Refusal::NotAuthenticated);
    }
    assert_eq!(host.client(0).status().unwrap().entities, 1);
}

fn one() -> [u8; 32] {
    let mut point = [0; 32];
    point[0] = 1;
    point
}

#[test]
fn hello_says_nothing_but_hello() {
    let host = Host::new();
    let hello = Call::Hello(Hello { public: [9; 32], challenge: [1; 32] });
    let plain = encode_call(EntityId(0), Sequence(0), &hello);
    for place in [4, 12, 84, 479, 480, 511] {
        let mut other = plain;
        other[place] = 1; // entity, sequence, padding, MAC
        assert_eq!(claim(&host.send(0, &other)), Refusal::NotAuthenticated, "byte {place}");
    }
    assert!(matches!(decode_answer(&host.send(0, &plain)), Ok(Ok(Answer::Welcome(_)))));
}

#[test]
fn client_believes_no_answer_with_a_bit_changed() {
    for bit in 0..8 * 512 {
        let host = Host::new();
        let mut client = host.client(0);
        host.tamper(move |answer| answer[bit / 8] ^= 1 << (bit % 8));
        assert!(matches!(client.random(), Err(CallError::NotAuthentic(_))), "bit {bit}");
        assert!(matches!(client.random(), Err(CallError::Over)), "nothing is known any more");
    }
}

#[test]
fn client_believes_no_answer_to_another_call() {
    let host = Host::new();
    let mut client = host.client(0);
    client.random().unwrap();
    let old = *host.world().answers.last().unwrap();
    host.tamper(move |answer| *answer = old);
    assert!(matches!(client.random(), Err(CallError::NotAuthentic(None))));
}

#[test]
fn claimed_refusal_is_told_from_an_authentic_one() {
    let host = Host::new();
    let mut client = host.client(0);
    assert!(matches!(client.arm(Nanos::NEVER), Err(CallError::Refused(Refusal::TooFar))));
    assert!(client.random().is_ok(), "an authentic refusal ends nothing");
    host.step(Input::Closed { connection: 0 });
    let claimed = client.random();
    let nobody = Some(Refusal::NotAuthenticated);
    assert!(matches!(claimed, Err(CallError::NotAuthentic(says)) if says == nobody));
}

#[test]
fn socket_carries_frames_and_nothing_else() {
    use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, send, socketpair};
    let flags = SocketFlags::CLOEXEC;
    let (end, wormhole) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
    let mut channel = SeqPacket::new(end);
    let mut frame = [0; 512];
    frame[511] = 7;
    channel.send(&frame).unwrap();
    let mut arrived = [0; 513];
    let (_, length) =
        rustix::net::recv(&wormhole, &mut arrived[..], rustix::net::RecvFlags::empty()).unwrap();
    assert_eq!((length, arrived[511]), (512, 7));
    for (length, expected) in [
        (512, None),
        (511, Some(ErrorKind::InvalidData)),
        (513, Some(ErrorKind::InvalidData)),
        (1, Some(ErrorKind::InvalidData)),
    ] {
        send(&wormhole, &vec![3; length], SendFlags::empty()).unwrap();
        assert_eq!(channel.receive().map_err(|error| error.kind()).err(), expected, "{length}");
    }
    drop(wormhole);
    assert_eq!(channel.receive().unwrap_err().kind(), ErrorKind::UnexpectedEof);
    assert_eq!(channel.send(&frame).unwrap_err().kind(), ErrorKind::BrokenPipe);
}

// A channel that is lent.

#[test]
fn session_that_timed_out_is_followed_by_another_over_the_same_channel() {
    let host = Host::new();
    let mut wire = host.wire(0);
    let entropy = |byte| zeroize::Zeroizing::new([byte; 32]);
    let timed_out = |error: &std::io::Error| error.kind() == ErrorKind::TimedOut;
    let mut client = Client::hello(&mut wire, &peer(), &entropy(1)).unwrap();
    host.world().is_slow = true;
    assert!(matches!(client.random(), Err(CallError::Channel(error)) if timed_out(&error)));
    let hello = Client::hello(&mut wire, &peer(), &entropy(2)).map(drop);
    assert!(matches!(hello, Err(HelloError::Channel(error)) if timed_out(&error)));
    host.world().is_slow = false;
    // On the wire: the answer to `random`, the welcome nobody waited for, the one that is meant.
    let mut client = Client::hello(&mut wire, &peer(), &entropy(3)).unwrap();
    assert!(client.random().is_ok());
    assert_eq!(client.status().unwrap().entities, 3, "those given up keep their places");
}

#[test]
fn hello_passes_over_so_many_frames_and_no_more() {
    for (late, is_welcome) in [(LATE_FRAMES_MAX, true), (LATE_FRAMES_MAX + 1, false)] {
        let host = Host::new();
        let mut wire = host.wire(0);
        let mut client = Client::hello(&mut wire, &peer(), &[1; 32].into()).unwrap();
        client.random().unwrap();
        let answer = *host.world().answers.last().unwrap();
        drop(client);
        (0..late).for_each(|_| wire.arrives(answer));
        let hello = Client::hello(&mut wire, &peer(), &[2; 32].into()).map(drop);
        match hello {
            Ok(()) => assert!(is_welcome),
            Err(HelloError::NoWelcome) => assert!(!is_welcome),
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn wormhole_that_does_not_answer_is_not_waited_for_without_end() {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
    let (family, flags) = (AddressFamily::UNIX, SocketFlags::CLOEXEC);
    let (end, _wormhole) = socketpair(family, SocketType::SEQPACKET, flags, None).unwrap();
    let mut channel = SeqPacket::new(end).with_time_max(Duration::from_millis(20));
    let Err(error) = Client::hello(&mut channel, &peer(), &[1; 32].into()) else {
        panic!("nobody welcomes")
    };
    let HelloError::Channel(cause) = &error else { panic!("{error}") };
    assert_eq!(cause.kind(), ErrorKind::TimedOut);
    assert!(cause.to_string().contains("did not answer"), "{cause}");
    // Nor for room to send.
    let sent = (0..100_000).find_map(|_| channel.send(&[0; 512]).err());
    assert_eq!(sent.map(|error| error.kind()), Some(ErrorKind::TimedOut));
}

// Rights.

/// Whether a client may attest with each counter, and plan each action.
fn powers(host: &Host, connection: u8) -> ([bool; 4], [bool; 3]) {
    let mut client = host.client(connection);
    let denied = Some(Refusal::Denied);
    let attests = Counter::ALL.map(|counter| {
        let before = host.stored();
        let asked = AttestCall { counter, ..wish(u64::MAX - 1, 0, 1, 1) };
        let is_denied = attest(&mut client, asked).err() == denied;
        assert_eq!(host.stored() == before, is_denied);
        !is_denied
    });
    let actions = [Action::FailSafeLock, Action::EraseKey, Action::SignedHeartbeat];
    let plans = actions.map(|action| {
        let exec = ExecCall { action, not_before: SECOND, within: SECOND };
        refusal(client.exec_at(exec)).err() != denied
    });
    // What needs no right is for everybody.
    client.random().unwrap();
    client.timestamp().unwrap();
    let (duration, armed) = (client.duration_start().unwrap(), client.arm(SECOND).unwrap());
    client.duration_stop(duration).unwrap();
    client.end(armed).unwrap();
    client.last(Counter::Ordering).unwrap();
    client.status().unwrap();
    (attests, plans)
}

#[test]
fn first_connection_has_all_rights_and_others_the_least() {
    for connection in 1..4 {
        let host = Host::new();
        assert_eq!(powers(&host, connection), ([false; 4], [false, false, true]), "{connection}");
        assert_eq!(powers(&host, 0), ([true; 4], [true; 3]), "nobody took anything from it");
    }
}

#[test]
fn rights_are_one_by_one() {
    let mut rights = Rights::BY_DEFAULT;
    rights[2] = Rights::to_attest(Counter::Checkpoint).and(Rights::to_plan(Action::FailSafeLock));
    rights[3] = Rights::to_attest(Counter::Spare).and(Rights::LEAST);
    let host = Host::start(Start { rights, ..Start::default() });
    let checkpoint = [false, true, false, false];
    assert_eq!(powers(&host, 2), (checkpoint, [true, false, false]));
    assert_eq!(powers(&host, 3), ([false, false, false, true], [false, false, true]));
    assert_eq!(powers(&host, 1), ([false; 4], [false, false, true]));
}

// Admission control.

/// When the next write to a hardware counter is admitted, by the refusal of an attestation.
fn attest_until_refused(client: &mut Client<Wire>, value: &mut u64) -> Nanos {
    loop {
        match attest(client, wish(0, *value, *value + 1, 1)) {
            Ok(_) => *value += 1,
            Err(Refusal::NoResources { next_free }) => return next_free,
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn attestations_that_are_written_are_few_and_each_connection_has_its_own() {
    let (lease, rights) = (Lease::Every, [Rights::ALL; CONNECTIONS]);
    let host = Host::start(Start { lease, rights, ..Start::default() });
    let (mut one, mut twin, mut other) = (host.client(0), host.client(0), host.client(1));
    let mut value = 0;
    assert_eq!(attest(&mut one, wish(0, 7, 8, 1)), Err(Refusal::Conflict), "writes nothing");
    let next_free = attest_until_refused(&mut one, &mut value);
    assert_eq!((value, next_free), (4, Nanos(2_000 * SECOND.0)));
    let before = host.stored();
    host.world().outputs.clear();
    assert_eq!(attest_until_refused(&mut twin, &mut value), next_free, "sessions share it");
    assert_eq!(host.stored(), before, "what is not written is not bound");
    assert!(!host.world().outputs.contains(&Output::Keep));
    attest_until_refused(&mut other, &mut value);
    assert_eq!(value, 8, "its own");
    // A lock must not wait for attestations, nor take from them; but it is written, too.
    let exec =
        ExecCall { action: Action::FailSafeLock, not_before: Nanos(HORIZON.0), within: SECOND };
    for _ in 0..ACTIONS_PER_ENTITY {
        one.exec_at(exec).unwrap();
    }
    let refused = refusal(twin.exec_at(exec)).err();
    assert_eq!(refused, Some(Refusal::NoResources { next_free }));
    assert_eq!(twin.status().unwrap().actions, 0, "what was refused is not planned");
    assert!(twin.exec_at(ExecCall { action: Action::SignedHeartbeat, ..exec }).is_ok());
    host.world().now = next_free;
    attest_until_refused(&mut one, &mut value);
    assert_eq!(value, 9);
}

#[test]
fn without_a_meter_every_attestation_is_written_at_any_rate() {
    let host = Host::start(Start { lease: Lease::EveryUnmetered, ..Start::default() });
    let mut client = host.client(0);
    for value in 0..200 {
        let is_keep = |output: &&Output| **output == Output::Keep;
        let before = host.world().outputs.iter().filter(is_keep).count();
        attest(&mut client, wish(0, value, value + 1, 1)).expect("only its work is metered");
        assert_eq!(host.world().outputs.iter().filter(is_keep).count(), before + 1);
    }
}

#[test]
fn a_lock_for_which_there_is_no_place_costs_no_write() {
    let host = Host::start(Start { lease: Lease::Every, ..Start::default() });
    let mut client = host.client(0);
    let exec = |action, not_before| ExecCall { action, not_before, within: SECOND };
    let heartbeat = exec(Action::SignedHeartbeat, Nanos(0));
    let tags: Vec<_> =
        (0..ACTIONS_PER_ENTITY).map(|_| client.exec_at(heartbeat).unwrap()).collect();
    let lock = exec(Action::FailSafeLock, Nanos(HORIZON.0));
    for _ in 0..20 {
        assert!(client.exec_at(lock).is_err(), "every place is taken");
    }
    client.outcome(tags[0]).unwrap();
    client.exec_at(lock).expect("the first that there is a place for");
}

#[test]
fn payload_cannot_wear_a_hardware_counter_out_within_six_years() {
    let host = Host::start(Start { lease: Lease::Every, ..Start::default() });
    let mut client = host.client(0);
    let (mut value, minutes) = (0, 20_000);
    for _ in 0..minutes {
        host.sleep(Nanos(60 * SECOND.0));
        attest_until_refused(&mut client, &mut value);
    }
    let writes = host.world().outputs.iter().filter(|output| **output == Output::Keep).count();
    assert_eq!(writes as u64, 4 + (minutes - 1) * 60 / 2_000);
    let (promised, year) = (100_000, 31_557_600);
    assert!(promised * minutes * 60 / writes as u64 > 6 * year);
}

#[test]
fn what_nobody_authenticated_is_paid_for_by_its_connection() {
    let host = Host::new();
    let (mut client, mut frame) = (host.client(0), [0; 512]);
    for kind in 0..3_000_u16 {
        frame[100..102].copy_from_slice(&kind.to_le_bytes());
        claim(&host.send(0, &frame));
    }
    let Err(HelloError::Refused(refused)) = host.try_client(0) else { panic!("it is used up") };
    let Refusal::NoResources { next_free } = refused else { panic!("{refused}") };
    assert!(host.try_client(1).is_ok());
    for value in 0..250 {
        attest(&mut client, wish(0, value, value + 1, 1)).expect("its own share is untouched");
    }
    // No debt: the time is that of one hello, however much was sent.
    assert_eq!(next_free, Nanos::from_millis(40));
    host.world().now = next_free;
    assert!(host.try_client(0).is_ok());
}

/// Who gave a session up cannot say so: the oldest of a connection makes room, of no other.
#[test]
fn connection_takes_no_session_of_another() {
    let host = Host::new();
    let mut other = host.client(1);
    let mut mine: Vec<_> = (0..ENTITIES_PER_CONNECTION).map(|_| host.client(0)).collect();
    for _ in 0..100 {
        host.sleep(SECOND);
        mine.push(host.client(0));
        assert!(mine.remove(0).status().is_err(), "it is over");
        assert!(mine.iter_mut().all(|client| client.random().is_ok()));
    }
    assert_eq!(usize::from(other.status().unwrap().entities), mine.len() + 1);
}

/// More calls than any budget holds.
const FLOOD: u64 = 50_000;

/// Makes a cheap call until one is refused; gives how many were served, and the time to retry.
fn flood(client: &mut Client<Wire>) -> (u64, Nanos) {
    for served in 0..FLOOD {
        match refusal(client.random()) {
            Ok(_) => {}
            Err(Refusal::NoResources { next_free }) => return (served, next_free),
            Err(other) => panic!("{other}"),
        }
    }
    panic!("nothing refuses the flood")
}

#[test]
fn entity_cannot_exhaust_the_share_of_another() {
    let host = Host::new();
    let (mut greedy, mut modest) = (host.client(0), host.client(0));
    let mut accomplice = host.client(1);
    let (served, _) = flood(&mut greedy);
    assert!(served > 10_000, "alone it may use what is common: {served}");
    assert_eq!(flood(&mut accomplice).0, 2_000, "its own share, no more");
    for value in 0..250 {
        attest(&mut modest, wish(0, value, value + 1, 1)).expect("its own share is untouched");
    }
    assert!(flood(&mut modest).0 == 0);
}

#[test]
fn call_is_served_at_the_time_that_the_refusal_names_and_not_before() {
    let host = Host::new();
    let mut client = host.client(0);
    for _ in 0..50 {
        let (_, next_free) = flood(&mut client);
        let now = host.world().now;
        assert!(next_free > now && next_free < now.after(SECOND));
        host.world().now = Nanos(next_free.0 - 1);
        assert_eq!(flood(&mut client), (0, next_free));
        host.world().now = next_free;
        assert!(client.random().is_ok());
    }
}

#[test]
fn over_any_span_an_entity_gets_its_burst_and_its_rate_if_it_does_not_ask_for_more() {
    let served_of = |calls, pause| {
        let host = Host::new();
        let mut client = host.client(0);
        flood(&mut client); // the bursts are gone
        let mut served = 0;
        for _ in 0..calls {
            host.sleep(Nanos(pause));
            served += u64::from(client.random().is_ok());
        }
        served
    };
    // 66.66 ms of (20 + 400) thousandths of a core, 10 us a call.
    let patient = served_of(2_789, 23_900);
    assert!((2_780..=2_789).contains(&patient), "{patient}");
    // Refusals are paid for: its own share goes for them, and what is common remains.
    let impatient = served_of(20_000, 3_333);
    assert!((2_660..=2_667).contains(&impatient), "{impatient}");
}

#[test]
fn new_session_is_no_new_share() {
    let host = Host::new();
    let mut other = host.client(1);
    let mut client = host.client(0);
    flood(&mut client);
    host.step(Input::Closed { connection: 0 });
    let mut served = 0;
    for _ in 0..ENTITIES_PER_CONNECTION * 3 {
        let Ok(mut client) = host.try_client(0) else { break };
        served += flood(&mut client).0;
        host.step(Input::Closed { connection: 0 });
    }
    assert_eq!(served, 0, "the place is the same");
    assert_eq!(flood(&mut other).0, 2_000);
}

#[test]
fn hellos_of_one_connection_leave_those_of_another() {
    let host = Host::new();
    let mut count = 0;
    let refused = loop {
        match host.try_client(0) {
            Ok(_) => host.step(Input::Closed { connection: 0 }),
            Err(HelloError::Refused(refusal)) => break refusal,
            Err(other) => panic!("{other}"),
        };
        count += 1;
        assert!(count < FLOOD, "nothing refuses the flood");
    };
    assert_eq!(count, 20);
    let Refusal::NoResources { next_free } = refused else { panic!("{refused}") };
    assert!(host.try_client(1).is_ok());
    host.world().now = next_free;
    assert!(host.try_client(0).is_ok());
}

#[test]
fn slots_are_the_entitys_own_and_come_back() {
    let host = Host::new();
    let (mut one, mut other) = (host.client(0), host.client(0));
    let full = |next_free| Some(Refusal::NoResources { next_free });
    let tags: Vec<_> = (0..DURATIONS_PER_ENTITY).map(|_| one.duration_start().unwrap()).collect();
    assert_eq!(refusal(one.duration_start()).err(), full(HORIZON));
    assert!(other.duration_start().is_ok());
    one.duration_stop(tags[3]).unwrap();
    assert!(one.duration_start().is_ok(), "the place that was given back");
    assert!(one.duration_stop(tags[0]).is_ok(), "nobody else was pushed out");

    for second in 1..=ARMED_PER_ENTITY as u64 {
        one.arm(Nanos(SECOND.0 * second)).unwrap();
    }
    let next_free = SECOND.after(RETENTION);
    assert_eq!(refusal(one.arm(SECOND)).err(), full(next_free));
    host.world().now = Nanos(next_free.0 - 1);
    assert_eq!(refusal(one.arm(SECOND)).err(), full(next_free));
    host.world().now = next_free;
    assert!(one.arm(SECOND).is_ok());
    assert_eq!(one.status().unwrap().armed, 8);
    assert_eq!(other.status().unwrap().armed, 0);
}

#[test]
fn malformed_calls_are_authentically_refused_and_paid_for() {
    let host = Host::new();
    let mut insider = Insider::hello([5; 32], |frame| host.send(0, frame)).unwrap();
    let before = host.stored();
    // A padding, a counter, an action, a kind, a code that are none.
    let cases = [
        (Kind::Random as u8, 0, 20, Refusal::Malformed),
        (Kind::Attest as u8, 0, 479, Refusal::Malformed),
        (Kind::Last as u8, 0, 20, Refusal::Malformed),
        (Kind::ExecAt as u8, 0, 20, Refusal::UnknownAction),
        (Kind::Hello as u8, 0, 20, Refusal::Malformed),
        (99, 0, 20, Refusal::Malformed),
        (0, 0, 20, Refusal::Malformed),
        (Kind::Status as u8, 7, 20, Refusal::Malformed),
    ];
    for (kind, code, place, expected) in cases {
        let mut frame = [0; 512];
        frame[..3].copy_from_slice(&[1, kind, code]);
        frame[place] = 200;
        insider.seal(&mut frame);
        let answer = host.send(0, &frame);
        assert!(insider.is_answered_by(&answer));
        assert_eq!(decode_answer(&answer), Ok(Err(expected)), "{kind} {code}");
    }
    assert_eq!(host.stored(), before);
    let mut served = 0;
    let refused = loop {
        let mut frame = [0; 512];
        frame[..2].copy_from_slice(&[1, 99]);
        insider.seal(&mut frame);
        match decode_answer(&host.send(0, &frame)) {
            Ok(Err(Refusal::Malformed)) if served < FLOOD => served += 1,
            other => break other,
        }
    };
    assert!(matches!(refused, Ok(Err(Refusal::NoResources { .. }))), "after {served}");
}

// Refusals.

#[test]
fn distributed_mode_is_not_here() {
    let mut client = Host::new().client(0);
    let elist = [Entity { replica: REPLICA, local: 1 }];
    let agreement = Agreement::new(&elist, Nanos(9), DecisionFunction::Min).unwrap();
    let propose = Call::Propose(ProposeCall { agreement, value: None });
    for call in [propose, Call::Decide(Tag(1))] {
        assert_eq!(refusal(client.call(&call)).err(), Some(Refusal::NotDistributed));
    }
}

#[test]
fn halted_core_answers_nothing_else_and_authentically_where_it_can() {
    let host = Host::new();
    let mut client = host.client(0);
    host.world().now = SECOND;
    client.random().unwrap();
    host.world().now = Nanos(SECOND.0 - 1);
    let reason = HaltReason::ClockWentBack;
    let halted = Some(Refusal::Halted { reason });
    for _ in 0..3 {
        assert_eq!(refusal(client.random()).err(), halted);
        assert_eq!(refusal(client.status()).err(), halted);
        assert_eq!(attest(&mut client, wish(0, 0, 1, 1)).err(), halted);
        assert_eq!(Some(claim(&host.send(0, &[0; 512]))), halted);
        assert!(
            matches!(host.try_client(1), Err(HelloError::Refused(says)) if Some(says) == halted)
        );
        host.sleep(SECOND);
    }
    assert_eq!(host.world().core.halted(), Some(reason));
    assert_eq!(host.world().core.next_deadline(), None);
}
