//! Decodes the records of the ring. Bytes that are not exactly a record are an error.

use crate::{
    request,
    segment::{Direction, Flow, IcmpError, Observation, RawOptions, Segment, Sender, Timestamp},
    socket::{SenderSocket, SocketFacts, SocketOwner, SocketProcess},
    tunnel::{self, Layer},
};
use std::mem::offset_of;
use tcptrace_common::{
    abi::{
        self, BIT_CUT, BIT_EGRESS, BIT_FORWARDED, BIT_FRAGMENT, BIT_IPV6, BIT_PROCESS, BIT_SOCKET,
        BIT_TUNNEL, MAX_OPTIONS, MORE_REQUEST, Owner, Process, RecordKind, Socket, Tunnel,
    },
    seq::SeqNum,
    tcp::TcpFlags,
};
use zerocopy::FromBytes as _;

/// A record of the ring, decoded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// The number of the CPU that made the record.
    pub cpu: u16,
    /// The running number of the record on its CPU, from 1, modulo 2^32. A gap is a loss.
    pub number: u32,
    /// The network namespace of the packet, as the number that the kernel programs there were given. Interface indexes
    /// of different namespaces are unrelated.
    pub netns: u16,
    /// The kind of segment that the record is about.
    pub kind: RecordKind,
    /// Whether the packet was seen on egress, but was not sent by this host.
    pub forwarded: bool,
    /// The segment or ICMP error. Its sender is [`Sender::Unknown`] until the source fills it in; the capturing
    /// interface is the `flow.interface` of its segment.
    pub what: Observation,
}

/// Why bytes are not a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Error {
    /// No layout of a record has this length.
    #[error("a record of {0} bytes")]
    Length(usize),
    /// The kind is not known, or does not have this layout.
    #[error("a record of kind {0}")]
    RecordKind(u8),
    /// There are more options than a header holds, or a part of a word of them.
    #[error("a record with {0} bytes of options")]
    Options(u8),
    /// Bits are set that have no meaning.
    #[error("a record with unknown bits")]
    Bits,
    /// The record has a socket, and its kind of segment has none or another one, or the socket's reserved bytes are not
    /// zero.
    #[error("a record with a socket that does not belong to it")]
    Socket,
    /// The record has a process that did nothing known, or its reserved bytes are not zero.
    #[error("a record with a process that makes no sense")]
    Process,
    /// The record has a request, and is of a kind that has none, or the request's length or reserved bytes cannot be.
    #[error("a record with a request that does not belong to it")]
    Request,
    /// The tunnel is of no known kind, or its reserved bytes are not zero.
    #[error("a record with an unknown tunnel")]
    Tunnel,
}

/// What follows the part that all records have.
#[derive(Clone, Copy)]
pub(crate) enum Trailer<'a> {
    Nothing,
    /// The room for the options of a segment with SYN; the record says how much of it they fill.
    Options(&'a [u8; MAX_OPTIONS]),
    /// The sender, the type and the code of an ICMP error.
    Icmp {
        from: [u8; 16],
        kind: u8,
        code: u8,
    },
}

impl Trailer<'_> {
    pub(crate) const fn icmp(of: &abi::IcmpRecord) -> Self {
        Self::Icmp { from: of.from, kind: of.icmp_type, code: of.icmp_code }
    }

    /// The options of the segment with this record, which says how many there are.
    #[inline]
    fn options(self, record: &abi::Record) -> Option<RawOptions> {
        let Self::Options(bytes) = self else { return None };
        let options = RawOptions::new(&bytes[..usize::from(record.options_len).min(MAX_OPTIONS)]);
        Some(if record.bits & BIT_CUT != 0 { options.cut() } else { options })
    }

    const fn belongs_to(self, kind: RecordKind) -> bool {
        match kind {
            RecordKind::Syn | RecordKind::SynAck => matches!(self, Self::Options(_)),
            RecordKind::Icmp => matches!(self, Self::Icmp { .. }),
            RecordKind::Rst | RecordKind::Fin | RecordKind::Ack => matches!(self, Self::Nothing),
        }
    }
}

