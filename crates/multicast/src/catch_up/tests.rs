use ravelin_model::{Digest, FaultModel};

use super::sources::PERIOD;
use super::*;
use Brings::{Known, Rounds};

/// A replica of a group whose `f+1` others are at this round.
fn behind(group: (u16, u16, FaultModel), round: u64) -> CatchUp {
    let group = Group::new(group.0, group.1, group.2).expect("fits");
    let mut catch_up = CatchUp::new(group, ReplicaId(0));
    show(&mut catch_up, round);
    catch_up
}

fn show(catch_up: &mut CatchUp, round: u64) {
    for author in (1..=catch_up.group.one_correct()).map(|it| ReplicaId(it as u16)) {
        catch_up.on_seen(BlockRef { author, round: Round(round), digest: Digest([1; 32]) });
    }
}

const FOUR: (u16, u16, FaultModel) = (4, 1, FaultModel::Arbitrary);
const THREE: (u16, u16, FaultModel) = (3, 1, FaultModel::Hybrid);

fn page(is_news: bool) -> Page {
    Page { last: Round(0), is_news, rounds: 0 }
}

#[test]
fn one_is_asked_at_a_time_and_who_helps_is_asked_again_at_once() {
    let mut catch_up = behind(FOUR, 500);
    let now = Time(1_000_000);
    let (first, _) = catch_up.next_request(now, Round(0)).expect("it is behind");
    assert_eq!(catch_up.next_request(now, Round(0)), None, "one at a time");
    // A part of a round, too, gets it further.
    catch_up.on_replayed(now, first, page(true), Round(0));
    assert_eq!(catch_up.next_request(now, Round(0)), Some((first, Round(0))));
    catch_up.on_replayed(now, first, page(true), Round(10));
    assert_eq!(catch_up.next_request(now, Round(10)), Some((first, Round(10))));
    // Nothing new: a pause, and then another.
    catch_up.on_replayed(now, first, page(false), Round(10));
    assert_eq!(catch_up.next_request(now, Round(10)), None);
    let later = now.after(REPLAY_PAUSE);
    let next = catch_up.next_request(later, Round(10));
    assert!(next.is_some_and(|(whom, _)| whom != first));
}

#[test]
fn who_does_not_answer_is_given_up() {
    let mut catch_up = behind(THREE, 500);
    let now = Time(1_000_000);
    let (first, _) = catch_up.next_request(now, Round(0)).expect("it is behind");
    assert_eq!(catch_up.next_deadline(), Some(now.after(REPLAY_PATIENCE)));
    let (next, _) = catch_up.next_request(now.after(REPLAY_PATIENCE), Round(0)).expect("again");
    assert_ne!(next, first);
    catch_up.on_replayed(now, first, page(true), Round(40)); // late: it changes nothing
    assert_eq!(catch_up.next_request(now.after(REPLAY_PATIENCE), Round(0)), None);
}

#[test]
fn who_shows_ever_new_blocks_of_old_rounds_does_not_keep_others_from_being_asked() {
    let mut catch_up = behind(FOUR, 500);
    let mut now = Time(0);
    let (first, _) = catch_up.next_request(now, Round(0)).expect("it is behind");
    for _ in 0..REPLAY_PATIENCE.as_millis() / 10 - 1 {
        now = now.after(Duration::from_millis(10));
        catch_up.on_replayed(now, first, page(true), Round(0));
        assert_eq!(catch_up.next_request(now, Round(0)), Some((first, Round(0))));
    }
    now = now.after(Duration::from_millis(10));
    catch_up.on_replayed(now, first, page(true), Round(0));
    assert!(catch_up.next_request(now, Round(0)).is_some_and(|(next, _)| next != first));
}

/// What an answer brings.
enum Brings {
    Rounds(u64),
    /// A page of the round asked from, all of which is known.
    Known,
}

/// What an answer brings, and how long it takes: to a request at this time, the so many-th of its source
/// since it was chosen.
type Answers = fn(Time, u64) -> (Brings, Duration);

const MS: Duration = Duration::from_millis(1);

/// As fast as others are.
fn well(_: Time, _: u64) -> (Brings, Duration) {
    (Rounds(15), 30 * MS)
}

/// As fast, where one round's blocks fill more than a page.
fn in_large_blocks(_: Time, count: u64) -> (Brings, Duration) {
    (if count % 3 < 2 { Known } else { Rounds(15) }, 10 * MS)
}

