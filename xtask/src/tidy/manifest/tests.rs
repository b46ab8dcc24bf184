use super::*;

const TEXT: &str = r#"
[package]
name = "x" # not a dependency

[workspace.dependencies]
plain = "1" # a reason
features = { version = "1", features = [
    "a", # not the reason of another
] }
bare = { version = "1#2" }

[dependencies]
ravelin-model.workspace = true
other = { package = "ravelin-sim", workspace = true }

[target.'cfg(unix)'.dependencies]
rustix = "1"

[dev-dependencies.proptest]
version = "1"

[build-dependencies]
cc = "1"

[features]
default = ["plain"]
"#;

#[test]
fn finds_every_form_of_an_entry() {
    let found = dependencies(TEXT);
    let short: Vec<_> =
        found.iter().map(|entry| (entry.name.as_str(), entry.line, entry.table)).collect();
    assert_eq!(
        short,
        [
            ("plain", 6, Table::Workspace),
            ("features", 7, Table::Workspace),
            ("bare", 10, Table::Workspace),
            ("ravelin-model", 13, Table::Product),
            ("ravelin-sim", 14, Table::Product),
            ("rustix", 17, Table::Product),
            ("proptest", 19, Table::Tests),
            ("cc", 23, Table::Product),
        ]
    );
}

#[test]
fn knows_reasons_and_where_the_version_comes_from() {
    let found = dependencies(TEXT);
    let commented: Vec<_> =
        found.iter().filter(|entry| !entry.comment.is_empty()).map(|entry| &entry.name).collect();
    assert_eq!(commented, ["plain", "features"]);
    let from_workspace: Vec<_> =
        found.iter().filter(|entry| entry.from_workspace).map(|entry| &entry.name).collect();
    assert_eq!(from_workspace, ["ravelin-model", "ravelin-sim"]);
}