/// What lies in the ring besides records.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Item {
    /// What a process did, and when, with the socket of this number.
    Act(Timestamp, u64, SocketProcess),
    /// The process of this number runs the program at this path; the path is empty where it does not begin at the root, or is too
    /// long.
    Exec(u32, String),
    /// The first process has made the second.
    Fork(u32, u32),
}

/// Decodes what lies in the ring and is no record; `None` where its length is that of no such item, so that it should be one.
#[must_use]
pub fn item(bytes: &[u8]) -> Option<Result<Item, Error>> {
    if let Ok(abi::TimedAct { ts, act }) = abi::TimedAct::read_from_bytes(bytes) {
        let process = SocketProcess::of(&act.process).flatten().ok_or(Error::Process);
        return Some(process.map(|process| Item::Act(Timestamp(ts), act.cookie, process)));
    }
    if let Ok(abi::Fork { parent, child }) = abi::Fork::read_from_bytes(bytes) {
        return Some(Ok(Item::Fork(parent, child)));
    }
    let abi::Exec { pid, zero, path } = abi::Exec::read_from_bytes(bytes).ok()?;
    let Some(end) = path.iter().position(|&byte| byte == 0).filter(|_| zero == 0) else {
        return Some(Err(Error::Process));
    };
    let is_whole = path[0] == b'/' && end + 1 < path.len();
    let path = if is_whole { &path[..end] } else { &[] };
    Some(Ok(Item::Exec(pid, String::from_utf8_lossy(path).into_owned())))
}

/// Decodes one record of the ring.
pub fn record(bytes: &[u8]) -> Result<Record, Error> {
    let bits = bytes.get(offset_of!(abi::Record, bits)).copied().unwrap_or_default();
    match (bits & (BIT_TUNNEL | BIT_SOCKET | BIT_PROCESS), more(bytes)) {
        (0, 0) => decode_parts(bytes, &[]),
        (0, MORE_REQUEST) => with_request(bytes),
        (BIT_TUNNEL, 0) => {
            let (bytes, tunnel) = split::<{ size_of::<Tunnel>() }>(bytes)?;
            decode_parts(bytes, &[zerocopy::transmute!(*tunnel)])
        }
        (BIT_SOCKET, 0) => with_socket(bytes, None),
        (both, 0) if both == BIT_SOCKET | BIT_PROCESS => {
            let (bytes, process) = split::<{ size_of::<Process>() }>(bytes)?;
            let process: Process = zerocopy::transmute!(*process);
            with_socket(bytes, SocketProcess::of(&process).ok_or(Error::Process)?)
        }
        _ => Err(Error::Bits),
    }
}

/// Splits what follows a record off it.
fn split<const N: usize>(bytes: &[u8]) -> Result<(&[u8], &[u8; N]), Error> {
    bytes.split_last_chunk().ok_or(Error::Length(bytes.len()))
}

fn more(bytes: &[u8]) -> u16 {
    let at = offset_of!(abi::Record, more);
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |more| u16::from_ne_bytes(*more))
}

/// Decodes a record that is followed by the beginning of a request.
fn with_request(bytes: &[u8]) -> Result<Record, Error> {
    let (bytes, block) = split::<{ size_of::<abi::Request>() }>(bytes)?;
    let block: abi::Request = zerocopy::transmute!(*block);
    let mut record = decode_parts(bytes, &[])?;
    let len = usize::try_from(block.len).unwrap_or(usize::MAX);
    let octets = block.octets.get(..len).filter(|_| record.kind == RecordKind::Ack && block.zero == 0);
    record.what.segment_mut().request = request::read(octets.ok_or(Error::Request)?).map(Box::new);
    Ok(record)
}

