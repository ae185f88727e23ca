//! What capture files do that no wire does, from the file to what the command prints.

use crate::{icmp::Scratch, packets::Frame};
use serde_json::{Value, json};
use std::{fs, process::Command};

const SYN: u16 = 2;
const ACK: u16 = 0x10;
const FIN: u16 = 1;

/// A packet of a file.
struct Captured {
    us: u32,
    /// Bytes of it that are there, and how many the file says there were.
    bytes: Vec<u8>,
    original: usize,
}

/// From the client of the [`Frame`] or from the server, by flags, numbers relative to 1000 and 5000, and payload.
fn frame(client: &Frame, by_client: bool, flags: u16, seq: u32, ack: u32, payload: usize) -> Frame {
    let base = if by_client { client.clone() } else { client.reversed() };
    let (own, other) = if by_client { (1000, 5000) } else { (5000, 1000) };
    let ack = if flags & ACK == 0 { 0 } else { other + ack };
    Frame { flags, seq: own + seq, ack, payload, ..base }
}

/// A handshake, a request of 100 octets, an answer of 200, and a close by the client, at these milliseconds.
fn connection(client: &Frame, options: &[u8]) -> Vec<(u32, Vec<u8>)> {
    let of = |by_client, flags, seq, ack, payload| frame(client, by_client, flags, seq, ack, payload);
    let syn = |by_client, flags, ack| Frame { options: options.to_vec(), ..of(by_client, flags, 0, ack, 0) };
    [
        (0, syn(true, SYN, 0)),
        (20_000, syn(false, SYN | ACK, 1)),
        (20_100, of(true, ACK, 1, 1, 0)),
        (30_000, of(true, ACK, 1, 1, 100)),
        (50_000, of(false, ACK, 1, 101, 200)),
        (100_000, of(true, FIN | ACK, 101, 201, 0)),
        (120_000, of(false, FIN | ACK, 201, 102, 0)),
        (120_100, of(true, ACK, 102, 202, 0)),
    ]
    .into_iter()
    .map(|(us, frame)| (us, frame.bytes()))
    .collect()
}

/// The packets as a capture with this snapshot length has them.
fn snapped(packets: Vec<(u32, Vec<u8>)>, snaplen: usize) -> Vec<Captured> {
    packets
        .into_iter()
        .map(|(us, mut bytes)| {
            let original = bytes.len();
            bytes.truncate(snaplen);
            Captured { us, bytes, original }
        })
        .collect()
}

/// A classic pcap.
fn pcap(packets: &[Captured]) -> Scratch {
    let mut file = Vec::new();
    for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65535, 1] {
        file.extend(word.to_le_bytes());
    }
    for Captured { us, bytes, original } in packets {
        let (captured, original) = (u32::try_from(bytes.len()), u32::try_from(*original));
        let lens = [captured.expect("short"), original.expect("short")];
        let time = [1_600_000_000 + us / 1_000_000, us % 1_000_000];
        for word in time.into_iter().chain(lens) {
            file.extend(word.to_le_bytes());
        }
        file.extend(bytes);
    }
    written(&file)
}

fn written(file: &[u8]) -> Scratch {
    let scratch = Scratch::new();
    fs::write(&scratch.0, file).expect("a folder for temporary files");
    scratch
}

/// The first event of a kind.
fn event(file: &Scratch, kind: &str) -> Value {
    let events = crate::icmp::events(file, kind);
    events.into_iter().next().unwrap_or_else(|| panic!("no {kind}"))
}

/// What stands on stdout and on stderr.
fn text(file: &Scratch, args: &[&str]) -> (String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tcptrace"));
    let output = command.arg("-r").arg(&file.0).args(args).env("TZ", "UTC").output().expect("it starts");
    let utf8 = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (utf8(output.stdout), utf8(output.stderr))
}

/// MSS, SACK permitted, timestamps, a no-operation, window scale.
const OPTIONS: [u8; 20] = [2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7];

