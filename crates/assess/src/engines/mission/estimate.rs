//! Numbers with their confidence intervals.

use super::whole;
use crate::engines::EngineError;
use crate::engines::error::within;

/// A number with its confidence interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// Best guess.
    pub value: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Estimate {
    /// A probability from `hits` of `trials`, with Wilson's interval: it holds for few hits too, and for
    /// none its lower end is 0.
    ///
    /// `level`: of confidence, strictly between 0 and 1, for instance 0.99.
    ///
    /// # Errors
    /// [`EngineError::OutOfRange`] for no trials or more hits than trials; [`EngineError::NotAProbability`]
    /// of the level.
    pub fn of_share(hits: u64, trials: u64, level: f64) -> Result<Self, EngineError> {
        within("the number of trials", trials, 1, u64::MAX)?;
        within("the number of hits", hits, 0, trials)?;
        let z = quantile_of_level(level)?;
        let (n, p) = (whole(trials), whole(hits) / whole(trials));
        let scale = 1.0 + z * z / n;
        let centre = (p + z * z / (2.0 * n)) / scale;
        let half = z * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt() / scale;
        let low = if hits == 0 { 0.0 } else { (centre - half).max(0.0) };
        let high = if hits == trials { 1.0 } else { (centre + half).min(1.0) };
        Ok(Self { value: p, low, high })
    }

    /// Whether `value` lies in the interval.
    #[must_use]
    pub fn holds(&self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }
}

/// Sums of a sample: Welford's, so that large values with a small spread keep their digits.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sums {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Sums {
    pub(super) fn add(&mut self, value: f64) {
        self.count += 1.0;
        let before = value - self.mean;
        self.mean += before / self.count;
        self.squares += before * (value - self.mean);
    }

    /// All samples together, in the order given.
    pub(super) fn total<'a>(parts: impl IntoIterator<Item = &'a Self>) -> Self {
        parts.into_iter().fold(Self::default(), |sum, part| {
            let count = sum.count + part.count;
            if count <= 0.0 {
                return sum;
            }
            let apart = part.mean - sum.mean;
            let mean = sum.mean + apart * (part.count / count);
            let between = apart * apart * sum.count * (part.count / count);
            Self { count, mean, squares: sum.squares + part.squares + between }
        })
    }

    /// The mean with its normal interval.
    pub(super) fn mean(&self, level: f64) -> Result<Estimate, EngineError> {
        let z = quantile_of_level(level)?;
        let deviation = (self.squares / (self.count - 1.0).max(1.0)).sqrt();
        let half = z * deviation / self.count.max(1.0).sqrt();
        Ok(Estimate { value: self.mean, low: self.mean - half, high: self.mean + half })
    }
}

/// How many standard deviations around the mean hold the share `level` of a normal distribution.
pub(super) fn quantile_of_level(level: f64) -> Result<f64, EngineError> {
    if level > 0.0 && level < 1.0 {
        Ok(deviations(level))
    } else {
        Err(EngineError::NotAProbability { name: "the level of confidence", value: level })
    }
}

/// The inverse of the normal distribution, both sides together. Relative error below 1e-9.
///
/// # Source
/// M. Abramowitz and I. Stegun, *Handbook of Mathematical Functions*, 26.2.11 and 26.2.14, inverted by
/// Newton's method.
fn deviations(level: f64) -> f64 {
    let mut z: f64 = 1.0;
    let tail = 1.0 - level;
    for _ in 0..100 {
        let density = (2.0 / std::f64::consts::PI).sqrt() * (-z * z / 2.0).exp();
        // Newton's step on the logarithm of the tail, which is nearly a parabola.
        let now = outside(z).max(f64::MIN_POSITIVE);
        let step = (now / tail).ln() * now / density.max(f64::MIN_POSITIVE);
        z = (z + step).clamp(z / 4.0, z + 4.0);
        if step.abs() <= 1e-12 * z {
            break;
        }
    }
    z
}

/// The probability outside `-z..z`.
fn outside(z: f64) -> f64 {
    let square = z * z;
    let density = (2.0 / std::f64::consts::PI).sqrt() * (-square / 2.0).exp();
    if z < 3.0 {
        // A series of positive terms for the inside.
        let (mut term, mut sum, mut odd) = (z, z, 1.0);
        while term > 1e-17 * sum {
            odd += 2.0;
            term *= square / odd;
            sum += term;
        }
        return 1.0 - density * sum;
    }
    // A continued fraction for the outside.
    let mut fraction = z;
    for depth in (1..=200).rev() {
        fraction = z + f64::from(depth) / fraction;
    }
    density / fraction
}
