//! The operators' guide, read as what it tells people to type.

use std::collections::BTreeMap;

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// What the world does, or a person to hardware: `<!-- test: WORDS -->`.
    Event(Vec<String>),
    /// What is typed.
    Command(Typed),
}

/// A command, and what the guide says about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Typed {
    /// Line of the guide.
    pub(crate) line: usize,
    /// Where: `""` is the operator's desk, `each` every server.
    pub(crate) host: String,
    pub(crate) text: String,
    pub(crate) exit: i32,
    /// Whether it is repeated until it ends and prints like that.
    pub(crate) is_repeated: bool,
    /// What is shown of its output.
    pub(crate) shown: Vec<String>,
}

/// What is to be done under each heading that has anything to do, in order.
pub(crate) fn sections(guide: &str) -> Result<Vec<(String, Vec<Step>)>, String> {
    let mut sections: Vec<(String, Vec<Step>)> = Vec::new();
    let mut block: Option<(String, usize)> = None;
    let (mut title, mut item) = (String::new(), None);
    for (number, line) in (1..).zip(guide.lines()) {
        let at = |what: &str| Err(format!("line {number}: {what}: {line}"));
        if let Some(language) = line.trim_start().strip_prefix("```") {
            block = match block {
                None => Some((language.to_owned(), number)),
                Some(_) => None,
            };
            if block.as_ref().is_some_and(|(language, _)| language == "console") {
                item = None;
            }
            continue;
        }
        let line = line.trim_start();
        match &block {
            Some((language, begun)) if language == "console" => {
                if title.is_empty() {
                    return at("commands without a heading");
                }
                let steps = section(&mut sections, &title);
                match prompt(line) {
                    Some((host, text)) => steps.push(Step::Command(typed(number, host, text))),
                    None if number == begun + 1 => return at("no command begins this block"),
                    None => show(steps, line),
                }
            }
            Some(_) if prompt(line).is_some() => return at("a command that nobody runs"),
            Some(_) => {}
            None => {
                let is_numbered = line.starts_with(|letter: char| letter.is_ascii_digit());
                let is_item = is_numbered && line.contains(". ");
                let is_end = is_item || line.starts_with('#');
                if let Some(from) = item.take_if(|_| is_end) {
                    return Err(format!("line {from}: a step that no test executes"));
                }
                if let Some(heading) = line.strip_prefix('#') {
                    heading.trim_start_matches('#').trim().clone_into(&mut title);
                }
                if is_item {
                    item = Some(number);
                }
                let event = line.strip_prefix("<!-- test: ");
                if let Some(words) = event.and_then(|rest| rest.strip_suffix(" -->")) {
                    let words = words.split_whitespace().map(str::to_owned).collect();
                    section(&mut sections, &title).push(Step::Event(words));
                    item = None;
                }
            }
        }
    }
    match item {
        Some(from) => Err(format!("line {from}: a step that no test executes")),
        None => Ok(sections),
    }
}

fn section<'a>(sections: &'a mut Vec<(String, Vec<Step>)>, title: &str) -> &'a mut Vec<Step> {
    if sections.last().is_none_or(|(last, _)| last != title) {
        sections.push((title.to_owned(), Vec::new()));
    }
    &mut sections.last_mut().expect("pushed just now").1
}

/// Host and command of a line that has a prompt.
fn prompt(line: &str) -> Option<(&str, &str)> {
    let (host, text) = line.split_once("$ ")?;
    ["", "s0", "s1", "s2", "s3", "each"].contains(&host).then_some((host, text))
}

fn typed(line: usize, host: &str, text: &str) -> Typed {
    let (text, note) = text.split_once("  # ").unwrap_or((text, ""));
    let exit = note.split_once("exit code ").map_or(0, |(_, code)| code.parse().expect("a code"));
    Typed {
        line,
        host: host.to_owned(),
        text: text.trim_end().to_owned(),
        exit,
        is_repeated: note.starts_with("repeat until"),
        shown: Vec::new(),
    }
}

