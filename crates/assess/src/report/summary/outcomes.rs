//! Comparisons and back-tests as text.

use std::fmt;

use super::super::table::{Align, Table, plain};
use super::super::words::{figure, probability, value};
use super::{Summary, write_lines};
use crate::analysis::{Backtest, Better, Comparison};

impl fmt::Display for Summary<'_, Comparison> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let comparison = self.0;
        write!(out, "{}", compared(comparison))?;
        for name in &comparison.only_in_one {
            write!(out, "\n  only in one: {}", plain(name))?;
        }
        write_lines(out, &comparison.conclusions)
    }
}

/// Every quantity of both designs.
pub(crate) fn compared(comparison: &Comparison) -> Table {
    let mut table = Table::new(
        "",
        &[
            ("quantity", Align::Left),
            ("of", Align::Left),
            (&plain(&comparison.first), Align::Right),
            (&plain(&comparison.second), Align::Right),
            ("ratio", Align::Right),
            ("better", Align::Left),
        ],
    );
    for row in &comparison.rows {
        let subject = row.property.map_or_else(
            || row.subject.clone(),
            |property| format!("{} of {}", property.name(), row.subject),
        );
        table.row([
            row.quantity.clone(),
            subject,
            value(row.first, row.unit, ""),
            value(row.second, row.unit, ""),
            row.ratio.map_or_else(String::new, figure),
            match row.better {
                Better::First => plain(&comparison.first),
                Better::Second => plain(&comparison.second),
                Better::Equal => "equal".to_owned(),
                Better::Neither => "neither".to_owned(),
            },
        ]);
    }
    table
}

impl fmt::Display for Summary<'_, Backtest> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let backtest = self.0;
        let caption = format!(
            "Service {}: predicted against measured in {} campaigns, intervals of {} %",
            plain(&backtest.service),
            backtest.campaigns,
            figure(backtest.level * 100.0)
        );
        let mut table = Table::new(
            caption,
            &[
                ("event", Align::Left),
                ("measured", Align::Right),
                ("interval", Align::Left),
                ("predicted", Align::Right),
                ("", Align::Left),
            ],
        );
        for row in &backtest.rows {
            table.row([
                row.event.clone(),
                format!("{}/{} = {}", row.hits, row.trials, figure(row.measured)),
                format!("{} to {}", probability(row.low), probability(row.high)),
                probability(row.predicted),
                if row.is_consistent { "agrees".to_owned() } else { "DISAGREES".to_owned() },
            ]);
        }
        write!(out, "{table}")?;
        write_lines(out, &backtest.conclusions)
    }
}
