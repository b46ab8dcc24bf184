//! The dependencies in a `Cargo.toml`, with their lines and comments.

/// One entry of a dependency table.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Dependency {
    /// The package's name, also where the entry renames it.
    pub(crate) name: String,
    /// From 1.
    pub(crate) line: usize,
    pub(crate) table: Table,
    /// The trailing comment, without `#`; empty if there is none.
    pub(crate) comment: String,
    /// Whether version and features come from the workspace.
    pub(crate) from_workspace: bool,
}

/// Which table an entry stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Table {
    /// `[workspace.dependencies]`.
    Workspace,
    /// `[dependencies]` and `[build-dependencies]`, also of one target.
    Product,
    /// `[dev-dependencies]`.
    Tests,
}

/// Where a line stands.
enum Place {
    Elsewhere,
    /// Every key is an entry.
    In(Table),
    /// Under `[dependencies.name]`: every key belongs to that entry.
    InEntry(Table),
}

/// Every dependency of `text`, a `Cargo.toml` that cargo accepts.
pub(crate) fn dependencies(text: &str) -> Vec<Dependency> {
    let mut found: Vec<Dependency> = Vec::new();
    let mut place = Place::Elsewhere;
    let mut open = 0_usize; // brackets of an entry that goes on over several lines
    for (line, number) in text.lines().zip(1..) {
        let (code, comment) = split_comment(line);
        let code = code.trim();
        if open == 0 && code.starts_with('[') {
            let name;
            (place, name) = parse_header(code.trim_matches(['[', ']']));
            if let (Place::InEntry(table), Some(name)) = (&place, name) {
                found.push(Dependency::new(name, number, *table, comment));
            }
            continue;
        }
        if let (Place::In(table), 0, Some((key, _))) = (&place, open, code.split_once('=')) {
            let name = key.split('.').next().unwrap_or(key).trim().trim_matches('"');
            found.push(Dependency::new(name, number, *table, comment));
        }
        if let (Place::In(_) | Place::InEntry(_), Some(entry)) = (&place, found.last_mut()) {
            entry.amend(code, comment);
        }
        let opened = code.matches(['{', '[']).count();
        open = (open + opened).saturating_sub(code.matches(['}', ']']).count());
    }
    found
}

impl Dependency {
    fn new(name: &str, line: usize, table: Table, comment: &str) -> Self {
        let comment = comment.trim().into();
        Self { name: name.into(), line, table, comment, from_workspace: false }
    }

    /// Takes what one more line of the entry says.
    fn amend(&mut self, code: &str, comment: &str) {
        if let Some((_, rest)) = code.split_once("package = \"") {
            self.name = rest.split('"').next().unwrap_or(rest).into();
        }
        let squeezed: String = code.chars().filter(|c| !c.is_whitespace()).collect();
        self.from_workspace |= squeezed.contains("workspace=true");
        if self.comment.is_empty() && !code.is_empty() {
            self.comment = comment.trim().into();
        }
    }
}

/// What a header opens and, for `[dependencies.name]`, the entry.
fn parse_header(header: &str) -> (Place, Option<&str>) {
    let kinds = [
        ("workspace.dependencies", Table::Workspace),
        ("dev-dependencies", Table::Tests),
        ("build-dependencies", Table::Product),
        ("dependencies", Table::Product),
    ];
    for (kind, table) in kinds {
        let is_kind = |text: &str| text == kind || text.ends_with(&format!(".{kind}"));
        if is_kind(header) {
            return (Place::In(table), None);
        }
        if let Some((before, name)) = header.rsplit_once('.')
            && is_kind(before)
        {
            return (Place::InEntry(table), Some(name));
        }
    }
    (Place::Elsewhere, None)
}

/// The line before its comment, and the comment without `#`.
fn split_comment(line: &str) -> (&str, &str) {
    let mut quoted = false;
    for (index, c) in line.char_indices() {
        match c {
            '"' => quoted = !quoted,
            '#' if !quoted => {
                let (code, comment) = line.split_at(index);
                return (code, comment.trim_start_matches('#'));
            }
            _ => {}
        }
    }
    (line, "")
}

#[cfg(test)]
mod tests;
