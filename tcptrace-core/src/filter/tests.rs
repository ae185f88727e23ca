//! Tests of the filter language, word by word. `tcptrace/tests/corpus/filters.rs` compares it with tcpdump.

use super::{Filter, Names};
use crate::segment::mapped;
use proptest::prelude::*;
use std::net::IpAddr;
use tcptrace_common::{
    abi::{BIT_EGRESS, BIT_IPV6, NO_VLAN, Record},
    filter::{NUMBERS, numbers},
};

struct Few;

impl Names for Few {
    fn host(&self, name: &str) -> Vec<IpAddr> {
        match name {
            "two" => {
                vec!["192.0.2.2".parse().expect("an address"), "2001:db8::2".parse().expect("an address")]
            }
            _ => Vec::new(),
        }
    }

    fn port(&self, name: &str) -> Option<u16> {
        match name {
            "http" => Some(80),
            "ftp-data" => Some(20),
            _ => None,
        }
    }
}

fn filter(text: &str) -> Filter {
    Filter::compile(text, &Few).unwrap_or_else(|error| panic!("{error}"))
}

fn error(text: &str) -> String {
    Filter::compile(text, &Few).expect_err(text).to_string()
}

/// A record from `SRC PORT DST PORT`, followed by any number of `vlanID` and by `out` for egress.
fn record(line: &str) -> Record {
    let words: Vec<&str> = line.split_whitespace().collect();
    let address = |word: &str| mapped(word.parse().expect("an address"));
    let mut vlan = [NO_VLAN; 2];
    for (place, id) in vlan.iter_mut().zip(words.iter().filter_map(|w| w.strip_prefix("vlan"))) {
        *place = id.parse().expect("an identifier");
    }
    let egress = if words.contains(&"out") { BIT_EGRESS } else { 0 };
    let ipv6 = if words[0].contains(':') { BIT_IPV6 } else { 0 };
    Record {
        src: address(words[0]),
        src_port: words[1].parse().expect("a port"),
        dst: address(words[2]),
        dst_port: words[3].parse().expect("a port"),
        vlan,
        bits: egress | ipv6,
        ..Record::EMPTY
    }
}

fn takes(filter: &Filter, line: &str) -> bool {
    let mut fields = [0; NUMBERS];
    numbers(&record(line), false, &mut fields);
    filter.steps().takes(&fields)
}

const A: &str = "192.0.2.1 40000 198.51.100.2 80";
const B: &str = "198.51.100.2 443 10.1.2.3 50000 out";
const C: &str = "2001:db8::1 40000 2001:db8:1::2 443 vlan7";
const D: &str = "::1 22 ::1 22 vlan100 vlan7";

#[test]
fn every_word() {
    for (text, expected) in [
        ("", "ABCD"),
        ("tcp", "ABCD"),
        ("ip", "AB"),
        ("ip6", "CD"),
        ("host 192.0.2.1", "A"),
        ("192.0.2.1", "A"),
        ("host 198.51.100.2", "AB"),
        ("src host 198.51.100.2", "B"),
        ("dst host 198.51.100.2", "A"),
        ("src 198.51.100.2", "B"),
        ("src or dst host 198.51.100.2", "AB"),
        ("dst or src host 198.51.100.2", "AB"),
        ("src and dst host ::1", "D"),
        ("src and dst host 198.51.100.2", ""),
        ("ip host 198.51.100.2", "AB"),
        ("host 2001:db8::1", "C"),
        ("ip6 host 2001:db8::1", "C"),
        ("dst host 2001:db8::1", ""),
        ("host two", ""),
        ("net 10.0.0.0/8", "B"),
        ("net 10", "B"),
        ("net 10.1", "B"),
        ("net 10.2", ""),
        ("net 198.51.100", "AB"),
        ("net 198.48.0.0 mask 255.240.0.0", "AB"),
        ("src net 198.51.100.0/24", "B"),
        ("198.51.0.0/16", "AB"),
        ("net 0.0.0.0/0", "AB"),
        ("net 2001:db8::/32", "C"),
        ("dst net 2001:db8:1::/48", "C"),
        ("src net 2001:db8:1::/48", ""),
        ("net ::/0", "CD"),
        ("net ::/8", "D"),
        ("port 80", "A"),
        ("port http", "A"),
        ("tcp port 443", "BC"),
        ("src port 443", "B"),
        ("tcp dst port 443", "C"),
        ("src and dst port 22", "D"),
        ("portrange 400-500", "BC"),
        ("portrange 500-400", "BC"),
        ("dst portrange 400-500", "C"),
        ("port in {80 22}", "AD"),
        ("port in {80, 22}", "AD"),
        ("not port in {80,22}", "BC"),
        ("port in {20-25 http}", "AD"),
        ("port in {20..25}", "D"),
        ("src host in {192.0.2.1 ::1}", "AD"),
        ("net in {10.0.0.0/8, 2001:db8::/32}", "BC"),
        ("vlan", "CD"),
        ("vlan 7", "CD"),
        ("vlan 100", "D"),
        ("not vlan", "AB"),
        ("inbound", "ACD"),
        ("outbound", "B"),
        ("port 80 or port 22", "AD"),
        ("port 80 or 22", "AD"),
        ("port 80 or 22 or http", "AD"),
        ("host 192.0.2.1 or 2001:db8::1", "AC"),
        ("not host 192.0.2.1 and 2001:db8::1", "C"),
        ("port 443 and ip", "B"),
        ("port 443 && ! ip", "C"),
        ("ip || vlan 100", "ABD"),
        ("not (port 80 or port 443)", "D"),
        ("!(port 80)", "BCD"),
        ("not not port 80", "A"),
        // `and` and `or` have the same precedence, as in pcap-filter(7).
        ("port 80 or port 443 and ip6", "C"),
        ("port 80 or (port 443 and ip6)", "AC"),
        ("ip6 and port 443 or port 80", "AC"),
        ("host 192.0.2.1 and tcp port 80 or (net 2001:db8::/32 and not port 22)", "AC"),
    ] {
        let filter = filter(text);
        let taken: String = [("A", A), ("B", B), ("C", C), ("D", D)]
            .iter()
            .filter(|(_, l)| takes(&filter, l))
            .map(|(n, _)| *n)
            .collect();
        assert_eq!(taken, expected, "{text}");
    }
}

