use super::*;

const START: Nanos = Nanos::from_millis(10_000);
const LIVES: [u64; 5] = [10, 11, 12, 13, 14];

fn lives(of: &[u64]) -> Lives {
    let mut lives = [Life::UNKNOWN; WORMHOLES_MAX];
    for (place, life) in lives.iter_mut().zip(of) {
        *place = Life(*life);
    }
    lives
}

/// The answer of one of five that listens to these lives.
fn reading(sent: Nanos, granted: Wish, known: u64) -> Reading {
    let report =
        Report { has_joined: true, is_elder: false, fence: Nanos(0), lives: lives(&LIVES) };
    Reading { sent, granted, time: None, known: Nanos(known), report }
}

/// The first of five, with the bare lease, at the moment when it asks for a founding.
fn about_to_found(known: u64) -> (Clock, Nanos, Poll) {
    let mut clock = Clock::new(0, 3);
    clock.has_joined = true;
    let all = lives(&LIVES);
    let poll = clock.poll(START, &all);
    assert_eq!(poll.wish, Wish::BareLease);
    for from in [1, 2] {
        clock.on_reading(START.after(Nanos(1)), from, &reading(START, Wish::Ready, known), &all);
    }
    let now = START.after(POLL_EVERY);
    let poll = clock.poll(now, &all);
    assert_eq!(poll.wish, Wish::Founding);
    (clock, now, poll)
}

#[test]
fn a_time_is_founded_well_after_all_that_is_known() {
    let (mut clock, now, poll) = about_to_found(77);
    assert_eq!(poll.known, Nanos(77).after(AHEAD));
    let all = lives(&LIVES);
    for from in [1, 2] {
        assert!(clock.time(now).is_none());
        clock.on_reading(now, from, &reading(now, Wish::Founding, 77), &all);
    }
    assert_eq!(clock.time(now).map(|time| time.earliest), Some(poll.known));
}

#[test]
fn the_grant_of_a_life_that_is_over_counts_no_more() {
    let (mut clock, now, _) = about_to_found(0);
    clock.on_reading(now, 1, &reading(now, Wish::Founding, 0), &lives(&LIVES));
    let later = lives(&[10, 99, 12, 13, 14]);
    clock.on_reading(now, 2, &reading(now, Wish::Founding, 0), &later);
    assert!(clock.time(now).is_none());
    clock.on_reading(now, 3, &reading(now, Wish::Founding, 0), &later);
    assert!(clock.time(now).is_some());
}

#[test]
fn who_knows_a_later_time_or_has_not_joined_lets_none_be_founded() {
    let poll = |known| Poll { sent: Nanos(1), wish: Wish::Founding, known: Nanos(known) };
    let mut granter = Clock::new(1, 3);
    let known = 5_000;
    granter.on_reading(START, 2, &reading(START, Wish::Nothing, known), &lives(&LIVES));
    let enough = known + AHEAD.0;
    assert_eq!(granter.grant(START, 0, &poll(enough)), Wish::BareLease, "it has not joined");
    granter.has_joined = true;
    assert_eq!(granter.grant(START, 0, &poll(enough - 1)), Wish::BareLease);
    assert_eq!(granter.grant(START, 0, &poll(enough)), Wish::Founding);
    // And another one, soon after, is founded after that: only once no time can be left.
    let soon = START.after(LEASE).after(AGE_MAX);
    assert_eq!(granter.grant(soon, 3, &poll(u64::MAX)), Wish::BareLease);
    let later = soon.after(LEASE).after(Nanos::from_millis(100));
    assert_eq!(granter.grant(later, 3, &poll(enough)), Wish::BareLease);
    assert_eq!(granter.grant(later, 3, &poll(enough + AHEAD.0)), Wish::Founding);
}
