//! Whether one key speaks from two places.
//!
//! **Guarantee:** says so once live connections with one key took each other's place again and again;
//! whoever loses connections, or restarts, is not taken for two. A process dials again only when its
//! own connection has ended, so the one that a newer connection displaces is dead, or another's.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;

/// Live connections displaced within [`WITHIN`] that make two places of one.
const DISPLACED_MIN: usize = 3;
/// Time in which they must fall.
const WITHIN: Duration = Duration::from_secs(60);

/// The live connections of one key that newer ones displaced.
#[derive(Debug, Default)]
pub(super) struct Rivals {
    displaced: VecDeque<Instant>,
}

impl Rivals {
    /// A connection from `newer` displaced a live one from `older`. The two places, if they are two.
    pub(super) fn displace(
        &mut self,
        now: Instant,
        older: SocketAddr,
        newer: SocketAddr,
    ) -> Option<[SocketAddr; 2]> {
        self.displaced.retain(|when| now.duration_since(*when) < WITHIN);
        self.displaced.push_back(now);
        while self.displaced.len() > DISPLACED_MIN {
            self.displaced.pop_front();
        }
        (self.displaced.len() == DISPLACED_MIN).then_some([older, newer])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_connections_that_displace_each_other_again_and_again_are_two() {
        let [one, other] = ["10.0.0.1:1", "10.0.0.2:1"].map(|text| text.parse().expect("fixed"));
        let mut rivals = Rivals::default();
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        assert_eq!(rivals.displace(at(0), one, other), None);
        assert_eq!(rivals.displace(at(1), other, one), None);
        assert_eq!(rivals.displace(at(61), one, other), None, "long ago counts no more");
        assert_eq!(rivals.displace(at(62), other, one), None);
        assert_eq!(rivals.displace(at(63), one, other), Some([one, other]));
        assert_eq!(rivals.displace(at(64), other, one), Some([other, one]));
    }
}