#[test]
fn only_what_tells_ends_apart_is_asked_both_ways() {
    for (text, both) in [
        ("host 10.0.0.1 and port 80", false),
        ("src and dst port 80", false),
        ("src or dst host 10.0.0.1", false),
        ("vlan 5 and ip", false),
        ("port 80 and src host 10.0.0.1", true),
        ("not (dst port 80)", true),
        ("outbound", true),
    ] {
        assert_eq!(filter(text).steps().either_way, both, "{text}");
    }
}

#[test]
fn errors_point_at_the_word() {
    for (text, expected) in [
        (
            "port 80 and udp",
            "'udp' is not supported: tcptrace traces TCP only\n  port 80 and udp\n              ^^^",
        ),
        (
            "ether host 0:0:0:0:0:1",
            "'ether' is not supported: link-layer headers are not part of a connection\n  ether host 0:0:0:0:0:1\n  ^^^^^",
        ),
        (
            "tcp[13] & 2 != 0",
            "'[' is not supported: a filter here is about addresses, ports and VLANs, not about other bytes of a packet\n  tcp[13] & 2 != 0\n     ^",
        ),
        ("host", "expected an address or port\n  host\n      ^"),
        ("port 80 and", "expected a condition\n  port 80 and\n             ^"),
        ("port 80 443", "expected 'and' or 'or'\n  port 80 443\n          ^^^"),
        ("(port 80", "expected ')'\n  (port 80\n          ^"),
        ("port 80)", "expected 'and' or 'or'\n  port 80)\n         ^"),
        ("port 65536", "'65536' is not a TCP port or the name of one\n  port 65536\n       ^^^^^"),
        ("port sesame", "'sesame' is not a TCP port or the name of one\n  port sesame\n       ^^^^^^"),
        ("host 10.0.0", "'10.0.0' is not an address\n  host 10.0.0\n       ^^^^^^"),
        (
            "host 10.0.0.0/8",
            "'10.0.0.0/8' is not the address of one host ('net' takes a prefix)\n  host 10.0.0.0/8\n       ^^^^^^^^^^",
        ),
        ("net 10.0.0.1/8", "'10.0.0.1/8' has bits set outside its mask\n  net 10.0.0.1/8\n      ^^^^^^^^^^"),
        (
            "net 10.0.0.0/33",
            "'10.0.0.0/33' is not an IPv4 net: a prefix has at most 32 bits\n  net 10.0.0.0/33\n      ^^^^^^^^^^^",
        ),
        ("ip host ::1", "'::1' is not an IPv4 address\n  ip host ::1\n          ^^^"),
        (
            "tcp host 10.0.0.1",
            "'tcp' does not go with 'host' or 'net'\n  tcp host 10.0.0.1\n           ^^^^^^^^",
        ),
        ("ip port 80", "'port' does not go with 'ip'\n  ip port 80\n          ^^"),
        ("host nowhere", "cannot find an address of 'nowhere'\n  host nowhere\n       ^^^^^^^"),
        (
            "prot 80",
            "'prot' is neither a word of the filter language nor an address or port\n  prot 80\n  ^^^^",
        ),
        ("vlan 5000", "'5000' is not a VLAN identifier (0 to 4095)\n  vlan 5000\n       ^^^^"),
        ("port in 80", "expected '{'\n  port in 80\n          ^^"),
        ("port in {80", "expected '}'\n  port in {80\n             ^"),
        ("port in {}", "expected an address or port\n  port in {}\n           ^"),
        ("port 80 and\n  udp", "'udp' is not supported: tcptrace traces TCP only\n    udp\n    ^^^"),
    ] {
        assert_eq!(error(text), format!("cannot use the filter: {expected}"), "{text}");
    }
}

