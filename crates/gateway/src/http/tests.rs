//! The committed description, the table of routes and the problems say the same.

#![allow(clippy::indexing_slicing, reason = "a test that indexes wrongly fails, as it should")]

use std::collections::BTreeSet;

use serde_json::Value;

use super::routes::ROUTES;
use super::service::DOCUMENT;
use crate::problem::{Code, Problem};

fn document() -> Value {
    serde_json::from_str(DOCUMENT).expect("docs/openapi.json is JSON")
}

/// Every operation of the document: method, path, and what is said of it.
fn operations(document: &Value) -> Vec<(String, String, &Value)> {
    let paths = document["paths"].as_object().expect("paths").iter();
    let operations = paths.flat_map(|(path, methods)| {
        let methods = methods.as_object().expect("methods").iter();
        methods.map(move |(method, said)| (method.to_uppercase(), path.clone(), said))
    });
    operations.collect()
}

#[test]
fn every_route_is_described_and_nothing_else_is() {
    let document = document();
    let described: BTreeSet<_> =
        operations(&document).into_iter().map(|(method, path, _)| (method, path)).collect();
    let routes: BTreeSet<_> =
        ROUTES.iter().map(|route| (route.method.to_string(), route.pattern.to_owned())).collect();
    assert_eq!(described, routes);
    assert_eq!(ROUTES.len(), routes.len(), "no route is there twice");
}

#[test]
fn every_parameter_of_a_path_is_described() {
    for (method, path, said) in operations(&document()) {
        let named: BTreeSet<_> =
            path.split('{').skip(1).filter_map(|rest| rest.split('}').next()).collect();
        let empty = Vec::new();
        let parameters = said["parameters"].as_array().unwrap_or(&empty).iter();
        let described: BTreeSet<_> = parameters
            .filter(|parameter| parameter["in"] == "path")
            .filter_map(|parameter| parameter["name"].as_str())
            .collect();
        assert_eq!(described, named, "{method} {path}");
    }
}

#[test]
fn every_code_is_described_with_its_status_and_no_other_is() {
    let document = document();
    let mut described = BTreeSet::new();
    let responses = &document["components"]["responses"];
    for (name, response) in responses.as_object().expect("responses") {
        for code in response["x-ravelin-codes"].as_array().expect("codes") {
            let code = code.as_str().expect("a name");
            let known = Code::ALL.into_iter().find(|known| known.name() == code);
            let known = known.unwrap_or_else(|| panic!("`{code}` of {name} is no code"));
            assert!(described.insert((code, name.as_str())), "{code} is described twice");
            for (method, path, said) in operations(&document) {
                for (status, response) in said["responses"].as_object().expect("responses") {
                    let names = response["$ref"] == format!("#/components/responses/{name}");
                    let is_its = status == known.status().as_str();
                    assert!(!names || is_its, "{method} {path}: {name} under {status}");
                }
            }
        }
    }
    let names: BTreeSet<_> = described.iter().map(|(code, _)| *code).collect();
    assert_eq!(names, Code::ALL.into_iter().map(Code::name).collect());
    let listed = &document["components"]["schemas"]["Problem"]["properties"]["code"]["enum"];
    let listed = listed.as_array().expect("codes").iter().filter_map(Value::as_str);
    assert_eq!(listed.collect::<BTreeSet<_>>(), names);
}

#[test]
fn everything_referred_to_is_there() {
    fn references<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
        match value {
            Value::Object(members) => {
                found.extend(members.get("$ref").and_then(Value::as_str));
                members.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }
    let document = document();
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    assert!(found.len() > 30);
    for reference in found {
        let pointer = reference.strip_prefix('#').expect("within the document");
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
}

#[test]
fn the_guide_explains_the_type_of_each_problem() {
    let guide = include_str!("../../../../docs/guide/gateway.md");
    for code in Code::ALL {
        let name = code.name();
        assert!(guide.contains(&format!("\n### {name}\n")), "docs/guide/gateway.md lacks {name}");
        let of_it = format!("docs/guide/gateway.md#{name}");
        assert!(Problem::new(code, "", "").json()["type"].as_str().unwrap().ends_with(&of_it));
    }
}
