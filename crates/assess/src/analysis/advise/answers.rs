//! What was computed already, and what can be computed at the same time.
//!
//! Several ways lead to the same servers, and most changes leave some promise as it is: no chain is solved twice.
//! Chains that are known to be needed are solved side by side, on as many threads as the caller gives; what is
//! found does not depend on their number.

use std::cell::RefCell;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::super::risk;
use super::super::situation::Situation;
use super::super::solve::{self, Grade, Question};
use crate::design::Property;
use crate::engines::{EngineError, Service};

/// A question as the engines take it.
#[derive(Clone, Debug, PartialEq)]
struct Asked {
    property: Property,
    hours: f64,
    service: Service,
}

impl Asked {
    fn of(situation: &Situation, property: Property) -> Self {
        let service = solve::asked(situation, Question::Broken(property), Grade::Swept);
        Self { property, hours: situation.mission, service }
    }

    fn answer(&self) -> Result<f64, EngineError> {
        let question = Question::Broken(self.property);
        solve::broken_by(&self.service, question, Grade::Swept, self.hours)
    }
}

/// Risks of promises, as every change is computed.
pub(super) struct Answers<'a> {
    known: RefCell<Vec<(Asked, Result<f64, EngineError>)>>,
    /// Chains that were asked for so far.
    wanted: RefCell<u64>,
    threads: usize,
    /// Told how many chains are solved, of how many that are known to be needed.
    progress: &'a dyn Fn(u64, u64),
}

impl<'a> Answers<'a> {
    pub(super) fn new(threads: usize, progress: &'a dyn Fn(u64, u64)) -> Self {
        Self { known: RefCell::default(), wanted: RefCell::new(0), threads, progress }
    }

    /// The probability that a promise is broken by the end of the mission.
    pub(super) fn broken(
        &self,
        situation: &Situation,
        property: Property,
    ) -> Result<f64, EngineError> {
        let asked = Asked::of(situation, property);
        if let Some(known) = self.known(&asked) {
            return known;
        }
        self.solve(vec![asked.clone()]);
        self.known(&asked).unwrap_or_else(|| asked.answer())
    }

    /// The risk that decides.
    pub(super) fn risk(&self, situation: &Situation) -> Result<f64, EngineError> {
        let mut most = 0.0_f64;
        for property in risk::asked(situation) {
            most = most.max(self.broken(situation, property)?);
        }
        Ok(most)
    }

    /// Solves what the risks of these situations take, side by side.
    pub(super) fn risks_ahead<'s>(&self, situations: impl Iterator<Item = &'s Situation>) {
        self.ahead(situations.flat_map(|it| risk::asked(it).into_iter().map(move |of| (it, of))));
    }

    /// Solves what is going to be asked, side by side.
    pub(super) fn ahead<'s>(&self, questions: impl Iterator<Item = (&'s Situation, Property)>) {
        let mut missing: Vec<Asked> = Vec::new();
        for (situation, property) in questions {
            let asked = Asked::of(situation, property);
            if self.known(&asked).is_none() && !missing.contains(&asked) {
                missing.push(asked);
            }
        }
        self.solve(missing);
    }

    fn known(&self, asked: &Asked) -> Option<Result<f64, EngineError>> {
        let known = self.known.borrow();
        known.iter().find(|(it, _)| it == asked).map(|(_, answer)| answer.clone())
    }

    /// Answers all of these. The calling thread does its part, and tells of all.
    fn solve(&self, questions: Vec<Asked>) {
        let before = *self.wanted.borrow();
        let total = before + questions.len() as u64;
        *self.wanted.borrow_mut() = total;
        let answers: Vec<Mutex<Option<Result<f64, EngineError>>>> =
            questions.iter().map(|_| Mutex::new(None)).collect();
        let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let work = |told: &dyn Fn()| {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let (Some(asked), Some(place)) = (questions.get(number), answers.get(number))
                else {
                    return;
                };
                let answer = asked.answer();
                if let Ok(mut place) = place.lock() {
                    *place = Some(answer);
                }
                done.fetch_add(1, Ordering::Relaxed);
                told();
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..self.threads.min(questions.len()) {
                scope.spawn(|| work(&|| ()));
            }
            work(&|| (self.progress)(before + done.load(Ordering::Relaxed) as u64, total));
        });
        (self.progress)(total, total);
        let found = questions
            .into_iter()
            .zip(answers)
            .filter_map(|(asked, answer)| Some((asked, answer.into_inner().ok()??)));
        self.known.borrow_mut().extend(found);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::design::Design;

    const MODEL: &str = include_str!("../../../../../examples/assess/one-room.toml");

    #[test]
    fn nothing_is_solved_twice_and_threads_change_nothing() {
        let design = Design::parse("one-room.toml", MODEL).expect("an example");
        let situation = Situation::of(&design, &design.services[0]);
        let mut other = situation.clone();
        other.care.epoch = Some(100.0);
        let mut found = Vec::new();
        for threads in [1, 2] {
            let told = Cell::new((0, 0));
            let progress = |done, total| told.set((done, total));
            let answers = Answers::new(threads, &progress);
            let all = [&situation, &other].into_iter();
            answers.ahead(all.flat_map(|it| Property::ALL.map(|property| (it, property))));
            // The epoch matters to secrets alone: four chains answer six questions.
            assert_eq!(told.get(), (4, 4));
            let risks = Property::ALL.map(|it| answers.broken(&situation, it).expect("solved"));
            assert!(answers.risk(&other).is_ok_and(|it| it < risks[0]));
            assert_eq!(told.get(), (4, 4));
            found.push(risks);
        }
        assert_eq!(found[0], found[1]);
        let alone = solve::by_mission(&situation, Question::Exceeded, Grade::Swept).expect("small");
        assert_eq!(found[0][1], alone);
    }
}