#[test]
fn what_is_too_long_or_too_deep_is_said_so() {
    let ports = |n: usize| (0..n).map(|p| (1000 + p).to_string()).collect::<Vec<_>>().join(" ");
    assert!(takes(&filter(&format!("port in {{{}}}", ports(64))), "10.0.0.1 1063 10.0.0.2 5"));
    let ports_of = |n: usize| filter(&format!("port in {{{}}}", ports(n)));
    assert!(ports_of(64).program().is_ok_and(|program| program.len == 128));
    let longer = ports_of(65).program().expect_err("the kernel programs run 128").to_string();
    let said = "cannot use the filter: takes 130 steps, and the kernel programs run 128: use a net or a port range for a list \
                (over a capture, with -r, it may be longer)\n  port in {1000 ";
    assert!(longer.starts_with(said), "{longer}");
    let nested = |n: usize| format!("{}port 80{}", "(".repeat(n), ")".repeat(n));
    assert!(takes(&filter(&nested(32)), A));
    assert!(error(&nested(33)).contains("nested more than 32 deep"));
    assert!(error(&"not ".repeat(100_000)).contains("nested"));
    // An expression tree of this many conditions would overflow the stack, and end the process.
    for endless in ["port 80 or ".repeat(100_000), "ip or ".repeat(100_000), "vlan or ".repeat(100_000)] {
        let said = error(&endless);
        assert!(said.contains("more than 65536 conditions") && said.len() < 2000, "{said}");
    }
    assert!(error(&format!("port in {{{}}}", "80 ".repeat(100_000))).contains("more than 65536 conditions"));
    let too_long = error(&format!("port in {{{}}}", "80 ".repeat(40_000)));
    assert!(too_long.contains("takes 80000 steps, and there may be 65536"), "{too_long}");
    let ports: Vec<String> = (0..128).map(|port| port.to_string()).collect();
    assert!(takes(&filter(&format!("dst port in {{{}}}", ports.join(" "))), A), "one step each");
}

/// A filter may have as many conditions as there may be steps: nothing recurses for each condition, which would
/// overflow the stack and end the process.
#[test]
fn a_filter_for_a_capture_takes_as_many_conditions_as_there_may_be_steps() {
    let hosts = |n: u32, between: &str| {
        (0..n).map(|n| format!("dst host {}", std::net::Ipv4Addr::from(n))).collect::<Vec<_>>().join(between)
    };
    let last = |n: u32| format!("192.0.2.1 40000 {} 80", std::net::Ipv4Addr::from(n));
    for text in [hosts(65_536, " or "), format!("not (not ({}))", hosts(65_530, "\nor "))] {
        let filter = filter(&text);
        assert!(takes(&filter, &last(0)) && takes(&filter, &last(65_529)) && !takes(&filter, &last(65_536)));
        assert!(filter.program().is_err());
    }
    let alternating = filter(&format!("{}tcp", "port 80 or host 10.0.0.1 and ".repeat(13_000)));
    assert!(!takes(&alternating, B) && takes(&alternating, "10.0.0.1 80 10.0.0.2 5"));
}

proptest! {
    #[test]
    fn any_text_is_a_filter_or_an_error_in_lines(text in "[a-z0-9(){}!&|,.:/ \\[\\]é-]{0,60}") {
        if let Err(error) = Filter::compile(&text, &Few) {
            prop_assert!(!error.to_string().is_empty());
        }
    }

    #[test]
    fn any_words_are_a_filter_or_an_error(words in proptest::collection::vec(prop_oneof![
        Just("host"), Just("net"), Just("port"), Just("src"), Just("dst"), Just("and"), Just("or"), Just("not"), Just("("),
        Just(")"), Just("in"), Just("{"), Just("}"), Just("80"), Just("10.0.0.1"), Just("::1"), Just("10.0.0.0/8"),
        Just("vlan"), Just("ip"), Just("ip6"), Just("tcp"), Just("mask"), Just("portrange"), Just("1-2"), Just("udp"),
    ], 0..16)) {
        let text = words.join(" ");
        if let Ok(filter) = Filter::compile(&text, &Few) {
            takes(&filter, A);
        }
    }
}

#[test]
fn what_asks_for_vlan_tags_is_known() {
    let asks = |text: &str| Filter::compile(text, &Few).expect(text).asks_for_vlans();
    for text in ["vlan", "vlan 5", "not vlan", "port 80 and (host 1.2.3.4 or vlan 7)"] {
        assert!(asks(text), "{text}");
    }
    for text in ["", "ip", "port 80 and not net 10.0.0.0/8", "outbound"] {
        assert!(!asks(text), "{text}");
    }
}
