//! The first reading: keys, types, units, ranges and origins, all by the table of sections.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::faults::Faults;
use crate::design::estimate::{Estimate, Origin};
use crate::design::fault::Mistake;
use crate::design::limits::{MONEY_MAX, NAME_BYTES_MAX, SPAN_MAX, TEXT_BYTES_MAX};
use crate::design::sections::{Field, Kind, Section};
use crate::design::units::{Quantity, quantity};

/// A table in which every required key is, and every value has its type and range.
#[derive(Debug)]
pub(crate) struct Node {
    /// Its line in the file.
    pub(crate) line: usize,
    values: BTreeMap<&'static str, (usize, Value)>,
}

#[derive(Debug)]
enum Value {
    Text(String),
    Count(i64),
    Number(Estimate<f64>),
    Names(Vec<(usize, String)>),
    One(Node),
    Many(Vec<Node>),
}

impl Node {
    /// The line of a key, or of the table if the key is absent.
    pub(crate) fn line_of(&self, key: &str) -> usize {
        self.values.get(key).map_or(self.line, |(line, _)| *line)
    }

    /// Whether a key is there.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.values.contains_key(key)
    }

    /// A name, word or text.
    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        match self.values.get(key) {
            Some((_, Value::Text(text))) => Some(text),
            _ => None,
        }
    }

    /// A whole number.
    pub(crate) fn count(&self, key: &str) -> Option<i64> {
        match self.values.get(key) {
            Some((_, Value::Count(count))) => Some(*count),
            _ => None,
        }
    }

    /// A number with its origin.
    pub(crate) fn number(&self, key: &str) -> Option<&Estimate<f64>> {
        match self.values.get(key) {
            Some((_, Value::Number(number))) => Some(number),
            _ => None,
        }
    }

    /// A list of names, each with its line.
    pub(crate) fn names(&self, key: &str) -> Option<&[(usize, String)]> {
        match self.values.get(key) {
            Some((_, Value::Names(names))) => Some(names),
            _ => None,
        }
    }

    /// A table.
    pub(crate) fn one(&self, key: &str) -> Option<&Self> {
        match self.values.get(key) {
            Some((_, Value::One(node))) => Some(node),
            _ => None,
        }
    }

    /// A list of tables; empty if the key is absent.
    pub(crate) fn many(&self, key: &str) -> &[Self] {
        match self.values.get(key) {
            Some((_, Value::Many(nodes))) => nodes,
            _ => &[],
        }
    }
}

/// Reads a table. Whatever is wrong goes to `faults`; the node then lacks it.
pub(crate) fn read(
    section: &'static Section,
    table: &DeTable<'_>,
    at: usize,
    faults: &mut Faults<'_>,
) -> Node {
    for (key, _) in table {
        if !section.fields.iter().any(|field| field.key == key.get_ref().as_ref()) {
            unknown_key(section, key, faults);
        }
    }
    let mut values = BTreeMap::new();
    for field in section.fields {
        let Some((key, value)) = table.get_key_value(field.key) else {
            if field.is_required {
                let mistake = Mistake::MissingKey { key: field.key, section: section.name };
                faults.add(at, mistake, format!("{}: {}", field.key, field.doc));
            }
            continue;
        };
        let at = value.span().start.max(key.span().start);
        if let Some(value) = value_of(field, value.get_ref(), at, faults) {
            values.insert(field.key, (faults.line(at), value));
        }
    }
    Node { line: faults.line(at), values }
}

fn unknown_key(section: &'static Section, key: &Spanned<DeString<'_>>, faults: &mut Faults<'_>) {
    let known = section.fields.iter().map(|field| field.key);
    let hint = super::words::nearest(key.get_ref(), known.clone()).map_or_else(
        || format!("known here: {}", known.collect::<Vec<_>>().join(", ")),
        |near| format!("did you mean `{near}`?"),
    );
    let mistake = Mistake::UnknownKey { key: shown(key.get_ref()), section: section.name };
    faults.add(key.span().start, mistake, hint);
}

