//! Packets as fast as this machine can make them, for benchmarks: `BPF_PROG_TEST_RUN` with
//! `BPF_F_TEST_XDP_LIVE_FRAMES` (`net/bpf/test_run.c`, `xdp_test_run_batch`), where a program of a few instructions
//! gives each frame another source and sends it out of a device. Needs root and Linux 5.18.

use super::test_run::{TestAttr, load_xdp};
use std::{io, os::fd::OwnedFd};

/// A segment over IPv4 and Ethernet without options and payload.
const FRAME: usize = 14 + 20 + 20;
/// What the program writes.
const IP_CHECKSUM: usize = 14 + 10;
const IP_SOURCE: usize = 14 + 12;
const TCP_SOURCE: usize = 14 + 20;
const TCP_SEQUENCE: usize = 14 + 20 + 4;
const TCP_CHECKSUM: usize = 14 + 20 + 16;

/// Where the packets go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The device that they leave by; its number in the namespace of the thread that runs the generator.
    pub device: u32,
    /// Ethernet addresses: destination, source.
    pub ethernet: [[u8; 6]; 2],
    /// IPv4 address.
    pub address: [u8; 4],
    /// TCP port.
    pub port: u16,
    /// Control bits, the lower eight.
    pub flags: u8,
    /// From whom.
    pub sources: Sources,
}

/// Where the packets are from, as they say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sources {
    /// Each from an address in 11.0.0.0/8 and a port of its own, at random.
    All,
    /// So many bits of the address are at random, up to 24, and the port is always 0.
    Bits(u32),
}

/// Segments to one target from random sources, with random sequence numbers and right checksums.
#[derive(Debug)]
pub struct Generator {
    program: OwnedFd,
    frame: [u8; FRAME],
}

const BPF_F_TEST_XDP_LIVE_FRAMES: u32 = 2;
/// The most that the kernel takes at a time is 256; 64 is its own choice.
const BATCH: u32 = 64;

impl Generator {
    /// Loads the program for that target.
    pub fn new(target: &Target) -> Result<Self, io::Error> {
        let frame = frame(target);
        Ok(Self { program: load_xdp(&program(target, &frame))?, frame })
    }

    /// Sends so many, and returns when they are sent. What the device cannot take is dropped there.
    pub fn send(&self, packets: u32) -> Result<(), io::Error> {
        TestAttr::new(packets, BPF_F_TEST_XDP_LIVE_FRAMES, BATCH).run(&self.program, &self.frame)
    }
}

/// The frame that all are made from: its checksums are those of zero in place of what the program fills in.
fn frame(target: &Target) -> [u8; FRAME] {
    let mut frame = [0; FRAME];
    frame[..6].copy_from_slice(&target.ethernet[0]);
    frame[6..12].copy_from_slice(&target.ethernet[1]);
    frame[12..14].copy_from_slice(&[8, 0]);
    // Version and length, 40 octets, do not fragment, 64 hops, TCP.
    frame[14..24].copy_from_slice(&[0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6]);
    frame[30..34].copy_from_slice(&target.address);
    frame[36..38].copy_from_slice(&target.port.to_be_bytes());
    // An acknowledgement of nothing in particular; five words, control bits, a window.
    frame[42..50].copy_from_slice(&[0x12, 0x34, 0x56, 0x78, 0x50, target.flags, 0xff, 0xff]);
    frame
}

/// The sum of what never changes, as 16-bit words in network order, added up in the host's (RFC 1071 §2 (B)).
fn sum(bytes: &[u8]) -> u32 {
    bytes.chunks_exact(2).map(|word| u32::from(u16::from_ne_bytes([word[0], word[1]]))).sum()
}

/// An instruction: opcode, registers (source in the upper half), offset, immediate (`struct bpf_insn`).
type Instruction = [u8; 8];

fn instruction(opcode: u8, dst: u8, src: u8, offset: i16, immediate: i32) -> Instruction {
    let [o0, o1] = offset.to_ne_bytes();
    let [i0, i1, i2, i3] = immediate.to_ne_bytes();
    [opcode, src << 4 | dst, o0, o1, i0, i1, i2, i3]
}

