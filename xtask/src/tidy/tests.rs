//! Each rule finds a planted violation, and nothing where there is none.

use super::*;

/// What the rules say, `path:line` and the text up to the first comma, about a tree of these files.
fn found(files: &[(&str, &str)]) -> Vec<String> {
    let findings = findings(&Tree::planted(files));
    let shown = findings.iter().map(ToString::to_string);
    shown.map(|text| text.split(',').next().unwrap_or_default().to_owned()).collect()
}

/// `count` lines, each holding a constant.
fn lines(count: usize) -> String {
    "const X: u8 = 0;\n".repeat(count)
}

/// A function of `count` lines.
fn function(name: &str, count: usize) -> String {
    format!("fn {name}() {{\n{}}}\n", "    f();\n".repeat(count - 2))
}

#[test]
fn a_tidy_tree_has_no_findings() {
    let files = [
        ("Cargo.toml", "[workspace.dependencies]\nborsh = \"1\" # canonical bytes\n"),
        ("crates/model/Cargo.toml", "[dependencies]\nborsh.workspace = true\n"),
        ("crates/model/clippy.toml", "disallowed-methods = []\ndisallowed-types = []\n"),
        ("crates/model/src/lib.rs", "//! Ids.\npub struct ReplicaId(u16);\n"),
        ("README.md", "cargo run --release -- demo\ncargo test --workspace\n[it](docs/x.md)\n"),
        ("docs/x.md", "[up](../README.md#start), [here](#there), [far](https://example.org)\n"),
    ];
    assert_eq!(found(&files), Vec::<String>::new());
}

#[test]
fn a_file_is_short_without_its_tests() {
    let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", lines(300));
    let within = format!("{}{tests}", lines(600));
    let beyond = format!("{}{tests}", lines(601));
    assert_eq!(found(&[("a.rs", &within), ("b.rs", &beyond)]), ["b.rs:601: 601 lines"]);
    let files = [("a/tests.rs", &*lines(1000)), ("tests/b.rs", &*lines(1001))];
    assert_eq!(found(&files), ["tests/b.rs:1001: 1001 lines"]);
}

#[test]
fn the_trusted_core_is_small_without_comments_and_what_is_beside_it() {
    let within = format!("// why\n{}", lines(500));
    let core = |last| {
        let names = ["core/a", "frame/b", "keys", "os", last, "core/distributed/c", "client"];
        names.map(|name| format!("crates/wormhole/src/{name}.rs"))
    };
    let clippy = ("crates/wormhole/clippy.toml", "disallowed-methods = []\n");
    let of = |paths: &[String; 7], more: &str| {
        let mut files: Vec<_> = paths.iter().map(|path| (path.as_str(), within.as_str())).collect();
        files.extend([clippy, ("crates/wormhole/src/core.rs", more)]);
        found(&files)
    };
    for beside in ["serve/selftest", "serve/doors"] {
        assert_eq!(of(&core(beside), &lines(500)), Vec::<String>::new());
    }
    let one_more = of(&core("serve/doors"), &lines(501));
    assert_eq!(one_more, ["crates/wormhole/src/:1: the trusted core has 2001 lines of code"]);
    let process = of(&core("sandbox"), &lines(500));
    assert_eq!(process, Vec::<String>::new());
}

#[test]
fn a_function_is_short_or_listed() {
    let text = format!("{}{}", function("short", 70), function("long", 71));
    assert_eq!(found(&[("a.rs", &text)]), ["a.rs:71: `long` has 71 lines"]);
    let listed = (exceptions::PATH, "function a.rs long: one match, read whole\n");
    assert_eq!(found(&[("a.rs", &text), listed]), Vec::<String>::new());
}

#[test]
fn an_exception_has_a_reason_and_a_need() {
    let text = format!("{}unsafe fn g();\n", function("long", 71));
    let listed = "# a comment\nfunction a.rs long\nfunction a.rs gone: was long once\n\
                  unsafe b.rs: no such file\nunsafe a.rs: pointer is ours\nfile a.rs: too long\n";
    assert_eq!(
        found(&[("a.rs", &text), (exceptions::PATH, listed)]),
        [
            "xtask/exceptions.txt:2: no reason",
            "xtask/exceptions.txt:3: nothing needs it",
            "xtask/exceptions.txt:4: nothing needs it",
            "xtask/exceptions.txt:6: unknown form",
        ]
    );
}

