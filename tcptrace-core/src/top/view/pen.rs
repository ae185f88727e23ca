//! Puts text into a buffer, safe for terminals and cut to its room.

use crate::{sink::units::plain, top::spark::Marks};
use jiff::tz::TimeZone;
use ratatui_core::{
    buffer::Buffer,
    layout::Rect,
    style::{Color, Modifier, Style},
};
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// How everything looks.
#[derive(Clone, Debug)]
pub struct Look {
    /// Whether there are colours. What they say is said in words or signs too.
    pub color: bool,
    /// The characters that the terminal can show.
    pub marks: Marks,
    /// The time zone that times are told in.
    pub zone: TimeZone,
}

/// What is stressed about a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Emphasis {
    None,
    Strong,
    Weak,
    /// Something is wrong.
    Wrong,
}

/// What draws into a buffer.
pub(super) struct Pen<'a> {
    buffer: &'a mut Buffer,
    pub(super) look: &'a Look,
}

impl<'a> Pen<'a> {
    pub(super) fn new(buffer: &'a mut Buffer, look: &'a Look) -> Self {
        Self { buffer, look }
    }

    fn style(&self, emphasis: Emphasis) -> Style {
        match emphasis {
            Emphasis::None => Style::new(),
            Emphasis::Wrong if self.look.color => Style::new().fg(Color::Red).add_modifier(Modifier::BOLD),
            Emphasis::Strong | Emphasis::Wrong => Style::new().add_modifier(Modifier::BOLD),
            Emphasis::Weak => Style::new().add_modifier(Modifier::DIM),
        }
    }

    /// Puts text at the left of its room.
    pub(super) fn text(&mut self, x: u16, y: u16, room: usize, text: &str, emphasis: Emphasis) {
        let style = self.style(emphasis);
        let text = self.fit(text, room);
        self.buffer.set_stringn(x, y, text, room, style);
    }

    /// Puts text at the right of its room.
    pub(super) fn right(&mut self, x: u16, y: u16, room: usize, text: &str, emphasis: Emphasis) {
        let style = self.style(emphasis);
        let text = self.fit(text, room);
        let blank = u16::try_from(room - text.width().min(room)).unwrap_or_default();
        self.buffer.set_stringn(x + blank, y, text, room, style);
    }

    /// Marks a row as the selected one, by a sign at its begin and by turning its colours round.
    pub(super) fn select(&mut self, row: Rect) {
        self.text(row.x, row.y, 1, ">", Emphasis::Strong);
        self.buffer.set_style(row, Style::new().add_modifier(Modifier::REVERSED));
    }

    /// Puts headings.
    pub(super) fn underline(&mut self, row: Rect) {
        self.buffer.set_style(row, Style::new().add_modifier(Modifier::UNDERLINED | Modifier::BOLD));
    }

    /// Puts text into an area, broken between words.
    pub(super) fn paragraph(&mut self, area: Rect, text: &str) {
        let mut line = String::new();
        let mut y = area.y;
        let width = usize::from(area.width);
        for word in text.split_whitespace() {
            if !line.is_empty() && line.len() + 1 + word.len() > width {
                if y < area.y + area.height {
                    self.text(area.x, y, width, &line, Emphasis::None);
                }
                y += 1;
                line.clear();
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        if y < area.y + area.height {
            self.text(area.x, y, width, &line, Emphasis::None);
        }
    }

    /// Makes text safe for a terminal, and short enough. Addresses and names are told by both of their ends, so what is left out
    /// is in the middle.
    fn fit(&self, text: &str, room: usize) -> String {
        let text = plain(text);
        if text.width() <= room {
            return text.into_owned();
        }
        if room == 0 {
            return String::new();
        }
        // Notes and sentences lose their end: they have blanks in them.
        let tail = if text.contains(' ') { 0 } else { (room - 1) / 2 };
        let head = take(text.chars(), room - 1 - tail);
        let end: String = take(text.chars().rev(), tail).chars().rev().collect();
        format!("{head}{}{end}", self.look.marks.cut())
    }
}

/// As many characters as have room.
fn take(chars: impl Iterator<Item = char>, room: usize) -> String {
    let mut left = room;
    chars
        .take_while(|c| {
            let width = c.width().unwrap_or_default();
            let fits = width <= left;
            left = left.saturating_sub(width);
            fits
        })
        .collect()
}
