//! Text within markup. What others chose - names of servers, interfaces, units and processes - may have any characters in it.

use std::fmt::{self, Write as _};

/// A text in which nothing is taken for markup, between tags and between the quotation marks of an attribute.
pub(crate) struct Escaped<'a>(pub(crate) &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                character if character.is_control() => f.write_char('\u{fffd}')?,
                character => f.write_char(character)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Escaped;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_text_becomes_markup_and_each_can_be_read_back(text in ".*") {
            let escaped = Escaped(&text).to_string();
            prop_assert!(!escaped.contains(['<', '>', '"', '\'']), "{escaped}");
            let back = escaped.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&#39;", "'");
            let readable: String = text.chars().map(|it| if it.is_control() { '\u{fffd}' } else { it }).collect();
            prop_assert_eq!(back.replace("&amp;", "&"), readable);
        }
    }
}
