//! The two capture files that are read: the same bytes on every machine and in every run, so that figures compare.
//!
//! IPv4 over Ethernet in pcap with microseconds, which every tool reads. IP headers have their checksum; TCP
//! checksums are zero, as where a NIC computes them, and no tool here was asked to check them.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::Path,
};

const SYN: u8 = 0x02;
const ACK: u8 = 0x10;
const PSH: u8 = 0x08;
const FIN: u8 = 0x01;
/// Connections that open (and close) in turns.
const TOGETHER: u32 = 64;
/// Ethernet, IPv4 and TCP with time stamps.
const HEADERS: usize = 14 + 20 + 32;
/// Packet header and headers of a segment with the largest payload.
const LARGEST: usize = 16 + 1514;
/// MSS 1460, SACK permitted, time stamps, window scale 7: what Linux sends.
const SYN_OPTIONS: [u8; 20] = [2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7];
const OPTIONS: [u8; 12] = [1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 1];

/// What a file holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Contents {
    /// Connections.
    pub(crate) connections: u32,
    /// Data segments and bare acknowledgements of all of them, in random order between the opens and the closes.
    pub(crate) data: u32,
    /// Microseconds from one packet to the next.
    pub(crate) step: u64,
}

/// What was written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Written {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
}

/// Writes a file. With data, all connections are open at once; without, each is over within a few hundred packets.
pub(crate) fn write(path: &Path, contents: Contents) -> io::Result<Written> {
    let mut file = Capture::create(path, contents.step)?;
    let mut connections = (0..contents.connections).map(Connection::new).collect::<Vec<_>>();
    if contents.data == 0 {
        for together in connections.chunks_mut(TOGETHER as usize) {
            file.open(together)?;
            file.close(together)?;
        }
    } else {
        for together in connections.chunks_mut(TOGETHER as usize) {
            file.open(together)?;
        }
        let mut random = Random(1);
        for _ in 0..contents.data {
            let connection = random.below(contents.connections) as usize;
            file.data(&mut connections[connection], &mut random)?;
        }
        for together in connections.chunks_mut(TOGETHER as usize) {
            file.close(together)?;
        }
    }
    file.out.flush()?;
    Ok(Written { packets: file.packets, bytes: fs::metadata(path)?.len() })
}

/// Both ends of a connection; the client is 0.
struct Connection {
    addresses: [[u8; 4]; 2],
    ports: [u16; 2],
    next: [u32; 2],
}

impl Connection {
    fn new(number: u32) -> Self {
        // 28,000 ports of a client, as Linux uses them, then the next client; 251 servers in turn.
        let (client, port) = (number / 28_000, number % 28_000);
        let [_, _, high, low] = client.to_be_bytes();
        let server = u8::try_from(number % 251).unwrap_or_default();
        Self {
            addresses: [[10, 1, high, low], [192, 0, 2, server]],
            ports: [32_768 + u16::try_from(port).unwrap_or_default(), 443],
            // Any numbers do, as long as they are not all alike.
            next: [number.wrapping_mul(0x9e37_79b1), number.wrapping_mul(0x85eb_ca6b)],
        }
    }
}

/// Vigna's xorshift64*: nothing is asked of it but to be the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u32) -> u32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32;
        u32::try_from((high * u64::from(limit)) >> 32).unwrap_or_default()
    }

    /// Octets of payload: mostly bare acknowledgements, some messages, some full segments.
    fn payload(&mut self) -> u16 {
        let (from, to) = match self.below(100) {
            0..70 => return 0,
            70..90 => (1, 200),
            90..97 => (200, 1000),
            _ => return 1448,
        };
        from + u16::try_from(self.below(to)).unwrap_or_default()
    }
}

struct Capture {
    out: BufWriter<File>,
    step: u64,
    time: u64,
    packets: u64,
}

