//! The words of an expression, each with its place.

use std::ops::Range;

/// A word or a sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Word,
    Open,
    Close,
    OpenList,
    CloseList,
    Comma,
    Not,
    And,
    Or,
    /// Signs that only unsupported expressions have: `[`, `]`, `<`, `=`, `&`, ...
    Other,
}

/// One of them, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) at: Range<usize>,
}

const fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | ':' | '/' | '-' | '_' | '%' | '\\') || !c.is_ascii()
}

/// Splits an expression.
pub(super) fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let start = text.len() - rest.len();
        let (kind, len) = match first {
            c if c.is_whitespace() => {
                rest = &rest[c.len_utf8()..];
                continue;
            }
            '(' => (Kind::Open, 1),
            ')' => (Kind::Close, 1),
            '{' => (Kind::OpenList, 1),
            '}' => (Kind::CloseList, 1),
            ',' => (Kind::Comma, 1),
            '!' if !rest.starts_with("!=") => (Kind::Not, 1),
            '&' if rest.starts_with("&&") => (Kind::And, 2),
            '|' if rest.starts_with("||") => (Kind::Or, 2),
            c if is_word(c) => {
                let len = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
                (word(&rest[..len]), len)
            }
            c => (Kind::Other, c.len_utf8()),
        };
        tokens.push(Token { kind, at: start..start + len });
        rest = &rest[len..];
    }
    tokens
}

fn word(word: &str) -> Kind {
    match word {
        "and" => Kind::And,
        "or" => Kind::Or,
        "not" => Kind::Not,
        _ => Kind::Word,
    }
}