#[test]
fn nothing_is_left_undone() {
    let reminder = format!("// {}: later\nlet s = \"dbg!\";\n", concat!("TO", "DO"));
    let files = [("a.rs", &*reminder), ("b.rs", "fn f() {\n    dbg!(1);\n}\n")];
    let marked = concat!("a.rs:1: `TO", "DO`");
    assert_eq!(found(&files), [marked, "b.rs:2: `dbg!`"]);
    let script = format!("# {} this\n", concat!("FIX", "ME"));
    assert_eq!(found(&[(".ci/run", &script)]).len(), 1);
    assert_eq!(found(&[("b.rs", "fn f() { todo!() }\n")]), ["b.rs:1: `todo!`"]);
}

#[test]
fn unsafe_is_listed() {
    let text = "// unsafe\nfn f() {\n    unsafe { g() }\n}\n";
    assert_eq!(found(&[("a.rs", text)]), ["a.rs:3: `unsafe`"]);
    let listed = (exceptions::PATH, "unsafe a.rs: g has no precondition\n");
    assert_eq!(found(&[("a.rs", text), listed]), Vec::<String>::new());
}

#[test]
fn no_path_of_a_machine() {
    let home = concat!("see /ho", "me/someone/notes\n");
    assert_eq!(found(&[("a.md", home)]).len(), 1);
    assert_eq!(found(&[("a.toml", "target-dir = \"/a/clone/target\"\n")]).len(), 1);
    let fine = concat!("https://example.org/ho", "me/x and $DIR/ro", "ot/y\n");
    assert_eq!(found(&[("a.md", fine)]), Vec::<String>::new());
}

#[test]
fn crates_import_their_floor() {
    let clippy = "disallowed-methods = []\ndisallowed-types = []\n";
    let files = [
        ("crates/services/clippy.toml", clippy),
        (
            "crates/services/Cargo.toml",
            "[dependencies]\nravelin-model.workspace = true\nravelin-replication.workspace = true\n\
             [dev-dependencies]\nravelin-sim.workspace = true\n",
        ),
        (
            "crates/runtime/Cargo.toml",
            "[dependencies]\nravelin-multicast = { workspace = true }\n\
             [dev-dependencies]\nravelin-gateway = { workspace = true }\n",
        ),
        ("crates/novel/Cargo.toml", "[package]\nname = \"ravelin-novel\"\n"),
    ];
    assert_eq!(
        found(&files),
        [
            "crates/novel/Cargo.toml:1: crate `novel` has no floor",
            "crates/runtime/Cargo.toml:2: `runtime` imports `multicast`",
            "crates/runtime/Cargo.toml:4: `runtime` imports `gateway`",
            "crates/services/Cargo.toml:3: `services` imports `replication`",
        ]
    );
}

#[test]
fn pure_crates_are_pure() {
    let text = "use std::net::SocketAddr;\nuse core::net::IpAddr;\nuse tokio::time;\n\
                let now = Instant::now();\nmacro_rules! m { () => {} }\nstd::fs::read(p);\n\
                #[cfg(test)]\nmod tests {\n    use std::fs;\n}\nasync fn f() {}\n";
    let expected = [1, 3, 4, 5, 6, 11];
    let lines: Vec<String> =
        expected.iter().map(|line| format!("crates/crypto/src/a.rs:{line}")).collect();
    let findings = found(&[("crates/crypto/src/a.rs", text)]);
    assert_eq!(findings.len(), lines.len(), "{findings:?}");
    for line in lines {
        assert!(findings.iter().any(|text| text.starts_with(&format!("{line}: `"))), "{line}");
    }
    assert_eq!(found(&[("crates/runtime/src/a.rs", text)]), Vec::<String>::new());
}

#[test]
fn pure_crates_have_a_clippy_file() {
    let manifest = ("crates/model/Cargo.toml", "[package]\n");
    let half = ("crates/model/clippy.toml", "disallowed-methods = []\n");
    assert_eq!(found(&[manifest]).len(), 1);
    assert_eq!(found(&[manifest, half]).len(), 1);
}

