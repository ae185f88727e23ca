//! Filters in the kernel programs: what they make records of is what the same program takes in user space, packet for
//! packet, and a filter is changed without loading anything. Needs root and BPF: without them these tests fail.
#![expect(clippy::cast_possible_truncation, reason = "small numbers of generated packets")]

use aya::util::KernelVersion;
use packets::{Frame, Rng};
use tcptrace::{decode, filter::Filter, names::SystemNames, parse::Parser};
use tcptrace_common::{
    abi::SEED_WORDS,
    filter::{MAX_STEPS, Program as FilterProgram},
    record::Sighting,
    wire::{Bytes, Link, tunnel::Decap},
};
use tcptrace_testing::kernel::test_run::{Harness, Program};
use tcptrace_testing::packets;

const SEEDS: [u64; SEED_WORDS] = [0x5eed; SEED_WORDS];

const FILTERS: [&str; 24] = [
    "",
    "tcp",
    "ip",
    "ip6",
    "host 10.0.0.1",
    "src host 10.0.0.2",
    "dst net 10.0.0.0/30",
    "not host 10.0.0.3",
    "host 2001:db8::a00:1",
    "net 2001:db8::/32",
    "net ::/0",
    "port 80",
    "src port 81",
    "not dst port 80",
    "src and dst port 82",
    "portrange 80-81",
    "port in {80 83}",
    "vlan",
    "vlan 5",
    "not vlan and port 80",
    "inbound",
    "outbound and ip6",
    "host 10.0.0.1 and tcp port 80 or (net 2001:db8::/32 and not port 82)",
    "not (src host 10.0.0.1 and (dst port 80 or dst port 81)) and not (vlan 5 or vlan 6)",
];

fn load() -> Harness {
    Harness::load(&SEEDS, 64, 1 << 20)
        .unwrap_or_else(|error| panic!("these tests need root and BPF: {error}"))
}

fn frame(rng: &mut Rng) -> Frame {
    let flags = [2, 0x12, 0x10, 0x11, 4, 0x14, 0x18][rng.below(7)];
    let vlans = [&[][..], &[5], &[6, 5]][rng.below(3)].to_vec();
    Frame {
        ipv6: rng.below(2) == 0,
        src: 0x0a00_0001 + rng.below(5) as u32,
        dst: 0x0a00_0001 + rng.below(5) as u32,
        src_port: 80 + rng.below(4) as u16,
        dst_port: 80 + rng.below(4) as u16,
        flags,
        vlans,
        ..Frame::default()
    }
}

fn of_kernel(filter: &Filter) -> Box<FilterProgram> {
    filter.program().unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn the_kernel_takes_what_user_space_takes() {
    let mut harness = load();
    for program in [Program::TcIngress, Program::TcEgress, Program::Xdp] {
        let mut parser = Parser::new(64, SEEDS);
        let sighting = Sighting { ifindex: 1, egress: program == Program::TcEgress, forwarded: false };
        let mut rng = Rng(7);
        for text in FILTERS {
            let filter = Filter::compile(text, &SystemNames).unwrap_or_else(|error| panic!("{error}"));
            harness.set_filter(&of_kernel(&filter)).unwrap_or_else(|error| panic!("{error}"));
            parser.set_filter(&filter);
            let (mut taken, mut left) = (0, 0);
            for _ in 0..300 {
                let frame = frame(&mut rng);
                let bytes = frame.bytes();
                harness.run(program, &bytes, None, 1).unwrap_or_else(|error| panic!("{error}"));
                let kernel = harness.drain().unwrap_or_else(|error| panic!("{error}"));
                let ours = parser.packet(Link::Ethernet, Bytes::whole(&bytes), None, 0, sighting);
                assert_eq!(kernel.len(), usize::from(ours.is_some()), "{program:?} {text:?}: {frame:?}");
                if let (Some(kernel), Some(ours)) = (kernel.first(), &ours) {
                    let kernel = decode::record(kernel).unwrap_or_else(|error| panic!("{error}"));
                    assert_eq!(kernel.what.segment().flow, ours.what.segment().flow);
                }
                *(if ours.is_some() { &mut taken } else { &mut left }) += 1;
            }
            assert!(taken > 0 && left > 0, "{text:?} took {taken} and left {left}");
        }
        assert_eq!(&harness.counters().unwrap_or_else(|error| panic!("{error}")), parser.counters());
        harness.clear().unwrap_or_else(|error| panic!("{error}"));
    }
}

/// As long as a program can be, and true only at its very end.
#[test]
fn the_longest_filter() {
    let ports: Vec<String> = (0..MAX_STEPS / 2).map(|port| (1000 + port).to_string()).collect();
    let text = format!("port in {{{}}}", ports.join(" "));
    let filter = Filter::compile(&text, &SystemNames).unwrap_or_else(|error| panic!("{error}"));
    let program = of_kernel(&filter);
    assert_eq!(program.len as usize, MAX_STEPS);
    let mut harness = load();
    harness.set_filter(&program).unwrap_or_else(|error| panic!("{error}"));
    let last = 1000 + MAX_STEPS as u16 / 2 - 1;
    for (dst_port, records) in [(last, 1), (last + 1, 0)] {
        let syn = Frame { flags: 2, dst_port, ..Frame::default() }.bytes();
        harness.run(Program::TcIngress, &syn, None, 1).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(harness.drain().unwrap_or_else(|error| panic!("{error}")).len(), records, "{dst_port}");
    }
}

/// A fifth of what the kernel allows, and three tenths with all that can be asked for. Older kernels find fewer ways alike, and
/// may walk twice as many.
#[test]
fn the_verifier_walks_few_instructions() {
    let old = KernelVersion::current().is_ok_and(|version| version < KernelVersion::new(6, 6, 0));
    let factor = if old { 2 } else { 1 };
    let load_to_decap = || {
        Harness::load_with_decap(&SEEDS, 64, 1 << 20, &Decap::all())
            .unwrap_or_else(|error| panic!("these tests need root and BPF: {error}"))
    };
    let load_with_first_byte = || {
        Harness::load_with_first_byte(&SEEDS, 64, 1 << 20, &Decap::all())
            .unwrap_or_else(|error| panic!("these tests need root and BPF: {error}"))
    };
    for (harness, what, most) in [
        (load(), "nothing more", 200_000 * factor),
        (load_to_decap(), "all tunnels", 200_000 * factor),
        (load_with_first_byte(), "all tunnels and first data", 300_000 * factor),
    ] {
        for program in Program::ALL {
            let walked =
                harness.verified_instructions(program).unwrap_or_else(|error| panic!("{program:?}: {error}"));
            eprintln!("{program:?}, {what}: {walked:?} instructions");
            // Kernels before 5.16 do not say.
            assert!(walked.is_none_or(|walked| walked < most), "{program:?}, {what}: {walked:?}");
        }
    }
}
