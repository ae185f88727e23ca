//! What the user looks at, and what each action changes about that. It has no terminal.

use super::{
    action::Action,
    board::Board,
    by::{By, Key},
    columns::Column,
    group::Group,
    rows::{Life, Order, Row, rows},
    spark::Marks,
};
use crate::sink::text::NamedAddress;

/// The longest text that can be typed, in characters.
const LONGEST_TEXT: usize = 60;

/// What is to be done after an action, besides drawing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    None,
    /// The screen is to go away.
    Quit,
    /// What is shown is to be held, or to go on.
    Pause,
    /// Everything is to be drawn again.
    Redraw,
}

/// What is typed at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Typing {
    /// A text that rows are to have.
    Filter,
    /// A text that is looked for.
    Find,
}

/// What the user looks at.
#[derive(Clone, Debug)]
pub struct Ui {
    pub(super) by: By,
    pub(super) sort: Column,
    pub(super) falls: bool,
    /// How connections are sorted.
    pub(super) order: Order,
    pub(super) order_falls: bool,
    /// The group whose connections are shown.
    pub(super) opened: Option<Key>,
    /// The connection whose ladder is shown.
    pub(super) shown: Option<u64>,
    pub(super) groups: Cursor<Key>,
    pub(super) connections: Cursor<u64>,
    /// How many lines of the ladder are above the screen.
    pub(super) scroll: usize,
    /// The texts that rows of groups and of connections are to have.
    pub(super) filters: [String; 2],
    pub(super) find: String,
    pub(super) typing: Option<Typing>,
    /// How many lines of the help are above the screen, while it is shown.
    pub(super) help: Option<usize>,
    pub(super) paused: bool,
}

/// The row that is selected. It is known by what it is, and keeps its place if that goes away.
#[derive(Clone, Debug)]
pub(super) struct Cursor<T> {
    at: Option<T>,
    place: usize,
    /// How many rows are above the screen.
    above: usize,
}

impl<T> Default for Cursor<T> {
    fn default() -> Self {
        Self { at: None, place: 0, above: 0 }
    }
}

impl<T: PartialEq> Cursor<T> {
    /// The selected row, and the first one on the screen, of these rows of which so many have room.
    pub(super) fn resolve(&self, rows: impl ExactSizeIterator<Item = T>, room: usize) -> (usize, usize) {
        let len = rows.len();
        let found = rows.into_iter().position(|row| self.at.as_ref() == Some(&row));
        // Until somebody chooses a row the first one is selected, whichever that is.
        let place =
            found.unwrap_or(if self.at.is_some() { self.place } else { 0 }).min(len.saturating_sub(1));
        let most_above = len.saturating_sub(room);
        let above = self.above.min(place).max((place + 1).saturating_sub(room)).min(most_above);
        (place, above)
    }

    fn select(&mut self, rows: Vec<T>, to: impl FnOnce(usize) -> usize, room: usize) {
        let last = rows.len().saturating_sub(1);
        let mut rows = rows;
        let (place, above) = {
            let at = self.at.take();
            let place = at.as_ref().and_then(|at| rows.iter().position(|row| row == at));
            (place.unwrap_or(self.place).min(last), self.above)
        };
        let place = to(place).min(last);
        self.place = place;
        self.above = above.min(place).max((place + 1).saturating_sub(room));
        self.at = (place < rows.len()).then(|| rows.swap_remove(place));
    }
}

impl Default for Ui {
    fn default() -> Self {
        Self {
            by: By::Service,
            sort: Column::Rate,
            falls: true,
            order: Order::Begin,
            order_falls: true,
            opened: None,
            shown: None,
            groups: Cursor::default(),
            connections: Cursor::default(),
            scroll: 0,
            filters: Default::default(),
            find: String::new(),
            typing: None,
            help: None,
            paused: false,
        }
    }
}

impl Ui {
    /// Whether a text is typed, so that letters are no commands.
    #[must_use]
    pub const fn types(&self) -> bool {
        self.typing.is_some()
    }

