//! The thread that writes: readers that are slow, gone or never read.

use crate::fixtures;
use std::{
    fs::File,
    io::{PipeReader, Read as _, pipe},
    os::fd::OwnedFd,
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};
use tcptrace::{
    event::Event,
    sink::{
        Sink,
        output::{Output, OutputError, Pressure},
        pipe::Pipe,
    },
};

/// Long enough for any machine; nothing waits for it unless a test fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// Writes lines of a fixed length, whatever the event.
struct Lines(usize);

impl Sink for Lines {
    fn event(&mut self, _: &Event, out: &mut bytes::BytesMut) {
        out.resize(out.len() + self.0 - 1, b'x');
        out.extend_from_slice(b"\n");
    }
}

fn event() -> Event {
    Event::Transition(fixtures::transition())
}

/// An output of lines of a kilobyte, of which 64 may wait; and a channel that tells of its end.
fn start(fd: impl Into<OwnedFd>, pressure: Pressure) -> (Output, Receiver<()>) {
    let (ended, end) = channel();
    let on_end = move || ended.send(()).expect("the test listens");
    let pipe = Pipe::start(fd.into(), pressure, 64 * 1024, on_end).expect("a thread");
    (Output::new(Box::new(Lines(1024)), pipe), end)
}

fn read_all(mut reader: PipeReader) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).expect("a pipe can be read");
        bytes
    })
}

#[test]
fn a_flush_is_enough_for_a_line_to_arrive() {
    let (mut reader, writer) = pipe().expect("a pipe");
    let (mut output, _end) = start(writer, Pressure::Drop);
    let mut line = [0; 1024];
    for _ in 0..3 {
        output.event(&event()).expect("open");
        output.flush().expect("open");
        reader.read_exact(&mut line).expect("the line");
        assert_eq!(line[1023], b'\n');
    }
    let finished = output.finish(PATIENCE);
    assert_eq!((finished.written, finished.dropped, finished.result), (3 * 1024, 0, Ok(())));
}

#[test]
fn finishing_writes_what_was_not_flushed_and_closes() {
    let (reader, writer) = pipe().expect("a pipe");
    let (mut output, _end) = start(writer, Pressure::Drop);
    output.event(&event()).expect("open");
    let finished = output.finish(PATIENCE);
    assert_eq!((finished.written, finished.dropped, finished.result), (1024, 0, Ok(())));
    assert_eq!(read_all(reader).join().expect("read").len(), 1024);
}

#[test]
fn a_slow_reader_costs_whole_events_that_are_counted() {
    let (reader, writer) = pipe().expect("a pipe");
    let (mut output, _end) = start(writer, Pressure::Drop);
    let mut sent = 0_u64;
    // Nobody reads: the pipe fills, then the queue, then events are dropped, and none of it blocks.
    while output.dropped() < 100 {
        output.event(&event()).expect("open");
        output.flush().expect("open");
        sent += 1;
    }
    let dropped = output.dropped();
    let reading = read_all(reader);
    let finished = output.finish(PATIENCE);
    assert_eq!((finished.dropped, finished.result), (dropped, Ok(())));
    assert_eq!(finished.written, (sent - dropped) * 1024);
    let bytes = reading.join().expect("read");
    assert_eq!(bytes.len() as u64, finished.written);
    assert!(bytes.chunks(1024).all(|line| line[1023] == b'\n' && !line[..1023].contains(&b'\n')));
}

#[test]
fn a_file_source_waits_and_loses_nothing() {
    let (reader, writer) = pipe().expect("a pipe");
    let (mut output, _end) = start(writer, Pressure::Wait);
    let reading = read_all(reader);
    for _ in 0..5000 {
        output.event(&event()).expect("open");
        output.flush().expect("open");
    }
    let finished = output.finish(PATIENCE);
    assert_eq!((finished.written, finished.dropped), (5000 * 1024, 0));
    assert_eq!(reading.join().expect("read").len(), 5000 * 1024);
}

#[test]
fn a_source_that_waits_is_told_when_the_reader_goes_away() {
    let (reader, writer) = pipe().expect("a pipe");
    let (mut output, _end) = start(writer, Pressure::Wait);
    let feeding = thread::spawn(move || {
        loop {
            if let Err(error) = output.event(&event()).and_then(|()| output.flush()) {
                return error;
            }
        }
    });
    drop(reader);
    assert_eq!(feeding.join().expect("no panic"), OutputError::Closed);
}

#[test]
fn a_reader_that_never_reads_does_not_hold_up_the_end() {
    let (reader, writer) = pipe().expect("a pipe");
    // More may wait than a pipe holds, so that some is still waiting at the end.
    let pipe = Pipe::start(writer.into(), Pressure::Drop, 1024 * 1024, || ()).expect("a thread");
    let mut output = Output::new(Box::new(Lines(1024)), pipe);
    let mut sent = 0;
    while output.dropped() == 0 {
        output.event(&event()).expect("open");
        output.flush().expect("open");
        sent += 1;
    }
    let begin = Instant::now();
    let finished = output.finish(Duration::from_millis(50));
    assert!(begin.elapsed() < PATIENCE);
    assert_eq!(finished.result, Ok(()));
    assert!(finished.dropped > 1, "what waits in the queue is lost too");
    assert_eq!(finished.written + finished.dropped * 1024, sent * 1024);
    drop(reader);
}

#[test]
fn a_reader_that_goes_away_is_noticed_while_nothing_happens() {
    let (reader, writer) = pipe().expect("a pipe");
    let (mut output, end) = start(writer, Pressure::Drop);
    drop(reader);
    end.recv_timeout(PATIENCE).expect("told without having written anything");
    assert_eq!(output.flush(), Err(OutputError::Closed));
    assert_eq!(output.event(&event()), Ok(()), "collected");
    assert_eq!(output.flush(), Err(OutputError::Closed));
    let finished = output.finish(PATIENCE);
    assert_eq!((finished.written, finished.dropped, finished.result), (0, 1, Err(OutputError::Closed)));
}

#[test]
fn a_full_disk_is_said_with_how_much_was_written() {
    let full = File::options().write(true).open("/dev/full").expect("/dev/full");
    let (mut output, end) = start(full, Pressure::Drop);
    output.event(&event()).expect("collected");
    output.flush().expect("handed over");
    end.recv_timeout(PATIENCE).expect("told");
    let error = output.flush().expect_err("no room");
    assert_eq!(
        error.to_string(),
        "cannot write the output: No space left on device (os error 28) (after 0 bytes)"
    );
    let finished = output.finish(PATIENCE);
    assert_eq!((finished.dropped, finished.result), (1, Err(error)));
}
