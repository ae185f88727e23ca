//! Records as the kernel programs put them into the ring on a server: of each connection six, those of thousands of
//! connections among each other.

use crate::packets::Rng;
use tcptrace::segment::{Input, Observation};
use tcptrace_common::{
    abi::{BIT_EGRESS, MAX_OPTIONS, NO_VLAN, Record, RecordKind, SynRecord},
    tcp::TcpFlags,
};
use zerocopy::{FromBytes as _, IntoBytes as _};

/// Of one connection: SYN, SYN-ACK, ACK, FIN, FIN, ACK.
pub(crate) const RECORDS: usize = 6;
/// Connections that open in a second, about as many as two processors can make.
const RATE: u64 = 40_000;
/// MSS 1460, SACK permitted, time stamps, window scale 7: what Linux sends.
const OPTIONS: [u8; 20] = [2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7];
/// The interface that they passed.
pub(crate) const INTERFACE: u32 = 3;
/// The server's.
const SERVER: [u8; 16] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 77, 0, 2];
const CLIENT: [u8; 16] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 1];

/// In the order of time, one behind the other.
pub(crate) struct Stream {
    bytes: Vec<u8>,
    /// Where each ends.
    ends: Vec<usize>,
    span_ns: u64,
}

impl Stream {
    pub(crate) fn new(connections: u32) -> Self {
        let mut rng = Rng(1);
        let mut records: Vec<Record> = (0..connections).flat_map(|number| life(number, &mut rng)).collect();
        records.sort_by_key(|record| record.ts);
        let mut stream = Self { bytes: Vec::new(), ends: Vec::new(), span_ns: 0 };
        for record in records {
            stream.span_ns = record.ts;
            if record.options_len > 0 {
                let mut options = [0; MAX_OPTIONS];
                options[..OPTIONS.len()].copy_from_slice(&OPTIONS);
                stream.bytes.extend_from_slice(SynRecord { record, options }.as_bytes());
            } else {
                stream.bytes.extend_from_slice(record.as_bytes());
            }
            stream.ends.push(stream.bytes.len());
        }
        stream
    }

    pub(crate) fn records(&self) -> impl Iterator<Item = &[u8]> {
        let begins = std::iter::once(0).chain(self.ends.iter().copied());
        begins.zip(&self.ends).map(|(begin, &end)| &self.bytes[begin..end])
    }

    /// The same connections of other clients, after those before.
    pub(crate) fn go_on(&mut self) {
        let mut begin = 0;
        for &end in &self.ends {
            let place = &mut self.bytes[begin..begin + size_of::<Record>()];
            if let Ok(record) = Record::mut_from_bytes(place) {
                record.ts += self.span_ns;
                let client = if record.bits & BIT_EGRESS == 0 { &mut record.src } else { &mut record.dst };
                client[13] = client[13].wrapping_add(1);
            }
            begin = end;
        }
    }
}

/// A client comes from far away, asks, is answered and closes.
fn life(number: u32, rng: &mut Rng) -> [Record; RECORDS] {
    let mut below = |bound: u64| rng.next() % bound;
    let (isn, answer) = (number.wrapping_mul(77), number.wrapping_mul(1013));
    let round_trip = 100_000 + below(20_000_000);
    let open = 1_000_000 + below(200_000_000);
    let begin = u64::from(number) * 1_000_000_000 / RATE;
    let [a, b, ..] = (number / 50_000).to_le_bytes();
    let mut src = CLIENT;
    src[14..].copy_from_slice(&[b, a + 1]);
    let port = u16::try_from(10_000 + number % 50_000).unwrap_or(u16::MAX);
    let client = Record {
        src,
        dst: SERVER,
        ifindex: INTERFACE,
        src_port: port,
        dst_port: 443,
        window: 502,
        vlan: [NO_VLAN; 2],
        ttl: 57,
        ..Record::EMPTY
    };
    let server =
        Record { src: SERVER, dst: src, src_port: 443, dst_port: port, ttl: 64, bits: BIT_EGRESS, ..client };
    let syn = |record| Record { options_len: 20, ..record };
    let at = |record: Record, ts, kind: RecordKind, flags: TcpFlags, seq, ack| Record {
        ts: begin + ts,
        kind: kind as u8,
        flags: flags.0,
        seq,
        ack,
        number: number + 1,
        ..record
    };
    let (sent, got) = (isn.wrapping_add(301), answer.wrapping_add(20_001));
    let after = |seq: u32| seq.wrapping_add(1);
    let (fin_ack, syn_ack, ack) = (TcpFlags(0x11), TcpFlags(0x12), TcpFlags(0x10));
    [
        syn(at(client, 0, RecordKind::Syn, TcpFlags(0x02), isn, 0)),
        syn(at(server, 20_000, RecordKind::SynAck, syn_ack, answer, after(isn))),
        at(client, 20_000 + round_trip, RecordKind::Ack, ack, after(isn), after(answer)),
        at(client, open + round_trip, RecordKind::Fin, fin_ack, sent, got),
        at(server, open + round_trip + 50_000, RecordKind::Fin, fin_ack, got, after(sent)),
        at(client, open + 2 * round_trip + 50_000, RecordKind::Ack, ack, after(sent), after(got)),
    ]
}

/// As the live source hands it on.
pub(crate) fn input(bytes: &[u8]) -> Input {
    use tcptrace::segment::{Direction, Sender};
    let mut what = match tcptrace::decode::record(bytes) {
        Ok(record) => record.what,
        Err(error) => panic!("a record of our own does not decode: {error}"),
    };
    if let Observation::Segment(segment) = &mut what {
        segment.sender = if segment.direction == Direction::Egress { Sender::Here } else { Sender::There };
    }
    what.into()
}
