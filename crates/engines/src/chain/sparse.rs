//! A sparse matrix of rates, row by row.

/// Rows of `(column, value)`.
#[derive(Clone, Debug)]
pub(super) struct Sparse {
    /// Where each row begins, and where the last one ends.
    starts: Vec<usize>,
    columns: Vec<u32>,
    values: Vec<f64>,
}

impl Sparse {
    pub(super) fn with_capacity(rows: usize, entries: usize) -> Self {
        let mut starts = Vec::with_capacity(rows.saturating_add(1));
        starts.push(0);
        Self { starts, columns: Vec::with_capacity(entries), values: Vec::with_capacity(entries) }
    }

    /// Adds a row; entries of the same column are joined.
    pub(super) fn push_row(&mut self, row: &mut [(u32, f64)]) {
        row.sort_unstable_by_key(|(column, _)| *column);
        let start = self.columns.len();
        for &mut (column, value) in row {
            match (self.columns.last(), self.values.last_mut()) {
                (Some(last), Some(sum)) if *last == column && self.columns.len() > start => {
                    *sum += value;
                }
                _ => {
                    self.columns.push(column);
                    self.values.push(value);
                }
            }
        }
        self.starts.push(self.columns.len());
    }

    pub(super) fn rows(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    pub(super) fn entries(&self) -> usize {
        self.columns.len()
    }

    pub(super) fn values(&self) -> impl Iterator<Item = f64> {
        self.values.iter().copied()
    }

    /// Empty for a row that does not exist.
    pub(super) fn row(&self, row: usize) -> impl Iterator<Item = (usize, f64)> + '_ {
        let range = match self.starts.get(row..).and_then(|rest| rest.first_chunk()) {
            Some(&[start, end]) => start..end,
            None => 0..0,
        };
        let columns = self.columns.get(range.clone()).unwrap_or_default();
        let values = self.values.get(range).unwrap_or_default();
        columns.iter().map(|column| index(*column)).zip(values.iter().copied())
    }

    /// For each row the sum of its values times those of `state`.
    pub(super) fn products<'a>(&'a self, state: &'a [f64]) -> impl Iterator<Item = f64> + 'a {
        let (mut columns, mut values) = (self.columns.as_slice(), self.values.as_slice());
        let ends = self.starts.iter().zip(self.starts.iter().skip(1));
        ends.map(move |(start, end)| {
            let (own, others) = columns.split_at_checked(end - start).unwrap_or_default();
            let (factors, next) = values.split_at_checked(end - start).unwrap_or_default();
            (columns, values) = (others, next);
            own.iter().zip(factors).map(|(column, factor)| factor * at(state, index(*column))).sum()
        })
    }

    /// Rows become columns, every value divided by `divisor`.
    pub(super) fn transposed(&self, divisor: f64) -> Self {
        let mut counts = vec![0_usize; self.rows()];
        for column in &self.columns {
            if let Some(count) = counts.get_mut(index(*column)) {
                *count += 1;
            }
        }
        let mut starts = Vec::with_capacity(self.starts.len());
        let mut sum = 0;
        starts.push(0);
        for count in &mut counts {
            let next = *count;
            *count = sum;
            sum += next;
            starts.push(sum);
        }
        let mut columns = vec![0_u32; self.entries()];
        let mut values = vec![0.0; self.entries()];
        for row in 0..self.rows() {
            for (column, value) in self.row(row) {
                let Some(place) = counts.get_mut(column) else { continue };
                if let (Some(from), Some(to)) = (columns.get_mut(*place), values.get_mut(*place)) {
                    *from = number(row);
                    *to = value / divisor;
                }
                *place += 1;
            }
        }
        Self { starts, columns, values }
    }
}

/// A state's number as it is stored: there are at most a million.
pub(super) fn number(state: usize) -> u32 {
    u32::try_from(state).expect("states are counted against their limit")
}

/// A stored number as an index.
pub(super) fn index(number: u32) -> usize {
    usize::try_from(number).expect("a pointer has at least 32 bits")
}

/// `values[index]`, 0 beyond the end.
pub(super) fn at(values: &[f64], index: usize) -> f64 {
    values.get(index).copied().unwrap_or_default()
}
