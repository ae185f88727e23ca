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
mod merge;
mod metrics;
mod once;
mod output;
mod output_file;
mod rotate;
mod several;
mod show;
mod start;
mod summary;
mod terminal;
mod text;
mod textbook;
mod top;
mod tunnels;
mod width;

use tcptrace_testing::{packets, schema};
