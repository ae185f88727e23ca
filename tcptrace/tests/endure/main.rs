//! What only shows with time: an hour of mixed traffic (`cargo xtask soak`), and ten minutes in which things are killed,
//! stopped, filled up and taken away at random (`cargo xtask chaos`). Every `cargo xtask test` runs both for half a minute.
//! Needs root and the commands `ip`, `nft`, `tc` and `bpftool`; fails without them.

mod chaos;
mod mix;
mod process;
mod soak;
mod way;

use std::{env, str::FromStr};
use tcptrace_testing::{lab, loss, netns, packets, schema, trace, traffic};

/// A number that the environment may give for a longer run.
fn asked<T: FromStr>(variable: &str) -> Option<T> {
    let text = env::var(variable).ok()?;
    let number = text.parse().unwrap_or_else(|_| panic!("{variable} is not a number: {text:?}"));
    Some(number)
}
