//! `tcptrace top` over files, on a pseudo-terminal, and without a terminal.

use crate::{icmp::Scratch, packets::Frame, textbook};
use nix::pty::{OpenptyResult, openpty};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    termios::{Termios, Winsize, tcgetattr, tcsetwinsize},
};
use std::{
    fs::File,
    io::{Read as _, Write as _},
    os::fd::OwnedFd,
    process::{Child, Command, Output, Stdio},
};

fn tcptrace(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tcptrace"));
    command.args(words).env("TZ", "UTC").env("LANG", "C").env_remove("LC_ALL").env_remove("RUST_LOG");
    command
}

fn said(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}

/// What a terminal shows of the bytes that come: places, and text.
struct Screen {
    cells: Vec<Vec<char>>,
    row: usize,
    column: usize,
}

impl Screen {
    fn new() -> Self {
        Self { cells: vec![vec![' '; 80]; 24], row: 0, column: 0 }
    }

    fn text(&self) -> String {
        self.cells.iter().map(|row| row.iter().collect::<String>() + "\n").collect()
    }

    /// Takes all bytes so far from the begin. What is cut comes whole the next time.
    fn of(bytes: &str) -> Self {
        let mut screen = Self::new();
        let mut rest = bytes.chars();
        while let Some(c) = rest.next() {
            if c != '\u{1b}' {
                assert!(!c.is_control(), "{c:?}");
                screen.cells[screen.row][screen.column.min(79)] = c;
                screen.column += 1;
                continue;
            }
            assert_eq!(rest.next(), Some('['));
            let sequence: String = rest.by_ref().take_while_inclusive(|c| !c.is_ascii_alphabetic());
            match sequence.split_at(sequence.len() - 1) {
                (place, "H") => {
                    let (row, column) = place.split_once(';').expect("a place");
                    let number = |text: &str| text.parse::<usize>().expect("a number") - 1;
                    (screen.row, screen.column) = (number(row), number(column));
                }
                (_, "J") => screen = Self::new(),
                (_, "m" | "h" | "l") => {}
                other => panic!("{other:?}"),
            }
        }
        screen
    }
}

trait TakeWhileInclusive {
    fn take_while_inclusive(self, goes_on: impl Fn(&char) -> bool) -> String;
}

impl<I: Iterator<Item = char>> TakeWhileInclusive for I {
    fn take_while_inclusive(self, goes_on: impl Fn(&char) -> bool) -> String {
        let mut out = String::new();
        for c in self {
            out.push(c);
            if !goes_on(&c) {
                break;
            }
        }
        out
    }
}

/// A screen over a file.
struct Top {
    terminal: File,
    /// The other end, which is kept to ask for its modes.
    slave: OwnedFd,
    before: Termios,
    child: Child,
    bytes: String,
}

impl Top {
    fn start(file: &Scratch, words: &[&str], color: bool) -> Self {
        let OpenptyResult { master, slave } = openpty(None, None).expect("a pseudo-terminal");
        let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&slave, size).expect("a terminal has a size");
        let end = || Stdio::from(slave.try_clone().expect("a descriptor"));
        let before = tcgetattr(&slave).expect("a terminal");
        let mut command = tcptrace(&["top", "-r"]);
        command.arg(&file.0).args(words).stdin(end()).stdout(end()).stderr(Stdio::piped());
        command.env("TERM", "xterm");
        if color {
            command.env_remove("NO_COLOR")
        } else {
            command.env("NO_COLOR", "1")
        };
        let child = command.spawn().expect("it starts");
        Self { terminal: File::from(master), slave, before, child, bytes: String::new() }
    }

    /// Reads what is drawn until it has been so.
    fn wait_until(&mut self, what: &str, has: impl Fn(&str) -> bool) {
        let mut buffer = [0; 4096];
        while !has(&self.bytes) {
            let mut fds = [PollFd::new(&self.terminal, PollFlags::IN)];
            let longest = Timespec { tv_sec: 60, tv_nsec: 0 };
            let ready = poll(&mut fds, Some(&longest)).expect("a terminal");
            assert!(ready > 0, "not within a minute: {what}; but: {:?}", self.bytes);
            let len = self.terminal.read(&mut buffer).expect("the other end is open");
            self.bytes.push_str(&String::from_utf8_lossy(&buffer[..len]));
        }
    }

    /// Waits until the screen shows a text.
    fn wait_for(&mut self, piece: &str) -> String {
        // A picture ends with this.
        self.wait_until(piece, |bytes| {
            bytes.ends_with("\x1b[0m") && Screen::of(bytes).text().contains(piece)
        });
        Screen::of(&self.bytes).text()
    }

    fn press(&mut self, keys: &str) {
        self.terminal.write_all(keys.as_bytes()).expect("it reads");
    }

    /// Quits, and checks that the terminal is as it was. Returns what came, and how it ended.
    fn quit(mut self) -> (String, Output) {
        self.press("q");
        self.wait_until("the screen is given back", |bytes| bytes.contains("\x1b[?1049l"));
        let output = self.child.wait_with_output().expect("it ends");
        let modes = |it: &Termios| (it.input_modes, it.output_modes, it.control_modes, it.local_modes);
        assert_eq!(modes(&tcgetattr(&self.slave).expect("a terminal")), modes(&self.before));
        (self.bytes, output)
    }
}

