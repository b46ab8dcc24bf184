//! How many transitions a service's chain may have, counted without building it.

use super::local::Local;
use super::size::{Budget, spread};
use crate::service::{Property, Service, Shock};

/// What the events of all states of a chain come to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Count {
    /// Transitions, at most: those between the same two states by different events count twice.
    pub(super) transitions: f64,
    /// Outcomes of events that are looked at while it is built, failures included.
    pub(super) outcomes: f64,
}

/// Counts the events of every state that [`super::size::bound`] counts.
///
/// A shock on servers whose fixed period has several stages counts as one outcome.
///
/// Cost: groups squared x `f` squared, and for each group that a shock hits the ways to hit it.
pub(super) fn count(
    service: &Service,
    property: Property,
    locals: &[Local],
    epoch_stages: u64,
    ends: bool,
) -> Count {
    let counter = Counter::new(service, property, locals, ends);
    let plain: Vec<Table> =
        locals.iter().zip(&counter.sizes).map(|(local, n)| counter.still(local, *n)).collect();
    let states: f64 = counter.joined(plain.iter()).within(counter.most).0;
    let (mut kept, mut lost) = (0.0, 0.0);
    for (number, (local, n)) in locals.iter().zip(&counter.sizes).enumerate() {
        let is_attacked =
            service.groups.get(number).is_some_and(|group| group.intrusion_rate > 0.0);
        let moving = counter.moving(local, *n, is_attacked);
        let others = plain.iter().enumerate().filter(|(other, _)| *other != number);
        let (within, beyond) =
            counter.joined(others.map(|(_, table)| table).chain([&moving])).within(counter.most);
        kept += within;
        lost += beyond;
    }
    for shock in &service.shocks {
        let (within, beyond) = counter.struck(shock, &plain).within(counter.most);
        kept += within;
        lost += beyond;
    }
    let stages = epoch_stages as f64;
    // The end of an epoch or of one of its stages, and one transition to all failures together.
    let further = states * if ends { 2.0 } else { 1.0 };
    Count { transitions: (kept + further) * stages, outcomes: (kept + lost + states) * stages }
}

/// Ways by how many servers count against the budget before an event, and how many more do after it.
#[derive(Clone, Debug)]
struct Table {
    /// Row by row: before, then further.
    ways: Vec<Vec<f64>>,
}

impl Table {
    fn empty(most: usize) -> Self {
        Self { ways: vec![Vec::new(); most + 1] }
    }

    fn add(&mut self, before: usize, further: usize, ways: f64) {
        let Some(row) = self.ways.get_mut(before) else { return };
        if row.len() <= further {
            row.resize(further + 1, 0.0);
        }
        if let Some(cell) = row.get_mut(further) {
            *cell += ways;
        }
    }

    /// Those that stay within the budget, and those that do not.
    fn within(&self, most: usize) -> (f64, f64) {
        let (mut within, mut beyond) = (0.0, 0.0);
        for (before, row) in self.ways.iter().enumerate() {
            for (further, ways) in row.iter().enumerate() {
                *(if before + further <= most { &mut within } else { &mut beyond }) += ways;
            }
        }
        (within, beyond)
    }
}

struct Counter<'a> {
    budget: Budget,
    /// Servers that may count against the budget.
    most: usize,
    locals: &'a [Local],
    sizes: Vec<usize>,
}

impl<'a> Counter<'a> {
    fn new(service: &'a Service, property: Property, locals: &'a [Local], ends: bool) -> Self {
        let budget = Budget::of(service, property);
        let whole = |count: u32| usize::try_from(count).unwrap_or(usize::MAX);
        let sizes: Vec<usize> = service.groups.iter().map(|group| whole(group.count)).collect();
        let all = sizes.iter().sum();
        let most = if ends { budget.most.min(all) } else { all };
        Self { budget, most, locals, sizes }
    }

    /// States that count, and states that do not.
    fn kinds(&self, local: &Local) -> (usize, usize) {
        let bad = local.states.iter().filter(|state| (self.budget.counts)(**state)).count();
        (bad, local.states.len() - bad)
    }

    /// A group to which nothing happens.
    fn still(&self, local: &Local, servers: usize) -> Table {
        let (bad, good) = self.kinds(local);
        let mut table = Table::empty(self.most);
        for count in 0..=servers.min(self.most) {
            table.add(count, 0, ways(count, bad) * ways(servers - count, good));
        }
        table
    }

    /// A group in which one server moves by itself or is intruded, for each way to do so.
    fn moving(&self, local: &Local, servers: usize, is_attacked: bool) -> Table {
        let (bad, good) = self.kinds(local);
        let mut table = Table::empty(self.most);
        let counts =
            |state: usize| local.states.get(state).is_some_and(|it| (self.budget.counts)(*it));
        let own = local.transitions.iter().map(|it| (it.from, it.to));
        let struck = local.struck.iter().enumerate().filter(|_| is_attacked);
        let struck = struck.flat_map(|(from, to)| to.iter().map(move |(to, _)| (from, *to)));
        for (from, to) in own.chain(struck) {
            let further = usize::from(counts(to) && !counts(from));
            for others in 0..servers {
                let ways = ways(others, bad) * ways(servers - 1 - others, good);
                table.add(others + usize::from(counts(from)), further, ways);
            }
        }
        table
    }

