//! The values that a source yields and the tracker consumes, the same from a capture file and from the ring buffer: a
//! segment, an ICMP error, a loss, and the time.

use crate::{
    request::Request,
    socket::{AcceptQueue, SenderSocket, SocketFacts, SocketProcess},
    tunnel::Layer,
};
use std::{fmt, net::IpAddr};
use tcptrace_common::{
    abi::MAX_OPTIONS,
    admission::Admission,
    seq::SeqNum,
    tcp::{TcpFlags, TcpOptions},
    wire::options,
};

/// Nanoseconds on the trace's own time line: `CLOCK_MONOTONIC` for a live trace, the Unix epoch for a file.
/// Only differences mean anything until the output adds the wall clock's offset.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// Stands for a time that nobody knows: events carry it where the source shows none.
    pub const UNKNOWN: Self = Self(u64::MAX);

    /// Nanoseconds from `earlier` to `self`; 0 where `earlier` is the later one, so that a time is never negative.
    #[must_use]
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The time `ns` nanoseconds later, stopping at the end of the time line.
    #[must_use]
    pub const fn plus(self, ns: u64) -> Self {
        Self(self.0.saturating_add(ns))
    }

    /// The time `ns` nanoseconds earlier, stopping at the beginning of the time line.
    #[must_use]
    pub const fn before(self, ns: u64) -> Self {
        Self(self.0.saturating_sub(ns))
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09}", self.0 / 1_000_000_000, self.0 % 1_000_000_000)
    }
}

/// Which way a segment crossed the capture point.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Direction {
    /// The segment came into the host.
    Ingress,
    /// The segment went out of the host.
    Egress,
    /// The direction is not known: most capture files do not say it.
    Unknown,
}

impl Direction {
    /// The direction of a segment that goes the other way.
    #[must_use]
    pub const fn reversed(self) -> Self {
        match self {
            Self::Ingress => Self::Egress,
            Self::Egress => Self::Ingress,
            Self::Unknown => Self::Unknown,
        }
    }
}

/// Whose stack sent a segment, as far as the capture point can tell.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Sender {
    /// This host's own stack: an egress hook saw it, and it was not forwarded.
    Here,
    /// The peer of this host's stack: an ingress hook saw it, addressed to one of the host's own addresses.
    There,
    /// Neither is known: forwarded, bridged, loopback or from a file.
    Unknown,
}

/// The directed four-tuple, and all else by which two connections with equal addresses and ports differ.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Flow {
    /// Source address; IPv4 as an IPv4-mapped address (RFC 4291 §2.5.5.2).
    pub src: [u8; 16],
    /// Destination address; IPv4 as an IPv4-mapped address.
    pub dst: [u8; 16],
    /// Source port, host order.
    pub src_port: u16,
    /// Destination port, host order.
    pub dst_port: u16,
    /// The capturing interface: its index on the host, or its place in the file.
    pub interface: u32,
    /// VLAN identifiers (12 bits), outer first; [`Flow::NO_VLAN`] where there is no tag.
    pub vlan: [u16; 2],
    /// The packet was IPv6 on the wire (an IPv4-mapped address can be either).
    pub ipv6: bool,
    /// A number that stands for the tunnels around the packet ([`crate::tunnel::identity`]); 0 without any.
    pub tunnel: u32,
}

/// An address as records and [`Flow`] have it: IPv4 as an IPv4-mapped address (RFC 4291 §2.5.5.2).
#[must_use]
pub fn mapped(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

impl Flow {
    /// Stands in [`Flow::vlan`] for a tag that the packet does not have.
    pub const NO_VLAN: u16 = 0xffff;

    /// The flow of the same connection's other direction.
    #[must_use]
    pub const fn reversed(self) -> Self {
        Self { src: self.dst, dst: self.src, src_port: self.dst_port, dst_port: self.src_port, ..self }
    }
}

/// The option bytes of a TCP header as they were sent, so that a capture written from segments has them too.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RawOptions {
    bytes: [u8; MAX_OPTIONS],
    len: u8,
    cut: bool,
}

