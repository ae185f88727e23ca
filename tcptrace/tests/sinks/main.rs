//! From events to what the user sees: JSON, text, summary, the writing thread and the command line.

#[expect(clippy::cast_possible_truncation, reason = "numbers at random")]
mod any;
mod asked;
mod cli;
mod confined;
mod files;
mod fixtures;
mod icmp;
mod json;
mod once;
mod output;
#[expect(
    dead_code,
    clippy::cast_possible_truncation,
    reason = "shared with the tests of the kernel programs"
)]
#[path = "../packets/mod.rs"]
mod packets;
#[path = "../common/schema.rs"]
mod schema;
mod several;
mod start;
mod summary;
mod terminal;
mod text;
mod textbook;
mod tunnels;
mod width;