/// Decodes a record that is followed by what is known of the socket.
fn with_socket(bytes: &[u8], process: Option<SocketProcess>) -> Result<Record, Error> {
    let kind = bytes.get(offset_of!(abi::Record, kind)).copied().and_then(RecordKind::from_code);
    let (bytes, cookie, facts) = match kind {
        Some(RecordKind::Syn | RecordKind::SynAck) => {
            let (bytes, owner) = split::<{ size_of::<Owner>() }>(bytes)?;
            let owner: Owner = zerocopy::transmute!(*owner);
            if owner.zero != 0 {
                return Err(Error::Socket);
            }
            (bytes, owner.cookie, SocketFacts::Owner(SocketOwner::of(&owner)))
        }
        Some(RecordKind::Fin | RecordKind::Rst) => {
            let (bytes, socket) = split::<{ size_of::<Socket>() }>(bytes)?;
            let socket: Socket = zerocopy::transmute!(*socket);
            (bytes, socket.cookie, SocketFacts::Numbers(socket))
        }
        _ => return Err(Error::Socket),
    };
    let mut record = decode_parts(bytes, &[])?;
    record.what.segment_mut().socket = Some(Box::new(SenderSocket { cookie, facts, process }));
    Ok(record)
}

/// Decodes a record whose tunnel, if it has one, was split off.
fn decode_parts(bytes: &[u8], tunnels: &[Tunnel]) -> Result<Record, Error> {
    if let Ok(plain) = abi::Record::read_from_bytes(bytes) {
        decode(&plain, Trailer::Nothing, tunnels)
    } else if let Ok(syn) = abi::SynRecord::read_from_bytes(bytes) {
        decode(&syn.record, Trailer::Options(&syn.options), tunnels)
    } else if let Ok(icmp) = abi::IcmpRecord::read_from_bytes(bytes) {
        if icmp.reserved != [0; 6] {
            return Err(Error::Bits);
        }
        decode(&icmp.record, Trailer::icmp(&icmp), tunnels)
    } else {
        Err(Error::Length(bytes.len() + size_of_val(tunnels)))
    }
}

/// Decodes the parts of a record: what all records have, what follows it, and the tunnels around the packet, the
/// outermost first.
pub(crate) fn decode(
    record: &abi::Record,
    trailer: Trailer<'_>,
    tunnels: &[Tunnel],
) -> Result<Record, Error> {
    let kind = RecordKind::from_code(record.kind)
        .filter(|&kind| trailer.belongs_to(kind))
        .ok_or(Error::RecordKind(record.kind))?;
    let options_len = usize::from(record.options_len);
    let is_icmp = kind == RecordKind::Icmp;
    if options_len > MAX_OPTIONS || !options_len.is_multiple_of(4) || (is_icmp && options_len != 0) {
        return Err(Error::Options(record.options_len));
    }
    // Every bit of `bits` has a meaning.
    if record.flags > 0x01ff {
        return Err(Error::Bits);
    }
    let mut decoded = assemble(record, kind, trailer);
    if !tunnels.is_empty() {
        enclose(&mut decoded, tunnels).ok_or(Error::Tunnel)?;
    }
    Ok(decoded)
}

/// Puts a record together that makes sense. It is written where the caller wants it, as it is large.
#[inline(always)]
pub(crate) fn assemble(record: &abi::Record, kind: RecordKind, trailer: Trailer<'_>) -> Record {
    Record {
        cpu: record.cpu,
        number: record.number,
        netns: record.netns,
        kind,
        forwarded: record.bits & BIT_FORWARDED != 0,
        what: match trailer {
            Trailer::Icmp { from, kind, code } => {
                Observation::Icmp(IcmpError { quoted: segment(record, None), from, kind, code })
            }
            Trailer::Nothing | Trailer::Options(_) => {
                Observation::Segment(segment(record, trailer.options(record)))
            }
        },
    }
}

/// Puts a record into tunnels; `None` where one of them makes no sense.
pub(crate) fn enclose(record: &mut Record, tunnels: &[Tunnel]) -> Option<()> {
    let layers = tunnels.iter().map(Layer::of).collect::<Option<Box<[Layer]>>>()?;
    let segment = record.what.segment_mut();
    segment.flow.tunnel = tunnel::identity(&layers);
    segment.encapsulation = Some(layers);
    Some(())
}