impl RawOptions {
    /// Keeps of `bytes` what a TCP header has room for: at most 40 octets, in whole words of four.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        let len = bytes.len().min(MAX_OPTIONS) & !3;
        let mut own = [0; MAX_OPTIONS];
        own[..len].copy_from_slice(&bytes[..len]);
        // At most 40.
        Self { bytes: own, len: u8::try_from(len).unwrap_or_default(), cut: false }
    }

    /// Marks the options as cut: the header had more of them, and the captured bytes end before those.
    #[must_use]
    pub const fn cut(self) -> Self {
        Self { cut: true, ..self }
    }

    /// The bytes of the options, in whole words of four.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// The options that the bytes encode.
    #[must_use]
    pub fn parse(&self) -> TcpOptions {
        let bytes = self.as_slice();
        TcpOptions { cut: self.cut && !options::is_ended(bytes), ..options::parse(bytes) }
    }

    /// The value and the echo reply of the time stamp option, where the options have one (RFC 7323 §3.2).
    #[must_use]
    pub fn timestamps(&self) -> Option<(u32, u32)> {
        options::timestamps(self.as_slice())
    }
}

impl fmt::Debug for RawOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.parse(), f)
    }
}

/// One lifecycle segment: a SYN, SYN-ACK, FIN or RST, or an acknowledgement that one of these announced.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Segment {
    /// When the segment passed the capture point.
    pub ts: Timestamp,
    /// The addresses and ports, from the sender to the receiver.
    pub flow: Flow,
    /// The control bits.
    pub flags: TcpFlags,
    /// Sequence number of the first octet (of the SYN, where there is one).
    pub seq: SeqNum,
    /// Acknowledgement number; meaningless where the ACK bit is not set.
    pub ack: SeqNum,
    /// Window as sent, unscaled.
    pub window: u16,
    /// Octets of TCP payload, by the IP length (never Ethernet padding). A GSO packet counts whole.
    pub payload_len: u32,
    /// The packet is the first fragment of a larger one, so there is more payload than [`Segment::payload_len`] says.
    pub fragmented: bool,
    /// IPv4 TTL or IPv6 hop limit.
    pub ttl: u8,
    /// The identification of the IPv4 header (RFC 791 §3.1); 0 for IPv6, and in much that is never fragmented (RFC
    /// 6864).
    pub id: u16,
    /// The TCP options, which only segments with SYN carry here.
    pub options: Option<RawOptions>,
    /// Which way the segment crossed the capture point.
    pub direction: Direction,
    /// Whose stack sent the segment.
    pub sender: Sender,
    /// The connection's lot ([`tcptrace_common::admission`]); 0, which is always admitted, in a plain acknowledgement
    /// and in a file.
    pub lot: u32,
    /// The tunnels around the packet, outer first; `None` without any.
    pub encapsulation: Option<Box<[Layer]>>,
    /// What the kernel knows of the socket that sent the segment; `None` where no socket of this host did, or it is not
    /// known.
    pub socket: Option<Box<SenderSocket>>,
    /// What its data says of the server that is asked, where that was looked for.
    pub request: Option<Box<Request>>,
}

impl Segment {
    /// The sequence number after everything this segment occupies (RFC 9293 §3.4: SYN and FIN count one each).
    #[must_use]
    pub const fn end(&self) -> SeqNum {
        self.seq.plus(self.payload_len).plus(self.flags.syn() as u32).plus(self.flags.fin() as u32)
    }

    /// Whether the segment is a FIN or RST that is known to come from the socket of its sender, so that nobody made it up.
    #[must_use]
    pub fn is_of_its_socket(&self) -> bool {
        self.socket.as_deref().is_some_and(|socket| matches!(socket.facts, SocketFacts::Numbers(_)))
    }

    /// The value of the segment's time stamp option, where it has one (RFC 7323 §3.2).
    #[must_use]
    pub fn tsval(&self) -> Option<u32> {
        self.options?.timestamps().map(|(value, _)| value)
    }
}

/// An ICMP or ICMPv6 error that quotes a SYN or a SYN-ACK: the network's own answer to it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IcmpError {
    /// The quoted segment as it was sent, from its sender to whom it was for, as far as the quote goes: the ports and
    /// the sequence number always (RFC 792; the first eight octets), the control bits where they are quoted and none
    /// otherwise, options never. Time, direction, [`Segment::sender`] and [`Segment::encapsulation`] are those of the
    /// packet with the error.
    pub quoted: Segment,
    /// Who sent the error: its own source address; IPv4 as an IPv4-mapped address.
    pub from: [u8; 16],
    /// The type of the error, in the numbers of ICMPv6 where the flow is IPv6 and of ICMP otherwise.
    pub kind: u8,
    /// The code of the error, which refines its type.
    pub code: u8,
}

/// The part of a connection's lifecycle that one packet shows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Observation {
    /// The packet is a lifecycle segment.
    Segment(Segment),
    /// The packet is an ICMP error that quotes a lifecycle segment.
    Icmp(IcmpError),
}

