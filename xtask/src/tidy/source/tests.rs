use super::*;

/// The text and number of every line of `text` that has `word` in its code.
fn lines_with(text: &str, word: &str) -> Vec<usize> {
    let source = Source::new("crates/model/src/x.rs", text);
    source.lines().filter(|line| has_word(line.code, word)).map(|line| line.number).collect()
}

#[test]
fn comments_and_literals_are_not_code() {
    let text = r####"
// word
/* word /* word */ word
word */ let a = "word \" word
  word"; let b = r#"word " word"#; let c = 'w'; let d = '\''; let e = b"word";
fn f<'a>(x: &'a str) { word }
"####;
    assert_eq!(lines_with(text, "word"), [6]);
}

#[test]
fn a_lifetime_or_a_raw_identifier_opens_no_literal() {
    assert_eq!(lines_with("fn f<'a, 'b>() {}\nword\n", "word"), [2]);
    assert_eq!(lines_with("let r#fn = 1;\nword\n", "word"), [2]);
    assert_eq!(lines_with("for\"x\"\nword\n", "word"), [2]);
}

#[test]
fn a_word_is_not_a_part_of_a_longer_one() {
    assert!(has_word("unsafe {", "unsafe"));
    assert!(!has_word("deny(unsafe_code)", "unsafe"));
    assert!(!has_word("my_dbg!(x)", "dbg!"));
    assert!(has_word("core.on_time(now)", "on_time("));
}

#[test]
fn functions_have_a_name_and_the_length_of_their_body() {
    let text = "trait T { fn no_body(&self) -> [u8; 3]; }\ntype F = fn(u8) -> u8;\n\
                fn long<const N: usize>(x: [u8; { 3 }])\nwhere\n    T: Sized,\n{\n    if a { b }\n}\n";
    let functions = Source::new("x.rs", text).functions();
    assert_eq!(functions, [Function { name: "long".into(), line: 3, line_count: 6 }]);
}

#[test]
fn items_under_cfg_test_are_tests() {
    let text = "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\nfn c() {}\n\
                #[cfg(test)]\nmod other;\nfn d() {}\n";
    let source = Source::new("src/x.rs", text);
    let product: Vec<usize> = source.product_lines().map(|line| line.number).collect();
    assert_eq!(product, [1, 6, 7, 8, 9]);
}

#[test]
fn whole_files_are_tests_by_their_path() {
    for path in ["crates/sim/tests/agreement.rs", "src/dag/tests.rs", "src/dag/tests/votes.rs"] {
        assert!(is_test_file(path), "{path}");
    }
    assert!(!is_test_file("src/contests.rs"));
}
