//! Scripts drawn at random, with the power failing at each single thing that they lead to.

use super::RunError;
use super::stage::{Does, Ended, Play, Played, broadcast, persist, reply, send};

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % bound
    }

    fn steps(&mut self, names: &mut u64, may_attest: bool) -> Vec<Does> {
        (0..self.below(5)).map(|_| self.step(names, may_attest)).collect()
    }

    fn step(&mut self, names: &mut u64, may_attest: bool) -> Does {
        *names += 1;
        let name = format!("r{names}");
        match self.below(if may_attest { 10 } else { 8 }) {
            0..3 => persist(&name),
            3 => send(&name),
            4 => broadcast(&name),
            5 => reply(&name),
            6 => Does::Serve,
            7 => Does::WriteUrgently,
            _ => Does::Attest(self.steps(names, false)),
        }
    }
}

fn script(seed: u64) -> Play {
    let (mut random, mut names) = (Random(seed), 0);
    let resumes = random.steps(&mut names, true);
    let turns = (0..4).map(|_| random.steps(&mut names, true)).collect();
    Play { resumes, turns, ..Play::default() }
}

/// A replica's log leads to its state and to all that it has shown, or further.
fn check(seed: u64, played: &Played) {
    let Played { log, asked, settled, shown, .. } = played;
    assert_eq!(log[..], asked[..log.len()], "seed {seed}: the log is not what was persisted");
    assert!(log.len() >= *settled, "seed {seed}: the state is ahead of its log");
    assert!(log.len() >= *shown, "seed {seed}: something showed that the log does not lead to");
}

#[test]
fn whatever_is_done_and_whenever_the_power_fails_the_log_leads_to_the_state() {
    for seed in 0..6 {
        let whole = script(seed).run();
        assert!(matches!(whole.ended, Ended::Stopped), "seed {seed}: {:?}", whole.ended);
        assert_eq!(whole.log, whole.asked, "seed {seed}");
        assert_eq!(whole.settled, whole.asked.len(), "seed {seed}");
        for point in 0..whole.seen.len() {
            let played = Play { power_fails_at: Some(point), ..script(seed) }.run();
            assert!(matches!(played.ended, Ended::PowerFailed), "seed {seed}: {:?}", played.ended);
            check(seed, &played);
        }
        let syncs = whole.seen.iter().filter(|what| what.starts_with("sync")).count();
        for sync in 0..syncs {
            let played = Play { failing_sync: Some(sync), ..script(seed) }.run();
            assert!(
                matches!(played.ended, Ended::Failed(RunError::Log(_))),
                "seed {seed}: {:?}",
                played.ended
            );
            check(seed, &played);
        }
    }
}
