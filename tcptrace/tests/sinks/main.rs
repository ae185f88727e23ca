//! From events to what the user sees: JSON, text, summary, the writing thread and the command line.

mod cli;
mod fixtures;
mod json;
mod output;
#[path = "../common/schema.rs"]
mod schema;
mod summary;
mod text;
mod textbook;
