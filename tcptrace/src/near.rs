//! Suggests names that are near to a mistyped one.

use std::fmt;

/// The end of an error's line that asks whether one of these names was meant; empty if there are none.
pub(crate) struct Suggestion<'a>(pub(crate) &'a [String]);

impl fmt::Display for Suggestion<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, " (did you mean {}?)", self.0.join(" or ")) }
    }
}

/// Up to three names that `name` may be a slip for, nearest first.
pub(crate) fn near_names<'a>(name: &str, all: impl Iterator<Item = &'a str>) -> Vec<String> {
    // With more than a third of the letters wrong, it is another name and not a slip.
    let limit = (name.chars().count() / 3).clamp(1, 3);
    let mut near: Vec<_> =
        all.map(|other| (edit_distance(name, other), other)).filter(|(d, _)| *d <= limit).collect();
    near.sort_unstable();
    near.into_iter().take(3).map(|(_, other)| other.to_owned()).collect()
}

/// How many insertions, deletions, substitutions and swaps of neighbours turn `a` into `b` (optimal string alignment
/// distance).
fn edit_distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<_>, Vec<_>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let substituted = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                let best = substituted.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
                if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                    best.min(rows[i - 2][j - 2] + 1)
                } else {
                    best
                }
            };
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::near_names;

    #[test]
    fn near_names_are_slips_not_other_names() {
        let all = ["lo", "eth0", "eth1", "wlan0", "enp3s0", "docker0"];
        for (typed, expected) in [
            ("eht0", &["eth0"][..]),
            ("eth", &["eth0", "eth1"]),
            ("eth2", &["eth0", "eth1"]),
            ("enp3s1", &["enp3s0"]),
            ("wlan", &["wlan0"]),
            ("tun0", &[]),
            ("", &[]),
        ] {
            assert_eq!(near_names(typed, all.into_iter()), expected, "{typed}");
        }
    }
}