    /// Does what the user wants. `room` is how many rows the screen has for what is listed.
    pub fn act(&mut self, action: Action, board: &Board, room: usize) -> Effect {
        let room = room.max(1);
        match action {
            Action::Quit => return Effect::Quit,
            Action::Redraw => return Effect::Redraw,
            Action::Pause => {
                self.paused = !self.paused;
                return Effect::Pause;
            }
            Action::Help => self.help = if self.help.is_some() { None } else { Some(0) },
            // What is behind the help stays as it is.
            Action::Enter
            | Action::Sort(_)
            | Action::Reverse
            | Action::Group
            | Action::Filter
            | Action::Find
            | Action::FindNext(_)
                if self.help.is_some() => {}
            Action::Move(rows) => self.go(board, room, |place| offset(place, rows)),
            Action::Page(pages) => {
                let rows = i32::try_from(room).unwrap_or(i32::MAX).saturating_mul(pages);
                self.go(board, room, |place| offset(place, rows));
            }
            Action::First => self.go(board, room, |_| 0),
            Action::Last => self.go(board, room, |_| usize::MAX),
            Action::Enter => self.enter(board, room),
            Action::Back => self.back(),
            Action::Sort(step) => self.sort_by(step),
            Action::Reverse if self.opened.is_some() => self.order_falls = !self.order_falls,
            Action::Reverse => self.falls = !self.falls,
            Action::Group => {
                if self.opened.is_none() {
                    self.by = self.by.next();
                    self.groups = Cursor::default();
                }
            }
            Action::Filter if self.shown.is_none() => self.typing = Some(Typing::Filter),
            Action::Find if self.shown.is_none() => {
                self.find.clear();
                self.typing = Some(Typing::Find);
            }
            Action::Filter | Action::Find => {}
            Action::FindNext(step) => self.find_from(board, room, step, 1),
            Action::Type(_) | Action::Rub | Action::Clear | Action::Accept => self.text(action, board, room),
        }
        Effect::None
    }

    /// The text that is typed, or the one that rows are to have.
    pub(super) fn filter(&self) -> &str {
        &self.filters[usize::from(self.opened.is_some())]
    }

    fn filter_mut(&mut self) -> &mut String {
        &mut self.filters[usize::from(self.opened.is_some())]
    }

    fn text(&mut self, action: Action, board: &Board, room: usize) {
        let Some(typing) = self.typing else { return };
        let text = if typing == Typing::Filter { self.filter_mut() } else { &mut self.find };
        match action {
            Action::Type(c) if text.chars().count() < LONGEST_TEXT => text.push(c),
            Action::Rub => {
                text.pop();
            }
            Action::Clear => text.clear(),
            Action::Accept => self.typing = None,
            _ => {}
        }
        if typing == Typing::Find && action != Action::Accept {
            self.find_from(board, room, 1, 0);
        }
    }

    /// Selects the next row from the selected one on, so many rows on at least, that has the text that is looked for.
    fn find_from(&mut self, board: &Board, room: usize, step: i32, begin: usize) {
        if self.find.is_empty() {
            return;
        }
        let find = self.find.to_lowercase();
        let texts: Vec<String> = if let Some(key) = &self.opened {
            self.connections(board, key)
                .0
                .iter()
                .map(|row| connection_text(row, board).to_lowercase())
                .collect()
        } else {
            self.groups(board).iter().map(|group| group_text(group, board).to_lowercase()).collect()
        };
        let len = texts.len();
        self.go(board, room, |place| {
            (begin..begin + len)
                .map(|away| if step > 0 { (place + away) % len } else { (place + 2 * len - away) % len })
                .find(|place| texts[*place].contains(&find))
                .unwrap_or(place)
        });
    }

