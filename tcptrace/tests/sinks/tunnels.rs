//! Connections in tunnels from a capture file to what the command prints.

use crate::{
    icmp::{Scratch, events, json_lines, run},
    packets::{Frame, tunnel::Wrap},
};
use serde_json::{Value, json};
use std::process::Command;

fn outer() -> Frame {
    Frame { src: 0xc0a8_0001, dst: 0xc0a8_0002, vlans: vec![5], ..Frame::default() }
}

/// A handshake and a close, in what `wrap` makes of each direction.
fn connection(wrap: impl Fn(bool, &Frame) -> Frame) -> Vec<Vec<u8>> {
    let steps = [
        (true, 0x02, 100, 0),
        (false, 0x12, 500, 101),
        (true, 0x10, 101, 501),
        (true, 0x11, 101, 501),
        (false, 0x11, 501, 102),
        (true, 0x10, 102, 502),
    ];
    let frame = |&(from_client, flags, seq, ack): &(bool, u16, u32, u32)| {
        let inner = Frame { flags, seq, ack, ..Frame::default() };
        wrap(from_client, &if from_client { inner } else { inner.reversed() }).bytes()
    };
    steps.iter().map(frame).collect()
}

fn way(frame: &Frame, from_client: bool) -> Frame {
    if from_client { frame.clone() } else { frame.reversed() }
}

/// What is printed of tunnels, by connection.
fn tunnels(frames: &[Vec<u8>], list: &str) -> Vec<(String, Value)> {
    let file = Scratch::capture(frames);
    let text = json_lines(&file, &["--events", "connection", &format!("--decap={list}")]);
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    lines
        .map(|event| (event["outcome"].as_str().expect("text").to_owned(), event["tunnel"].clone()))
        .collect()
}

#[test]
fn ends_and_identifiers_are_as_the_connection_has_them() {
    let by = |there: Wrap, back: Wrap| {
        connection(|from_client, inner| {
            (if from_client { there } else { back }).around(&way(&outer(), from_client), inner)
        })
    };
    let ends = json!({ "client_ip": "192.168.0.1", "server_ip": "192.168.0.2", "vlan": [5] });
    for (there, back, more) in [
        (Wrap::Vxlan(4789, 42), Wrap::Vxlan(4789, 42), json!({ "kind": "vxlan", "id": 42 })),
        (Wrap::Gre(true, Some(7), true), Wrap::Gre(false, Some(7), false), json!({ "kind": "gre", "id": 7 })),
        (Wrap::Ip, Wrap::Ip, json!({ "kind": "ipip", "id": null })),
        (
            Wrap::GtpU(1, 1),
            Wrap::GtpU(2, 0),
            json!({ "kind": "gtpu", "id": null, "teid": { "to_server": 1, "to_client": 2 } }),
        ),
    ] {
        let mut expected = ends.clone();
        expected.as_object_mut().expect("one").extend(more.as_object().expect("one").clone());
        assert_eq!(tunnels(&by(there, back), "all"), [("closed".to_owned(), json!([expected]))], "{there:?}");
    }
    // Of two GRE keys each has its own half of a connection.
    assert_eq!(tunnels(&by(Wrap::Bridged(1), Wrap::Bridged(2)), "gre").len(), 2);
}

/// What a router copies goes from it to the one host that collects it, whichever way it went.
#[test]
fn both_directions_in_tzsp_come_from_the_router() {
    let frames =
        connection(|from_client, inner| Wrap::Tzsp(if from_client { 0 } else { 8 }).around(&outer(), inner));
    let ends = json!({ "client_ip": "192.168.0.1", "server_ip": "192.168.0.2", "vlan": [5] });
    let mut expected = json!([{ "kind": "tzsp", "id": null }]);
    expected[0].as_object_mut().expect("one").extend(ends.as_object().expect("one").clone());
    for list in ["tzsp", "all"] {
        assert_eq!(tunnels(&frames, list), [("closed".to_owned(), expected.clone())], "{list}");
    }
    // At another port, and not at the usual one then.
    let moved: Vec<_> = frames
        .iter()
        .map(|frame| {
            let mut frame = frame.clone();
            // Behind Ethernet, a tag, IPv4 and the source port.
            frame[14 + 4 + 20 + 2..][..2].copy_from_slice(&10_000_u16.to_be_bytes());
            frame
        })
        .collect();
    assert_eq!(tunnels(&moved, "tzsp:10000").len(), 1);
    assert_eq!((tunnels(&moved, "tzsp"), tunnels(&frames, "tzsp:10000")), (vec![], vec![]));
}

/// 802.11 in TZSP is counted as what it is, and not looked into.
#[test]
fn what_is_in_tzsp_has_a_name_without_looking() {
    let wrapped = |protocol: u8| {
        let mut frames = connection(|_, inner| Wrap::Tzsp(0).around(&outer(), inner));
        for frame in &mut frames {
            frame[14 + 4 + 20 + 8 + 3] = protocol;
        }
        let file = Scratch::capture(&frames);
        let capture = &events(&file, "stats")[0]["capture"];
        let counts = [&capture["tunnels_passed_over"]["tzsp"], &capture["passed_over"]["tzsp_ieee802_11"]];
        (counts.map(Clone::clone), tunnels(&frames, "all").len())
    };
    assert_eq!(wrapped(1), ([json!(6), json!(0)], 1));
    assert_eq!(wrapped(18), ([json!(0), json!(6)], 0));
    assert_eq!(wrapped(9), ([json!(0), json!(0)], 0));
}