fn value_of(
    field: &'static Field,
    value: &DeValue<'_>,
    at: usize,
    faults: &mut Faults<'_>,
) -> Option<Value> {
    match &field.kind {
        Kind::Name => text(field, value, at, NAME_BYTES_MAX, faults).map(Value::Text),
        Kind::Text => text(field, value, at, TEXT_BYTES_MAX, faults).map(Value::Text),
        Kind::Choice(words) => choice(field, words, value, at, faults).map(Value::Text),
        Kind::Count { least, most } => {
            count(field, (*least, *most), value, at, faults).map(Value::Count)
        }
        Kind::Time | Kind::Rate | Kind::Probability | Kind::Money => {
            number(field, value, at, faults).map(Value::Number)
        }
        Kind::Names { least, most } => {
            let entries = list(field, value, at, (*least, *most), faults)?;
            let names = entries.iter().filter_map(|entry| {
                let at = entry.span().start;
                let name = text(field, entry.get_ref(), at, NAME_BYTES_MAX, faults)?;
                Some((faults.line(at), name))
            });
            Some(Value::Names(names.collect()))
        }
        Kind::One(section) => match value {
            DeValue::Table(table) => Some(Value::One(read(section, table, at, faults))),
            _ => wrong_type(field.key, value, "a table", at, faults),
        },
        Kind::Many { section, least, most } => {
            let entries = list(field, value, at, (*least, *most), faults)?;
            let nodes = entries.iter().filter_map(|entry| match entry.get_ref() {
                DeValue::Table(table) => Some(read(section, table, entry.span().start, faults)),
                other => wrong_type(field.key, other, "a table", entry.span().start, faults),
            });
            Some(Value::Many(nodes.collect()))
        }
    }
}

fn text(
    field: &Field,
    value: &DeValue<'_>,
    at: usize,
    most: usize,
    faults: &mut Faults<'_>,
) -> Option<String> {
    let DeValue::String(text) = value else {
        return wrong_type(field.key, value, "a text in quotes", at, faults);
    };
    if text.trim().is_empty() || text.len() > most {
        let mistake = Mistake::Name { key: field.key.to_owned(), most };
        faults.add(at, mistake, "write something short that people recognise".to_owned());
        return None;
    }
    Some(text.clone().into_owned())
}

fn choice(
    field: &Field,
    words: &[&'static str],
    value: &DeValue<'_>,
    at: usize,
    faults: &mut Faults<'_>,
) -> Option<String> {
    let DeValue::String(word) = value else {
        return wrong_type(field.key, value, "one of a few words in quotes", at, faults);
    };
    if words.contains(&word.as_ref()) {
        return Some(word.clone().into_owned());
    }
    let mistake = Mistake::Choice { key: field.key.to_owned(), found: shown(word) };
    let hint = super::words::nearest(word, words.iter().copied()).map_or_else(
        || format!("it may be: {}", words.join(", ")),
        |near| format!("did you mean `{near}`?"),
    );
    faults.add(at, mistake, hint);
    None
}

fn count(
    field: &Field,
    (least, most): (i64, i64),
    value: &DeValue<'_>,
    at: usize,
    faults: &mut Faults<'_>,
) -> Option<i64> {
    let DeValue::Integer(digits) = value else {
        return wrong_type(field.key, value, "a whole number", at, faults);
    };
    let parsed = i64::from_str_radix(digits.as_str(), digits.radix()).ok();
    let found = parsed.filter(|count| (least..=most).contains(count));
    if found.is_none() {
        let mistake = Mistake::Range {
            key: field.key.to_owned(),
            found: shown(digits.as_str()),
            range: "what is possible there",
        };
        faults.add(at, mistake, format!("choose a whole number from {least} to {most}"));
    }
    found
}

fn list<'t, 'i>(
    field: &Field,
    value: &'t DeValue<'i>,
    at: usize,
    (least, most): (usize, usize),
    faults: &mut Faults<'_>,
) -> Option<&'t [Spanned<DeValue<'i>>]> {
    let DeValue::Array(entries) = value else {
        return wrong_type(field.key, value, "a list", at, faults);
    };
    if entries.len() < least || entries.len() > most {
        let mistake = Mistake::Entries { section: field.key, found: entries.len(), least, most };
        faults.add(at, mistake, format!("{}: {}", field.key, field.doc));
        return None;
    }
    Some(entries)
}

