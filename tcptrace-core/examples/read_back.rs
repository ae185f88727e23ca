//! Prints the connections that took longest to open, of what `tcptrace --json` wrote:
//! `cargo run -p tcptrace-core --example read_back -- events.jsonl`.

use std::{
    env,
    error::Error,
    fs::File,
    io::{BufRead as _, BufReader, Write as _},
};
use tcptrace_core::{Connection, Event};

fn main() -> Result<(), Box<dyn Error>> {
    let path = env::args().nth(1).ok_or("the file of events is missing: name one")?;
    let mut connections: Vec<Box<Connection>> = Vec::new();
    for line in BufReader::new(File::open(path)?).lines() {
        if let Event::Connection(connection) = serde_json::from_str(&line?)? {
            connections.push(connection);
        }
    }
    connections.sort_by_key(|connection| std::cmp::Reverse(connection.times.syn_to_established_ns));
    let mut out = std::io::stdout().lock();
    for Connection { common, outcome, times, .. } in
        connections.iter().map(|connection| &**connection).take(10)
    {
        let Some(ns) = times.syn_to_established_ns else { break };
        writeln!(out, "{:>12} us  {} > {}  {outcome:?}", ns / 1000, common.client, common.server)?;
    }
    Ok(())
}
