//! How often something may be done: a rate, and how much of it may be saved up.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};

/// Hands out turns in the order in which they were asked for. Who stops waiting uses none.
pub(super) struct Pace {
    between: Duration,
    saved_max: u32,
    /// The turns up to this moment are gone.
    spent: Mutex<Instant>,
}

impl Pace {
    /// So many turns a second, of which as many as `saved_max` may come at once after a rest.
    pub(super) fn new(per_second: u32, saved_max: u32) -> Self {
        let between = Duration::from_secs(1) / per_second.max(1);
        let rested = Instant::now().checked_sub(between * saved_max);
        Self { between, saved_max, spent: Mutex::new(rested.unwrap_or_else(Instant::now)) }
    }

    /// Waits for a turn.
    pub(super) async fn turn(&self) {
        let mut spent = self.spent.lock().await; // fair: first come, first served
        let oldest = Instant::now().checked_sub(self.between * self.saved_max);
        let next = oldest.map_or(*spent, |oldest| oldest.max(*spent)) + self.between;
        sleep_until(next).await;
        *spent = next;
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future as _;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    #[tokio::test]
    async fn turns_come_at_their_pace_after_those_that_were_saved() {
        let pace = Pace::new(100, 10);
        let began = Instant::now();
        for _ in 0..10 {
            pace.turn().await;
        }
        let saved = began.elapsed();
        for _ in 0..20 {
            pace.turn().await;
        }
        let all = began.elapsed();
        assert!(saved < Duration::from_millis(150), "{saved:?}");
        assert!(all >= Duration::from_millis(190), "{all:?}");
    }

    #[tokio::test]
    async fn who_stops_waiting_uses_no_turn() {
        let pace = Pace::new(10, 1);
        pace.turn().await;
        let began = Instant::now();
        for _ in 0..100 {
            let mut context = Context::from_waker(Waker::noop());
            assert!(pin!(pace.turn()).poll(&mut context).is_pending());
        }
        pace.turn().await;
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    }
}
