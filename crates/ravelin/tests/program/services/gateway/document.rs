//! What `docs/openapi.json` promises, and whether an answer keeps it.

use std::collections::BTreeSet;

use serde_json::Value;

use super::http::Response;

/// The committed description.
pub(crate) struct Document(Value);

/// What a schema may say besides what is checked here.
const WORDS: [&str; 6] =
    ["description", "contentMediaType", "minLength", "pattern", "$ref", "oneOf"];

impl Document {
    pub(crate) fn committed() -> Self {
        let text = include_str!("../../../../../../docs/openapi.json");
        Self(serde_json::from_str(text).expect("JSON"))
    }

    pub(crate) fn as_json(&self) -> &Value {
        &self.0
    }

    /// All operations.
    pub(crate) fn operations(&self) -> BTreeSet<String> {
        let paths = self.0["paths"].as_object().expect("paths").values();
        let operations = paths.flat_map(|methods| methods.as_object().expect("methods").values());
        operations.map(|said| said["operationId"].as_str().expect("an id").to_owned()).collect()
    }

    /// Panics if an answer is not as promised; otherwise the operation that it answers.
    #[track_caller]
    pub(crate) fn check(&self, method: &str, path: &str, response: &Response) -> Option<String> {
        let place = format!("{method} {path}: {}", response.status);
        let promised = match self.operation(method, path) {
            Some(operation) => self.resolved(&operation["responses"][response.status.to_string()]),
            // Nothing is there, or not for this method.
            None if response.status == 405 => {
                &self.0["components"]["responses"]["MethodNotAllowed"]
            }
            None => {
                assert_eq!(response.status, 404, "{place}");
                &self.0["components"]["responses"]["NotFound"]
            }
        };
        assert!(promised.is_object(), "{place} is not described");
        for name in response.fields() {
            let is_ours =
                name.starts_with("ravelin-") || ["etag", "age", "retry-after"].contains(&name);
            let mut described =
                promised["headers"].as_object().into_iter().flat_map(|it| it.keys());
            let is_described = described.any(|known| known.eq_ignore_ascii_case(name));
            assert!(!is_ours || is_described, "{place}: {name} is not described");
        }
        self.check_body(method, promised, response, &place);
        self.operation(method, path)
            .map(|operation| operation["operationId"].as_str().expect("an id").to_owned())
    }

    fn check_body(&self, method: &str, promised: &Value, response: &Response, place: &str) {
        let Some(content) = promised["content"].as_object() else {
            return assert!(response.body.is_empty(), "{place}: a body nobody described");
        };
        let kind = response.field("content-type").split(';').next().unwrap_or_default();
        let schema = content.get(kind).unwrap_or_else(|| panic!("{place}: {kind:?} as body"));
        if method == "HEAD" || !kind.ends_with("json") {
            return;
        }
        let json = response.json();
        let wrong = self.complaint(&schema["schema"], &json);
        assert_eq!(wrong, None, "{place}: {json}");
        if let Some(codes) = promised["x-ravelin-codes"].as_array() {
            assert!(codes.contains(&json["code"]), "{place}: {json}");
            assert_eq!(json["status"], response.status, "{place}");
        }
    }

    /// What is said of the operation at a path.
    fn operation(&self, method: &str, path: &str) -> Option<&Value> {
        let path = path.split('?').next().unwrap_or_default();
        let method = if method == "HEAD" { "get".to_owned() } else { method.to_lowercase() };
        let fits = |pattern: &str| match pattern.split_once('{') {
            None => pattern == path,
            Some((before, rest)) => {
                let (name, after) = rest.split_once('}').expect("closed");
                let found = path.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
                found.is_some_and(|found| {
                    !found.is_empty() && (name != "lease" || !found.contains('/'))
                })
            }
        };
        let paths = self.0["paths"].as_object().expect("paths").iter();
        paths.filter(|(pattern, _)| fits(pattern)).find_map(|(_, methods)| methods.get(&method))
    }

    fn resolved<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value["$ref"].as_str() {
            Some(reference) => {
                let pointer = reference.strip_prefix('#').expect("within the document");
                self.0.pointer(pointer).expect("there")
            }
            None => value,
        }
    }

    /// How `value` breaks `schema`; `None` if it does not.
    pub(crate) fn complaint(&self, schema: &Value, value: &Value) -> Option<String> {
        let schema = self.resolved(schema);
        if let Some(choices) = schema["oneOf"].as_array() {
            let fitting = choices.iter().filter(|it| self.complaint(it, value).is_none()).count();
            return (fitting != 1).then(|| format!("{value} fits {fitting} of {choices:?}"));
        }
        for (word, said) in schema.as_object().expect("a schema") {
            let holds = match word.as_str() {
                "type" => match said {
                    Value::Array(kinds) => kinds.iter().any(|kind| is_of(kind, value)),
                    kind => is_of(kind, value),
                },
                "enum" => said.as_array().expect("values").contains(value),
                "minimum" => value.as_i64().is_none_or(|it| Some(it) >= said.as_i64()),
                "maximum" => value.as_i64().is_none_or(|it| Some(it) <= said.as_i64()),
                "maxItems" => value
                    .as_array()
                    .is_none_or(|it| it.len() as u64 <= said.as_u64().expect("a count")),
                "required" => said.as_array().expect("names").iter().all(|name| {
                    value
                        .as_object()
                        .is_none_or(|it| it.contains_key(name.as_str().expect("a name")))
                }),
                "items" => match value
                    .as_array()
                    .into_iter()
                    .flatten()
                    .find_map(|item| self.complaint(said, item))
                {
                    Some(complaint) => return Some(complaint),
                    None => true,
                },
                "properties" | "additionalProperties" => continue,
                known => {
                    assert!(WORDS.contains(&known), "the checker does not know `{known}`");
                    true
                }
            };
            if !holds {
                return Some(format!("{value}: {word} {said}"));
            }
        }
        let members = value.as_object().into_iter().flatten();
        members.filter_map(|(name, member)| self.complaint_of_member(schema, name, member)).next()
    }

    fn complaint_of_member(&self, schema: &Value, name: &str, value: &Value) -> Option<String> {
        match (&schema["properties"][name], &schema["additionalProperties"]) {
            (Value::Null, Value::Bool(false)) => Some(format!("`{name}` is not described")),
            (Value::Null, Value::Object(_)) => {
                self.complaint(&schema["additionalProperties"], value)
            }
            (Value::Null, _) => None,
            (known, _) => self.complaint(known, value),
        }
    }
}

fn is_of(kind: &Value, value: &Value) -> bool {
    match kind.as_str().expect("a type") {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "integer" => value.is_i64() || value.is_u64(),
        other => panic!("the checker does not know the type `{other}`"),
    }
}

#[test]
fn the_checker_sees_what_is_wrong() {
    let document = Document::committed();
    let entry = |json: &str| {
        let schema = &document.as_json()["components"]["schemas"]["Entry"];
        document.complaint(schema, &serde_json::from_str(json).expect("JSON"))
    };
    let right =
        r#"{"key":"a","key_base64":"YQ==","created":1,"changed":2,"version":1,"lease":null}"#;
    assert_eq!(entry(right), None);
    for (from, to) in [
        ("\"created\":1,", ""),
        ("\"created\":1", "\"created\":-1"),
        ("\"created\":1", "\"created\":\"1\""),
        ("\"key\":\"a\"", "\"key\":7"),
        ("\"key\":\"a\"", "\"kee\":\"a\""),
        ("\"lease\":null", "\"lease\":false"),
    ] {
        assert!(entry(&right.replace(from, to)).is_some(), "{from} for {to}");
    }
}