#[test]
fn protocols_are_fed_in_three_files() {
    let feeding = "fn run() {\n    core.on_message(now, from, message, &mut out);\n}\n";
    let defining = "impl Protocol for Mute {\n    fn on_message(&mut self) {}\n}\n";
    let files = [
        ("crates/runtime/src/driver.rs", feeding),
        ("crates/sim/src/sim.rs", feeding),
        ("crates/sim/src/intruder/twin.rs", feeding),
        ("crates/sim/src/brm/world.rs", feeding),
        ("crates/sim/src/brm/intruder/heard.rs", feeding),
        ("crates/sim/tests/agreement.rs", feeding),
        ("crates/ravelin/examples/instructions.rs", feeding),
        ("crates/replication/src/replica.rs", feeding),
        ("crates/sim/src/wrapper.rs", defining),
        ("crates/ravelin/src/node.rs", feeding),
    ];
    assert_eq!(found(&files), ["crates/ravelin/src/node.rs:2: feeds a protocol"]);
}

#[test]
fn dependencies_have_reasons() {
    let root = "[workspace.dependencies]\nravelin-model = { path = \"x\" }\nborsh = \"1\"\n";
    assert_eq!(found(&[("Cargo.toml", root)]), ["Cargo.toml:3: `borsh` has no reason"]);
    let member = "[dependencies]\nborsh = \"1\"\n";
    assert_eq!(
        found(&[("xtask/Cargo.toml", member)]),
        ["xtask/Cargo.toml:2: `borsh` is not taken from the workspace"]
    );
}

#[test]
fn dependencies_are_few() {
    let root = |count| {
        let entries: String = (0..count).map(|i| format!("crate{i} = \"1\" # why\n")).collect();
        format!("[workspace.dependencies]\n{entries}")
    };
    assert_eq!(found(&[("Cargo.toml", &root(60))]), Vec::<String>::new());
    assert_eq!(
        found(&[("Cargo.toml", &root(61))]),
        ["Cargo.toml:1: 61 direct dependencies in the workspace"]
    );
    let member: String = (0..26).map(|i| format!("crate{i}.workspace = true\n")).collect();
    let member = format!("[dependencies]\n{member}");
    let manifest = "crates/wormhole/Cargo.toml";
    assert_eq!(
        found(&[(manifest, &member)]),
        ["Cargo.toml:1: 26 direct dependencies over the crates below runtime"]
    );
    assert_eq!(found(&[("crates/sim/Cargo.toml", &member)]), Vec::<String>::new());
}

#[test]
fn the_readme_has_the_two_commands() {
    let files = [("README.md", "cargo test --workspace\n")];
    assert_eq!(found(&files), ["README.md:1: `cargo run --release -- demo` is missing"]);
}

#[test]
fn links_lead_somewhere() {
    let text = "[a](b.md)\n```\n[in](code.md)\n```\n[dir](../docs/) and [gone](../gone.md#x)\n";
    let files = [("docs/a.md", text), ("docs/b.md", "")];
    assert_eq!(found(&files), ["docs/a.md:5: link to `../gone.md`"]);
}

#[test]
fn limits_are_documented() {
    let code = "pub const A_MAX: usize = 1;\npub const B_DEFAULT: u8 = 2;\npub const C: u8 = 3;\n";
    let files = |path, limits| [(path, code), ("docs/limits.md", limits)];
    assert_eq!(found(&files("crates/sim/src/a.rs", "`A_MAX`, `B_DEFAULT`")), Vec::<String>::new());
    let missing = "crates/sim/src/a.rs:2: `B_DEFAULT` is not in docs/limits.md";
    assert_eq!(found(&files("crates/sim/src/a.rs", "`A_MAX`, `BB_DEFAULT`")), [missing]);
    let missing = "crates/model/src/limits.rs:3: `C` is not in docs/limits.md";
    assert_eq!(found(&files("crates/model/src/limits.rs", "`A_MAX`, `B_DEFAULT`")), [missing]);
}