/// How long it takes a replica that begins 1,000 rounds behind to be there while the others make 100 a
/// second: in seconds, 60 at most. `sources`: those it can ask.
fn takes(group: (u16, u16, FaultModel), sources: &[Answers]) -> u64 {
    let mut catch_up = behind(group, 1_000);
    let mut now = Time(1_000_000);
    let (mut highest, mut asked) = (1, (ReplicaId(0), 0));
    for _ in 0..600_000 {
        let front = 1_000 + now.0 / 10_000;
        show(&mut catch_up, front);
        if front <= highest + REPLAY_GAP {
            return now.0 / 1_000_000;
        }
        let Some((whom, _)) = catch_up.next_request(now, Round(highest)) else {
            now = now.after(MS);
            continue;
        };
        asked = if asked.0 == whom { (whom, asked.1 + 1) } else { (whom, 0) };
        let (brings, time) = sources[whom.index() - 1](now, asked.1);
        now = now.after(time);
        let (last, rounds) = match brings {
            Rounds(rounds) => (Round(0), rounds),
            Known => (Round(highest), 0),
        };
        highest = (highest + rounds).min(front);
        let page = Page { last, is_news: rounds > 0, rounds };
        catch_up.on_replayed(now, whom, page, Round(highest));
        if now.0 > 60_000_000 {
            break;
        }
    }
    60
}

/// Whoever is asked first, and however it lies: a replica catches up about as fast as one correct source
/// lets it.
#[test]
fn a_liar_that_answers_with_little_keeps_nobody_from_catching_up() {
    let liars: [(&str, Answers); 7] = [
        ("nothing", |_, _| (Rounds(0), 10 * MS)),
        ("what is known", |_, _| (Known, 10 * MS)),
        ("a round at a time", |_, _| (Rounds(1), 200 * MS)),
        ("as much as others move", |_, _| (Rounds(20), 200 * MS)),
        ("just too slowly", |_, _| (Rounds(1), 999 * MS)),
        ("well in its first period", |_, count| (Rounds(if count < 33 { 16 } else { 1 }), 30 * MS)),
        ("a tenth of it all the time", |now, _| {
            let is_good = now.0 / 1_000_000 % 10 == 0;
            (Rounds(if is_good { 20 } else { 1 }), 30 * MS)
        }),
    ];
    for (number, (name, liar)) in liars.into_iter().enumerate() {
        let alone = takes(THREE, &[liar, liar]);
        for (group, sources) in [
            (THREE, vec![liar, well]),
            (THREE, vec![well, liar]),
            (THREE, vec![liar, in_large_blocks]),
            (THREE, vec![in_large_blocks, liar]),
            (FOUR, vec![liar, well, well]),
            (FOUR, vec![well, liar, well]),
            ((7, 3, FaultModel::Hybrid), vec![liar, liar, liar, well, well, well]),
            ((7, 3, FaultModel::Hybrid), vec![liar, well, liar, well, liar, well]),
        ] {
            let seconds = takes(group, &sources);
            assert!(seconds <= 12, "{name}: {seconds} s, alone {alone} s");
        }
        assert!(alone > 20 || number > 4, "{name} is a liar: {alone} s");
    }
    assert!(takes(THREE, &[well, well]) <= 5);
}

#[test]
fn who_was_asked_is_known_after_a_state_was_fetched() {
    let mut catch_up = behind(FOUR, 500);
    let (first, _) = catch_up.next_request(Time(0), Round(0)).expect("it is behind");
    let mut now = Time(0);
    for _ in 0..11 {
        now = now.after(100 * MS);
        catch_up.on_replayed(now, first, page(true), Round(0));
        let _ = catch_up.next_request(now, Round(0));
    }
    let mut next = behind(FOUR, 5_000);
    next.take_over(catch_up.sources());
    let (whom, _) = next.next_request(now, Round(4_000)).expect("it is behind again");
    assert_ne!(whom, first);
    assert_eq!(whom, catch_up.sources.whom());
}

#[test]
fn a_bad_second_takes_nobody_s_place_away() {
    let mut sources = Sources::new(3, ReplicaId(0));
    let (good, liar) = (ReplicaId(1), ReplicaId(2));
    let mut now = Time(1_000_000);
    let mut second = |sources: &mut Sources, rounds: &dyn Fn(ReplicaId) -> u64| {
        let whom = sources.choose(now);
        sources.credit(whom, rounds(whom));
        now = now.after(PERIOD);
        whom
    };
    let brings = |whom| if whom == good { 100 } else { 1 };
    for _ in 0..6 {
        second(&mut sources, &brings);
    }
    let nothing_good = |whom| if whom == good { 0 } else { 1 };
    while second(&mut sources, &nothing_good) != good {}
    sources.give_up();
    assert_eq!(second(&mut sources, &brings), liar);
    assert_eq!(second(&mut sources, &brings), good);
    // A page that comes after its time is its own: it is not the liar's.
    let mut sources = Sources::new(3, ReplicaId(0));
    let first = sources.choose(now);
    sources.give_up();
    let other = sources.choose(now);
    assert_ne!(other, first);
    sources.credit(first, 15);
    sources.give_up();
    assert_eq!(sources.choose(now), first);
    sources.credit(first, 15);
    let next = sources.choose(now.after(PERIOD));
    assert_eq!(next, first, "it brought most");
}
