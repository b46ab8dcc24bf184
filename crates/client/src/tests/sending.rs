//! Where envelopes go, and how sessions begin and end.

use std::time::Duration;

use ravelin_model::limits::{ENVELOPE_BYTES_MAX, ENVELOPE_OPERATIONS_MAX};
use ravelin_model::requests::session::SessionReply;
use ravelin_model::wire::{ClientMessage, ServerMessage};
use ravelin_model::{Encode as _, OperationResult, Refusal, ReplicaId, Sequence, SessionId};

use super::fixture::{Fixture, PATIENCE, SESSION, START, groups, id, operation};
use crate::event::{Event, Ticket, Unanswered};
use crate::limits::{BUSY_HOLD_MAX, IN_FLIGHT_BYTES_MAX, SETTLED_MAX};
use crate::misuse::Misuse;

fn denied(first: u64, refusal: Refusal) -> ServerMessage {
    ServerMessage::Denied { session: SESSION, first, refusal }
}

/// A quorum of members answers the operation.
fn answer(fixture: &mut Fixture, sequence: u64) {
    let batch = fixture.batch(&[(sequence, 20, b"ok")]);
    for member in 0..fixture.group.quorum() {
        fixture.tell(member, ServerMessage::Repeated(batch.clone()));
    }
}

fn refused(fixture: &Fixture, first: u64, refusal: Refusal) -> ServerMessage {
    let mut batch = fixture.batch(&[(first, 20, b"")]);
    batch.answers[0].result = OperationResult::Refused(refusal);
    ServerMessage::Repeated(batch)
}

#[test]
fn without_an_answer_more_members_get_the_same_bytes() {
    for (n, f, model) in groups() {
        let mut fixture = Fixture::new(n, f, model).open();
        fixture.submit(3);
        let mut rounds = Vec::new();
        let mut last = fixture.now;
        for _ in 0..5 {
            let sent = fixture.take_envelopes();
            let waited = fixture.now.since(last);
            last = fixture.now;
            rounds.push((sent.len(), waited));
            let bytes = sent[0].1.encode();
            assert!(sent.iter().all(|(_, envelope)| envelope.encode() == bytes));
            let to: std::collections::BTreeSet<_> = sent.iter().map(|(to, _)| to).collect();
            assert_eq!(to.len(), sent.len(), "to distinct members");
            fixture.wait();
        }
        let counts: Vec<_> = rounds.iter().map(|(count, _)| *count).collect();
        let (some, all) = (fixture.group.one_correct(), fixture.group.size());
        assert_eq!(counts, [1, some, all, all, all]);
        assert!(rounds[1].1 >= PATIENCE && rounds[1].1 <= PATIENCE * 5 / 4);
        assert!(rounds.windows(2).skip(1).all(|pair| pair[1].1 > pair[0].1 * 5 / 4), "{rounds:?}");
    }
}

#[test]
fn every_retry_has_the_bytes_of_the_first() {
    let mut fixture = Fixture::four().open();
    fixture.submit(1);
    let bytes = fixture.take_envelopes()[0].1.encode();
    for _ in 0..20 {
        fixture.wait();
        for (_, envelope) in fixture.take_envelopes() {
            assert_eq!(envelope.encode(), bytes);
        }
    }
}

#[test]
fn a_mute_home_is_left_for_another() {
    let mut fixture = Fixture::four().open();
    let first = fixture.submit(1);
    let home = fixture.take_envelopes()[0].0;
    fixture.wait();
    assert!(fixture.take_envelopes().iter().any(|(to, _)| *to != home));
    answer(&mut fixture, first);
    fixture.submit(1);
    let sent = fixture.take_envelopes();
    assert_eq!(sent.len(), 1);
    assert_ne!(sent[0].0, home, "later envelopes do not wait for it again");
}

/// Submits so many envelopes, each answered after the time that `delay` has for whom it went to.
fn homes(
    fixture: &mut Fixture,
    envelopes: usize,
    delay: impl Fn(ReplicaId) -> Duration,
) -> Vec<ReplicaId> {
    let mut homes = Vec::new();
    for _ in 0..envelopes {
        let sequence = fixture.submit(1);
        let sent = fixture.take_envelopes();
        let [(to, _)] = sent[..] else { panic!("to one member: {sent:?}") };
        homes.push(to);
        let answered = fixture.now.after(delay(to));
        while fixture.session.next_deadline().is_some_and(|next| next < answered) {
            fixture.wait();
        }
        fixture.now = answered;
        answer(fixture, sequence);
        fixture.take_sends();
    }
    homes
}

