//! What capture files do that no wire does, from the file to what the command prints.

use crate::{icmp::Scratch, packets::Frame};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, recv, socketpair};
use serde_json::{Value, json};
use std::{
    path::Path,
    process::{Command, Stdio},
};

const SYN: u16 = 2;
const ACK: u16 = 0x10;
const FIN: u16 = 1;

/// A packet of a file.
pub(crate) struct Captured {
    pub(crate) us: u32,
    /// Bytes of it that are there, and how many the file says there were.
    pub(crate) bytes: Vec<u8>,
    pub(crate) original: usize,
}

/// From the client of the [`Frame`] or from the server, by flags, numbers relative to 1000 and 5000, and payload.
fn frame(client: &Frame, by_client: bool, flags: u16, seq: u32, ack: u32, payload: usize) -> Frame {
    let base = if by_client { client.clone() } else { client.reversed() };
    let (own, other) = if by_client { (1000, 5000) } else { (5000, 1000) };
    let ack = if flags & ACK == 0 { 0 } else { other + ack };
    Frame { flags, seq: own + seq, ack, payload, ..base }
}

/// A handshake, a request of 100 octets, an answer of 200, and a close by the client, at these milliseconds.
pub(crate) fn connection(client: &Frame, options: &[u8]) -> Vec<(u32, Vec<u8>)> {
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
pub(crate) fn snapped(packets: Vec<(u32, Vec<u8>)>, snaplen: usize) -> Vec<Captured> {
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
pub(crate) fn pcap(packets: &[Captured]) -> Scratch {
    pcap_of(1, packets)
}

/// The same of another link type than Ethernet.
pub(crate) fn pcap_of(link: u32, packets: &[Captured]) -> Scratch {
    let mut file = Vec::new();
    for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65535, link] {
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
    Scratch::holding(&file)
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
        for packet in &mut sliced {
            packet.original = packet.bytes.len();
        }
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

/// All fields of an object whose names end in `_ns`, and those of the objects in it.
fn nanoseconds(event: &Value) -> Vec<(String, Value)> {
    let fields = event.as_object().into_iter().flatten();
    let times = fields.filter(|(name, _)| name.ends_with("_ns"));
    times
        .flat_map(|(name, value)| match value.as_object() {
            Some(inner) => inner.iter().map(|(state, ns)| (format!("{name}.{state}"), ns.clone())).collect(),
            None => vec![(name.clone(), value.clone())],
        })
        .collect()
}

#[test]
fn a_clock_that_goes_back_in_the_handshake_makes_no_time() {
    let mut packets = snapped(connection(&Frame::default(), &[]), 1 << 16);
    packets[0].us += 1_000_000;
    let file = pcap(&packets);
    let established = event(&file, "established");
    for (field, ns) in [
        ("syn_to_established_ns", Value::Null),
        ("syn_to_synack_ns", Value::Null),
        ("synack_to_ack_ns", json!(100_000)),
        ("syn_retry_ns", json!(0)),
    ] {
        assert_eq!(established[field], ns, "{field}");
    }
    assert_eq!(established["ts"], "2020-09-13T12:26:40.020100000Z");
    let connection = event(&file, "connection");
    assert_eq!(connection["lifetime_ns"], Value::Null);
    assert_eq!(connection["start"], "2020-09-13T12:26:41.000000000Z");
    assert_eq!(connection["client_state_ns"]["SYN_SENT"], Value::Null);
    assert_eq!(connection["client_states_untimed"], json!(["SYN_SENT"]));
    assert_eq!(connection["client_state_ns"]["ESTABLISHED"], 79_900_000);
    assert_eq!(connection["teardown_ns"], 20_100_000);
    let (_, stderr) = text(&file, &[]);
    assert!(stderr.contains("time goes back 1 time, at most by 980.000 ms"), "{stderr}");
}

/// What a trace of the file says on stderr, by write(2): each is a datagram of its own.
fn writes(file: &Path) -> Vec<String> {
    let (mine, theirs) = socketpair(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
        .expect("a pair of sockets");
    let mut command = Command::new(env!("CARGO_BIN_EXE_tcptrace"));
    command.arg("-r").arg(file).stdout(Stdio::null()).stderr(theirs);
    command.status().expect("it starts");
    let mut said = Vec::new();
    let mut buffer = [0; 9000];
    while let Ok((len, _)) = recv(&mine, &mut buffer[..], RecvFlags::DONTWAIT) {
        said.push(String::from_utf8(buffer[..len].to_vec()).expect("UTF-8"));
    }
    said
}

/// Where stderr is the same file as stdout, whose lines another thread writes, none of these may come in the middle.
#[test]
fn what_is_said_is_written_at_once() {
    let mut packets = snapped(connection(&Frame::default(), &[]), 1 << 16);
    packets[0].us += 1_000_000;
    let said = writes(&pcap(&packets).0);
    let [notice, summary] = &said[..] else { panic!("{said:?}") };
    assert!(
        notice.starts_with("tcptrace: time goes back") && notice.ends_with("sorts packets by time)\n"),
        "{said:?}"
    );
    assert!(summary.ends_with('\n'), "{said:?}");
    let said = writes(Path::new("/nonexistent/file"));
    let [error] = &said[..] else { panic!("{said:?}") };
    assert!(error.starts_with("tcptrace: ") && error.ends_with('\n'), "{said:?}");
}

#[test]
fn taps_one_behind_the_other_are_said_to_be_out_of_order() {
    let (client, server): (Vec<_>, Vec<_>) =
        connection(&Frame::default(), &[]).into_iter().partition(|(_, bytes)| bytes[29] == 1);
    let (_, stderr) = text(&pcap(&snapped([client, server].concat(), 1 << 16)), &[]);
    assert!(stderr.contains("time goes back 1 time, at most by 100.100 ms"), "{stderr}");
    assert!(stderr.contains("reordercap"), "{stderr}");
}

#[test]
fn one_packet_that_is_far_ahead_ends_nothing() {
    // The SYN-ACK.
    let mut packets = snapped(connection(&Frame::default(), &[]), 1 << 16);
    packets[1].us += 4_000_000_000;
    let file = pcap(&packets);
    let connection = event(&file, "connection");
    assert_eq!((&connection["outcome"], &connection["partial"]), (&json!("closed"), &json!(false)));
    assert_eq!(
        (&connection["lifetime_ns"], &connection["syn_to_established_ns"]),
        (&json!(120_100_000), &json!(20_100_000))
    );
    assert_eq!(
        (&connection["syn_to_synack_ns"], &connection["synack_to_ack_ns"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(event(&file, "stats")["elapsed_ns"], 120_100_000);
}

/// A block of a pcapng.
fn pcapng_block(kind: u32, body: &[u8]) -> Vec<u8> {
    let len = u32::try_from(body.len().next_multiple_of(4) + 12).expect("short").to_le_bytes();
    let mut block = [&kind.to_le_bytes()[..], &len, body].concat();
    block.resize(block.len().next_multiple_of(4), 0);
    [block, len.to_vec()].concat()
}

/// A pcapng of blocks without times.
pub(crate) fn simple_packets(packets: &[Captured]) -> Scratch {
    let mut file = pcapng_block(
        0x0a0d_0d0a,
        &[0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255],
    );
    file.extend(pcapng_block(1, &[1, 0, 0, 0, 0, 0, 0, 0]));
    for Captured { bytes, original, .. } in packets {
        let original = u32::try_from(*original).expect("short").to_le_bytes();
        file.extend(pcapng_block(3, &[&original[..], bytes].concat()));
    }
    Scratch::holding(&file)
}

#[test]
fn blocks_without_times_give_none() {
    let file = simple_packets(&snapped(connection(&Frame::default(), &[]), 1 << 16));
    for kind in ["established", "connection"] {
        let event = event(&file, kind);
        assert_eq!(event["ts"], Value::Null, "{kind}");
        for (name, ns) in nanoseconds(&event) {
            // What one segment does, it does at once: of the first try and the last, which are one, and of the FIN that
            // acknowledges the other.
            let at_once =
                ["syn_retry_ns", "close_wait_ns", "server_state_ns.CLOSE_WAIT"].contains(&name.as_str());
            let expected = if at_once { json!(0) } else { Value::Null };
            assert!(ns == expected || ns == json!([]), "{kind}: {name} {ns}");
        }
    }
    let connection = event(&file, "connection");
    assert_eq!((&connection["start"], &connection["outcome"]), (&Value::Null, &json!("closed")));
    // What nobody knows is told from what was not.
    let untimed = |end: &str| connection[format!("{end}_states_untimed")].clone();
    assert_eq!(untimed("client"), json!(["SYN_SENT", "ESTABLISHED", "FIN_WAIT_1", "FIN_WAIT_2"]));
    assert_eq!(untimed("server"), json!(["SYN_RECEIVED", "ESTABLISHED", "LAST_ACK"]));
    let stats = event(&file, "stats");
    assert_eq!((&stats["ts"], &stats["elapsed_ns"]), (&Value::Null, &Value::Null));
    let (stdout, stderr) = text(&file, &[]);
    assert!(stdout.lines().all(|line| line.starts_with("--:--:--.------  ")), "{stdout}");
    assert!(stderr.contains("8 packets without a time stamp"), "{stderr}");
}

/// A pcapng of enhanced packet blocks on these interfaces, each by its name and link type; a packet has a place among them
/// and, if packets were dropped before it, their count. At the end each interface has dropped so many.
pub(crate) fn pcapng(
    interfaces: &[(&str, u16)],
    packets: &[(u32, Captured, u64)],
    dropped: Option<(u64, u64)>,
) -> Scratch {
    let option = |code: u16, value: &[u8]| {
        let len = u16::try_from(value.len()).expect("short");
        let mut option = [&code.to_le_bytes()[..], &len.to_le_bytes(), value].concat();
        option.resize(option.len().next_multiple_of(4), 0);
        option
    };
    let mut file = pcapng_block(
        0x0a0d_0d0a,
        &[0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255],
    );
    for (name, link) in interfaces {
        let name = if name.is_empty() { Vec::new() } else { option(2, name.as_bytes()) };
        file.extend(pcapng_block(1, &[&link.to_le_bytes()[..], &[0; 6], &name].concat()));
    }
    for (interface, Captured { us, bytes, original }, dropped) in packets {
        let ticks = 1_600_000_000_000_000 + u64::from(*us);
        let lens = [bytes.len(), *original].map(|len| u32::try_from(len).expect("short"));
        let words = [
            *interface,
            u32::try_from(ticks >> 32).expect("small"),
            u32::try_from(ticks & 0xffff_ffff).expect("masked"),
            lens[0],
            lens[1],
        ];
        let mut body: Vec<u8> = words.into_iter().flat_map(u32::to_le_bytes).collect();
        body.extend(bytes);
        body.resize(body.len().next_multiple_of(4), 0);
        if *dropped > 0 {
            body.extend(option(4, &dropped.to_le_bytes()));
        }
        file.extend(pcapng_block(6, &body));
    }
    if let Some((by_interface, by_system)) = dropped {
        let options = [option(5, &by_interface.to_le_bytes()), option(7, &by_system.to_le_bytes())].concat();
        for place in 0..u32::try_from(interfaces.len()).expect("few") {
            file.extend(pcapng_block(5, &[&place.to_le_bytes()[..], &[0; 8], &options].concat()));
        }
    }
    Scratch::holding(&file)
}

pub(crate) fn on(interface: u32, packets: Vec<(u32, Vec<u8>)>) -> Vec<(u32, Captured, u64)> {
    snapped(packets, 1 << 16).into_iter().map(|packet| (interface, packet, 0)).collect()
}

#[test]
fn what_the_capture_itself_dropped_is_said() {
    let plain = || on(0, connection(&Frame::default(), &[]));
    let file = pcapng(&[("eth0", 1)], &plain(), Some((1234, 55)));
    let (_, stderr) = text(&file, &[]);
    let lost = "lost: 1234 packets dropped by the interface when the file was taken, it does not say when, 55 packets dropped \
                by the operating system";
    assert!(stderr.contains(lost), "{stderr}");
    let capture = &event(&file, "stats")["capture"];
    assert_eq!((&capture["dropped_by_interface"], &capture["dropped_by_system"]), (&json!(1234), &json!(55)));
    assert_eq!(event(&file, "connection")["complete"], true);
    // Where it is known when, what was open then may lack something; what came after does not.
    let mut packets = plain();
    packets[4].2 = 7;
    let later = connection(&Frame { src_port: 4321, ..Frame::default() }, &[]);
    packets.extend(on(0, later.into_iter().map(|(us, bytes)| (us + 10_000_000, bytes)).collect()));
    let file = pcapng(&[("eth0", 1)], &packets, Some((0, 0)));
    let complete: Vec<_> =
        crate::icmp::events(&file, "connection").iter().map(|it| it["complete"].clone()).collect();
    assert_eq!(complete, [false, true]);
    let (_, stderr) = text(&file, &[]);
    assert!(
        stderr.contains("lost: 7 packets dropped between those in the file, 1 connection incomplete"),
        "{stderr}"
    );
}

#[test]
fn what_cannot_be_read_for_the_snapshot_length_says_so() {
    let file = pcap(&snapped(connection(&Frame::default(), &[]), 14 + 20 + 10));
    let (_, stderr) = text(&file, &[]);
    assert!(stderr.contains("lost: 8 packets cut too short by the snapshot length\n"), "{stderr}");
    assert_eq!(event(&file, "stats")["capture"]["cut_too_short"], 8);
}

#[test]
fn all_octets_of_a_file_bound_what_a_connection_sent() {
    // Open for so long that at this window more than 4 GiB could have passed.
    let slow = |packets: Vec<(u32, Vec<u8>)>| -> Vec<(u32, Vec<u8>)> {
        let later = |us: u32| if us < 100_000 { us } else { us + 200_000_000 };
        packets.into_iter().map(|(us, bytes)| (later(us), bytes)).collect()
    };
    let whole = pcap(&snapped(slow(connection(&Frame::default(), &OPTIONS)), 1 << 16));
    let connection_of = |file: &Scratch| event(file, "connection");
    assert_eq!(
        (&connection_of(&whole)["client_bytes"], &connection_of(&whole)["bytes_mod_4gib"]),
        (&json!(100), &json!(false))
    );
    // A capture of SYN and FIN alone does not have what was sent.
    let client = Frame::default();
    let apart: Vec<_> = [
        (0, Frame { options: OPTIONS.to_vec(), ..frame(&client, true, SYN, 0, 0, 0) }),
        (20_000, Frame { options: OPTIONS.to_vec(), ..frame(&client, false, SYN | ACK, 0, 1, 0) }),
        (20_100, frame(&client, true, ACK, 1, 1, 0)),
        (100_000, frame(&client, true, FIN | ACK, 70_001, 90_001, 0)),
        (120_000, frame(&client, false, FIN | ACK, 90_001, 70_002, 0)),
        (120_100, frame(&client, true, ACK, 70_002, 90_002, 0)),
    ]
    .map(|(us, frame)| (us, frame.bytes()))
    .to_vec();
    let only_ends = pcap(&snapped(slow(apart), 1 << 16));
    assert_eq!(
        (&connection_of(&only_ends)["client_bytes"], &connection_of(&only_ends)["bytes_mod_4gib"]),
        (&json!(70_000), &json!(true))
    );
}

/// In VXLAN from one gateway to the other.
fn in_vxlan(packets: Vec<(u32, Vec<u8>)>) -> Vec<(u32, Vec<u8>)> {
    packets
        .into_iter()
        .map(|(us, inner)| {
            let len = u16::try_from(inner.len() + 16).expect("short");
            let [high, low] = len.to_be_bytes();
            let udp = [&[0x30, 0, 0x12, 0xb5, high, low, 0, 0, 8, 0, 0, 0, 0, 0, 7, 0][..], &inner].concat();
            let outer =
                Frame { src: 0x0a63_0001, dst: 0x0a63_0002, body: Some((17, udp)), ..Frame::default() };
            (us, outer.bytes())
        })
        .collect()
}

#[test]
fn no_connections_have_a_reason() {
    let tunnelled = pcap(&snapped(in_vxlan(connection(&Frame::default(), &[])), 1 << 16));
    let first = |file: &Scratch, args: &[&str]| {
        text(file, args).1.lines().next().map(str::to_owned).unwrap_or_default()
    };
    assert_eq!(first(&tunnelled, &[]), "no connections seen: 8 of 8 packets are VXLAN: try --decap");
    assert_eq!(first(&tunnelled, &["--decap"]), "1 connection: 1 closed");
    assert_eq!(event(&tunnelled, "stats")["capture"]["tunnels_passed_over"]["vxlan"], 8);
    let data = connection(&Frame::default(), &[]).into_iter().skip(3).take(2).collect();
    let midstream = pcap(&snapped(data, 1 << 16));
    assert_eq!(first(&midstream, &[]), "no connections seen: 2 TCP packets of connections that began before");
    assert_eq!(first(&midstream, &["port", "81"]), "no connections seen");
}

#[test]
fn lines_name_their_interface_where_a_file_has_several() {
    let both = |names: [&str; 2]| {
        let mut packets = on(0, connection(&Frame::default(), &[]));
        packets.extend(on(1, connection(&Frame::default(), &[])));
        packets.sort_by_key(|(_, packet, _)| packet.us);
        pcapng(&names.map(|name| (name, 1)), &packets, None)
    };
    let (stdout, _) = text(&both(["tcpip", "nic"]), &[]);
    let names: Vec<_> = stdout.lines().filter_map(|line| line.split_whitespace().nth(1)).collect();
    assert_eq!(names, ["tcpip", "nic", "tcpip", "nic"], "{stdout}");
    let (stdout, _) = text(&pcapng(&[("eth0", 1)], &on(0, connection(&Frame::default(), &[])), None), &[]);
    assert!(!stdout.contains("eth0"), "{stdout}");
    // An interface without a name keeps its number in what is written.
    let copy = Scratch::new();
    let all = both(["", ""]);
    let path = copy.0.to_str().expect("UTF-8");
    let second = |file: &Scratch| crate::icmp::events(file, "established")[1]["interface"].clone();
    crate::icmp::run(&all, &["-q", "-w", path]);
    assert_eq!((second(&all), second(&copy)), (json!("#1"), json!("#1")));
}

/// In Darwin's header: from this interface, coming in or going out.
fn in_pktap(
    link: u32,
    by_client: impl Fn(&[u8]) -> bool,
    packets: Vec<(u32, Vec<u8>)>,
) -> Vec<(u32, Vec<u8>)> {
    packets
        .into_iter()
        .map(|(us, frame)| {
            let mut header = vec![0; 108];
            header[..4].copy_from_slice(&108_u32.to_le_bytes());
            header[4] = 1;
            header[8..12].copy_from_slice(&link.to_le_bytes());
            header[12..15].copy_from_slice(b"en0");
            header[36] = if by_client(&frame) { 2 } else { 1 };
            header.extend(frame);
            (us, header)
        })
        .collect()
}

#[test]
fn darwins_header_names_the_interface_and_the_direction() {
    let client = |frame: &[u8]| frame[29] == 1;
    for link in [258, 149] {
        let packets = in_pktap(1, client, connection(&Frame::default(), &[]));
        let file = pcapng(&[("", link)], &on(0, packets), None);
        let established = event(&file, "established");
        assert_eq!(established["interface"], "en0");
        let directions: Vec<_> =
            crate::icmp::events(&file, "segment").iter().map(|it| it["direction"].clone()).take(2).collect();
        assert_eq!(directions, ["egress", "ingress"]);
        let (stdout, _) = text(&file, &[]);
        assert!(stdout.contains("  en0  CLOSED"), "{stdout}");
    }
    // A number for private use may mean anything else.
    let other = pcapng(&[("", 149)], &on(0, connection(&Frame::default(), &[])), None);
    let (_, stderr) = text(&other, &[]);
    assert!(stderr.starts_with("tcptrace: 8 packets of link type 149 were not looked into\n"), "{stderr}");
}