#[test]
fn two_tenants_with_the_same_addresses() {
    let of = |id: u32| {
        connection(|from_client, inner| Wrap::Vxlan(4789, id).around(&way(&outer(), from_client), inner))
    };
    let frames: Vec<Vec<u8>> = of(1).into_iter().zip(of(2)).flat_map(|(one, other)| [one, other]).collect();
    let found = tunnels(&frames, "vxlan");
    let ids: Vec<&Value> = found.iter().map(|(_, tunnel)| &tunnel[0]["id"]).collect();
    assert_eq!(ids, [1, 2]);
    assert!(found.iter().all(|(outcome, _)| outcome == "closed"), "{found:#?}");
    // Without being told to look nothing is seen.
    let file = Scratch::capture(&frames);
    assert_eq!(json_lines(&file, &["--events", "connection"]), "");
    let stats = &events(&file, "stats")[0];
    assert_eq!((&stats["tcp_packets"], stats.get("tunnels")), (&json!(0), None));
}

#[test]
fn three_within_each_other_and_not_four() {
    let nested = |depth: usize| {
        let wraps = [Wrap::Vxlan(4789, 3), Wrap::Geneve(2, 5), Wrap::Ip, Wrap::Bridged(9)];
        connection(move |from_client, inner| {
            wraps[..depth]
                .iter()
                .fold(inner.clone(), |inner, wrap| wrap.around(&way(&outer(), from_client), &inner))
        })
    };
    let found = tunnels(&nested(3), "all");
    let [(outcome, layers)] = &found[..] else { panic!("{found:#?}") };
    let layers = layers.as_array().expect("three");
    let kinds: Vec<(&Value, &Value)> = layers.iter().map(|layer| (&layer["kind"], &layer["id"])).collect();
    let [ipip, geneve, vxlan] =
        [(json!("ipip"), Value::Null), (json!("geneve"), json!(2)), (json!("vxlan"), json!(3))];
    assert_eq!(kinds, [(&ipip.0, &ipip.1), (&geneve.0, &geneve.1), (&vxlan.0, &vxlan.1)]);
    assert_eq!(outcome, "closed");
    let file = Scratch::capture(&nested(4));
    let text = json_lines(&file, &["--events", "connection,stats", "--decap"]);
    let [stats] = &text.lines().collect::<Vec<_>>()[..] else { panic!("{text}") };
    let stats: Value = serde_json::from_str(stats).expect("JSON");
    assert_eq!(stats["unparsable"]["tunnel_depth"], 6);
    let counts = &stats["tunnels"];
    assert_eq!((&counts["gre"], &counts["ipip"], &counts["vxlan"]), (&json!(6), &json!(6), &json!(0)));
}

#[test]
fn what_a_person_reads() {
    let frames = connection(|from_client, inner| Wrap::GtpU(7, 0).around(&way(&outer(), from_client), inner));
    let file = Scratch::capture(&frames);
    let output = Command::new(env!("CARGO_BIN_EXE_tcptrace"))
        .args(["--decap", "-r"])
        .arg(&file.0)
        .env("TZ", "UTC")
        .output()
        .expect("it starts");
    let (text, summary) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(text.lines().count() == 2 && text.lines().all(|line| line.ends_with("(gtpu 7/7)")), "{text}");
    assert!(summary.contains("in tunnels: 6 packets in gtpu\n"), "{summary}");
}

/// The written capture keeps the tunnel's headers, so that it can be read again.
#[test]
fn a_capture_of_a_file_keeps_the_tunnels() {
    let frames =
        connection(|from_client, inner| Wrap::Geneve(9, 63).around(&way(&outer(), from_client), inner));
    let (file, written) = (Scratch::capture(&frames), Scratch::new());
    run(&file, &["-q", "--decap", "-w", written.0.to_str().expect("UTF-8")]);
    let printed = |file: &Scratch| json_lines(file, &["--events", "all", "--decap=geneve"]);
    let lines = |text: String| text.lines().filter(|line| !line.contains("\"stats\"")).collect::<String>();
    assert_eq!(lines(printed(&written)), lines(printed(&file)));
    assert!(printed(&written).contains(r#""kind":"geneve","id":9"#));
}

#[test]
fn kinds_that_are_none_are_refused_in_one_line() {
    for (list, words) in [
        (
            "teredo",
            "'teredo' is not a kind of tunnel: ipip, 6in4, 4in6, gre, erspan, vxlan, geneve, gtpu, tzsp, all",
        ),
        ("gre,", "'' is not a kind of tunnel"),
        ("ipip:5", "ipip is not in UDP and has no port"),
        ("vxlan:0", "a port from 1 to 65535 is needed"),
        ("vxlan:70000", "a port from 1 to 65535 is needed"),
        ("vxlan:4790,geneve:4790", "a port is of one kind"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_tcptrace"))
            .args([&format!("--decap={list}"), "-r", "/dev/null"])
            .output()
            .expect("it starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{list}: {said}");
        assert!(said.lines().next().unwrap_or_default().contains(words), "{list}: {said}");
    }
}