#[test]
fn a_home_that_delays_is_left_before_patience_is_over_and_not_taken_again() {
    let (quick, slow) = (Duration::from_millis(10), PATIENCE * 3 / 4);
    let mut fixture = Fixture::four().open();
    let delaying = homes(&mut fixture, 1, |_| quick)[0];
    let delay = |to| if to == delaying { slow } else { quick };
    let of_delaying = |tried: &[ReplicaId]| tried.iter().filter(|to| **to == delaying).count();
    let early = homes(&mut fixture, 20, delay);
    assert!(early[19] != delaying && of_delaying(&early) <= 12, "{early:?}");
    let late = homes(&mut fixture, 1000, delay);
    assert!(of_delaying(&late) <= 5, "{} of 1000", of_delaying(&late));
}

#[test]
fn an_envelope_that_tries_another_member_does_not_wait_long() {
    let quick = Duration::from_millis(10);
    let mut fixture = Fixture::four().open();
    let home = homes(&mut fixture, 3, |_| quick)[0];
    let (tried, _) = trying(&mut fixture, home);
    let begun = fixture.now;
    fixture.wait();
    assert!(fixture.now.since(begun) < quick * 4, "{:?}", fixture.now.since(begun));
    let sent = fixture.take_envelopes();
    assert!(sent.iter().any(|(to, _)| *to == home) && home != tried, "{sent:?}");
    assert_eq!(fixture.take_events(), [], "nobody is alarmed");
}

/// Submits envelopes until one goes to another than the home; its operation's number.
fn trying(fixture: &mut Fixture, home: ReplicaId) -> (ReplicaId, u64) {
    let sent = (0..8).find_map(|_| {
        let sequence = fixture.submit(1);
        let to = fixture.take_envelopes()[0].0;
        if to == home {
            answer(fixture, sequence);
        }
        (to != home).then_some((to, sequence))
    });
    fixture.take_events();
    sent.expect("one of eight")
}

/// What a member may do instead of having an envelope ordered, as late as it likes.
fn refusals() -> [fn(u64) -> Option<ServerMessage>; 3] {
    [
        |first| Some(denied(first, Refusal::Halted)),
        |first| {
            let first = Sequence(first);
            Some(ServerMessage::Busy { session: SESSION, first, retry_after_ms: 1 })
        },
        |_| None, // the connection breaks
    ]
}

fn refuse(fixture: &mut Fixture, member: ReplicaId, refusal: Option<ServerMessage>) {
    match refusal {
        Some(refusal) => fixture.tell(member.index(), refusal),
        None => {
            fixture.act(|session, now, out| session.on_disconnected(now, member, out));
            fixture.act(|session, now, out| session.on_connected(now, member, out));
        }
    }
}

#[test]
fn who_is_tried_and_refuses_late_takes_no_time_from_the_home() {
    let quick = Duration::from_millis(10);
    for refusal in refusals() {
        let mut fixture = Fixture::four().open();
        let home = homes(&mut fixture, 3, |_| quick)[0];
        let (tried, sequence) = trying(&mut fixture, home);
        let begun = fixture.now;
        fixture.now = begun.after(quick * 5 / 2);
        refuse(&mut fixture, tried, refusal(sequence));
        assert!(fixture.take_envelopes().iter().any(|(to, _)| *to == home), "at once");
        while fixture.take_envelopes().is_empty() {
            fixture.wait();
        }
        assert!(fixture.now.since(begun) >= PATIENCE, "the home has its time");
        answer(&mut fixture, sequence);
        fixture.take_sends();
        assert_eq!(homes(&mut fixture, 2, |_| quick), [home; 2], "it stays");
    }
}

#[test]
fn a_home_that_refuses_late_is_left() {
    let (quick, late) = (Duration::from_millis(10), PATIENCE * 9 / 10);
    for refusal in refusals() {
        let mut fixture = Fixture::four().open();
        let refusing = homes(&mut fixture, 1, |_| quick)[0];
        homes(&mut fixture, 40, |_| quick);
        let mut of_refusing = 0;
        for _ in 0..200 {
            let sequence = fixture.submit(1);
            let to = fixture.take_envelopes()[0].0;
            if to == refusing {
                of_refusing += 1;
                let until = fixture.now.after(late);
                while fixture.session.next_deadline().is_some_and(|next| next < until) {
                    fixture.wait();
                }
                fixture.now = until;
                refuse(&mut fixture, refusing, refusal(sequence));
            }
            fixture.now = fixture.now.after(quick);
            answer(&mut fixture, sequence);
            fixture.take_sends();
        }
        assert!(of_refusing < 20, "{of_refusing} of 200");
    }
}

