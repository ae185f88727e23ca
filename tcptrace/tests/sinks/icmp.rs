//! ICMP errors from a capture file to what the command prints, and back through `-w`.

use crate::packets::Frame;
use serde_json::{Value, json};
use std::{
    env, fs,
    path::PathBuf,
    process::{self, Command},
    sync::atomic::{AtomicU32, Ordering},
};

/// A file for as long as this lives.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self(env::temp_dir().join(format!("tcptrace-icmp-{}-{number}.pcap", process::id())))
    }

    /// A file with this content.
    pub(crate) fn holding(content: &[u8]) -> Self {
        let scratch = Self::new();
        fs::write(&scratch.0, content).expect("a folder for temporary files");
        scratch
    }

    /// A classic pcap of these frames, a millisecond apart.
    pub(crate) fn capture(frames: &[Vec<u8>]) -> Self {
        let mut file = Vec::new();
        for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65535, 1] {
            file.extend(word.to_le_bytes());
        }
        for (number, frame) in (0_u32..).zip(frames) {
            let len = u32::try_from(frame.len()).expect("short");
            for word in [1_600_000_000, 1000 * number, len, len] {
                file.extend(word.to_le_bytes());
            }
            file.extend(frame);
        }
        Self::holding(&file)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

pub(crate) fn run(file: &Scratch, args: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_tcptrace"))
        .arg("-r")
        .arg(&file.0)
        .args(args)
        .env("TZ", "UTC")
        .output()
        .expect("it starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// The lines of JSON, but for the one that tells of the trace.
pub(crate) fn json_lines(file: &Scratch, args: &[&str]) -> String {
    let text = run(file, &[&["--json", "-q"], args].concat());
    crate::schema::assert_valid(&text);
    let is_start = |line: &str| line.starts_with("{\"event\":\"start\"");
    let rest = text.split_once('\n').filter(|(first, _)| is_start(first)).map_or(&text[..], |(_, rest)| rest);
    assert!(!rest.lines().any(is_start), "{text}");
    rest.to_owned()
}

pub(crate) fn events(file: &Scratch, kinds: &str) -> Vec<Value> {
    let text = json_lines(file, &["--events", kinds]);
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn syn(ipv6: bool) -> Frame {
    Frame { ipv6, flags: 2, ack: 0, options: vec![1; 20], ..Frame::default() }
}

/// Linux quotes all there is, RFC 792 demands eight octets of TCP.
#[test]
fn a_syn_that_icmp_answers_is_refused() {
    for (ipv6, kind, code, octets, from, meaning) in [
        (false, 3, 3, 600, "10.0.0.254", "port unreachable"),
        (false, 3, 13, 28, "10.0.0.254", "administratively prohibited"),
        (true, 1, 4, 600, "2001:db8::a00:fe", "port unreachable"),
        (true, 1, 1, 48, "2001:db8::a00:fe", "administratively prohibited"),
    ] {
        let frames = [syn(ipv6).bytes(), syn(ipv6).error(kind, code, octets).bytes()];
        let events = events(&Scratch::capture(&frames), "connection,icmp_error,stats");
        let [error, connection, stats] = &events[..] else {
            panic!("{events:#?}");
        };
        let report = json!({ "from": from, "type": kind, "code": code, "meaning": meaning, "quoted_sender": "client" });
        for (key, value) in report.as_object().expect("it is one") {
            assert_eq!(&error[key], value, "{key}");
        }
        assert_eq!((&error["event"], &error["seq"]), (&json!("icmp_error"), &json!(1000)));
        assert_eq!(connection["outcome"], "refused_icmp");
        assert_eq!(connection["icmp_error"], report);
        assert_eq!(connection["lifetime_ns"], 1_000_000);
        assert_eq!((&stats["packets"], &stats["tcp_packets"]), (&json!(2), &json!(1)));
        assert_eq!((&stats["segments"]["syn"], &stats["segments"]["icmp"]), (&json!(1), &json!(1)));
        assert_eq!(stats["connections"]["refused_icmp"], 1);
    }
}

#[test]
fn errors_about_something_else_change_nothing() {
    let data = Frame { flags: 0x18, payload: 10, ..Frame::default() };
    let frames = [
        syn(false).bytes(),
        // It is too big, it is of another attempt, it is of another connection, it is about data.
        syn(false).error(3, 4, 600).bytes(),
        Frame { seq: 77, ..syn(false) }.error(3, 3, 600).bytes(),
        Frame { seq: 77, src_port: 4, flags: 0x12, ..syn(false) }.error(3, 3, 600).bytes(),
        data.error(3, 3, 600).bytes(),
    ];
    let events = events(&Scratch::capture(&frames), "connection,stats");
    let [connection, stats] = &events[..] else {
        panic!("{events:#?}");
    };
    assert_eq!((&connection["outcome"], &connection["client_state"]), (&"open".into(), &"SYN_SENT".into()));
    assert_eq!(stats["segments"]["icmp"], 2, "the tracker knows, the parser does not");
}

#[test]
fn a_capture_has_the_errors_too() {
    let mut frames = Vec::new();
    for ipv6 in [false, true] {
        let kind = if ipv6 { 1 } else { 3 };
        for (port, octets) in [(1, 28), (2, 48), (3, 56), (4, 600)] {
            let syn = Frame { src_port: port, vlans: vec![9], ..syn(ipv6) };
            frames.push(syn.bytes());
            frames.push(Frame { vlans: vec![9], padding: 12, ..syn.error(kind, 1, octets) }.bytes());
        }
    }
    let (file, written) = (Scratch::capture(&frames), Scratch::new());
    let printed = json_lines(&file, &["--events", "connection,icmp_error"]);
    run(&file, &["-q", "-w", written.0.to_str().expect("UTF-8")]);
    assert_eq!(json_lines(&written, &["--events", "connection,icmp_error"]), printed);
    // 28 octets of IPv6 are less than its header.
    assert_eq!(printed.matches(r#""outcome":"refused_icmp""#).count(), 7, "{printed}");
}