    fn go(&mut self, board: &Board, room: usize, to: impl FnOnce(usize) -> usize) {
        if let Some(scroll) = self.help {
            self.help = Some(to(scroll));
        } else if self.shown.is_some() {
            self.scroll = to(self.scroll);
        } else if let Some(key) = self.opened.clone() {
            let ids = self.connections(board, &key).0.iter().map(|row| row.id).collect();
            self.connections.select(ids, to, room);
        } else {
            let keys = self.groups(board).iter().map(|group| group.key.clone()).collect();
            self.groups.select(keys, to, room);
        }
    }

    fn enter(&mut self, board: &Board, room: usize) {
        self.typing = None;
        self.go(board, room, |place| place);
        if self.shown.is_some() {
        } else if self.opened.is_some() {
            self.shown = self.connections.at;
            self.scroll = 0;
        } else {
            self.opened = self.groups.at.clone();
            self.connections = Cursor::default();
            self.filters[1].clear();
        }
    }

    fn back(&mut self) {
        if self.help.take().is_some() {
            return;
        }
        match self.typing.take() {
            // What was typed does not count.
            Some(Typing::Find) => self.find.clear(),
            None if self.shown.take().is_some() => {}
            None if self.filter().is_empty() => self.opened = None,
            Some(Typing::Filter) | None => self.filter_mut().clear(),
        }
    }

    fn sort_by(&mut self, step: i32) {
        if self.shown.is_some() {
        } else if self.opened.is_some() {
            self.order = cycle(&Order::ALL, self.order, step);
        } else {
            self.sort = cycle(&Column::ALL, self.sort, step);
            self.falls = self.sort.falls();
        }
    }

    /// The groups that are listed, sorted.
    pub(super) fn groups<'a>(&self, board: &'a Board) -> Vec<&'a Group> {
        let filter = self.filters[0].to_lowercase();
        let fits =
            |group: &&Group| filter.is_empty() || group_text(group, board).to_lowercase().contains(&filter);
        self.sort.sort(board.groups(self.by).filter(fits).collect(), self.falls, board)
    }

    /// The connections that are listed, sorted, and how many open ones are not among them.
    pub(super) fn connections<'a>(&self, board: &'a Board, key: &Key) -> (Vec<Row<'a>>, usize) {
        let filter = self.filters[1].to_lowercase();
        let (mut rows, left_out) = rows(board, self.by, key, self.order, self.order_falls);
        rows.retain(|row| filter.is_empty() || connection_text(row, board).to_lowercase().contains(&filter));
        (rows, left_out)
    }
}

/// The text of a group that is searched: what is shown, and the address behind a name.
fn group_text(group: &Group, board: &Board) -> String {
    let columns = [Column::Group, Column::Owner, Column::Reason];
    let shown = columns.map(|column| column.text(group, board, Marks::default())).join(" ");
    if board.names().is_some() { format!("{shown} {}", group.key) } else { shown }
}

/// The text of a connection that is searched: its addresses, also behind names, and its states.
fn connection_text(row: &Row<'_>, board: &Board) -> String {
    let [client, server] = row.ends();
    let names = board.names().map(|names| row.ends().map(|end| NamedAddress(end, Some(names)).to_string()));
    let names = names.map(|names| names.join(" ")).unwrap_or_default();
    let states = match row.life {
        Life::Open(open) => open.states.map(|it| it.map_or("", |it| it.state.name())).join(" "),
        Life::Ended(ended) => super::columns::reason(ended.outcome).to_owned(),
    };
    format!("{} {client} {server} {names} {states}", row.id)
}

fn offset(place: usize, rows: i32) -> usize {
    let by = usize::try_from(rows.unsigned_abs()).unwrap_or(usize::MAX);
    if rows < 0 { place.saturating_sub(by) } else { place.saturating_add(by) }
}

fn cycle<T: PartialEq + Copy>(all: &[T], now: T, step: i32) -> T {
    let place = all.iter().position(|one| *one == now).unwrap_or_default();
    let len = all.len();
    all[if step < 0 { (place + len - 1) % len } else { (place + 1) % len }]
}
