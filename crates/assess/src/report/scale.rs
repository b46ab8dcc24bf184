//! From values to places on a picture, and the round values that are worth a mark.

/// Decades that a logarithmic axis shows at most; smaller values lie at its end.
const DECADES_MAX: i32 = 15;
/// Larger values lie at the end of any axis: their round neighbours could not be written.
const LARGEST: f64 = 1e300;

/// How values become places on an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// In even steps, from the least value; from zero where that is near.
    Linear,
    /// In even steps, from zero.
    FromZero,
    /// As [`Self::Linear`], for what is counted: only whole numbers have marks.
    Whole,
    /// In powers of ten; zero lies at the lower end.
    Logarithmic,
}

/// One axis.
#[derive(Clone, Debug)]
pub(crate) struct Axis {
    scale: Scale,
    least: f64,
    most: f64,
    /// Where the least and the most lie.
    places: (f64, f64),
}

impl Axis {
    /// An axis that shows all finite `values`, from place to place.
    pub(crate) fn over(
        values: impl Iterator<Item = f64>,
        scale: Scale,
        places: (f64, f64),
    ) -> Self {
        let values = values.filter(|value| value.is_finite());
        let values: Vec<f64> = values.map(|value| value.clamp(-LARGEST, LARGEST)).collect();
        let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let (least, most) = match scale {
            _ if values.is_empty() => (0.0, 1.0),
            Scale::FromZero => (least.min(0.0), if most > 0.0 { most } else { 1.0 }),
            Scale::Linear | Scale::Whole if least == most => {
                (least.min(0.0), most.max(least + 1.0))
            }
            Scale::Linear | Scale::Whole => (least, most),
            Scale::Logarithmic => decades(&values, most),
        };
        let has_no_powers = scale == Scale::Logarithmic && least <= 0.0;
        let scale = if has_no_powers { Scale::Linear } else { scale };
        Self { scale, least, most, places }
    }

    /// The same axis, with its ends at round values, and from zero where that is near.
    pub(crate) fn rounded(self) -> Self {
        if self.scale == Scale::Logarithmic {
            return self;
        }
        let is_near = self.least > 0.0 && self.least < self.most * 0.7;
        let least = if is_near { 0.0 } else { self.least };
        let step = self.step((self.most - least) / 4.0);
        let (least, most) = ((least / step).floor() * step, (self.most / step).ceil() * step);
        Self { least, most: if most > least { most } else { least + step }, ..self }
    }

    /// The round step nearest above `rough`; a whole one of what is counted.
    fn step(&self, rough: f64) -> f64 {
        let step = step(rough);
        if self.scale == Scale::Whole { step.max(1.0) } else { step }
    }

    /// Where `value` lies; outside values lie at the ends.
    pub(crate) fn place(&self, value: f64) -> f64 {
        let value = value.clamp(self.least, self.most);
        let along = match self.scale {
            Scale::Linear | Scale::FromZero | Scale::Whole => {
                (value - self.least) / (self.most - self.least)
            }
            Scale::Logarithmic => (value / self.least).log10() / (self.most / self.least).log10(),
        };
        self.places.0 + along.clamp(0.0, 1.0) * (self.places.1 - self.places.0)
    }

    /// Round values that are worth a mark, some three to nine.
    pub(crate) fn marks(&self) -> Vec<f64> {
        match self.scale {
            Scale::Linear | Scale::FromZero | Scale::Whole => {
                let step = self.step((self.most - self.least) / 5.0);
                let (first, last) =
                    ((self.least / step - 1e-9).ceil(), (self.most / step + 1e-9).floor());
                let count = (last - first).clamp(0.0, 20.0) as u32;
                (0..=count).map(|mark| (first + f64::from(mark)) * step).collect()
            }
            Scale::Logarithmic => {
                let (low, high) = (self.least.log10(), self.most.log10());
                let every = ((high - low) / 8.0).ceil().max(1.0) as i32;
                let powers = (low - 1e-9).ceil() as i32..=(high + 1e-9).floor() as i32;
                let powers: Vec<i32> =
                    powers.filter(|power| power.rem_euclid(every) == 0).collect();
                let minor: &[f64] = if powers.len() < 3 { &[1.0, 2.0, 5.0] } else { &[1.0] };
                let from = powers.first().map_or_else(|| low.floor() as i32, |power| power - 1);
                let all = (from..=high.ceil() as i32).filter(|power| power.rem_euclid(every) == 0);
                let all = all.flat_map(|power| minor.iter().map(move |m| m * 10_f64.powi(power)));
                let inside = self.least * (1.0 - 1e-9)..=self.most * (1.0 + 1e-9);
                all.filter(|mark| inside.contains(mark)).collect()
            }
        }
    }
}

/// The ends of a logarithmic axis: where the positive values lie, widened to powers of ten.
fn decades(values: &[f64], most: f64) -> (f64, f64) {
    if most <= 1.0 / LARGEST {
        return (0.0, 1.0);
    }
    let top = most.log10();
    let positive = values.iter().copied().filter(|value| *value > 1.0 / LARGEST);
    let low = positive.fold(most, f64::min).log10().max(top - f64::from(DECADES_MAX));
    if top - low < 1.0 {
        // Within a decade: not stretched, so that small differences look small.
        return (10_f64.powf(low.floor()), 10_f64.powf(top.ceil().max(low.floor() + 1.0)));
    }
    (10_f64.powf((low + 1e-9).floor()), 10_f64.powf((top - 1e-9).ceil()))
}