impl Observation {
    /// The segment, or the one that the error quotes; its time, interface and direction are the packet's.
    #[must_use]
    pub const fn segment(&self) -> &Segment {
        match self {
            Self::Segment(segment) => segment,
            Self::Icmp(error) => &error.quoted,
        }
    }

    /// The segment, or the one that the error quotes, for changing it.
    #[must_use]
    pub const fn segment_mut(&mut self) -> &mut Segment {
        match self {
            Self::Segment(segment) => segment,
            Self::Icmp(error) => &mut error.quoted,
        }
    }
}

/// Records that the source knows it did not get.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LossReport {
    /// How many records are missing; 0 where that cannot be known.
    pub records: u64,
    /// The records that are missing are later than this.
    pub after: Timestamp,
    /// The records that are missing are not later than this.
    pub until: Timestamp,
}

/// A change of which connections the kernel programs record ([`tcptrace_common::admission`]).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AdmissionChange {
    /// The time from which the change holds.
    pub ts: Timestamp,
    /// Which connections are recorded from then on.
    pub admission: Admission,
}

/// A moment at which the source's clock stopped going on as the trace's own time does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClockChange {
    /// The moment of the change, in the trace's own time.
    pub ts: Timestamp,
    /// How far the source's clock is ahead of the trace's own time from then on, in nanoseconds modulo 2^64; `None`
    /// where nothing shows the time.
    pub ahead: Option<u64>,
}

/// A process has accepted a connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Acceptance {
    /// When that was.
    pub ts: Timestamp,
    /// The flow of the server's segments.
    pub flow: Flow,
    /// Who accepted it.
    pub process: SocketProcess,
}

/// Everything that can drive a tracker.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Input {
    /// A lifecycle segment, in time order within the source's bounded window.
    Segment(Segment),
    /// An ICMP error that quotes a SYN or SYN-ACK, in time order as segments are.
    Icmp(IcmpError),
    /// Records that are missing from the input.
    Lost(LossReport),
    /// The pending-ACK table was too full at some time up to this one, so acknowledgements can be missing.
    Overwritten(Timestamp),
    /// A change of which connections are recorded: segments of the others will be missing.
    Admission(AdmissionChange),
    /// A change of the source's clock: its times before and after cannot be compared.
    Clock(ClockChange),
    /// A process has accepted a connection.
    Accepted(Box<Acceptance>),
    /// How full the accept queue is, for the connection that has this flow of the server's segments: the answer to a question
    /// of the tracker's ([`crate::Tracker::take_questions`]).
    AcceptQueue(Flow, AcceptQueue),
    /// How many octets have passed on the wire so far in all packets together: no connection can have sent more.
    Passed(u64),
    /// The time that has come: no earlier input will follow.
    Tick(Timestamp),
}

impl Input {
    /// The observation that the input is, if it comes from a packet.
    #[must_use]
    pub fn observation(&self) -> Option<Observation> {
        let segment = self.segment()?;
        Some(match self {
            Self::Icmp(error) => Observation::Icmp(error.clone()),
            _ => Observation::Segment(segment.clone()),
        })
    }

    /// The input's segment, or the one that its ICMP error quotes; `None` if it does not come from a packet.
    #[must_use]
    pub const fn segment(&self) -> Option<&Segment> {
        match self {
            Self::Segment(segment) => Some(segment),
            Self::Icmp(error) => Some(&error.quoted),
            Self::Lost(_)
            | Self::Overwritten(_)
            | Self::Admission(_)
            | Self::Clock(_)
            | Self::Accepted(_)
            | Self::AcceptQueue(..)
            | Self::Passed(_)
            | Self::Tick(_) => None,
        }
    }

    /// The time that has come with this input; `None` for what is reported only when it is noticed, such as a loss.
    #[must_use]
    pub const fn ts(&self) -> Option<Timestamp> {
        match self {
            Self::Segment(segment) => Some(segment.ts),
            Self::Icmp(error) => Some(error.quoted.ts),
            Self::Admission(change) => Some(change.ts),
            Self::Lost(_)
            | Self::Overwritten(_)
            | Self::Clock(_)
            | Self::Accepted(_)
            | Self::AcceptQueue(..)
            | Self::Passed(_) => None,
            Self::Tick(now) => Some(*now),
        }
    }
}

impl From<Observation> for Input {
    #[inline(always)]
    fn from(observation: Observation) -> Self {
        match observation {
            Observation::Segment(segment) => Self::Segment(segment),
            Observation::Icmp(error) => Self::Icmp(error),
        }
    }
}
