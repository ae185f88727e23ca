//! What holds for every capture, whatever is in it: each connection is told once, times that are all known add up, every line
//! of JSON is read back, text and JSON tell of the same, and what `-w` writes is told like its original.

use super::corpus::Corpus;
use bytes::BytesMut;
use libtest_mimic::{Failed, Trial};
use serde_json::Value;
use std::{
    collections::HashSet,
    env, fs,
    path::{Path, PathBuf},
    process::{self, Command},
};
use tcptrace::{
    event::Event,
    sink::{Sink as _, json::JsonSink},
};

pub(crate) fn trials(corpus: &Corpus) -> Vec<Trial> {
    let mut trials = Vec::new();
    for (number, capture) in
        corpus.captures().into_iter().filter(|capture| capture.format != "snoop").enumerate()
    {
        let path = corpus.capture(&capture.name);
        trials.push(Trial::test(format!("holds always: {}", capture.name), move || holds(&path, number)));
    }
    trials
}

fn holds(capture: &Path, number: usize) -> Result<(), Failed> {
    let json = run(capture, &["--json", "--events", "established,connection"])?;
    let lines: Vec<Value> = json.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let mut wrong: Vec<String> =
        told_once(&lines).into_iter().chain(lines.iter().filter_map(adds_up)).collect();
    wrong.extend(json.lines().filter_map(not_read_back));
    if !wrong.is_empty() {
        return Err(wrong.join("\n").into());
    }
    let text = run(capture, &[])?;
    if text.lines().count() != lines.len() {
        return Err(format!("{} lines of text, {} of JSON", text.lines().count(), lines.len()).into());
    }
    let written = Written(env::temp_dir().join(format!("tcptrace-corpus-{}-{number}.pcapng", process::id())));
    run(capture, &["-w", &written.0.display().to_string()])?;
    // Where nothing is in the capture, there is nothing to write.
    let again = run(&written.0, &[])?;
    if said(&again) == said(&text) {
        Ok(())
    } else {
        Err(format!("of what was written:\n{again}instead of:\n{text}").into())
    }
}

/// A file that goes when the test does.
struct Written(PathBuf);

impl Drop for Written {
    fn drop(&mut self) {
        // It may never have been written.
        let _ = fs::remove_file(&self.0);
    }
}

/// What tcptrace prints of a capture; damage at its end is none of this test's business.
fn run(capture: &Path, arguments: &[&str]) -> Result<String, Failed> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tcptrace"));
    let output = command.env("TZ", "UTC").arg("-r").arg(capture).args(arguments).output()?;
    Ok(String::from_utf8(output.stdout)?)
}

/// A line from which another event is read than it was made of, as the other line tells, or none.
fn not_read_back(line: &str) -> Option<String> {
    let event: Event = match serde_json::from_str(line) {
        Ok(event) => event,
        Err(error) => return Some(format!("{error}: {line}")),
    };
    let mut again = BytesMut::new();
    JsonSink::default().event(&event, &mut again);
    (again.strip_suffix(b"\n") != Some(line.as_bytes())).then(|| format!("read back: {again:?}\nof: {line}"))
}

/// One `connection` for each number, at most one `established`, and that before it.
fn told_once(lines: &[Value]) -> Vec<String> {
    let (mut established, mut ended) = (HashSet::new(), HashSet::new());
    let mut wrong = Vec::new();
    for line in lines {
        let id = line["id"].as_u64();
        let first = if line["event"] == "connection" {
            ended.insert(id)
        } else {
            !ended.contains(&id) && established.insert(id)
        };
        if !first {
            wrong.push(format!("told again: {line}"));
        }
    }
    wrong.extend(established.difference(&ended).map(|id| format!("{id:?} was established and never ended")));
    wrong
}

/// The parts of the handshake are the whole, unless the SYN-ACK came again between them; nobody was in all states for
/// longer than the connection lived; and a client that was seen from its SYN to its end was in them as long as that.
fn adds_up(line: &Value) -> Option<String> {
    let ns = |name: &str| line[name].as_u64();
    let wrong = |what: &str| Some(format!("{what}: {line}"));
    let parts = [ns("syn_retry_ns"), ns("syn_to_synack_ns"), ns("synack_to_ack_ns")];
    let sum = parts.into_iter().sum::<Option<u64>>();
    let whole = ns("syn_to_established_ns");
    if line["synack_retransmits"] == 0
        && let (Some(sum), Some(whole)) = (sum, whole)
        && sum != whole
    {
        return wrong(&format!("the handshake's parts are {sum} ns"));
    }
    let lifetime = ns("lifetime_ns")?;
    if whole.is_some_and(|whole| whole > lifetime) {
        return wrong("established after its end");
    }
    for end in ["client", "server"] {
        let states = line[format!("{end}_state_ns")].as_object()?;
        let sum: u64 = states.values().filter_map(Value::as_u64).sum();
        // Of what timed out the end is later than the last segment.
        let gave_up =
            ["unanswered", "synack_unanswered", "refused_icmp"].iter().any(|it| line["outcome"] == *it);
        if sum > lifetime && !gave_up {
            return wrong(&format!("the {end} was {sum} ns in its states"));
        }
        let reset =
            line["outcome"] == "reset" || line["outcome"] == "refused" || line["outcome"] == "aborted";
        if end == "client" && reset && sum != lifetime {
            return wrong(&format!("the client was {sum} ns in its states"));
        }
    }
    None
}

/// What a capture of the lifecycle segments alone can say as well as the whole file: not when the trace ended, and what that
/// left undecided; not that the file bounds how much was sent; and a name only where there are several.
fn said(text: &str) -> Vec<String> {
    let line = |line: &str| {
        let line = line.replace(" (or 4 GiB more, or a multiple)", "");
        let words: Vec<&str> = line.split_whitespace().filter(|word| !word.starts_with('#')).collect();
        let by_the_end = ["when the trace ended", "UNANSWERED", "(ICMP"];
        if !by_the_end.iter().any(|it| line.contains(it)) {
            return words.join(" ");
        }
        let words = words[1..].join(" ").replace(" (incomplete)", "");
        let ends = [", sent ", " in "].into_iter().filter_map(|until| words.find(until));
        words[..ends.min().unwrap_or(words.len())].to_owned()
    };
    text.lines().map(line).collect()
}