#[test]
fn options_that_the_snapshot_length_cut_off_are_unknown() {
    let packets = || connection(&Frame::default(), &OPTIONS);
    // Ethernet, IPv4, TCP, and so many octets of the options.
    for (there, known) in [
        (0, json!({"mss": null, "window_scale": null, "sack_permitted": null, "timestamps": null})),
        (4, json!({"mss": 1460, "window_scale": null, "sack_permitted": null, "timestamps": null})),
        (14, json!({"mss": 1460, "window_scale": null, "sack_permitted": true, "timestamps": null})),
        (19, json!({"mss": 1460, "window_scale": null, "sack_permitted": true, "timestamps": true})),
        (20, json!({"mss": 1460, "window_scale": 7, "sack_permitted": true, "timestamps": true})),
    ] {
        let mut expected = known;
        let others = if there < 20 { Value::Null } else { json!(false) };
        (expected["fast_open"], expected["mptcp"]) = (others.clone(), others);
        let file = pcap(&snapped(packets(), 14 + 20 + 20 + there));
        let established = event(&file, "established");
        for side in ["client_options", "server_options"] {
            assert_eq!(established[side], expected, "{side}, {there} octets");
        }
        let (lines, _) = text(&file, &["-vv"]);
        let names = match there {
            0 => "options [...]",
            4 => "options [mss 1460,...]",
            14 => "options [mss 1460,sackOK,...]",
            19 => "options [mss 1460,sackOK,TS,...]",
            _ => "options [mss 1460,wscale 7,sackOK,TS]",
        };
        assert!(lines.lines().next().is_some_and(|line| line.ends_with(names)), "{names}: {lines}");
    }
}

#[test]
fn a_list_of_options_that_is_over_is_not_cut() {
    let file = pcap(&snapped(connection(&Frame::default(), &[2, 4, 5, 0xb4, 0, 0, 0, 0]), 14 + 20 + 24 + 2));
    let options = &event(&file, "established")["client_options"];
    assert_eq!((&options["mss"], &options["timestamps"]), (&json!(1460), &Value::Null), "its end is cut off");
    let file =
        pcap(&snapped(connection(&Frame::default(), &[2, 4, 5, 0xb4, 0, 0, 0, 0, 0, 0, 0, 0]), 14 + 20 + 28));
    let options = &event(&file, "established")["client_options"];
    assert_eq!((&options["mss"], &options["timestamps"]), (&json!(1460), &json!(false)));
}

#[test]
fn sliced_frames_are_read_as_far_as_they_go() {
    for ipv6 in [false, true] {
        let packets = connection(&Frame { ipv6, ..Frame::default() }, &OPTIONS[..4]);
        let mut sliced = snapped(packets, 80);
        // What slices says that this is all there was.
        sliced.iter_mut().for_each(|packet| packet.original = packet.bytes.len());
        let connection = event(&pcap(&sliced), "connection");
        assert_eq!(connection["outcome"], "closed");
        assert_eq!((&connection["client_bytes"], &connection["server_bytes"]), (&json!(100), &json!(200)));
    }
}

#[test]
fn a_snapshot_length_that_has_the_control_bits_is_enough() {
    for (ipv6, header) in [(false, 20), (true, 40)] {
        let packets = || connection(&Frame { ipv6, ..Frame::default() }, &OPTIONS);
        let file = pcap(&snapped(packets(), 14 + header + 14));
        let connection = event(&file, "connection");
        assert_eq!(connection["outcome"], "closed", "{header}");
        assert_eq!(connection["syn_to_synack_ns"], 20_000_000);
        assert_eq!((&connection["client_bytes"], &connection["server_bytes"]), (&json!(100), &json!(200)));
        // With one octet less nothing is known.
        let file = pcap(&snapped(packets(), 14 + header + 13));
        assert_eq!(event(&file, "stats")["unparsable"]["truncated"], 8);
    }
}