/// Adds a line to what the last command shows, or to the command if that goes on.
fn show(steps: &mut [Step], line: &str) {
    let Some(Step::Command(last)) = steps.last_mut() else { return };
    match last.text.strip_suffix('\\') {
        Some(begun) if last.shown.is_empty() => {
            let whole = format!("{begun}{line}");
            *last = Typed { line: last.line, ..typed(last.line, &last.host, &whole) };
        }
        _ if line.is_empty() || line == "..." => {}
        _ => last.shown.push(line.to_owned()),
    }
}

/// Whether `output` has the shown lines in order; keys that it names are kept in `known`.
pub(crate) fn shows(
    output: &str,
    shown: &[String],
    known: &mut BTreeMap<String, String>,
) -> Result<(), String> {
    let mut lines = output.lines();
    for wanted in shown {
        if !lines.any(|line| is_like(line, wanted, known)) {
            return Err(format!("`{wanted}` is not there, or not in this order"));
        }
    }
    Ok(())
}

/// Whether `line` has the pieces of `wanted`, in order: `...` is anything, and a word such as
/// `NEXT_KEY` stands for 64 digits.
fn is_like(line: &str, wanted: &str, known: &mut BTreeMap<String, String>) -> bool {
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let (line, wanted) = (words(line), words(wanted));
    let mut rest = line.as_str();
    let mut found = Vec::new();
    for piece in wanted.split("...") {
        let mut text = piece.trim();
        while let Some((before, name, after)) = placeholder(text) {
            let Some((_, behind)) = rest.split_once(before) else { return false };
            let digits = behind.find(|letter: char| !letter.is_ascii_hexdigit());
            let (value, behind) = behind.split_at(digits.unwrap_or(behind.len()));
            if value.len() != 64 {
                return false;
            }
            found.push((name.to_owned(), value.to_owned()));
            (rest, text) = (behind, after);
        }
        let Some((_, behind)) = rest.split_once(text) else { return false };
        rest = behind;
    }
    known.extend(found);
    true
}

/// The first word of `text` that stands for a key, and what is around it.
pub(crate) fn placeholder(text: &str) -> Option<(&str, &str, &str)> {
    let is_name = |letter: char| letter.is_ascii_uppercase() || letter == '_';
    let mut from = 0;
    while let Some(at) = text[from..].find(is_name).map(|at| from + at) {
        let end = text[at..].find(|letter| !is_name(letter)).map_or(text.len(), |end| at + end);
        if text[at..end].ends_with("_KEY") || &text[at..end] == "FINGERPRINT" {
            return Some((&text[..at], &text[at..end], &text[end..]));
        }
        from = end;
    }
    None
}

#[test]
fn a_guide_is_read_as_it_is_typed() {
    let guide = "# G\n1. do\n   ```console\n   s1$ ravelin a \\\n       b  # exit code 7\n   x NEXT_KEY ...z\n   ```\n";
    let command = |text: &str| sections(text).map(|mut found| found.remove(0).1.remove(0));
    let Ok(Step::Command(typed)) = command(guide) else { panic!("{:?}", command(guide)) };
    assert_eq!((typed.host.as_str(), typed.text.as_str(), typed.exit), ("s1", "ravelin a b", 7));
    let mut known = BTreeMap::new();
    let key = "ab".repeat(32);
    assert_eq!(shows(&format!("y\nwell: x  {key} uvz"), &typed.shown, &mut known), Ok(()));
    assert_eq!(known["NEXT_KEY"], key);
    assert!(shows(&format!("x {key} uv"), &typed.shown, &mut known).is_err());
    assert!(shows("x abc z", &typed.shown, &mut known).is_err());
    for wrong in [
        "# G\n1. look at the rack\n2. more\n",
        "# G\n1. look at the rack\n",
        "# G\n1. look at the rack\n## H\n",
        "# G\n```sh\n$ ravelin status\n```\n",
        "# G\n```console\nravelin status\n```\n",
        "```console\n$ ravelin status\n```\n",
    ] {
        assert!(sections(wrong).is_err(), "{wrong}");
    }
}
