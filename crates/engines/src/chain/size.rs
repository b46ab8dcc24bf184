//! How many states a service's chain may have, counted without building it.

use super::local::{Local, LocalState};
use crate::service::{Property, Service};

/// What decides whether a property fails, and how much of it may be there before it does.
pub(super) struct Budget {
    pub(super) counts: fn(LocalState) -> bool,
    pub(super) most: usize,
}

impl Budget {
    pub(super) fn of(service: &Service, property: Property) -> Self {
        let whole = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        let spare = service.server_count().saturating_sub(service.quorum);
        match property {
            Property::Confidentiality => {
                Self { counts: |state| state.is_exposed, most: whole(service.tolerated) }
            }
            Property::Integrity => {
                Self { counts: LocalState::is_intruded, most: whole(service.tolerated) }
            }
            Property::Availability => {
                Self { counts: |state| !state.is_clean(), most: whole(spare) }
            }
        }
    }
}

/// The most states of the chain, were every count of servers in every local state possible; `ends`: without
/// those in which the property fails, which are one state together. Saturates.
///
/// Cost: servers squared for each group.
pub(super) fn bound(
    service: &Service,
    property: Property,
    locals: &[Local],
    epoch_stages: u64,
    ends: bool,
) -> u64 {
    let budget = Budget::of(service, property);
    let servers = service.groups.iter().map(|group| usize::try_from(group.count).unwrap_or(0));
    let all = servers.clone().sum::<usize>();
    let most = if ends { budget.most.min(all) } else { all };
    // Ways to have so many servers that count, over the groups so far.
    let mut ways = vec![0_u64; most + 1];
    if let Some(none) = ways.first_mut() {
        *none = 1;
    }
    for (local, count) in locals.iter().zip(servers) {
        let bad = local.states.iter().filter(|state| (budget.counts)(**state)).count();
        let good = local.states.len() - bad;
        let own: Vec<u64> = (0..=count.min(most))
            .map(|it| spread(it, bad).saturating_mul(spread(count - it, good)))
            .collect();
        let joined = (0..=most).map(|total| {
            let pairs = ways.iter().take(total + 1).enumerate().filter_map(|(before, ways)| {
                own.get(total - before).map(|own| ways.saturating_mul(*own))
            });
            pairs.fold(0, u64::saturating_add)
        });
        ways = joined.collect();
    }
    let states = ways.iter().copied().fold(0, u64::saturating_add).saturating_mul(epoch_stages);
    states.saturating_add(u64::from(ends))
}

/// Ways to spread so many servers over so many states.
pub(super) fn spread(servers: usize, states: usize) -> u64 {
    if states == 0 {
        return u64::from(servers == 0);
    }
    let wide = |number: usize| u128::try_from(number).unwrap_or(u128::MAX);
    let mut ways = 1_u128;
    for server in 1..=servers {
        ways = ways.saturating_mul(wide(states - 1 + server)) / wide(server);
        if ways > u128::from(u64::MAX) {
            return u64::MAX;
        }
    }
    u64::try_from(ways).unwrap_or(u64::MAX)
}
