//! The wormholes' common time, and who leads it.
//!
//! **Guarantee:** while no clock is faster or slower than real time by more than one part in 1,000,
//! there is one time, running at the speed of some wormhole's clock at every moment, that every
//! interval handed out contains; however late messages come, and whoever stops or starts again.
//!
//! The time follows the clock of whoever holds the *lease*, granted by a majority, each to one at a
//! time; only the leader's interval does not grow. Any interval heard of, widened by its way here, is
//! true, so two of them are cut with each other. An interval is handed out until [`AGE_MAX`] after the
//! last moment at which a leader is known to have been. Once nothing that may have been led is younger
//! than that, a majority lets whoever has the lease found a new time, later than all that they knew.
//! Who starts acts as if it had granted a lease, which an earlier life may have.
//!
//! # Source
//! K. Marzullo and S. Owicki, *Maintaining the Time in a Distributed System*, PODC 1983, for cutting
//! intervals; C. Gray and D. Cheriton, *Leases*, SOSP 1989.

use crate::core::services::READING_ERROR;
use crate::frame::{Nanos, Poll, Reading, Report, WORMHOLES_MAX, Wish};

/// How often everybody is asked for the time.
const POLL_EVERY: Nanos = Nanos::from_millis(100);
/// How long a grant holds, by the granter's clock.
const LEASE: Nanos = Nanos::from_millis(500);
/// How long an interval is handed out after its time was led last.
const AGE_MAX: Nanos = Nanos::from_millis(1_500);
/// By how much two clocks may differ in speed, as one part in so many: each by one in 1,000.
const GROWTH_ONE_IN: u64 = 400;
/// What a span of one clock is to another: a hundredth more, at most.
const MARGIN_ONE_IN: u64 = 100;

/// An interval that contains the common time at one instant of the own clock.
#[derive(Clone, Copy)]
pub(crate) struct Estimate {
    at: Nanos,
    pub(crate) earliest: Nanos,
    pub(crate) latest: Nanos,
    /// How long ago its time was led, at most.
    age: Nanos,
}

/// The own part in keeping the time.
pub(super) struct Clock {
    own: usize,
    majority: usize,
    estimate: Option<Estimate>,
    /// The latest common time that was ever known of.
    known: Nanos,
    granted_to: Option<usize>,
    granted_until: Nanos,
    /// Until when a time may be led with a grant from here.
    led_until: Nanos,
    /// Of each member, what it granted last, and when that was asked for.
    grants: [(Wish, Nanos); WORMHOLES_MAX],
    /// Until when this wormhole leads, if ever.
    leads_until: Nanos,
    /// Since when it has tried to.
    tries_since: Option<Nanos>,
    rests_until: Nanos,
    next_poll: Nanos,
}

impl Clock {
    pub(super) fn new(own: usize, majority: usize) -> Self {
        Self {
            own,
            majority,
            estimate: None,
            known: Nanos(0),
            granted_to: None,
            granted_until: LEASE,
            led_until: LEASE,
            grants: [(Wish::Nothing, Nanos(0)); WORMHOLES_MAX],
            leads_until: Nanos(0),
            tries_since: None,
            rests_until: Nanos(0),
            next_poll: Nanos(0),
        }
    }

    /// The common time, if this wormhole is synchronised.
    pub(super) fn time(&self, now: Nanos) -> Option<Estimate> {
        self.estimate_at(now).filter(|estimate| estimate.age <= AGE_MAX)
    }

    pub(super) fn next_poll(&self) -> Nanos {
        self.next_poll
    }

    /// The estimate as it is now: led by this clock while it led, by any clock after.
    fn estimate_at(&self, now: Nanos) -> Option<Estimate> {
        let Estimate { at, earliest, latest, age } = self.estimate?;
        let led_until = self.leads_until.min(now).max(at);
        let growth = growth(now.since(led_until));
        Some(Estimate {
            at: now,
            earliest: earliest.after(now.since(at)).since(growth),
            latest: latest.after(now.since(at)).after(growth),
            age: if led_until > at { now.since(led_until) } else { age.after(now.since(at)) },
        })
    }

    /// What to ask everybody now.
    pub(super) fn poll(&mut self, now: Nanos) -> Poll {
        self.next_poll = now.after(POLL_EVERY);
        if self.time(now).is_none() {
            self.forget(now);
        }
        let sent = now;
        let poll = Poll { sent, wish: self.wish(now) };
        let granted = self.grant(now, self.own, poll.wish);
        self.on_grant(now, self.own, sent, granted);
        poll
    }

    /// Mostly one member tries at a time, the earlier in the list the sooner; who gets no majority rests.
    fn wish(&mut self, now: Nanos) -> Wish {
        let turn = self.granted_until.after(by_place(self.own));
        let is_taken = now <= turn && self.granted_to != Some(self.own);
        if is_taken || now <= self.rests_until {
            self.tries_since = None;
            return Wish::Nothing;
        }
        let leads = [Wish::Lease, Wish::BareLease, Wish::Founding]
            .into_iter()
            .any(|least| self.held_until(least) > now);
        let since = *self.tries_since.get_or_insert(now);
        if leads {
            self.tries_since = Some(now);
        } else if now.since(since) > LEASE {
            self.tries_since = None;
            self.rests_until = now.after(LEASE).after(by_place(self.own));
            return Wish::Nothing;
        }
        match self.estimate {
            Some(_) => Wish::Lease,
            None if self.held_until(Wish::BareLease) > now => Wish::Founding,
            None => Wish::BareLease,
        }
    }