/// Of the packet at R6: a random source at 26 (11.x.x.x), a random port and sequence number at 34 and 38, and the two
/// checksums, from the sums of what never changes, which are worked out here: the generator must cost less than what it
/// measures. Then it is sent out of the device.
fn program(target: &Target, frame: &[u8; FRAME]) -> Vec<Instruction> {
    const GET_PRANDOM_U32: i32 = 7;
    const REDIRECT: i32 = 23;
    let place = |at: usize| i16::try_from(at).unwrap_or(i16::MAX);
    let load = |dst, src, at| instruction(0x61, dst, src, at, 0); // *(u32 *)
    let store16 = |at, src| instruction(0x6b, 6, src, at, 0);
    let store32 = |at, src| instruction(0x63, 6, src, at, 0);
    let mov = |dst, src| instruction(0xbf, dst, src, 0, 0);
    let mov_number = |dst, number| instruction(0xb7, dst, 0, 0, number);
    let add = |dst, src| instruction(0x0f, dst, src, 0, 0);
    let and = |dst, number| instruction(0x57, dst, 0, 0, number);
    let or = |dst, number| instruction(0x47, dst, 0, 0, number);
    let shift_right = |dst, bits| instruction(0x77, dst, 0, 0, bits);
    let complement = |dst| instruction(0xa7, dst, 0, 0, -1);
    let call = |helper| instruction(0x85, 0, 0, 0, helper);
    // Adds the two halves of a word to a sum; R3 is used.
    let add_halves =
        |to, word| [mov(3, word), and(3, 0xffff), add(to, 3), mov(3, word), shift_right(3, 16), add(to, 3)];
    // Twice is enough for sums below 2^32.
    let fold = |sum| {
        let once = [mov(3, sum), shift_right(3, 16), and(sum, 0xffff), add(sum, 3)];
        [once, once].concat()
    };

    let mut code = vec![
        load(6, 1, 0), // data
        load(2, 1, 4), // data_end
        mov(3, 6),
        instruction(0x07, 3, 0, 0, i32::try_from(FRAME).unwrap_or(i32::MAX)),
        // Shorter than the frame: pass. The distance is filled in below.
        instruction(0x2d, 3, 2, 0, 0),
    ];
    let check = code.len() - 1;
    // R7: the address. Its first octet is 11, whichever end of the word that is.
    let (random, ports) = match target.sources {
        Sources::All => (24, 0xffff),
        Sources::Bits(bits) => (bits.min(24), 0),
    };
    let (keep, eleven) = (((1_u32 << random) - 1).to_be(), (11_u32 << 24).to_be());
    code.extend([
        call(GET_PRANDOM_U32),
        mov(7, 0),
        instruction(0x54, 7, 0, 0, keep.cast_signed()),
        or(7, eleven.cast_signed()),
    ]);
    // R9: the sequence number, R8: the port in its lower half, the same random bits: that suffices.
    code.extend([call(GET_PRANDOM_U32), mov(9, 0), mov(8, 0), and(8, ports)]);
    code.extend([
        store32(place(IP_SOURCE), 7),
        store16(place(TCP_SOURCE), 8),
        store32(place(TCP_SEQUENCE), 9),
    ]);
    // IPv4: R4 is the sum of the header with zeros in place of the source and the checksum.
    let constant = |bytes: &[u8]| i32::try_from(sum(bytes)).unwrap_or(i32::MAX);
    code.push(mov_number(4, constant(&frame[14..34])));
    code.extend(add_halves(4, 7));
    code.extend(fold(4));
    code.extend([complement(4), store16(place(IP_CHECKSUM), 4)]);
    // TCP: R5 is that of the pseudo-header and the header, likewise (RFC 9293 §3.1).
    code.push(mov_number(5, constant(&[&[0, 6, 0, 20][..], &frame[30..]].concat())));
    code.extend([add_halves(5, 7), add_halves(5, 9)].concat());
    code.push(add(5, 8));
    code.extend(fold(5));
    code.extend([complement(5), store16(place(TCP_CHECKSUM), 5)]);
    code.extend([
        mov_number(1, target.device.cast_signed()),
        mov_number(2, 0),
        call(REDIRECT),
        instruction(0x95, 0, 0, 0, 0),
    ]);
    let pass = i16::try_from(code.len() - check - 1).unwrap_or(i16::MAX);
    code[check] = instruction(0x2d, 3, 2, pass, 0);
    code.extend([mov_number(0, 2), instruction(0x95, 0, 0, 0, 0)]);
    code
}
