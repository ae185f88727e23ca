//! Fits a line that is too long for the terminal into several lines.
//!
//! Nothing that was measured is left out, and no number is shortened. What gives way first is the spaces that make
//! columns; then explanations take their shorter form; then facts take a shorter form that says the same; each of these
//! only where it saves a line. What is left goes to indented lines below, as whole facts where these fit, else word by
//! word. The first line keeps the outcome and the endpoints: where they do not fit into it, the interface and then the
//! date move to the end, and at last groups in the middle of IPv6 addresses are left out.

use super::line::{Line, Rank};
use crate::sink::wrap::{columns, words};
use bytes::{BufMut as _, BytesMut};

/// How many columns lines below the first are indented: at most as far as after the time of day.
const INDENT: usize = 17;
/// Terminals with fewer columns than this have none to give away, and lines below are indented by [`NARROW_INDENT`].
const NARROW: usize = 60;
const NARROW_INDENT: usize = 4;

/// Appends `line` to `out`, as several lines where it is wider than `width`, each with its end.
pub(super) fn fit(line: &Line, width: usize, out: &mut BytesMut) {
    let text = line.text().trim_end();
    if columns(text) <= width {
        out.extend_from_slice(text.as_bytes());
        out.put_u8(b'\n');
        return;
    }
    for line in best(line, width) {
        out.extend_from_slice(line.trim_end().as_bytes());
        out.put_u8(b'\n');
    }
}

/// The layout with the fewest lines, and among those the one that says most.
fn best(line: &Line, width: usize) -> Vec<String> {
    let parts: Vec<_> = line.parts().collect();
    let head = LineHead::of(&parts, width);
    let rest: Vec<_> =
        parts.iter().filter(|(rank, ..)| matches!(rank, Rank::Took | Rank::Fact | Rank::Aside)).collect();
    // The indexes are in the order in which parts are shortened: explanations before facts, and the last part before
    // the first.
    let mut shortable: Vec<usize> = (0..rest.len()).rev().filter(|&nth| rest[nth].2.is_some()).collect();
    shortable.sort_by_key(|&nth| rest[nth].0 != Rank::Aside);

    let lay_out = |aligned: bool, short: &[usize]| {
        let forms = rest
            .iter()
            .enumerate()
            .map(|(nth, &&(rank, full, form))| (rank, form.filter(|_| short.contains(&nth)).unwrap_or(full)));
        head.lay_out(&pieces(forms, &head.moved), aligned, width)
    };
    let mut chosen = (lay_out(true, &[]), true, Vec::new());
    for count in 0..=shortable.len() {
        let short = &shortable[..count];
        let lines = lay_out(false, short);
        if lines.len() < chosen.0.len() {
            chosen = (lines, false, short.to_vec());
        }
    }
    // Parts that were shortened without saving a line get their full form back, the most important first.
    let (mut lines, aligned, mut short) = chosen;
    for nth in short.clone().into_iter().rev() {
        let fewer: Vec<_> = short.iter().copied().filter(|it| *it != nth).collect();
        let without = lay_out(aligned, &fewer);
        if without.len() == lines.len() {
            (lines, short) = (without, fewer);
        }
    }
    lines
}

/// A piece of the line after the addresses.
struct Piece {
    rank: Rank,
    /// How many spaces are before it, unless it begins a line.
    glue: usize,
    text: String,
}

/// Makes pieces of the parts of a line. A comma or the like at the beginning of a part moves to the end of the piece
/// before it.
fn pieces<'a>(parts: impl Iterator<Item = (Rank, &'a str)>, moved: &[String]) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    for (rank, text) in parts {
        let led = text.trim_start_matches([',', ':', ';']);
        let body = led.trim_start_matches(' ');
        if let Some(before) = pieces.last_mut() {
            before.text.push_str(&text[..text.len() - led.len()]);
        }
        if rank == Rank::Took || !body.is_empty() {
            pieces.push(Piece { rank, glue: led.len() - body.len(), text: body.to_owned() });
        }
    }
    pieces.extend(moved.iter().map(|text| Piece { rank: Rank::Fact, glue: 1, text: text.clone() }));
    pieces
}

