//! What each key does.

use super::keys::Key;

/// Something that the user wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The screen is to go away.
    Quit,
    /// Go so many rows down, or up where it is negative.
    Move(i32),
    /// Go so many pages down, or up.
    Page(i32),
    /// Go to the first row.
    First,
    /// Go to the last row.
    Last,
    /// Look into the row.
    Enter,
    /// Go back.
    Back,
    /// Sort by the next column, or by the one before.
    Sort(i32),
    /// Sort the other way round.
    Reverse,
    /// Group by what comes next.
    Group,
    /// Hold what is shown, or go on.
    Pause,
    /// Type a text that rows are to have.
    Filter,
    /// Type a text that is looked for.
    Find,
    /// Go to the next row with that text, or to the one before.
    FindNext(i32),
    /// Show or hide the help.
    Help,
    /// Draw everything again.
    Redraw,
    /// A character was typed.
    Type(char),
    /// The last character that was typed is to go.
    Rub,
    /// All that was typed is to go.
    Clear,
    /// The text is complete.
    Accept,
}

/// What a key does, while a text is typed or not; nothing if it has no meaning.
#[must_use]
pub fn action(key: Key, types: bool) -> Option<Action> {
    if key == Key::Ctrl('c') {
        return Some(Action::Quit);
    }
    if types {
        return match key {
            Key::Char(c) => Some(Action::Type(c)),
            Key::Backspace => Some(Action::Rub),
            Key::Ctrl('u' | 'w') => Some(Action::Clear),
            Key::Enter => Some(Action::Accept),
            Key::Escape => Some(Action::Back),
            Key::Up => Some(Action::Move(-1)),
            Key::Down => Some(Action::Move(1)),
            _ => None,
        };
    }
    Some(match key {
        Key::Char('q') => Action::Quit,
        Key::Up | Key::Char('k') => Action::Move(-1),
        Key::Down | Key::Char('j') => Action::Move(1),
        Key::PageUp | Key::Ctrl('b') => Action::Page(-1),
        Key::PageDown | Key::Ctrl('f') => Action::Page(1),
        Key::Home => Action::First,
        Key::End => Action::Last,
        Key::Enter => Action::Enter,
        Key::Escape | Key::Backspace => Action::Back,
        Key::Char('s' | '>') | Key::Right | Key::Tab => Action::Sort(1),
        Key::Char('S' | '<') | Key::Left => Action::Sort(-1),
        Key::Char('r') => Action::Reverse,
        Key::Char('g') => Action::Group,
        Key::Char('p' | ' ') => Action::Pause,
        Key::Char('/') => Action::Filter,
        Key::Char('f') => Action::Find,
        Key::Char('n') => Action::FindNext(1),
        Key::Char('N') => Action::FindNext(-1),
        Key::Char('?' | 'h') | Key::F1 => Action::Help,
        Key::Ctrl('l') => Action::Redraw,
        _ => return None,
    })
}