#[test]
fn a_capture_and_the_events_of_it_are_shown_alike() {
    let capture = Scratch::holding(&textbook::capture());
    let json =
        tcptrace(&["--json", "--events", "all", "-q", "-r"]).arg(&capture.0).output().expect("it starts");
    let events = Scratch::holding(&json.stdout);
    for file in [&capture, &events] {
        let mut top = Top::start(file, &[], true);
        top.wait_for("180.101.49.11:80");
        let screen = top.wait_for(" 28.820");
        assert!(screen.contains("1 connection in all"), "{screen}");
        top.press("\r");
        top.wait_for("192.168.64.128:60592");
        top.press("\r");
        top.wait_for("FIN-WAIT-1");
        top.wait_for("18.874");
        let (text, output) = top.quit();
        assert!(output.status.success() && said(&output).is_empty(), "{}", said(&output));
        // Without UTF-8 in the locale there is nothing but ASCII.
        assert!(text.is_ascii(), "{text:?}");
    }
}

#[test]
fn a_filter_leaves_connections_out() {
    let capture = Scratch::holding(&textbook::capture());
    let mut top = Top::start(&capture, &["port", "81"], true);
    top.wait_for("no connections yet");
    let (text, output) = top.quit();
    assert!(output.status.success() && !text.contains("180.101.49.11"), "{text:?}");
}

#[test]
fn damage_is_told_on_the_screen_and_after_it() {
    let mut cut = textbook::capture();
    cut.truncate(cut.len() - 5);
    let cut = Scratch::holding(&cut);
    let mut top = Top::start(&cut, &[], true);
    top.wait_for("DAMAGED");
    top.wait_for("180.101.49.11:80");
    let (_, output) = top.quit();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(said(&output).lines().count(), 1, "{}", said(&output));
}

/// What is wrong is red, and not where nobody wants colour.
#[test]
fn no_color_is_obeyed() {
    let syn = Frame { flags: 2, seq: 100, ..Frame::default() };
    let rst = Frame { flags: 0x14, seq: 0, ack: 101, ..syn.clone().reversed() };
    let events = Scratch::capture(&[syn.bytes(), rst.bytes()]);
    for color in [true, false] {
        let mut top = Top::start(&events, &[], color);
        top.wait_for("refused");
        let (text, _) = top.quit();
        assert_eq!(text.contains(";31m"), color, "{text:?}");
    }
}

#[test]
fn without_a_terminal_it_is_an_error_of_one_line() {
    let capture = Scratch::holding(&textbook::capture());
    let file = capture.0.to_str().expect("a path that is text");
    for words in [&["top", "-r", file][..], &["top", "-i", "lo"], &["top", "-r", "/nowhere"]] {
        let output = tcptrace(words).stdin(Stdio::null()).output().expect("it starts");
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(
            said(&output),
            "tcptrace: there is no terminal to draw on and to read keys from: tcptrace without `top` prints lines into pipes and \
             files\n"
        );
    }
}

#[test]
fn options_of_the_output_are_not_taken() {
    for words in
        [&["--json"][..], &["-v"], &["--output", "x"], &["-w", "x"], &["--failed"], &["-r", "x", "-i", "lo"]]
    {
        let output = tcptrace(&[&["top"], words].concat()).output().expect("it starts");
        assert_eq!(output.status.code(), Some(2), "{words:?}: {}", said(&output));
    }
}