/// The beginning of the first line, up to the addresses, as far as there is room.
struct LineHead {
    text: String,
    /// How many spaces after it align the next column.
    padding: usize,
    /// What found no room here, and is said at the end instead: the interface, the date.
    moved: Vec<String>,
    indent: usize,
}

impl LineHead {
    fn of(parts: &[(Rank, &str, Option<&str>)], width: usize) -> Self {
        let part = |rank| parts.iter().find(|(it, ..)| *it == rank).map_or("", |(_, text, _)| *text);
        let (time, interface) = (part(Rank::Time).trim_end(), part(Rank::Interface));
        let (label, pair) = (part(Rank::Label), part(Rank::Pair));
        let addresses = pair.trim();
        let indent =
            if width < NARROW || time.is_empty() { NARROW_INDENT } else { INDENT.min(columns(time) + 2) };
        let head = |columns: &[&str]| {
            let columns: Vec<_> = columns.iter().copied().filter(|text| !text.is_empty()).collect();
            columns.join("  ")
        };
        let (name, word) = (interface.trim(), label.trim_end());
        let padded = interface.strip_suffix("  ").unwrap_or(interface);
        let (date, of_day) = time.split_once(' ').filter(|(date, _)| !date.is_empty()).unwrap_or(("", time));
        let ways = [
            (time, padded, label),
            (time, name, label),
            (time, name, word),
            (time, "", label),
            (time, "", word),
            (of_day, "", word),
        ];
        let fits = |(time, interface, label)| columns(&head(&[time, interface, label, addresses])) <= width;
        let way = ways.into_iter().find(|way| fits(*way));
        let (time, shown, label) = way.unwrap_or((of_day, "", word));
        let mut it = Self {
            text: String::new(),
            padding: pair.len() - pair.trim_end().len(),
            moved: Vec::new(),
            indent,
        };
        it.text = head(&[time, shown, label, addresses]);
        if way.is_none() {
            let over = columns(&it.text) - width;
            it.text = head(&[time, label, &elided(addresses, columns(addresses).saturating_sub(over))]);
        }
        if shown.is_empty() && !name.is_empty() {
            it.moved.push(format!("(on {name})"));
        }
        if time == of_day && !date.is_empty() {
            it.moved.push(format!("({date})"));
        }
        it
    }

    /// Lays out all lines. The first one keeps its columns if `aligned` is true and there is room.
    fn lay_out(&self, pieces: &[Piece], aligned: bool, width: usize) -> Vec<String> {
        let mut lines = Lines { done: Vec::new(), line: String::new(), at: 0, width, indent: self.indent };
        if lines.has_room(0, &self.text) {
            lines.put(0, &self.text);
        } else {
            lines.put_words(0, &self.text);
        }
        let mut pieces = pieces.iter();
        let first = pieces.as_slice().first().filter(|first| first.rank == Rank::Took);
        if let Some(took) = first {
            pieces.next();
            let text = took.text.trim_end();
            let room = width.saturating_sub(lines.at + took.glue + columns(text));
            let padding = if aligned { self.padding.min(room) } else { 0 };
            let glue = took.glue + padding;
            // A duration that is not known is a dash, which does nothing but keep its column.
            let holds_place = text.trim_start_matches('-').is_empty();
            if lines.has_room(glue, &took.text) {
                lines.put(glue, &took.text);
            } else if lines.has_room(glue, text) || !holds_place {
                lines.put_fact(glue, text);
            }
        }
        pieces.for_each(|piece| lines.put_fact(piece.glue, &piece.text));
        lines.done.push(lines.line);
        lines.done
    }
}

/// Lines that are being filled.
struct Lines {
    done: Vec<String>,
    line: String,
    at: usize,
    width: usize,
    indent: usize,
}

impl Lines {
    fn has_room(&self, glue: usize, text: &str) -> bool {
        self.at + glue + columns(text) <= self.width
    }

    /// Adds text to the current line, after `glue` spaces unless it begins the line.
    fn put(&mut self, glue: usize, text: &str) {
        let glue = if self.begins() { 0 } else { glue };
        self.line.extend(std::iter::repeat_n(' ', glue));
        self.line.push_str(text);
        self.at += glue + columns(text);
    }

