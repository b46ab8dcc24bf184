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
//! than that, a majority lets whoever has the lease found a new time. Who starts acts as if it had
//! granted a lease, which an earlier life may have.
//!
//! A new time is later than every instant that an interval of an earlier one allowed: each grant of a
//! lease is asked for with the latest time known, and [`AHEAD`] of that no interval led by that lease
//! comes. A member of every majority that granted is among those that let a new time be founded, and
//! knows: a new life helps only after it has joined, which tells it, and a grant of a life counts only
//! beside those of others that know no later one.
//!
//! # Source
//! K. Marzullo and S. Owicki, *Maintaining the Time in a Distributed System*, PODC 1983, for cutting
//! intervals; C. Gray and D. Cheriton, *Leases*, SOSP 1989.

use crate::core::services::READING_ERROR;
use crate::frame::{Life, Lives, Nanos, Poll, Reading, Report, WORMHOLES_MAX, Wish};

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
/// An interval led by a lease ends so much after what its leader knew when it asked, at most: led as long
/// as the lease, handed out as long after, and as wide as it was long on its way; with all margins.
const AHEAD: Nanos = Nanos::from_millis(4_000);

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
    /// How many must grant.
    pub(super) majority: usize,
    estimate: Option<Estimate>,
    /// The latest common time that was ever known of, or that a founding was asked for.
    known: Nanos,
    /// Whether this life knows what an earlier one may have granted.
    pub(super) has_joined: bool,
    granted_to: Option<usize>,
    granted_until: Nanos,
    /// Until when a time may be led with a grant from here.
    led_until: Nanos,
    /// Of each member, what it granted last, when that was asked for, and which life of it granted.
    grants: [(Wish, Nanos, Life); WORMHOLES_MAX],
    /// When a founding was asked for last, and where the time is to begin. Grants of an earlier question
    /// are over by the next one.
    founding: (Nanos, Nanos),
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
            has_joined: false,
            granted_to: None,
            granted_until: LEASE,
            led_until: LEASE,
            grants: [(Wish::Nothing, Nanos(0), Life::UNKNOWN); WORMHOLES_MAX],
            founding: (Nanos(0), Nanos(0)),
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
    pub(super) fn poll(&mut self, now: Nanos, lives: &Lives) -> Poll {
        self.next_poll = now.after(POLL_EVERY);
        if self.time(now).is_none() {
            self.forget(now);
        }
        let wish = self.wish(now, lives);
        let mut poll = Poll { sent: now, wish, known: self.latest_known(now) };
        if wish == Wish::Founding {
            poll.known = poll.known.after(AHEAD);
            self.founding = (now, poll.known);
        }
        let granted = self.grant(now, self.own, &poll);
        self.on_grant(now, self.own, (now, granted), lives);
        poll
    }

    /// Mostly one member tries at a time, the earlier in the list the sooner; who gets no majority rests.
    fn wish(&mut self, now: Nanos, lives: &Lives) -> Wish {
        let turn = self.granted_until.after(by_place(self.own));
        let is_taken = now <= turn && self.granted_to != Some(self.own);
        if is_taken || now <= self.rests_until {
            self.tries_since = None;
            return Wish::Nothing;
        }
        let leads = [Wish::Lease, Wish::BareLease, Wish::Founding]
            .into_iter()
            .any(|least| self.held_until(least, lives) > now);
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
            // One that fails keeps those who granted it from another for a while.
            None if self.held_until(Wish::Ready, lives) > now
                && now > self.founding.0.after(LEASE) =>
            {
                Wish::Founding
            }
            None => Wish::BareLease,
        }
    }

    /// Grants what it may of a wish.
    fn grant(&mut self, now: Nanos, to: usize, poll: &Poll) -> Wish {
        let is_taken = now <= self.granted_until && self.granted_to != Some(to);
        if is_taken || poll.wish == Wish::Nothing {
            return Wish::Nothing;
        }
        let last_led = self.led_until.after(AGE_MAX).after(margin(AGE_MAX));
        let is_ready = self.has_joined && now > last_led && self.time(now).is_none();
        let may_found = is_ready && poll.known >= self.latest_known(now).after(AHEAD);
        let granted = match poll.wish {
            Wish::Founding if !may_found => Wish::BareLease,
            Wish::BareLease if is_ready => Wish::Ready,
            wish => wish,
        };
        self.granted_to = Some(to);
        self.granted_until = now.after(LEASE);
        if matches!(granted, Wish::Lease | Wish::Founding) {
            self.led_until = self.granted_until;
            self.known = self.known.max(poll.known);
        }
        granted
    }

    /// Answers another's poll.
    pub(super) fn read(&mut self, now: Nanos, from: usize, poll: &Poll, report: Report) -> Reading {
        let granted = self.grant(now, from, poll);
        let time = self.time(now).map(|time| (time.earliest, time.latest, time.age));
        Reading { sent: poll.sent, granted, time, known: self.latest_known(now), report }
    }

    /// Takes the answer to a poll, where `lives` are listened to.
    pub(super) fn on_reading(&mut self, now: Nanos, from: usize, reading: &Reading, lives: &Lives) {
        self.known = self.known.max(reading.known);
        let way = now.since(reading.sent);
        let way = way.after(growth(way));
        if let Some((earliest, latest, age)) = reading.time {
            let latest = latest.after(way).after(READING_ERROR);
            self.cut_with(now, Estimate { at: now, earliest, latest, age: age.after(way) });
        }
        self.on_grant(now, from, (reading.sent, reading.granted), lives);
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

    fn on_grant(&mut self, now: Nanos, from: usize, (sent, granted): (Nanos, Wish), lives: &Lives) {
        if let Some(grant) = self.grants.get_mut(from).filter(|(_, last, _)| sent >= *last) {
            *grant = (granted, sent, lives.get(from).copied().unwrap_or_default());
        }
        if self.estimate.is_none() && self.held_until(Wish::Founding, lives) > now {
            let (_, start) = self.founding;
            let latest = start.after(READING_ERROR);
            self.estimate = Some(Estimate { at: now, earliest: start, latest, age: Nanos(0) });
            for (granted, ..) in self.grants.iter_mut().filter(|it| it.0 == Wish::Founding) {
                *granted = Wish::Lease;
            }
        }
        let until = self.held_until(Wish::Lease, lives);
        if self.estimate.is_some() && until > now {
            if self.leads_until <= now {
                self.estimate = self.estimate_at(now); // grown up to here, and no further
            }
            self.leads_until = self.leads_until.max(until);
        }
    }

    /// Until when a majority has granted this: of a bare lease, or more without knowing the time.
    fn held_until(&self, wish: Wish, lives: &Lives) -> Nanos {
        let mut sent = [Nanos(0); WORMHOLES_MAX];
        for ((place, (granted, of, by)), life) in sent.iter_mut().zip(&self.grants).zip(lives) {
            let is_it = match wish {
                Wish::BareLease => {
                    matches!(granted, Wish::BareLease | Wish::Ready | Wish::Founding)
                }
                wish => *granted == wish,
            };
            if is_it && by == life {
                *place = *of;
            }
        }
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
            self.grants = [(Wish::Nothing, Nanos(0), Life::UNKNOWN); WORMHOLES_MAX];
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

#[cfg(test)]
mod tests;
