//! Whether a row of measurements grows: the line that fits it best, and how far it strays from it.
//!
//! # Source
//! A.-M. Legendre, *Nouvelles méthodes pour la détermination des orbites des comètes* (1805), the
//! appendix on the least squares.

/// Measurements below which nothing is said.
pub(crate) const POINTS_MIN: usize = 6;

/// The line through a row of points.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Fit {
    /// Growth a second.
    pub(crate) per_second: f64,
    /// Standard deviation of the points from the line.
    pub(crate) spread: f64,
    /// Growth over the whole time.
    pub(crate) growth: f64,
}

impl Fit {
    /// Through points of seconds and values; `None` where there are too few.
    pub(crate) fn of(points: &[(f64, f64)]) -> Option<Self> {
        if points.len() < POINTS_MIN {
            return None;
        }
        let count = points.len() as f64;
        let mean_x = points.iter().map(|(x, _)| x).sum::<f64>() / count;
        let mean_y = points.iter().map(|(_, y)| y).sum::<f64>() / count;
        let squares: f64 = points.iter().map(|(x, _)| (x - mean_x).powi(2)).sum();
        let products: f64 = points.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
        if squares <= 0.0 {
            return None;
        }
        let slope = products / squares;
        let stray = |(x, y): &(f64, f64)| (y - mean_y - slope * (x - mean_x)).powi(2);
        let spread = (points.iter().map(stray).sum::<f64>() / (count - 2.0)).sqrt();
        let (first, last) = (points.first()?.0, points.last()?.0);
        Some(Self { per_second: slope, spread, growth: slope * (last - first) })
    }

    /// Whether the growth is no more than twice the spread, or than `grain`, below which nothing is
    /// growth. What shrinks is flat.
    pub(crate) fn is_flat(&self, grain: f64) -> bool {
        self.growth <= (2.0 * self.spread).max(grain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(value: impl Fn(f64) -> f64) -> Vec<(f64, f64)> {
        (0..60).map(|index| (f64::from(index) * 10.0, value(f64::from(index)))).collect()
    }

    #[test]
    fn a_line_is_found_and_a_saw_is_flat() {
        let line = Fit::of(&row(|at| 5.0 + at)).expect("enough points");
        assert!((line.per_second - 0.1).abs() < 1e-9 && line.spread < 1e-6);
        assert!((line.growth - 59.0).abs() < 1e-6);
        assert!(!line.is_flat(1.0), "growth is growth");
        let saw = Fit::of(&row(|at| 100.0 + 30.0 * (at % 5.0))).expect("enough points");
        assert!(saw.is_flat(1.0), "{saw:?}");
        let leak = Fit::of(&row(|at| 100.0 + 30.0 * (at % 5.0) + 4.0 * at)).expect("enough points");
        assert!(!leak.is_flat(1.0), "a leak under a saw is seen: {leak:?}");
        let shrinking = Fit::of(&row(|at| 1000.0 - at)).expect("enough points");
        assert!(shrinking.is_flat(1.0));
    }

    #[test]
    fn too_few_points_say_nothing() {
        assert_eq!(Fit::of(&row(|at| at)[..POINTS_MIN - 1]), None);
        assert_eq!(Fit::of(&[(1.0, 2.0); POINTS_MIN]), None, "all at one time");
    }
}
