//! Characters that are drawn with, on terminals with Unicode and on others.

/// The characters that a terminal can show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// Whether there is more than ASCII.
    pub unicode: bool,
}

impl Marks {
    /// A line of characters that are the higher the larger the number is; a blank where it is 0.
    #[must_use]
    pub fn spark(self, numbers: &[u32]) -> String {
        let steps: &[char] = if self.unicode {
            &['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█']
        } else {
            &['.', ':', '-', '=', '+', '*', '%', '#']
        };
        let most = numbers.iter().copied().max().unwrap_or_default().max(1);
        let step = |number: u32| {
            let place = u64::from(number) * steps.len() as u64 / u64::from(most);
            steps[usize::try_from(place).unwrap_or_default().clamp(1, steps.len()) - 1]
        };
        numbers.iter().map(|number| if *number == 0 { ' ' } else { step(*number) }).collect()
    }

    /// What says that the largest come first, or the smallest.
    #[must_use]
    pub(super) const fn order(self, falls: bool) -> &'static str {
        match (self.unicode, falls) {
            (true, true) => "▼",
            (true, false) => "▲",
            (false, true) => "v",
            (false, false) => "^",
        }
    }

    /// What stands for text that has no room.
    #[must_use]
    pub(super) const fn cut(self) -> char {
        if self.unicode { '…' } else { '~' }
    }
}
