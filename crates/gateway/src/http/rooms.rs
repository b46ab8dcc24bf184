//! Who may stay connected.
//!
//! **Guarantee:** a newcomer always gets in: of those who showed no known token, the oldest of the address
//! that has the most gives way. What strangers do closes no connection on which a request with a token was
//! let in; among those, who has the most gives way to who has fewer. Whoever opens connections from many
//! addresses, by thousands a second, can still close those of others before their first request has come:
//! that is for a firewall.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use ravelin_model::PublicKey;
use ravelin_runtime::transport::crowd::{Crowd, Ticket};
use ravelin_runtime::transport::site;
use tokio::sync::Notify;

use crate::limits::{ACQUAINTED_MAX, STRANGERS_MAX, STRANGERS_PER_ADDRESS_MAX};

/// All places.
pub(super) struct Rooms {
    strangers: Crowd<IpAddr>,
    acquainted: Arc<Crowd<PublicKey>>,
}

/// One connection's place.
pub(super) struct Place {
    acquainted: Arc<Crowd<PublicKey>>,
    held: Mutex<Held>,
    leave: Arc<Notify>,
}

enum Held {
    AsStranger { _ticket: Ticket<IpAddr> },
    AsKnown { _ticket: Ticket<PublicKey> },
}

impl Rooms {
    pub(super) fn new() -> Self {
        let acquainted = Arc::new(Crowd::new(ACQUAINTED_MAX));
        Self { strangers: Crowd::new(STRANGERS_MAX), acquainted }
    }

    /// The place of a connection that has just come.
    pub(super) fn enter(&self, address: IpAddr) -> Place {
        let most = if address.is_loopback() { STRANGERS_MAX } else { STRANGERS_PER_ADDRESS_MAX };
        let leave = Arc::new(Notify::new());
        let ticket = self.strangers.push_in(site(address), most, Arc::clone(&leave));
        let held = Mutex::new(Held::AsStranger { _ticket: ticket });
        Place { acquainted: Arc::clone(&self.acquainted), held, leave }
    }
}

impl Place {
    /// A known token was shown: the one of `client`. Returns whether there is a place for it: none where
    /// too many are connected already who have no more than it.
    pub(super) fn acquaint(&self, client: PublicKey) -> bool {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Held::AsStranger { .. } = *held {
            let leave = Arc::clone(&self.leave);
            let Ok(ticket) = self.acquainted.ask_in(client, ACQUAINTED_MAX, leave) else {
                return false;
            };
            *held = Held::AsKnown { _ticket: ticket };
        }
        true
    }

    /// Waits until another one gets it.
    pub(super) async fn lost(&self) {
        self.leave.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    fn key(number: u8) -> PublicKey {
        PublicKey([number; 32])
    }

    async fn is_lost(place: &Place) -> bool {
        timeout(Duration::from_millis(1), place.lost()).await.is_ok()
    }

    async fn lost(places: &[Place]) -> usize {
        let mut lost = 0;
        for place in places {
            lost += usize::from(is_lost(place).await);
        }
        lost
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_has_its_share_of_the_places_of_strangers() {
        let rooms = Rooms::new();
        let address = |text: &str| text.parse::<IpAddr>().expect("an address");
        let enter = |count: usize, text: &str| -> Vec<Place> {
            (0..count).map(|_| rooms.enter(address(text))).collect()
        };
        let remote = enter(STRANGERS_PER_ADDRESS_MAX + 3, "2001:db8::1");
        assert_eq!(lost(&remote).await, 3, "its own oldest");
        let neighbour = enter(1, "2001:db8::2");
        assert_eq!(lost(&remote[3..]).await, 1, "of the same /64");
        let near = enter(STRANGERS_MAX, "127.0.0.1");
        assert_eq!(lost(&near).await, STRANGERS_PER_ADDRESS_MAX, "who has the most gives way");
        assert!(!is_lost(&neighbour[0]).await);
    }

    #[tokio::test(start_paused = true)]
    async fn strangers_close_nothing_of_those_who_showed_a_token() {
        let rooms = Rooms::new();
        let enter = |last: u8| rooms.enter(IpAddr::from([192, 0, 2, last]));
        let known: Vec<Place> = (0..ACQUAINTED_MAX)
            .map(|_| {
                let place = enter(1);
                assert!(place.acquaint(key(1)));
                assert!(place.acquaint(key(2)), "whose token came first counts");
                place
            })
            .collect();
        assert!(!enter(1).acquaint(key(1)), "it has as many as there are");
        let strangers: Vec<Place> = (0..=255).map(enter).collect();
        assert_eq!(lost(&known).await, 0);
        assert_eq!(lost(&strangers).await, 256 - STRANGERS_MAX);
        let other = enter(2);
        assert!(other.acquaint(key(2)));
        assert!(is_lost(&known[0]).await, "another token gets its share");
        assert!(!is_lost(&other).await);
    }
}
