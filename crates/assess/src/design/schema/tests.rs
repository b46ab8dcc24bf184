//! The committed schema is the one that the reader reads by, and fits every example.

use serde_json::Value;

use super::schema;
use crate::design::sections::{Kind, MODEL, Section};

fn repository(path: &str) -> String {
    let path = format!("{}/../../{path}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn the_committed_schema_is_this_one() {
    let told = serde_json::to_string_pretty(&schema()).unwrap() + "\n";
    let committed = repository("docs/assess-model.schema.json");
    assert!(told == committed, "`docs/assess-model.schema.json` should be:\n{told}");
}

/// Every key that the reader reads is a property of the schema, and no other is.
#[test]
fn the_schema_lists_every_key() {
    fn compare(section: &Section, schema: &Value) {
        let properties = schema["properties"].as_object().unwrap();
        let keys: Vec<&str> = section.fields.iter().map(|field| field.key).collect();
        assert_eq!(properties.len(), keys.len(), "{}", section.name);
        for field in section.fields {
            let property = &properties[field.key];
            assert_eq!(property["description"], field.doc, "{}.{}", section.name, field.key);
            let required = schema["required"].as_array().unwrap().iter().any(|it| it == field.key);
            assert_eq!(required, field.is_required, "{}.{}", section.name, field.key);
            match &field.kind {
                Kind::One(below) => compare(below, property),
                Kind::Many { section, .. } => compare(section, &property["items"]),
                _ => {}
            }
        }
    }
    compare(&MODEL, &schema());
}

#[test]
fn every_example_fits_the_schema() {
    let schema = schema();
    for name in ["one-room", "three-clouds", "hybrid-weak-isolation", "single-hsm"] {
        let text = repository(&format!("examples/assess/{name}.toml"));
        let model: Value = toml::from_str(&text).unwrap();
        let mut wrong = Vec::new();
        validate(&schema, &schema, &model, "", &mut wrong);
        assert_eq!(wrong, Vec::<String>::new(), "{name}");
    }
}

#[test]
fn the_validation_of_these_tests_finds_mistakes() {
    let schema = schema();
    let model: Value = toml::from_str("version = 1\nname = \"\"\nnonsense = true").unwrap();
    let mut wrong = Vec::new();
    validate(&schema, &schema, &model, "", &mut wrong);
    for said in ["lacks hosts", "/name too short", "unknown /nonsense"] {
        assert!(wrong.iter().any(|it| it == said), "{said}: {wrong:?}");
    }
}

/// The part of JSON Schema that [`schema`] uses.
fn validate(root: &Value, schema: &Value, value: &Value, at: &str, wrong: &mut Vec<String>) {
    if let Some(name) = schema["$ref"].as_str() {
        let target = root.pointer(name.trim_start_matches('#')).expect("a definition");
        return validate(root, target, value, at, wrong);
    }
    if let Some(words) = schema["enum"].as_array() {
        if !words.contains(value) {
            wrong.push(format!("{at} is {value}"));
        }
        return;
    }
    match (schema["type"].as_str(), value) {
        (Some("object"), Value::Object(entries)) => {
            for key in schema["required"].as_array().into_iter().flatten() {
                if !entries.contains_key(key.as_str().unwrap()) {
                    wrong.push(format!("{at}lacks {}", key.as_str().unwrap()));
                }
            }
            for (key, value) in entries {
                match schema["properties"].get(key) {
                    Some(below) => validate(root, below, value, &format!("{at}/{key}"), wrong),
                    None => wrong.push(format!("unknown {at}/{key}")),
                }
            }
        }
        (Some("array"), Value::Array(entries)) => {
            let count = entries.len() as u64;
            if schema["minItems"].as_u64().is_some_and(|least| count < least)
                || schema["maxItems"].as_u64().is_some_and(|most| count > most)
            {
                wrong.push(format!("{at} has {count} entries"));
            }
            for (entry, number) in entries.iter().zip(0..) {
                validate(root, &schema["items"], entry, &format!("{at}/{number}"), wrong);
            }
        }
        (Some("string"), Value::String(text)) => {
            if schema["minLength"].as_u64().is_some_and(|least| (text.len() as u64) < least) {
                wrong.push(format!("{at} too short"));
            }
        }
        (Some("integer"), Value::Number(number)) if number.is_i64() || number.is_u64() => {}
        (Some("number"), Value::Number(_)) => {}
        (wanted, _) => wrong.push(format!("{at} is no {wanted:?}")),
    }
}
