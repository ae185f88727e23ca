//! Splits an expression into tokens.

use std::ops::Range;

/// The kind of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenKind {
    Word,
    Open,
    Close,
    OpenList,
    CloseList,
    Comma,
    Not,
    And,
    Or,
    /// A sign that only unsupported expressions have, such as `[`, `<` or `=`.
    Other,
}

/// A token, and where it stands in the expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: TokenKind,
    pub(super) at: Range<usize>,
}

const fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | ':' | '/' | '-' | '_' | '%' | '\\') || !c.is_ascii()
}

/// Splits an expression into tokens.
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
            '(' => (TokenKind::Open, 1),
            ')' => (TokenKind::Close, 1),
            '{' => (TokenKind::OpenList, 1),
            '}' => (TokenKind::CloseList, 1),
            ',' => (TokenKind::Comma, 1),
            '!' if !rest.starts_with("!=") => (TokenKind::Not, 1),
            '&' if rest.starts_with("&&") => (TokenKind::And, 2),
            '|' if rest.starts_with("||") => (TokenKind::Or, 2),
            c if is_word(c) => {
                let len = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
                (word(&rest[..len]), len)
            }
            c => (TokenKind::Other, c.len_utf8()),
        };
        tokens.push(Token { kind, at: start..start + len });
        rest = &rest[len..];
    }
    tokens
}

fn word(word: &str) -> TokenKind {
    match word {
        "and" => TokenKind::And,
        "or" => TokenKind::Or,
        "not" => TokenKind::Not,
        _ => TokenKind::Word,
    }
}