impl Capture {
    fn create(path: &Path, step: u64) -> io::Result<Self> {
        let mut out = BufWriter::with_capacity(1 << 20, File::create(path)?);
        out.write_all(&0xa1b2_c3d4_u32.to_le_bytes())?;
        for half in [2_u16, 4] {
            out.write_all(&half.to_le_bytes())?;
        }
        for word in [0_u32, 0, 65_535, 1] {
            out.write_all(&word.to_le_bytes())?;
        }
        Ok(Self { out, step, time: 1_700_000_000_000_000, packets: 0 })
    }

    fn open(&mut self, together: &mut [Connection]) -> io::Result<()> {
        self.each(together, 0, SYN)?;
        self.each(together, 1, SYN | ACK)?;
        self.each(together, 0, ACK)
    }

    fn close(&mut self, together: &mut [Connection]) -> io::Result<()> {
        self.each(together, 0, FIN | ACK)?;
        self.each(together, 1, FIN | ACK)?;
        self.each(together, 0, ACK)
    }

    fn each(&mut self, together: &mut [Connection], from: usize, flags: u8) -> io::Result<()> {
        together.iter_mut().try_for_each(|connection| self.segment(connection, from, flags, 0))
    }

    fn data(&mut self, connection: &mut Connection, random: &mut Random) -> io::Result<()> {
        let (from, payload) = (random.below(2) as usize, random.payload());
        self.segment(connection, from, if payload > 0 { PSH | ACK } else { ACK }, payload)
    }

    /// Writes one segment of the end `from`.
    fn segment(&mut self, it: &mut Connection, from: usize, flags: u8, payload: u16) -> io::Result<()> {
        let to = 1 - from;
        let options = if flags & SYN != 0 { &SYN_OPTIONS[..] } else { &OPTIONS };
        let tcp = 20 + options.len();
        let len = HEADERS - OPTIONS.len() + options.len() + usize::from(payload);
        let mut packet = [0; LARGEST];
        let [seconds, fraction] = [self.time / 1_000_000, self.time % 1_000_000]
            .map(|half| u32::try_from(half).unwrap_or_default());
        let size = u32::try_from(len).unwrap_or_default();
        for (place, word) in packet.chunks_exact_mut(4).zip([seconds, fraction, size, size]) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        let frame = &mut packet[16..];
        frame[..14].copy_from_slice(&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0]);
        let total = u16::try_from(len - 14).unwrap_or_default();
        frame[14..34].copy_from_slice(&ipv4(total, it.addresses[from], it.addresses[to]));
        frame[34..36].copy_from_slice(&it.ports[from].to_be_bytes());
        frame[36..38].copy_from_slice(&it.ports[to].to_be_bytes());
        frame[38..42].copy_from_slice(&it.next[from].to_be_bytes());
        let ack = if flags & ACK == 0 { 0 } else { it.next[to] };
        frame[42..46].copy_from_slice(&ack.to_be_bytes());
        // The header's length in words of four, in the upper half.
        frame[46] = u8::try_from(tcp << 2).unwrap_or_default();
        frame[47] = flags;
        frame[48..50].copy_from_slice(&0xfa00_u16.to_be_bytes());
        frame[54..54 + options.len()].copy_from_slice(options);
        self.out.write_all(&packet[..16 + len])?;
        let control = u32::from(flags & (SYN | FIN) != 0);
        it.next[from] = it.next[from].wrapping_add(u32::from(payload) + control);
        self.time += self.step;
        self.packets += 1;
        Ok(())
    }
}

/// An IPv4 header without options (RFC 791 §3.1), with its checksum.
fn ipv4(total: u16, from: [u8; 4], to: [u8; 4]) -> [u8; 20] {
    let mut header = [0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    header[2..4].copy_from_slice(&total.to_be_bytes());
    header[12..16].copy_from_slice(&from);
    header[16..20].copy_from_slice(&to);
    let sum = header.chunks_exact(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum::<u32>();
    let sum = (sum & 0xffff) + (sum >> 16);
    let folded = u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap_or_default();
    header[10..12].copy_from_slice(&(!folded).to_be_bytes());
    header
}