    fn begins(&self) -> bool {
        self.at == if self.done.is_empty() { 0 } else { self.indent }
    }

    fn next(&mut self) {
        let below = " ".repeat(self.indent);
        self.done.push(std::mem::replace(&mut self.line, below));
        self.at = self.indent;
    }

    /// Adds text in one piece, on the next line if need be, and word by word if it is longer than a line.
    fn put_fact(&mut self, glue: usize, text: &str) {
        if self.has_room(glue, text) {
            self.put(glue, text);
        } else if self.indent + columns(text) <= self.width {
            self.next();
            self.put(0, text);
        } else {
            self.put_words(glue, text);
        }
    }

    fn put_words(&mut self, glue: usize, text: &str) {
        for (nth, (spaces, word)) in words(text).enumerate() {
            let glue = if nth == 0 { glue } else { spaces.len() };
            // A word that fits nowhere gets no line of its own, which would not make it fit.
            if !self.begins() && !self.has_room(glue, word) {
                self.next();
            }
            self.put(glue, word);
        }
    }
}

/// Shortens `FROM > TO` to `room` columns by leaving out groups of IPv6 addresses, or as far as that goes.
fn elided(pair: &str, room: usize) -> String {
    let Some((from, to)) = pair.split_once(" > ") else { return pair.to_owned() };
    let mut ends = [from, to].map(|end| {
        let mut forms = shorter(end);
        forms.insert(0, end.to_owned());
        forms.into_iter().peekable()
    });
    let mut shown = ends.each_mut().map(|forms| forms.next().unwrap_or_default());
    while shown.iter().map(|end| columns(end)).sum::<usize>() + 3 > room {
        // The longer of the two ends is shortened next, if it can be.
        let longest =
            (0..2).filter(|&nth| ends[nth].peek().is_some()).max_by_key(|&nth| columns(&shown[nth]));
        let Some(longest) = longest else { break };
        shown[longest] = ends[longest].next().unwrap_or_default();
    }
    shown.join(" > ")
}

/// Shorter and shorter forms of `[ADDRESS]:PORT`, such as `[2001:db8:…:1]:80`, `[2001:…:1]:80`, `[…:1]:80`. Groups of
/// the address stay whole.
fn shorter(end: &str) -> Vec<String> {
    let Some((ip, port)) = end.strip_prefix('[').and_then(|end| end.split_once(']')) else {
        return Vec::new();
    };
    let groups: Vec<_> = ip.split(':').collect();
    let mut forms: Vec<String> = Vec::new();
    for kept in (1..groups.len()).rev() {
        let tail = (kept / 2).max(1);
        let (head, tail) = (groups[..kept - tail].join(":"), groups[groups.len() - tail..].join(":"));
        let colon = if head.is_empty() { "" } else { ":" };
        let form = format!("[{head}{colon}…:{tail}]{port}");
        let longest = forms.last().map_or(end, String::as_str);
        // An address that ends with zeros has no last group that would tell it from others.
        if !tail.is_empty() && columns(&form) < columns(longest) {
            forms.push(form);
        }
    }
    forms
}

#[cfg(test)]
mod tests {
    use super::elided;

    #[test]
    fn the_middle_of_addresses_goes_at_last() {
        let long = "[2001:db8:1234:5678:9abc:def0:1234:5678]:50000 > [2001:db8::1]:443";
        for (pair, room, shown) in [
            (long, 66, long),
            (long, 65, "[2001:db8:1234:5678:…:def0:1234:5678]:50000 > [2001:db8::1]:443"),
            (long, 50, "[2001:db8:…:1234:5678]:50000 > [2001:db8::1]:443"),
            (long, 40, "[2001:…:5678]:50000 > [2001:db8::1]:443"),
            (long, 0, "[…:5678]:50000 > […:1]:443"),
            ("10.0.0.1:1 > 10.0.0.2:2", 10, "10.0.0.1:1 > 10.0.0.2:2"),
            ("[fe80:1:2:3:4:5:6::]:1 > [::1]:2", 0, "[fe80:1:…::]:1 > [::1]:2"),
        ] {
            assert_eq!(elided(pair, room), shown, "{room}");
        }
    }
}
