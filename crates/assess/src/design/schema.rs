//! The JSON schema of model files, made of the table that the reader reads by.

use serde_json::{Map, Value, json};

use super::limits::MONEY_MAX;
use super::sections::{Field, Kind, MODEL, Section};

/// The schema, for editors: JSON Schema 2020-12. What a schema cannot say (that names lead
/// somewhere, that `n`, `f` and fault models fit together) the reader checks.
#[must_use]
pub fn schema() -> Value {
    let mut whole = section_schema(&MODEL);
    if let Value::Object(entries) = &mut whole {
        entries.insert("$schema".into(), json!("https://json-schema.org/draft/2020-12/schema"));
        entries.insert("title".into(), json!("Model file of `ravelin assess`"));
        let time =
            number(&json!({"type": "string", "pattern": "^[0-9.eE+-]+ *(ms|s|min|h|d|w|y)$"}));
        let rate = json!({"type": "string", "pattern": "^[0-9.eE+-]+ */ *(ms|s|min|h|d|w|y)$"});
        let share = json!({"type": "number", "minimum": 0, "maximum": 1});
        let definitions = json!({
            "time": time,
            "rate": number(&rate),
            "probability": number(&share),
            "money": number(&json!({"type": "number", "minimum": 0, "maximum": MONEY_MAX})),
        });
        entries.insert("$defs".into(), definitions);
    }
    whole
}

/// A number with its origin.
fn number(value: &Value) -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["value", "origin"],
        "properties": {
            "value": value,
            "origin": {"enum": ["measured", "expert", "assumed"]},
            "note": {"type": "string"},
        },
    })
}

fn section_schema(section: &Section) -> Value {
    let required: Vec<&str> =
        section.fields.iter().filter(|field| field.is_required).map(|field| field.key).collect();
    let properties: Map<String, Value> =
        section.fields.iter().map(|field| (field.key.to_owned(), field_schema(field))).collect();
    json!({
        "type": "object",
        "description": section.doc,
        "additionalProperties": false,
        "required": required,
        "properties": properties,
    })
}

fn field_schema(field: &Field) -> Value {
    let mut schema = match &field.kind {
        Kind::Name | Kind::Text => json!({"type": "string", "minLength": 1}),
        Kind::Count { least, most } => {
            json!({"type": "integer", "minimum": least, "maximum": most})
        }
        Kind::Choice(words) => json!({"enum": words}),
        Kind::Time => json!({"$ref": "#/$defs/time"}),
        Kind::Rate => json!({"$ref": "#/$defs/rate"}),
        Kind::Probability => json!({"$ref": "#/$defs/probability"}),
        Kind::Money => json!({"$ref": "#/$defs/money"}),
        Kind::Names { least, most } => {
            let name = json!({"type": "string", "minLength": 1});
            json!({"type": "array", "minItems": least, "maxItems": most, "items": name})
        }
        Kind::One(section) => section_schema(section),
        Kind::Many { section, least, most } => {
            let items = section_schema(section);
            json!({"type": "array", "minItems": least, "maxItems": most, "items": items})
        }
    };
    if let Value::Object(entries) = &mut schema {
        entries.insert("description".into(), json!(field.doc));
    }
    schema
}

#[cfg(test)]
mod tests;
