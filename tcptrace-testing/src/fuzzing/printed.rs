//! The bodies of the fuzz targets of what is printed and written.

use super::inputs;
use bytes::BytesMut;
use jiff::tz::TimeZone;
use serde_json::Value;
use std::{collections::BTreeSet, io::Cursor, sync::Arc};
use tcptrace_common::abi::SEED_WORDS;
use tcptrace_core::{
    capture::{CaptureOptions, PcapSource, Reader},
    decode,
    event::{Event, Start, State, TracedInterface},
    sink::{
        Sink as _,
        json::JsonSink,
        pcapng::{Origin, Writer},
        text::{TextOptions, TextSink, TimeFormat, Width},
        units::plain,
        wrap::columns,
    },
    track::{Config, Tracker},
};

/// The number of bytes of the name of the interfaces, which come before the bytes of inputs.
pub(super) const NAME: usize = 24;

/// Prints what the tracker makes of inputs on interfaces with any name. Each event must be one line. Each JSON line must be
/// read back as an event of which the same line is made, and the text must not act on a terminal or be wider than it.
pub fn lines(bytes: &[u8]) {
    let Some((name, rest)) = bytes.split_first_chunk::<NAME>() else { return };
    let name: Arc<str> = String::from_utf8_lossy(name).into();
    let mut tracker = Tracker::new(Config { max_connections: 5, ..Config::default() });
    for interface in 0..2 {
        tracker.name_interface(interface, Arc::clone(&name));
    }
    let mut json = JsonSink::default();
    let text = |width| {
        TextSink::new(TextOptions {
            interfaces: true,
            color: false,
            zone: TimeZone::UTC,
            times: TimeFormat::OfDay,
            width: Width::new(width),
        })
    };
    // Names are never broken, however long they are.
    let fits = columns(&plain(&name)) <= 40;
    let (mut text, mut narrow) = (text(None), text(Some(80)));
    let mut out = BytesMut::new();
    let mut sink = |event: Event| {
        out.clear();
        json.event(&event, &mut out);
        let value: Value = serde_json::from_slice(one_line(&out)).expect("JSON");
        let line = out.split();
        let read: Event = serde_json::from_slice(&line).expect("an event");
        json.event(&read, &mut out);
        assert_eq!(out, line);
        has_fixed_keys(&value);
        out.clear();
        text.event(&event, &mut out);
        if matches!(event, Event::Start(_)) {
            assert!(out.is_empty(), "the text begins with a connection");
            return;
        }
        let line = std::str::from_utf8(one_line(&out)).expect("text");
        assert_eq!(plain(line), line);
        let same = (columns(line) <= 80).then(|| line.to_owned());
        out.clear();
        narrow.event(&event, &mut out);
        within_80(std::str::from_utf8(&out).expect("text"), same.as_deref(), fits);
    };
    sink(start(&name));
    let last = inputs(rest, |input| tracker.input(input, &mut sink));
    tracker.finish(last, &mut sink);
}

/// A start event in which everything that others can name has the name `name`.
fn start(name: &str) -> Event {
    let name = || name.to_owned();
    let interface = TracedInterface { name: name(), index: Some(1), netns: Some(name()) };
    Event::Start(Box::new(Start {
        host: name(),
        kernel: Some(name()),
        files: vec![name()],
        interfaces: vec![interface],
        filter: Some(name()),
        ..Start::default()
    }))
}

/// Checks that the states of a connection always have the same keys, and that states whose times are unknown are null.
fn has_fixed_keys(event: &Value) {
    for end in ["client", "server"] {
        let Some(times) = event.get(format!("{end}_state_ns")) else { continue };
        let times = times.as_object().expect("an object");
        let keys: Vec<String> = State::TIMED.iter().map(|state| state.json_name().to_owned()).collect();
        let names: BTreeSet<_> = times.keys().collect();
        assert_eq!(names, keys.iter().collect(), "{event}");
        if let Some(untimed) = event.get(format!("{end}_states_untimed")) {
            let untimed = untimed.as_array().expect("an array");
            assert!(!untimed.is_empty(), "{event}");
            for state in untimed {
                assert_eq!(times[state.as_str().expect("a name")], Value::Null, "{event}");
            }
        }
    }
}

/// Checks the lines for a terminal of 80 columns. A line that fits must be the same, and of one that does not, each
/// line must fit if the name of the interface does.
fn within_80(lines: &str, same: Option<&str>, fits: bool) {
    let lines: Vec<_> = lines.lines().collect();
    assert!(same.is_none_or(|line| lines == [line]) && !lines.is_empty());
    for line in lines {
        assert_eq!(plain(line), line);
        assert!(!fits || columns(line) <= 80, "{line}");
    }
}

/// The only line of the output, without its end.
fn one_line(out: &[u8]) -> &[u8] {
    let line = out.strip_suffix(b"\n").expect("a line ends");
    assert!(!line.contains(&b'\n'));
    line
}

/// Writes a record of the ring as `-w` does. The file must be a capture with one packet that our reader reads to its
/// end.
pub fn capture(bytes: &[u8]) {
    let Ok(record) = decode::record(bytes) else { return };
    let name = String::from_utf8_lossy(bytes);
    let mut file = Vec::new();
    let ts = record.what.segment().ts.0;
    Writer::new().packet(&record.what, ts, Some(&name), Origin::Record, &mut file);
    let reader = Reader::from_read("fuzzing", Cursor::new(file)).expect("a capture");
    let mut source = PcapSource::new(
        reader,
        &CaptureOptions { buckets: 4, seeds: [3; SEED_WORDS], ..CaptureOptions::default() },
    );
    let mut found = Vec::new();
    while source.next_batch(&mut found).expect("undamaged") {}
    assert_eq!(source.position().packets, 1);
}

#[cfg(test)]
mod tests {
    use super::within_80;

    #[test]
    fn width_is_counted_in_columns() {
        // The last letter has a sign above it, which takes no column.
        let line = format!("{}e\u{301}", "x".repeat(79));
        within_80(&line, Some(&line), true);
        let wide = "网".repeat(41);
        assert!(std::panic::catch_unwind(|| within_80(&wide, None, true)).is_err());
    }
}