#[test]
fn busy_for_ever_only_makes_others_be_used() {
    let mut fixture = Fixture::four().open();
    let first = fixture.submit(1);
    let home = fixture.take_envelopes()[0].0;
    let busy =
        ServerMessage::Busy { session: SESSION, first: Sequence(first), retry_after_ms: u32::MAX };
    fixture.tell(home.index(), busy.clone());
    let sent = fixture.take_envelopes();
    assert_eq!(sent.len(), 1, "the next member gets it at once");
    assert_ne!(sent[0].0, home);
    fixture.tell(home.index(), busy.clone());
    assert_eq!(fixture.take_envelopes(), [], "nothing more to gain by saying it again");
    let begin = fixture.now;
    let mut again = None;
    while fixture.now.since(begin) < BUSY_HOLD_MAX * 3 && again.is_none() {
        fixture.wait();
        let sent = fixture.take_envelopes();
        again = sent.iter().any(|(to, _)| *to == home).then_some(fixture.now);
    }
    let again = again.expect("it is asked again");
    assert!(again.since(begin) >= BUSY_HOLD_MAX, "its rest was respected");
}

#[test]
fn when_all_are_busy_the_envelope_waits_for_the_first_rest_to_end() {
    let mut fixture = Fixture::four().open();
    let first = Sequence(fixture.submit(1));
    for rest in [40, 30, 20, 10] {
        let (to, _) = fixture.take_envelopes()[0];
        let busy = ServerMessage::Busy { session: SESSION, first, retry_after_ms: rest };
        fixture.tell(to.index(), busy);
    }
    assert_eq!(fixture.take_envelopes(), []);
    let begin = fixture.now;
    fixture.wait();
    assert_eq!(fixture.now.since(begin).as_millis(), 10);
    assert_eq!(fixture.take_envelopes().len(), 1);
}

#[test]
fn a_denial_counts_when_one_correct_members_agree_on_it() {
    for (n, f, model) in groups() {
        let mut fixture = Fixture::new(n, f, model).open();
        let first = fixture.submit(1);
        let (f, mut told) = (fixture.group.faults(), Vec::<ReplicaId>::new());
        for step in 0..=f {
            let (to, _) = fixture.take_envelopes()[0];
            assert!(!told.contains(&to), "each denial brings in the next member");
            for _ in 0..3 {
                fixture.tell(to.index(), denied(first, Refusal::TooLarge));
                if step < f {
                    assert_eq!(fixture.take_events(), [], "{step} intruded members may say so");
                }
            }
            told.push(to);
        }
        let why = Unanswered::Denied(Refusal::TooLarge);
        let events = fixture.take_events();
        let [Event::Unanswered { why: said, .. }] = events.as_slice() else { panic!("{events:?}") };
        assert_eq!(*said, why);
        assert_eq!(fixture.session.capacity().operations, 1024);
    }
}

#[test]
fn different_denials_do_not_add_up() {
    let mut fixture = Fixture::four().open();
    let first = fixture.submit(1);
    for refusal in [Refusal::TooLarge, Refusal::Malformed, Refusal::UnknownService] {
        let (to, _) = fixture.take_envelopes()[0];
        fixture.tell(to.index(), denied(first, refusal));
    }
    assert_eq!(fixture.take_events(), []);
    answer(&mut fixture, first);
    assert!(matches!(fixture.take_events().as_slice(), [Event::Answered { .. }]));
}

#[test]
fn a_member_that_is_back_is_attached_and_gets_again_what_it_had() {
    let mut fixture = Fixture::four().open();
    fixture.submit(1);
    let (home, envelope) = fixture.take_envelopes().remove(0);
    fixture.act(|session, now, out| session.on_disconnected(now, home, out));
    let sent = fixture.take_envelopes();
    assert_eq!(sent.len(), 1, "another member gets it at once");
    assert_ne!(sent[0].0, home);
    fixture.act(|session, now, out| session.on_connected(now, home, out));
    let sends = fixture.take_sends();
    let attach = ClientMessage::Attach { session: SESSION };
    assert_eq!(sends, [(home, attach), (home, ClientMessage::Submit(envelope))]);
}