    /// All groups at once.
    fn joined<'t>(&self, tables: impl Iterator<Item = &'t Table>) -> Table {
        let mut all = Table::empty(self.most);
        all.add(0, 0, 1.0);
        for table in tables {
            let mut next = Table::empty(self.most);
            for (before, row) in all.ways.iter().enumerate() {
                for (further, so_far) in row.iter().enumerate().filter(|(_, ways)| **ways > 0.0) {
                    for (own, row) in table.ways.iter().enumerate().take(self.most + 1 - before) {
                        for (more, ways) in row.iter().enumerate().filter(|(_, ways)| **ways > 0.0)
                        {
                            // How far beyond the budget makes no difference.
                            let further = (further + more).min(self.most + 1);
                            next.add(before + own, further, so_far * ways);
                        }
                    }
                }
            }
            all = next;
        }
        all
    }

    /// All states and what a shock makes of each.
    fn struck(&self, shock: &Shock, plain: &[Table]) -> Table {
        let tables: Vec<Table> = plain
            .iter()
            .enumerate()
            .map(|(number, still)| {
                let hit = shock.hits.iter().find(|hit| hit.group == number);
                let of = hit.zip(self.locals.get(number)).zip(self.sizes.get(number));
                match of {
                    Some(((hit, local), servers)) => {
                        let hit = usize::try_from(hit.count).unwrap_or(usize::MAX);
                        self.hit(local, *servers, hit).unwrap_or_else(|| still.clone())
                    }
                    None => still.clone(),
                }
            })
            .collect();
        self.joined(tables.iter())
    }

    /// A group of which `hit` servers are drawn; `None` for more than two states in which they can be intruded.
    fn hit(&self, local: &Local, servers: usize, hit: usize) -> Option<Table> {
        let open: Vec<(bool, usize)> = local
            .states
            .iter()
            .zip(&local.struck)
            .filter(|(_, struck)| !struck.is_empty())
            .map(|(state, struck)| ((self.budget.counts)(*state), struck.len()))
            .collect();
        let (first, second) = match open.as_slice() {
            [first] => (*first, None),
            [first, second] => (*first, Some(*second)),
            _ => return None,
        };
        let (bad, good) = self.kinds(local);
        let counting = open.iter().filter(|(counts, _)| *counts).count();
        let rest = (bad - counting, good - (open.len() - counting));
        let mut table = Table::empty(self.most);
        for here in 0..=servers {
            let others = if second.is_some() { servers - here } else { 0 };
            for there in 0..=others {
                let outcomes = outcomes((servers, hit), (here, first), (there, second));
                let open_bad = usize::from(first.0) * here
                    + second.map_or(0, |(counts, _)| usize::from(counts) * there);
                let left = servers - here - there;
                for count in 0..=left.min(self.most) {
                    let ways = ways(count, rest.0) * ways(left - count, rest.1);
                    if ways > 0.0 {
                        for (further, outcomes) in outcomes.iter().enumerate() {
                            table.add(open_bad + count, further, outcomes * ways);
                        }
                    }
                }
            }
        }
        Some(table)
    }
}

/// Outcomes of drawing `hit` of `servers`, by how many more count afterwards. Of each of both states in which
/// servers can be intruded: how many are in it, whether it counts itself, and to how many states it leads.
fn outcomes(
    (servers, hit): (usize, usize),
    (here, (counts, leads)): (usize, (bool, usize)),
    (there, second): (usize, Option<(bool, usize)>),
) -> Vec<f64> {
    let split = |struck: usize, leads: usize| if leads > 1 { struck + 1 } else { 1 };
    let mut outcomes = vec![0.0; hit + 1];
    for of_first in hit.saturating_sub(servers - here)..=hit.min(here) {
        let (left, rest) = (hit - of_first, servers - here);
        let (counts_too, leads_too) = second.unwrap_or((true, 1));
        let others = left.saturating_sub(rest - there)..=left.min(there);
        for of_second in others {
            let further =
                if counts { 0 } else { of_first } + if counts_too { 0 } else { of_second };
            let ways = split(of_first, leads) * split(of_second, leads_too);
            if let Some(cell) = outcomes.get_mut(further) {
                *cell += ways as f64;
            }
        }
    }
    outcomes
}

/// Ways to spread so many servers over so many states.
fn ways(servers: usize, states: usize) -> f64 {
    spread(servers, states) as f64
}

#[cfg(test)]
mod tests;
