//! Property tests that run the bodies of the fuzz targets over bytes that are mostly well-formed, and so get far.

use super::arguments;
use crate::fuzzing::{netlink, tables};
use proptest::prelude::*;

fn bytes(most: usize) -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..most)
}

/// Options and values, some of which belong together.
fn command_line() -> impl Strategy<Value = Vec<u8>> {
    const WORDS: &[&str] = &[
        "-i",
        "any",
        "lo",
        "eth0/x",
        "a-name-that-is-too-long",
        "-r",
        "-w",
        "-",
        "-c",
        "0",
        "1",
        "-D",
        "-F",
        "/dev/null",
        "-n",
        "-q",
        "-v",
        "-vv",
        "--json",
        "--once",
        "--events",
        "all",
        "connection,stats",
        "--color",
        "never",
        "--ingress",
        "xdp",
        "--netns",
        "--all-netns",
        "--decap",
        "--decap=vxlan:1,vxlan:2,geneve:3",
        "--decap=gre:1",
        "--ring-size",
        "64K",
        "1G",
        "99999999999999999999G",
        "--sample",
        "1/1",
        "1/4294967295",
        "1/0",
        "--latency",
        "10s",
        "-1s",
        "--syn-timeout",
        "1h",
        "9999999999h",
        "--time-wait",
        "--max-connections",
        "16777217",
        "--stats-interval",
        "schema",
        "--",
    ];
    let word = prop_oneof![
        12 => proptest::sample::select(WORDS).prop_map(|word| word.as_bytes().to_vec()),
        1 => bytes(8),
    ];
    proptest::collection::vec(word, 0..8).prop_map(|words| words.join(&0_u8))
}

/// Messages of the kinds that are read, with attributes whose lengths are mostly right.
fn datagram() -> impl Strategy<Value = Vec<u8>> {
    let attribute = (0..20_u16, bytes(24), any::<bool>(), 0..40_u16).prop_map(|(kind, value, sound, len)| {
        let right = u16::try_from(4 + value.len()).expect("short");
        let mut out = [if sound { right } else { len }.to_ne_bytes(), kind.to_ne_bytes()].concat();
        out.extend(value);
        out.resize(out.len().next_multiple_of(4), 0);
        out
    });
    let kind = prop_oneof![8 => 16..26_u16, 2 => 36..46_u16, 2 => 88..90_u16, 1 => 2..4_u16];
    let fixed = prop_oneof![Just(4_usize), Just(8), Just(12), Just(16), Just(20)];
    let message = (kind, fixed, bytes(20), proptest::collection::vec(attribute, 0..5), 0..20_u32).prop_map(
        |(kind, len, mut fixed, attributes, lie)| {
            fixed.resize(len, 0);
            // Of all families, and so with a place among those that are of none.
            fixed[0] &= 3;
            let body = [fixed, attributes.concat()].concat();
            let right = u32::try_from(16 + body.len()).expect("short");
            let len = if lie == 0 { right.wrapping_add(u32::from(body[1])) } else { right };
            [&len.to_ne_bytes()[..], &kind.to_ne_bytes(), &[0; 10], &body[..]].concat()
        },
    );
    (proptest::collection::vec(message, 0..5), bytes(8)).prop_map(|(all, rest)| [all.concat(), rest].concat())
}

/// Lines as /proc has them, with something else at their ends.
fn table() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        Just(&b"40 22 0:4 net:[4026532300] /run/netns/a\\040b rw - nsfs nsfs rw"[..]),
        Just(&b"40 22 0:4 net:[18446744073709551616] /x rw"[..]),
        Just(&b"1 2 3 net:[7] \\"[..]),
        Just(&b"0::/docker-0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"[..]),
        Just(&b"net:[4026531840]"[..]),
    ];
    proptest::collection::vec((line, bytes(12)), 0..5).prop_map(|lines| {
        lines.into_iter().flat_map(|(line, rest)| [line, &rest[..], &b"\n"[..]].concat()).collect()
    })
}

proptest! {
    #[test]
    fn command_lines(any in bytes(60), words in command_line()) {
        arguments(&any);
        arguments(&words);
    }

    #[test]
    fn datagrams(any in bytes(120), datagram in datagram()) {
        netlink(&any);
        netlink(&datagram);
    }

    #[test]
    fn tables_of_proc(any in bytes(120), table in table()) {
        tables(&any);
        tables(&table);
    }
}