#[test]
fn what_is_submitted_without_connections_goes_out_with_the_first_one() {
    let mut fixture = Fixture::four().open();
    for member in 0..4 {
        fixture.act(|session, now, out| session.on_disconnected(now, id(member), out));
    }
    fixture.act(|session, now, out| session.submit(now, vec![operation(b"w")], out)).unwrap();
    assert_eq!(fixture.take_sends(), []);
    fixture.wait();
    let lonely = Event::NoQuorum { connected: 0, needed: 3 };
    assert_eq!(fixture.take_events(), [lonely]);
    fixture.act(|session, now, out| session.on_connected(now, id(2), out));
    assert_eq!(fixture.take_envelopes().len(), 1);
}

#[test]
fn a_used_up_number_is_followed_by_a_higher_one() {
    let mut fixture = Fixture::four();
    fixture.act(|session, now, out| session.open(now, out).unwrap());
    assert_eq!(fixture.take_envelopes()[0].1.first, Sequence(START.0));
    let last = START.0 + 500;
    let mut batch = fixture.batch(&[(START.0, 20, b"")]);
    batch.session = SessionId(0);
    batch.answers[0].result = OperationResult::Refused(Refusal::StaleOpening { last });
    for member in 0..3 {
        assert_eq!(fixture.take_envelopes(), []);
        fixture.tell(member, ServerMessage::Repeated(batch.clone()));
    }
    let (_, envelope) = fixture.take_envelopes().remove(0);
    assert_eq!((envelope.session, envelope.first), (SessionId(0), Sequence(last + 1)));
    // The answer to the first number, should it come after all, opens nothing.
    let reply = SessionReply::Opened(SessionId(3)).encode();
    let mut late = fixture.batch(&[(START.0, 3, &reply)]);
    late.session = SessionId(0);
    for member in 0..4 {
        fixture.tell(member, ServerMessage::Repeated(late.clone()));
    }
    assert_eq!((fixture.take_events(), fixture.session.id()), (vec![], None));
}

#[test]
fn an_opening_that_the_cluster_refuses_ends_idle() {
    for refusal in [Refusal::UnknownClient, Refusal::TooManySessions] {
        let mut fixture = Fixture::four();
        fixture.act(|session, now, out| session.open(now, out).unwrap());
        for _ in 0..2 {
            assert_eq!(fixture.take_events(), []);
            let (to, envelope) = fixture.take_envelopes().remove(0);
            let first = envelope.first.0;
            let session = SessionId(0);
            fixture.tell(to.index(), ServerMessage::Denied { session, first, refusal });
        }
        assert_eq!(fixture.take_events(), [Event::Refused { refusal }]);
        assert!(fixture.act(|session, now, out| session.open(now, out)).is_ok());
    }
}

#[test]
fn a_lost_session_leaves_unknown_outcomes_and_nothing_is_sent_again() {
    let mut fixture = Fixture::four().open();
    let (first, second) = (fixture.submit(1), fixture.submit(1));
    fixture.take_sends();
    let message = refused(&fixture, first, Refusal::UnknownSession);
    fixture.tell(3, message);
    assert_eq!(fixture.take_events(), [], "one liar may say so");
    let message = refused(&fixture, second, Refusal::UnknownSession);
    fixture.tell(1, message);
    let events = fixture.take_events();
    let [Event::Unanswered { why: one, .. }, Event::Unanswered { why: two, .. }, last] =
        events.as_slice()
    else {
        panic!("{events:?}")
    };
    assert_eq!((*one, *two), (Unanswered::SessionLost, Unanswered::SessionLost));
    assert_eq!(*last, Event::Lost { refusal: Refusal::UnknownSession });
    assert_eq!(fixture.session.next_deadline(), None);
    fixture.act(|session, now, out| session.open(now, out).unwrap());
    let sent = fixture.take_envelopes();
    assert_eq!((sent.len(), sent[0].1.session), (1, SessionId(0)), "only the opening");
}

#[test]
fn a_member_that_answers_no_longer_says_that_the_session_is_unknown() {
    let mut fixture = Fixture::four().open();
    let (first, second) = (fixture.submit(1), fixture.submit(1));
    let unknown = refused(&fixture, first, Refusal::UnknownSession);
    fixture.tell(0, unknown);
    let batch = fixture.batch(&[(second, 20, b"ok")]);
    fixture.tell(0, ServerMessage::Repeated(batch));
    let unknown = refused(&fixture, first, Refusal::UnknownSession);
    fixture.tell(3, unknown);
    assert_eq!(fixture.take_events(), [], "a laggard has caught up, and one liar is left");
}

