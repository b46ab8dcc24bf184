//! Numbers with their confidence intervals.

use super::whole;
use crate::EngineError;
use crate::error::within;

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
        Ok(wilson(whole(hits) / whole(trials), whole(trials), quantile_of_level(level)?))
    }

    /// A probability from clusters of `size` trials each, with `hits` of each, where trials of one cluster
    /// may be alike: Wilson's interval for as many trials as they are worth by the variance between
    /// clusters, and no more than there are. Where the clusters cannot tell (a single one, or no hit or
    /// nothing else in all of them) each is worth one trial.
    ///
    /// # Errors
    /// [`EngineError::OutOfRange`] for no clusters, or more hits than trials of one;
    /// [`EngineError::NotAProbability`] of the level.
    ///
    /// # Source
    /// L. Kish, *Survey Sampling*, 1965 (design effect).
    pub fn of_clusters(hits: &[usize], size: usize, level: f64) -> Result<Self, EngineError> {
        within("the number of clusters", hits.len() as u64, 1, u64::MAX)?;
        within("the trials of a cluster", size as u64, 1, u64::MAX)?;
        for count in hits {
            within("the number of hits", *count as u64, 0, size as u64)?;
        }
        let z = quantile_of_level(level)?;
        let (clusters, size) = (hits.len() as f64, size as f64);
        let p = hits.iter().map(|count| *count as f64).sum::<f64>() / (clusters * size);
        let squares: f64 = hits.iter().map(|count| (*count as f64 / size - p).powi(2)).sum();
        let alone = p * (1.0 - p) / size;
        let effect = if hits.len() > 1 && alone > 0.0 {
            (squares / (clusters - 1.0) / alone).clamp(1.0, size)
        } else {
            size
        };
        Ok(wilson(p, clusters * size / effect, z))
    }

    /// Whether `value` lies in the interval.
    #[must_use]
    pub fn holds(&self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }
}

/// Wilson's interval of the share `p` of `n` trials, `z` deviations wide.
fn wilson(p: f64, n: f64, z: f64) -> Estimate {
    let scale = 1.0 + z * z / n;
    let centre = (p + z * z / (2.0 * n)) / scale;
    let half = z * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt() / scale;
    let low = if p <= 0.0 { 0.0 } else { (centre - half).max(0.0) };
    let high = if p >= 1.0 { 1.0 } else { (centre + half).min(1.0) };
    Estimate { value: p, low, high }
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