#[inline(always)]
fn segment(record: &abi::Record, options: Option<RawOptions>) -> Segment {
    let egress = record.bits & BIT_EGRESS != 0;
    Segment {
        ts: Timestamp(record.ts),
        flow: Flow {
            src: record.src,
            dst: record.dst,
            src_port: record.src_port,
            dst_port: record.dst_port,
            interface: record.ifindex,
            vlan: record.vlan,
            ipv6: record.bits & BIT_IPV6 != 0,
            tunnel: 0,
        },
        flags: TcpFlags(record.flags),
        seq: SeqNum(record.seq),
        ack: SeqNum(record.ack),
        window: record.window,
        payload_len: record.payload_len,
        fragmented: record.bits & BIT_FRAGMENT != 0,
        ttl: record.ttl,
        id: record.id,
        options,
        direction: if egress { Direction::Egress } else { Direction::Ingress },
        sender: Sender::Unknown,
        lot: record.lot,
        encapsulation: None,
        socket: None,
        request: None,
    }
}

#[cfg(test)]
mod tests {
    use super::{Error, Item, item, record};
    use crate::{
        segment::{Flow, Observation, Timestamp},
        socket::{SocketFacts, SocketOwner},
    };
    use tcptrace_common::abi::{
        Act, BIT_IPV6, BIT_PROCESS, BIT_SOCKET, BIT_TUNNEL, IcmpRecord, Owner, Process, Record, RecordKind,
        Socket, SynRecord, TimedAct,
    };
    use zerocopy::{FromBytes as _, IntoBytes as _};

    const PLAIN: Record = Record { kind: RecordKind::Fin as u8, options_len: 12, ..Record::EMPTY };

    #[test]
    fn only_a_record_decodes() {
        let syn =
            SynRecord { record: Record { kind: RecordKind::Syn as u8, ..Record::EMPTY }, options: [0; 40] };
        assert_eq!(record(PLAIN.as_bytes()).map(|record| record.kind), Ok(RecordKind::Fin));
        assert_eq!(record(syn.as_bytes()).map(|record| record.kind), Ok(RecordKind::Syn));
        for (wrong, error) in [
            (Record { kind: 0, ..PLAIN }, Error::RecordKind(0)),
            (Record { kind: 7, ..PLAIN }, Error::RecordKind(7)),
            (Record { kind: RecordKind::Icmp as u8, ..PLAIN }, Error::RecordKind(6)),
            (Record { kind: RecordKind::Syn as u8, ..PLAIN }, Error::RecordKind(1)),
            (Record { options_len: 44, ..PLAIN }, Error::Options(44)),
            (Record { options_len: 3, ..PLAIN }, Error::Options(3)),
            (Record { bits: BIT_PROCESS, ..PLAIN }, Error::Bits),
            (Record { bits: BIT_TUNNEL | BIT_SOCKET, ..PLAIN }, Error::Bits),
            (Record { flags: 0x200, ..PLAIN }, Error::Bits),
        ] {
            assert_eq!(record(wrong.as_bytes()), Err(error), "{wrong:?}");
        }
        let plain_as_syn = SynRecord { record: PLAIN, options: [0; 40] };
        assert_eq!(record(plain_as_syn.as_bytes()), Err(Error::RecordKind(RecordKind::Fin as u8)));
    }

    #[test]
    fn an_icmp_error_has_two_packets_in_one() {
        let plain = Record {
            kind: RecordKind::Icmp as u8,
            src: [1; 16],
            src_port: 40000,
            seq: 7,
            bits: BIT_IPV6,
            netns: 3,
            ..Record::EMPTY
        };
        let icmp =
            IcmpRecord { record: plain, from: [9; 16], icmp_type: 1, icmp_code: 4, ..IcmpRecord::EMPTY };
        let Ok(Observation::Icmp(error)) = record(icmp.as_bytes()).map(|record| record.what) else {
            panic!("{:?}", record(icmp.as_bytes()));
        };
        assert_eq!((error.from, error.kind, error.code), ([9; 16], 1, 4));
        assert_eq!(record(icmp.as_bytes()).map(|record| record.netns), Ok(3));
        let Flow { src, src_port, ipv6, .. } = error.quoted.flow;
        assert_eq!((src, src_port, ipv6, error.quoted.seq.0), ([1; 16], 40000, true, 7));
        assert_eq!(error.quoted.options, None);
        for (wrong, error) in [
            (Record { kind: RecordKind::Syn as u8, ..plain }, Error::RecordKind(1)),
            (Record { kind: RecordKind::Ack as u8, ..plain }, Error::RecordKind(5)),
            (Record { options_len: 4, ..plain }, Error::Options(4)),
            (Record { flags: 0x200, ..plain }, Error::Bits),
        ] {
            assert_eq!(record(IcmpRecord { record: wrong, ..icmp }.as_bytes()), Err(error), "{wrong:?}");
        }
        let reserved = IcmpRecord { reserved: [0, 0, 0, 0, 0, 1], ..icmp };
        assert_eq!(record(reserved.as_bytes()), Err(Error::Bits));
        let as_syn = SynRecord { record: plain, options: [0; 40] };
        assert_eq!(record(as_syn.as_bytes()), Err(Error::RecordKind(6)));
    }