#[test]
fn the_window_begins_at_the_oldest_operation_without_an_answer() {
    let mut fixture = Fixture::four().open();
    let first = fixture.submit(1);
    let second = fixture.submit(ENVELOPE_OPERATIONS_MAX - 1);
    assert_eq!(fixture.session.capacity().operations, 0);
    let full = fixture.act(|session, now, out| session.submit(now, vec![operation(b"w")], out));
    assert_eq!(full, Err(Misuse::WindowFull { left: 0 }));
    let rest: Vec<(u64, u64, &[u8])> =
        (second..second + 1023).map(|sequence| (sequence, 20, b"ok".as_slice())).collect();
    let batch = fixture.batch(&rest);
    for member in 0..3 {
        fixture.tell(member, ServerMessage::Repeated(batch.clone()));
    }
    assert!(matches!(fixture.take_events().as_slice(), [Event::Answered { .. }]));
    assert_eq!(fixture.session.capacity().operations, 0, "the oldest still holds the window");
    answer(&mut fixture, first);
    assert_eq!(fixture.session.capacity().operations, 1024);
}

#[test]
fn a_long_session_keeps_no_more_than_a_short_one() {
    let mut fixture = Fixture::four().open();
    for _ in 0..3 {
        let first = fixture.submit(ENVELOPE_OPERATIONS_MAX);
        let answers: Vec<(u64, u64, &[u8])> =
            (first..first + 1024).map(|sequence| (sequence, 20, b"ok".as_slice())).collect();
        let batch = fixture.batch(&answers);
        for member in 0..3 {
            fixture.tell(member, ServerMessage::Repeated(batch.clone()));
        }
        assert!(matches!(fixture.take_events().as_slice(), [Event::Answered { .. }]));
        let kept = fixture.session.footprint();
        assert_eq!((kept.agreed, kept.votes, kept.flights), (SETTLED_MAX, 0, 0));
    }
}

#[test]
fn misuse_is_refused_and_sends_nothing() {
    let mut fixture = Fixture::four();
    let closed = fixture.act(|session, now, out| session.submit(now, vec![operation(b"")], out));
    assert_eq!(closed, Err(Misuse::NotOpen));
    let mut fixture = fixture.open();
    let mut submit = |operations| {
        fixture.act(|session, now, out| session.submit(now, operations, out)).unwrap_err()
    };
    assert_eq!(submit(vec![]), Misuse::OperationCount { operations: 0 });
    assert_eq!(submit(vec![operation(b""); 1025]), Misuse::OperationCount { operations: 1025 });
    let huge = vec![operation(&vec![0; ENVELOPE_BYTES_MAX])];
    assert!(matches!(submit(huge), Misuse::TooLarge { .. }));
    let mut room = 0;
    while fixture
        .act(|session, now, out| session.submit(now, vec![operation(&vec![0; 1 << 19])], out))
        .is_ok()
    {
        room += 1;
    }
    assert_eq!(room, IN_FLIGHT_BYTES_MAX / (1 << 19) - 1, "the envelopes have some bytes more");
    let unwatched = fixture.act(|session, _, out| session.unwatch(Ticket(1), out));
    assert_eq!(unwatched, Err(Misuse::NoSuchTicket { ticket: Ticket(1) }));
}

#[test]
fn closing_waits_for_what_is_in_flight() {
    let mut fixture = Fixture::four().open();
    let first = fixture.submit(1);
    fixture.take_sends();
    fixture.act(|session, now, out| session.close(now, out).unwrap());
    assert_eq!(fixture.take_sends(), []);
    answer(&mut fixture, first);
    assert!(matches!(fixture.take_events().as_slice(), [Event::Answered { .. }]));
    let (_, envelope) = fixture.take_envelopes().remove(0);
    let reply = SessionReply::Closed.encode();
    let batch = fixture.batch(&[(envelope.first.0, 30, &reply)]);
    for member in 0..3 {
        fixture.tell(member, ServerMessage::Repeated(batch.clone()));
    }
    assert_eq!((fixture.take_events(), fixture.session.id()), (vec![Event::Closed], None));
}
