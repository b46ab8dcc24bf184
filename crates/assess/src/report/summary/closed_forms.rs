//! Closed forms as text.

use std::fmt;

use super::super::explain::wrapped;
use super::super::table::{Align, Table, plain};
use super::super::words::{servers, time, value};
use super::{Summary, plain_text};
use crate::analysis::{ClosedForms, ClosedService};
use crate::design::Property;

impl fmt::Display for Summary<'_, ClosedForms> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let forms = self.0;
        write!(out, "{}: closed forms, mission {}", plain(&forms.design), time(forms.mission_h))?;
        forms.services.iter().try_for_each(|service| write_service(out, service))
    }
}

fn write_service(out: &mut fmt::Formatter<'_>, service: &ClosedService) -> fmt::Result {
    write!(
        out,
        "\n\nService {}: {}, f = {}\n",
        plain(&service.name),
        servers(service.n),
        service.f
    )?;
    let columns = [("quantity", Align::Left), ("", Align::Right), ("formula", Align::Left)];
    let mut table = Table::new("", &columns);
    for it in &service.values {
        let number = value(Some(it.value), it.unit, "");
        table.row([named(&it.quantity, it.property), number, it.formula.clone()]);
    }
    write!(out, "{table}")?;
    if !service.missing.is_empty() {
        write!(out, "\nNot given by a formula; chains give it (no --engine):")?;
    }
    for gap in &service.missing {
        let text = format!("{}: {}", named(&gap.quantity, Some(gap.property)), gap.why);
        write!(out, "\n  - {}", wrapped(&plain_text(&text), 4))?;
    }
    Ok(())
}

fn named(quantity: &str, property: Option<Property>) -> String {
    let quantity = quantity.replace('_', "-");
    property.map_or_else(|| quantity.clone(), |it| format!("{quantity} of {}", it.name()))
}
