//! What all man pages have alike.

use clap_mangen::roff::{Inline, Roff, bold, italic, roman};

/// Where the pages belong to, at the foot of each.
pub(crate) const SOURCE: &str = concat!("tcptrace ", env!("CARGO_PKG_VERSION"));

/// A man page, section by section.
#[derive(Default)]
pub(crate) struct Page(String);

impl Page {
    /// With the names at its head and its foot.
    pub(crate) fn new(name: &str, section: &str, date: &str) -> Self {
        let mut page = Self::default();
        page.add(&Roff::new().control("TH", [name.to_uppercase().as_str(), section, date, SOURCE]).render());
        page
    }

    /// What is rendered elsewhere; it says anew what an apostrophe is, and once is enough.
    pub(crate) fn add(&mut self, rendered: &str) {
        let preamble = Roff::new().render();
        let rest = rendered.strip_prefix(&preamble).unwrap_or(rendered);
        if self.0.is_empty() {
            self.0 = preamble;
        }
        self.0.push_str(rest);
    }

    /// A section with such a heading.
    pub(crate) fn section(&mut self, heading: &str, fill: impl FnOnce(&mut Roff)) {
        let mut roff = Roff::new();
        roff.control("SH", [heading.to_uppercase().as_str()]);
        fill(&mut roff);
        self.add(&roff.render());
    }

    /// A list of other pages.
    pub(crate) fn see_also<'a>(&mut self, pages: impl IntoIterator<Item = (&'a str, &'a str)>) {
        self.section("see also", |roff| {
            let mut line = Vec::new();
            for (name, section) in pages {
                line.extend((!line.is_empty()).then(|| roman(", ")));
                line.extend([bold(name), roman(format!("({section})"))]);
            }
            roff.text(line);
        });
    }

    /// The page as text. What stands between backticks is typed, and is bold here; breaks are where there is something to break.
    pub(crate) fn finish(self) -> String {
        let mut out: Vec<String> = Vec::new();
        for line in self.0.lines().map(line) {
            let last = out.last().map_or("", String::as_str);
            let is_idle = match line.as_str() {
                ".PP" => last.starts_with(".SH") || last.starts_with(".SS"),
                ".br" => last == ".sp",
                _ => false,
            };
            if is_idle {
                continue;
            }
            if line == ".sp" && last == ".br" {
                out.pop();
            }
            out.push(line);
        }
        out.join("\n") + "\n"
    }
}

fn line(line: &str) -> String {
    // A blank line of a text is the end of a paragraph.
    if line.is_empty() {
        return ".sp".to_owned();
    }
    let (mut out, mut rest) = (String::with_capacity(line.len()), line);
    while let Some((before, code, after)) = first_code(rest) {
        out += &[before, "\\fB", code, "\\fR"].concat();
        rest = after;
    }
    out + rest
}

/// What is before the first backtick, between it and the next, and behind that.
fn first_code(text: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = text.split_once('`')?;
    let (code, after) = rest.split_once('`')?;
    Some((before, code, after))
}

/// A paragraph of its own.
pub(crate) fn paragraph(roff: &mut Roff, text: &str) {
    roff.control("PP", []);
    roff.text([roman(fold(text))]);
}

/// A term and what explains it.
pub(crate) fn term(roff: &mut Roff, term: Vec<Inline>, text: &str) {
    roff.control("TP", []);
    roff.text(term);
    roff.text([roman(fold(text))]);
}

/// A name and, in parentheses, what it is.
pub(crate) fn named(name: &str, what: &str) -> Vec<Inline> {
    vec![bold(name), roman(" ("), italic(what), roman(")")]
}

/// On one line: where lines end is for the reader's terminal to say.
pub(crate) fn fold(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