/// The keys of a number's table.
const NUMBER_KEYS: [&str; 3] = ["value", "origin", "note"];

/// `{ value = ..., origin = "...", note = "..." }`
fn number(
    field: &Field,
    value: &DeValue<'_>,
    at: usize,
    faults: &mut Faults<'_>,
) -> Option<Estimate<f64>> {
    let DeValue::Table(table) = value else {
        let mistake = Mistake::NoOrigin { key: field.key.to_owned() };
        faults.add(at, mistake, with_origin(field));
        return None;
    };
    for (key, _) in table {
        if !NUMBER_KEYS.contains(&key.get_ref().as_ref()) {
            let mistake = Mistake::UnknownKey { key: shown(key.get_ref()), section: "a number" };
            let hint = format!("known here: {}", NUMBER_KEYS.join(", "));
            faults.add(key.span().start, mistake, hint);
        }
    }
    let Some(amount) = table.get("value") else {
        let mistake = Mistake::MissingKey { key: "value", section: "a number" };
        faults.add(at, mistake, with_origin(field));
        return None;
    };
    let origin = origin(field, table, at, faults);
    let note = match table.get("note") {
        None => None,
        Some(note) => match note.get_ref() {
            DeValue::String(text) if text.len() <= TEXT_BYTES_MAX => Some(text.to_string()),
            DeValue::String(_) => {
                let mistake = Mistake::Name { key: "note".to_owned(), most: TEXT_BYTES_MAX };
                faults.add(note.span().start, mistake, "shorten it".to_owned());
                None
            }
            other => wrong_type("note", other, "a text in quotes", note.span().start, faults),
        },
    };
    let value = amount_of(field, amount.get_ref(), amount.span().start, faults)?;
    Some(Estimate { value, origin: origin?, note })
}

fn origin(
    field: &Field,
    table: &DeTable<'_>,
    at: usize,
    faults: &mut Faults<'_>,
) -> Option<Origin> {
    let Some(told) = table.get("origin") else {
        let mistake = Mistake::NoOrigin { key: field.key.to_owned() };
        faults.add(at, mistake, with_origin(field));
        return None;
    };
    let DeValue::String(word) = told.get_ref() else {
        let at = told.span().start;
        return wrong_type("origin", told.get_ref(), "a word in quotes", at, faults);
    };
    let known = Origin::ALL.into_iter().find(|origin| origin.name() == word.as_ref());
    if known.is_none() {
        let mistake = Mistake::Choice { key: "origin".to_owned(), found: shown(word) };
        let hint = "it may be: measured, expert, assumed".to_owned();
        faults.add(told.span().start, mistake, hint);
    }
    known
}

/// The number itself, in hours, per hour, as a share or as money.
fn amount_of(
    field: &Field,
    value: &DeValue<'_>,
    at: usize,
    faults: &mut Faults<'_>,
) -> Option<f64> {
    let key = || field.key.to_owned();
    let found = match value {
        DeValue::Integer(digits) => {
            i64::from_str_radix(digits.as_str(), digits.radix()).ok().map(|whole| whole as f64)
        }
        DeValue::Float(digits) => digits.as_str().parse().ok(),
        DeValue::String(text) => match (quantity(text), &field.kind) {
            (Some(Quantity::Time(hours)), Kind::Time) => Some(hours),
            (Some(Quantity::Rate(rate)), Kind::Rate) => Some(rate),
            _ => {
                let mistake =
                    Mistake::Units { key: key(), found: shown(text), wanted: wanted(field) };
                faults.add(at, mistake, unit_hint(field, text));
                return None;
            }
        },
        other => return wrong_type(field.key, other, wanted(field), at, faults),
    };
    let bare = !matches!(value, DeValue::String(_));
    if bare && matches!(field.kind, Kind::Time | Kind::Rate) {
        let found = as_given(value);
        let mistake = Mistake::Units { key: key(), found, wanted: wanted(field) };
        faults.add(at, mistake, "a bare number has no unit: ".to_owned() + example(field));
        return None;
    }
    let within = found.filter(|number| is_within(field, *number));
    if within.is_none() {
        let found = as_given(value);
        let mistake = Mistake::Range { key: key(), found, range: range(field) };
        faults.add(at, mistake, range_hint(field));
    }
    within
}

