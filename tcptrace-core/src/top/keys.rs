//! The keys of a terminal, from the bytes that it sends (ECMA-48, xterm's control sequences).

use std::mem;

/// A key that was pressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// A character.
    Char(char),
    /// A letter with Ctrl.
    Ctrl(char),
    /// Enter.
    Enter,
    /// Escape.
    Escape,
    /// Backspace.
    Backspace,
    /// Tab.
    Tab,
    /// The arrow up.
    Up,
    /// The arrow down.
    Down,
    /// The arrow to the left.
    Left,
    /// The arrow to the right.
    Right,
    /// A page up.
    PageUp,
    /// A page down.
    PageDown,
    /// To the begin.
    Home,
    /// To the end.
    End,
    /// F1.
    F1,
}

/// The longest sequence that is waited for; what is longer is none that a key sends.
const LONGEST: usize = 32;

/// Makes keys of bytes, which may come in pieces.
#[derive(Debug, Default)]
pub struct Keys {
    waiting: Vec<u8>,
}

impl Keys {
    /// Takes bytes, and returns the keys that they end.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<Key> {
        self.waiting.extend_from_slice(bytes);
        let all = mem::take(&mut self.waiting);
        let mut rest = &all[..];
        let mut keys = Vec::new();
        while !rest.is_empty() {
            match parse(rest) {
                Parsed::Key(key, len) => {
                    keys.push(key);
                    rest = &rest[len..];
                }
                Parsed::Nothing(len) => rest = &rest[len..],
                Parsed::More if rest.len() < LONGEST => break,
                Parsed::More => rest = &rest[1..],
            }
        }
        self.waiting = rest.to_vec();
        keys
    }

    /// Whether the bytes so far may be the beginning of a key: it is Escape if no more come soon.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Takes no more bytes for what was begun: it was Escape, if that is what came.
    pub fn settle(&mut self) -> Option<Key> {
        let waiting = mem::take(&mut self.waiting);
        (waiting == [0x1b]).then_some(Key::Escape)
    }
}

enum Parsed {
    /// A key of so many bytes.
    Key(Key, usize),
    /// So many bytes that are no key that is known.
    Nothing(usize),
    /// The bytes are the beginning of something.
    More,
}

fn parse(bytes: &[u8]) -> Parsed {
    match bytes {
        [0x1b] | [0x1b, b'O'] => Parsed::More,
        [0x1b, b'[', rest @ ..] => sequence(rest),
        [0x1b, b'O', last, ..] => named(&[], *last).map_or(Parsed::Nothing(3), |key| Parsed::Key(key, 3)),
        [0x1b, 0x1b, ..] => Parsed::Key(Key::Escape, 1),
        [b'\r' | b'\n', ..] => Parsed::Key(Key::Enter, 1),
        [b'\t', ..] => Parsed::Key(Key::Tab, 1),
        [0x7f | 0x08, ..] => Parsed::Key(Key::Backspace, 1),
        [byte @ 1..=26, ..] => Parsed::Key(Key::Ctrl(char::from(b'a' - 1 + byte)), 1),
        // A key with Alt, which sends Escape first, is taken for the key.
        [0..=31, ..] => Parsed::Nothing(1),
        _ => character(bytes),
    }
}

/// What follows `ESC [`: parameters, and a byte that ends them.
fn sequence(bytes: &[u8]) -> Parsed {
    let Some(end) = bytes.iter().position(|byte| (0x40..=0x7e).contains(byte)) else {
        return Parsed::More;
    };
    let len = end + 3;
    named(&bytes[..end], bytes[end]).map_or(Parsed::Nothing(len), |key| Parsed::Key(key, len))
}

fn named(parameters: &[u8], last: u8) -> Option<Key> {
    let number = parameters.split(|byte| *byte == b';').next().unwrap_or_default();
    match (number, last) {
        (_, b'A') => Some(Key::Up),
        (_, b'B') => Some(Key::Down),
        (_, b'C') => Some(Key::Right),
        (_, b'D') => Some(Key::Left),
        (_, b'H') | (b"1" | b"7", b'~') => Some(Key::Home),
        (_, b'F') | (b"4" | b"8", b'~') => Some(Key::End),
        (b"5", b'~') => Some(Key::PageUp),
        (b"6", b'~') => Some(Key::PageDown),
        (_, b'P') | (b"11", b'~') => Some(Key::F1),
        (_, b'M') => Some(Key::Enter),
        _ => None,
    }
}

/// The character that bytes of UTF-8 begin with.
fn character(bytes: &[u8]) -> Parsed {
    let len = match bytes[0] {
        ..0x80 => 1,
        0xc2..0xe0 => 2,
        0xe0..0xf0 => 3,
        0xf0..0xf5 => 4,
        _ => return Parsed::Nothing(1),
    };
    let Some(bytes) = bytes.get(..len) else { return Parsed::More };
    match std::str::from_utf8(bytes).ok().and_then(|text| text.chars().next()) {
        Some(c) if !c.is_control() => Parsed::Key(Key::Char(c), len),
        Some(_) => Parsed::Nothing(len),
        None => Parsed::Nothing(1),
    }
}

#[cfg(test)]
mod tests {
    use super::{Key, Keys};
    use proptest::prelude::*;

    fn keys(pieces: &[&[u8]]) -> Vec<Key> {
        let mut keys = Keys::default();
        pieces.iter().flat_map(|piece| keys.push(piece)).collect()
    }

    #[test]
    fn keys_are_what_terminals_send() {
        for (bytes, expected) in [
            (&b"q"[..], Key::Char('q')),
            (b"\x03", Key::Ctrl('c')),
            (b"\r", Key::Enter),
            (b"\x7f", Key::Backspace),
            (b"\x1b[A", Key::Up),
            (b"\x1bOB", Key::Down),
            (b"\x1b[5~", Key::PageUp),
            (b"\x1b[1;5H", Key::Home),
            (b"\x1b[4~", Key::End),
            ("ü".as_bytes(), Key::Char('ü')),
        ] {
            assert_eq!(keys(&[bytes]), [expected]);
            let pieces: Vec<_> = bytes.chunks(1).collect();
            assert_eq!(keys(&pieces), [expected], "in pieces");
        }
    }

    #[test]
    fn escape_alone_is_known_by_the_silence_after_it() {
        let mut keys = Keys::default();
        assert_eq!(keys.push(b"\x1b"), []);
        assert!(keys.is_waiting());
        assert_eq!(keys.settle(), Some(Key::Escape));
        assert_eq!(keys.push(b"\x1b\x1b[B"), [Key::Escape, Key::Down]);
        assert_eq!(keys.push(b"\x1b["), []);
        assert_eq!((keys.settle(), keys.is_waiting()), (None, false));
    }

    proptest! {
        /// Whatever a terminal sends, what comes after it is understood.
        #[test]
        fn no_bytes_block_those_that_follow(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut keys = Keys::default();
            keys.push(&bytes);
            keys.settle();
            prop_assert_eq!(keys.push(b"q"), [Key::Char('q')]);
        }
    }
}
