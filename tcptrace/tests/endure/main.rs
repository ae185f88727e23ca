//! What only shows with time: an hour of mixed traffic (`cargo xtask soak`), and ten minutes in which things are killed,
//! stopped, filled up and taken away at random (`cargo xtask chaos`). Every `cargo xtask test` runs both for half a minute.
//! Needs root and the commands `ip`, `nft`, `tc` and `bpftool`; fails without them.

mod chaos;
#[path = "../common/lab.rs"]
#[expect(dead_code, reason = "shared with the tests of the built program")]
mod lab;
#[path = "../common/loss.rs"]
#[expect(dead_code, reason = "shared with the tests of the built program")]
mod loss;
mod mix;
#[path = "../common/netns.rs"]
#[expect(dead_code, reason = "shared with other tests")]
mod netns;
#[path = "../packets/mod.rs"]
#[expect(
    dead_code,
    clippy::cast_possible_truncation,
    reason = "shared with the tests of the kernel programs"
)]
mod packets;
mod process;
#[path = "../common/schema.rs"]
mod schema;
mod soak;
#[path = "../common/trace.rs"]
#[expect(dead_code, reason = "shared with the tests of the built program")]
mod trace;
#[path = "../common/traffic.rs"]
#[expect(dead_code, reason = "shared with the tests of the built program")]
mod traffic;
mod way;

use std::{env, str::FromStr};

/// A number that the environment may give for a longer run.
fn asked<T: FromStr>(variable: &str) -> Option<T> {
    let text = env::var(variable).ok()?;
    let number = text.parse().unwrap_or_else(|_| panic!("{variable} is not a number: {text:?}"));
    Some(number)
}