/// A number as the file has it, in its own unit.
fn as_given(value: &DeValue<'_>) -> String {
    match value {
        DeValue::Integer(digits) => shown(digits.as_str()),
        DeValue::Float(digits) => shown(digits.as_str()),
        DeValue::String(text) => shown(text),
        _ => "no number".to_owned(),
    }
}

fn is_within(field: &Field, number: f64) -> bool {
    match field.kind {
        Kind::Probability => (0.0..=1.0).contains(&number),
        Kind::Money => (0.0..=MONEY_MAX).contains(&number),
        _ => (SPAN_MAX.recip()..=SPAN_MAX).contains(&number),
    }
}

fn range(field: &Field) -> &'static str {
    match field.kind {
        Kind::Probability => "0 to 1",
        Kind::Money => "0 to 1e15",
        Kind::Time => "1e-300 to 1e300 hours",
        _ => "1e-300 to 1e300 per hour",
    }
}

fn range_hint(field: &Field) -> String {
    match field.kind {
        Kind::Probability => "write a share of one: ten per cent is 0.1".to_owned(),
        Kind::Money => {
            "write a plain amount, such as 250000; larger ones in thousands or millions of the \
                        currency"
                .to_owned()
        }
        _ => format!("what never happens is left out; otherwise {}", example(field)),
    }
}

fn wanted(field: &Field) -> &'static str {
    match field.kind {
        Kind::Time => "a time with its unit",
        Kind::Rate => "a rate with its unit",
        Kind::Probability => "a number from 0 to 1",
        _ => "a plain amount of the file's currency",
    }
}

fn example(field: &Field) -> &'static str {
    match field.kind {
        Kind::Time => "write \"720h\" or \"30d\" (ms, s, min, h, d, w, y of 365 d)",
        Kind::Rate => "write \"2/y\" or \"0.01/h\" (per ms, s, min, h, d, w, y of 365 d)",
        Kind::Probability => "write 0.1",
        _ => "write 250000",
    }
}

fn unit_hint(field: &Field, text: &str) -> String {
    match (&field.kind, quantity(text)) {
        (Kind::Time, Some(Quantity::Rate(_))) => {
            format!("this is a rate; {}", example(field))
        }
        (Kind::Rate, Some(Quantity::Time(_))) => {
            format!("this is a time; {}", example(field))
        }
        (Kind::Probability, _) if text.trim_end().ends_with('%') => range_hint(field),
        _ => example(field).to_owned(),
    }
}

fn with_origin(field: &Field) -> String {
    let value = match field.kind {
        Kind::Time => "\"30d\"",
        Kind::Rate => "\"2/y\"",
        Kind::Probability => "0.1",
        _ => "250000",
    };
    format!(
        "write {} = {{ value = {value}, origin = \"assumed\" }}, or measured, or expert",
        field.key
    )
}

fn wrong_type<T>(
    key: &str,
    value: &DeValue<'_>,
    wanted: &'static str,
    at: usize,
    faults: &mut Faults<'_>,
) -> Option<T> {
    let found = match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    };
    let mistake = Mistake::Type { key: key.to_owned(), found, wanted };
    faults.add(
        at,
        mistake,
        "see `docs/guide/assess.md` and the files in `examples/assess`".to_owned(),
    );
    None
}

/// A word of the file, cut to what a message can hold, without line breaks.
pub(crate) fn shown(word: &str) -> String {
    let plain = word.chars().map(|letter| if letter.is_control() { ' ' } else { letter });
    let cut: String = plain.clone().take(60).collect();
    if plain.count() > 60 { cut + "..." } else { cut }
}

/// A path of names, cut in the middle if it is long.
pub(crate) fn shown_path(names: &[&str]) -> String {
    let words: Vec<String> = names.iter().map(|name| shown(name)).collect();
    match (words.get(..8), words.last()) {
        (Some(first), Some(last)) if words.len() > 10 => {
            format!("{} -> ... -> {last}", first.join(" -> "))
        }
        _ => words.join(" -> "),
    }
}