/// The round step nearest above `rough`: 1, 2 or 5 times a power of ten.
fn step(rough: f64) -> f64 {
    if !rough.is_finite() || rough <= 0.0 {
        return 1.0;
    }
    let power = 10_f64.powf(rough.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
    steps.into_iter().find(|step| *step >= rough * (1.0 - 1e-9)).unwrap_or(rough)
}

/// A number for a mark: as short as it is told apart, small and large ones in powers of ten.
pub fn short(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 {
        return "0".to_owned();
    }
    if !value.is_finite() {
        return if value.is_nan() { "?".to_owned() } else { "\u{221e}".to_owned() };
    }
    if (1e-3..1e4).contains(&size) {
        return trimmed(&format!("{value:.4}"));
    }
    if (1e4..1e6).contains(&size) {
        return format!("{} k", trimmed(&format!("{:.2}", value / 1e3)));
    }
    let mut power = size.log10().floor();
    let mut mantissa = (value / 10_f64.powf(power) * 100.0).round() / 100.0;
    if mantissa.abs() >= 10.0 {
        (mantissa, power) = (mantissa / 10.0, power + 1.0);
    }
    let power = superscript(power as i32);
    match mantissa {
        1.0 => format!("10{power}"),
        -1.0 => format!("-10{power}"),
        mantissa => format!("{}\u{b7}10{power}", trimmed(&format!("{mantissa:.2}"))),
    }
}

/// Without zeros at the end that say nothing.
fn trimmed(decimal: &str) -> String {
    if decimal.contains('.') {
        decimal.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        decimal.to_owned()
    }
}

fn superscript(power: i32) -> String {
    let raised = |digit: char| match digit {
        '-' => '\u{207b}',
        '1' => '\u{b9}',
        '2' => '\u{b2}',
        '3' => '\u{b3}',
        digit => {
            let value = digit.to_digit(10).unwrap_or_default();
            char::from_u32(0x2070 + value).unwrap_or(digit)
        }
    };
    power.to_string().chars().map(raised).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_and_the_most_lie_at_the_ends_of_their_axes() {
        let linear = Axis::over([30.0, 78.0].into_iter(), Scale::Linear, (256.0, 34.0)).rounded();
        assert_eq!((linear.place(0.0), linear.place(80.0)), (256.0, 34.0));
        assert_eq!(linear.marks(), [0.0, 20.0, 40.0, 60.0, 80.0]);
        let zero = Axis::over([99.0, 100.0].into_iter(), Scale::FromZero, (0.0, 100.0)).rounded();
        assert_eq!((zero.place(0.0), zero.place(100.0)), (0.0, 100.0));
        let powers = Axis::over([1e-7, 0.02].into_iter(), Scale::Logarithmic, (300.0, 0.0));
        assert_eq!((powers.place(1e-7), powers.place(0.1)), (300.0, 0.0));
        assert_eq!(powers.marks().len(), 7);
    }

    #[test]
    fn what_is_counted_has_marks_at_whole_numbers_only() {
        for most in 1..60 {
            let ends = [1.0, 1.0 + f64::from(most)];
            let marks = Axis::over(ends.into_iter(), Scale::Whole, (0.0, 100.0)).marks();
            assert!(marks.iter().all(|mark| mark.fract() == 0.0), "{most}: {marks:?}");
            assert!((2..=10).contains(&marks.len()), "{most}: {marks:?}");
        }
        let linear = Axis::over([4.0, 6.0].into_iter(), Scale::Linear, (0.0, 100.0)).marks();
        assert!(linear.iter().any(|mark| mark.fract() != 0.0), "what is measured: {linear:?}");
    }

    #[test]
    fn odd_values_have_a_place_too() {
        for scale in [Scale::Linear, Scale::FromZero, Scale::Whole, Scale::Logarithmic] {
            for values in [
                vec![],
                vec![0.0],
                vec![5.0],
                vec![f64::NAN, f64::INFINITY],
                vec![0.0, 1e-300, 1.0],
                vec![-3.0, 3.0],
                vec![f64::MIN_POSITIVE, f64::MAX],
            ] {
                let axis = Axis::over(values.iter().copied(), scale, (10.0, 110.0)).rounded();
                for value in values.iter().copied().filter(|value| value.is_finite()) {
                    let place = axis.place(value);
                    assert!((10.0..=110.0).contains(&place), "{scale:?} {values:?}: {place}");
                }
                assert!(axis.marks().len() <= 25, "{scale:?} {values:?}: {:?}", axis.marks());
            }
        }
    }

    #[test]
    fn numbers_are_short() {
        for (value, text) in [
            (0.0, "0"),
            (0.25, "0.25"),
            (1e-6, "10\u{207b}\u{2076}"),
            (2.5e-7, "2.5\u{b7}10\u{207b}\u{2077}"),
            (8760.0, "8760"),
            (20_000.0, "20 k"),
            (1e9, "10\u{2079}"),
            (9.999e-5, "10\u{207b}\u{2074}"),
            (f64::INFINITY, "\u{221e}"),
        ] {
            assert_eq!(short(value), text);
        }
    }
}
