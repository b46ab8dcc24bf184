//! One HTML page that needs nothing else: no script, no font, no network, light or dark as the reader has it.

use super::svg::{Picture, STYLE, escaped};
use super::table::Table;

/// What the page allows itself: its own styles.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; \
    form-action 'none'";

const PAGE_STYLE: &str = "\
:root{color-scheme:light dark;--fore:#1c2430;--back:#fff;--soft:#5a6675;--line:#d9dee5;\
--panel:#f5f7fa;--red:#b3261e;--green:#2e7d4f;--amber:#b26a00}\
@media(prefers-color-scheme:dark){:root{--fore:#e4e8ee;--back:#14181e;--soft:#a4aebb;--line:#38414d;\
--panel:#1c222b;--red:#ff8a80;--green:#6fc391;--amber:#f0b35f}}\
body{font:16px/1.55 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;\
color:var(--fore);background:var(--back)}\
h1{font-size:1.7rem;line-height:1.25}h2{font-size:1.25rem;margin-top:2.6rem;border-bottom:1px solid \
var(--line);padding-bottom:.2rem}h3{font-size:1.05rem}\
.wide{overflow-x:auto}table{border-collapse:collapse;margin:1rem 0;min-width:30rem}\
caption{text-align:left;color:var(--soft);padding-bottom:.3rem}\
th,td{text-align:left;padding:.3rem .8rem .3rem 0;border-bottom:1px solid var(--line);vertical-align:top}\
th.n,td.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}\
figure{margin:1.2rem 0;overflow-x:auto}figcaption{color:var(--soft);font-size:.92rem;max-width:48rem}\
svg{max-width:100%;height:auto}.small{color:var(--soft);font-size:.92rem}\
.note{background:var(--panel);border-left:4px solid var(--line);padding:.5rem 1rem;margin:.6rem 0}\
.grave{border:2px solid var(--red);border-left-width:12px}.warning{border-left-color:var(--amber)}.fine{border-left-color:var(--green)}\
nav{margin:1rem 0}nav a{margin-right:1rem}a{color:inherit}\
@media print{body{max-width:none}figure,table{break-inside:avoid}}";

/// How weighty a note is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// Something to know.
    Note,
    /// Something that is well.
    Fine,
    /// Something that misleads who does not know it.
    Warning,
    /// Something that is wrong.
    Grave,
}

/// A page under way.
#[derive(Clone, Debug)]
pub struct Page {
    title: String,
    sections: Vec<String>,
    body: String,
}

impl Page {
    /// A page with a title.
    pub fn new(title: &str) -> Self {
        Self { title: title.to_owned(), sections: Vec::new(), body: String::new() }
    }

    /// Begins a section, which the top of the page leads to.
    pub fn section(&mut self, title: &str) {
        let number = self.sections.len();
        self.body.push_str(&format!("<h2 id=\"s{number}\">{}</h2>\n", escaped(title)));
        self.sections.push(title.to_owned());
    }

    /// Begins a part of a section.
    pub fn part(&mut self, title: &str) {
        self.body.push_str(&format!("<h3>{}</h3>\n", escaped(title)));
    }

    /// Adds a paragraph.
    pub fn paragraph(&mut self, text: &str) {
        self.body.push_str(&format!("<p>{}</p>\n", prose(text)));
    }

    /// Adds a paragraph of small print.
    pub fn small_print(&mut self, text: &str) {
        self.body.push_str(&format!("<p class=\"small\">{}</p>\n", prose(text)));
    }

    /// Adds something that stands out.
    pub fn note(&mut self, weight: Weight, text: &str) {
        let (class, word) = match weight {
            Weight::Note => ("note", ""),
            Weight::Fine => ("note fine", ""),
            Weight::Warning => ("note warning", "<strong>WARNING:</strong> "),
            Weight::Grave => ("note grave", "<strong>GRAVE:</strong> "),
        };
        self.body.push_str(&format!("<p class=\"{class}\">{word}{}</p>\n", prose(text)));
    }

    /// Adds a table.
    pub fn table(&mut self, table: &Table) {
        self.body.push_str(&table.html());
    }

    /// Adds a picture, with its description below it.
    pub fn picture(&mut self, picture: &Picture) {
        self.body.push_str(&format!(
            "<figure>{}<figcaption><strong>{}.</strong> {}</figcaption></figure>\n",
            picture.inline(),
            prose(picture.title()),
            prose(picture.description())
        ));
    }

    /// The whole page.
    pub fn html(&self) -> String {
        let links: String = self
            .sections
            .iter()
            .enumerate()
            .map(|(number, title)| format!("<a href=\"#s{number}\">{}</a>", escaped(title)))
            .collect();
        format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\
             <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
             <title>{title}</title><style>{PAGE_STYLE}{STYLE}</style></head>\n\
             <body><h1>{title}</h1>\n<nav aria-label=\"Sections\">{links}</nav>\n<main>\n{}</main>\
             </body></html>\n",
            self.body,
            title = escaped(&self.title),
        )
    }
}

/// `text` escaped, in which no line ends before a per cent sign or within `f = 1`.
fn prose(text: &str) -> String {
    escaped(text).replace(" %", "\u{a0}%").replace("f = ", "f\u{a0}=\u{a0}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::table::Align;

    #[test]
    fn a_page_holds_no_markup_but_its_own() {
        let hostile = "</title></style><script>alert(1)</script><img src=x onerror=y>\"'";
        let mut page = Page::new(hostile);
        page.section(hostile);
        page.part(hostile);
        page.paragraph(hostile);
        page.small_print(hostile);
        for weight in [Weight::Note, Weight::Fine, Weight::Warning, Weight::Grave] {
            page.note(weight, hostile);
        }
        let mut table = Table::new(hostile, &[(hostile, Align::Right)]);
        table.row([hostile.to_owned()]);
        page.table(&table);
        let html = page.html();
        for wrong in ["<script", "<img", "http:", "https:", "src=", "url(", "@import"] {
            let count = html.matches(wrong).count();
            let escaped = html.matches("&lt;img src=x").count();
            let allowed = if wrong == "src=" { escaped } else { 0 };
            assert_eq!(count, allowed, "{wrong}: {html}");
        }
        assert_eq!(html.matches("</style>").count(), 1);
        assert!(html.contains("default-src 'none'") && html.contains("prefers-color-scheme:dark"));
    }
    #[test]
    fn what_is_grave_differs_from_a_warning_in_more_than_its_colour() {
        let of = |weight| {
            let mut page = Page::new("x");
            page.note(weight, "text");
            page.html()
        };
        let (grave, warning) = (of(Weight::Grave), of(Weight::Warning));
        assert!(grave.contains("<p class=\"note grave\"><strong>GRAVE:</strong> text"), "{grave}");
        assert!(warning.contains("<p class=\"note warning\"><strong>WARNING:</strong> text"));
        assert!(grave.contains(".grave{border:2px solid"), "another frame, too");
    }
}