    #[test]
    fn what_is_known_of_a_socket_belongs_to_its_kind_of_record() {
        let numbers =
            Socket { cookie: 7, srtt: 8000, ..Socket::read_from_bytes(&[0; 72]).expect("72 bytes") };
        let with = |kind: RecordKind, block: &[u8]| {
            let plain = Record { kind: kind as u8, bits: BIT_SOCKET, ..Record::EMPTY };
            let syn = SynRecord { record: plain, options: [0; 40] };
            let record = if kind.has_options() { syn.as_bytes() } else { plain.as_bytes() };
            [record, block].concat()
        };
        let socket = |bytes: &[u8]| {
            record(bytes).map(|record| record.what.segment().socket.clone().map(|socket| socket.facts))
        };
        for kind in [RecordKind::Fin, RecordKind::Rst] {
            let known = socket(&with(kind, numbers.as_bytes()));
            assert_eq!(known, Ok(Some(SocketFacts::Numbers(numbers))));
        }
        let owner = Owner { cookie: 7, cgroup: 3, uid: 1000, zero: 0 };
        for kind in [RecordKind::Syn, RecordKind::SynAck] {
            let known = socket(&with(kind, owner.as_bytes()));
            assert_eq!(known, Ok(Some(SocketFacts::Owner(SocketOwner::of(&owner)))));
        }
        assert_eq!(record(&with(RecordKind::Syn, Owner { zero: 1, ..owner }.as_bytes())), Err(Error::Socket));
        assert_eq!(record(&with(RecordKind::Ack, numbers.as_bytes())), Err(Error::Socket));
        // A process follows, or says that none is known.
        let followed = |process: Process| {
            let plain =
                Record { kind: RecordKind::Fin as u8, bits: BIT_SOCKET | BIT_PROCESS, ..Record::EMPTY };
            let bytes = [plain.as_bytes(), numbers.as_bytes(), process.as_bytes()].concat();
            record(&bytes)
                .map(|record| record.what.segment().socket.clone().and_then(|socket| socket.process))
        };
        let closer = Process { pid: 5, tid: 6, comm: *b"sh\0\0\0\0\0\0\0\0\0\0\0\0\0\0", how: 4, zero: 0 };
        assert_eq!(followed(Process::UNKNOWN), Ok(None));
        assert_eq!(
            followed(closer).map(|it| it.map(|it| (it.pid, it.comm()))),
            Ok(Some((5, "sh".to_owned())))
        );
        assert_eq!(followed(Process { how: 9, ..closer }), Err(Error::Process));
        let act = TimedAct { ts: 3, act: Act { cookie: 7, process: closer } };
        assert!(
            matches!(item(act.as_bytes()), Some(Ok(Item::Act(Timestamp(3), 7, process))) if process.pid == 5)
        );
        let nobody = TimedAct { ts: 3, act: Act { cookie: 7, process: Process::UNKNOWN } };
        assert_eq!(item(nobody.as_bytes()), Some(Err(Error::Process)));
        // What is not there whole is an error, whatever it is taken for.
        assert!(record(&with(RecordKind::Fin, owner.as_bytes())).is_err());
        assert!(record(&with(RecordKind::Syn, numbers.as_bytes())).is_err());
        assert!(record(&with(RecordKind::Fin, &[])).is_err());
    }

    #[test]
    fn any_other_length_is_an_error() {
        let bytes = [0_u8; 200];
        for len in (0..200).filter(|len| ![88, 112, 128].contains(len)) {
            assert_eq!(record(&bytes[..len]), Err(Error::Length(len)));
        }
    }
}