    /// Grants what it may of a wish.
    fn grant(&mut self, now: Nanos, to: usize, wish: Wish) -> Wish {
        let is_taken = now <= self.granted_until && self.granted_to != Some(to);
        if is_taken || wish == Wish::Nothing {
            return Wish::Nothing;
        }
        let last_led = self.led_until.after(AGE_MAX).after(margin(AGE_MAX));
        let granted = match wish {
            Wish::Founding if now <= last_led || self.time(now).is_some() => Wish::BareLease,
            wish => wish,
        };
        self.granted_to = Some(to);
        self.granted_until = now.after(LEASE);
        if granted != Wish::BareLease {
            self.led_until = self.granted_until;
        }
        granted
    }

    /// Answers another's poll.
    pub(super) fn read(&mut self, now: Nanos, from: usize, poll: &Poll, report: Report) -> Reading {
        let granted = self.grant(now, from, poll.wish);
        let time = self.time(now).map(|time| (time.earliest, time.latest, time.age));
        Reading { sent: poll.sent, granted, time, known: self.latest_known(now), report }
    }

    /// Takes the answer to a poll.
    pub(super) fn on_reading(&mut self, now: Nanos, from: usize, reading: &Reading) {
        self.known = self.known.max(reading.known);
        let way = now.since(reading.sent);
        let way = way.after(growth(way));
        if let Some((earliest, latest, age)) = reading.time {
            let latest = latest.after(way).after(READING_ERROR);
            self.cut_with(now, Estimate { at: now, earliest, latest, age: age.after(way) });
        }
        self.on_grant(now, from, reading.sent, reading.granted);
    }

    fn cut_with(&mut self, now: Nanos, heard: Estimate) {
        if heard.age > AGE_MAX {
            return;
        }
        let Some(own) = self.time(now) else {
            self.forget(now);
            self.estimate = Some(heard);
            return;
        };
        let earliest = own.earliest.max(heard.earliest);
        let latest = own.latest.min(heard.latest);
        let age = own.age.min(heard.age);
        self.estimate = Some(Estimate { at: now, earliest, latest, age });
        if earliest > latest {
            self.forget(now); // a clock is worse than was assumed: nothing is known
        }
    }

    fn on_grant(&mut self, now: Nanos, from: usize, sent: Nanos, granted: Wish) {
        if let Some(grant) = self.grants.get_mut(from).filter(|(_, last)| sent >= *last) {
            *grant = (granted, sent);
        }
        if self.estimate.is_none() && self.held_until(Wish::Founding) > now {
            let start = self.known.after(Nanos(1));
            let latest = start.after(READING_ERROR);
            self.estimate = Some(Estimate { at: now, earliest: start, latest, age: Nanos(0) });
            for (granted, _) in self.grants.iter_mut().filter(|(one, _)| *one == Wish::Founding) {
                *granted = Wish::Lease;
            }
        }
        let until = self.held_until(Wish::Lease);
        if self.estimate.is_some() && until > now {
            if self.leads_until <= now {
                self.estimate = self.estimate_at(now); // grown up to here, and no further
            }
            self.leads_until = self.leads_until.max(until);
        }
    }

    /// Until when a majority has granted this: of a bare lease, or more without knowing the time.
    fn held_until(&self, wish: Wish) -> Nanos {
        let mut sent = self.grants.map(|(granted, sent)| {
            let is_it = granted == wish || (granted, wish) == (Wish::Founding, Wish::BareLease);
            if is_it { sent } else { Nanos(0) }
        });
        sent.sort_unstable_by(|one, other| other.cmp(one));
        match sent.get(self.majority.saturating_sub(1)) {
            None | Some(Nanos(0)) => Nanos(0),
            Some(sent) => sent.after(LEASE).since(margin(LEASE)),
        }
    }

    /// Forgets the time, and that it was led.
    fn forget(&mut self, now: Nanos) {
        self.known = self.latest_known(now);
        if self.estimate.take().is_some() {
            self.leads_until = Nanos(0);
            self.grants = [(Wish::Nothing, Nanos(0)); WORMHOLES_MAX];
        }
    }

    fn latest_known(&self, now: Nanos) -> Nanos {
        self.known.max(self.estimate_at(now).map_or(Nanos(0), |estimate| estimate.latest))
    }
}

/// By how much an interval grows on each side in so long a time.
fn growth(span: Nanos) -> Nanos {
    Nanos(span.0.div_ceil(GROWTH_ONE_IN))
}

fn margin(span: Nanos) -> Nanos {
    Nanos(span.0.div_ceil(MARGIN_ONE_IN))
}

fn by_place(own: usize) -> Nanos {
    Nanos(POLL_EVERY.0.saturating_mul(own as u64))
}
