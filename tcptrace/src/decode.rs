//! From the bytes of a ring record to a [`Segment`]. Bytes that are not exactly a record are an error.

use crate::segment::{Direction, Flow, RawOptions, Segment, Sender, Timestamp};
use tcptrace_common::{
    abi::{self, BIT_EGRESS, BIT_FORWARDED, BIT_IPV6, Kind, MAX_OPTIONS},
    seq::SeqNum,
    tcp::TcpFlags,
};
use zerocopy::FromBytes as _;

/// One record, decoded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Record {
    /// The CPU that made it.
    pub cpu: u16,
    /// That CPU's running number, from 1, modulo 2^32. A gap is a loss.
    pub number: u32,
    /// What it is about.
    pub kind: Kind,
    /// Seen on egress, but not sent by this host.
    pub forwarded: bool,
    /// The segment; its sender is for the source to fill in, [`Sender::Unknown`] until then. The capturing
    /// interface is `segment.flow.interface`.
    pub segment: Segment,
}

/// Why bytes are not a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Error {
    /// Neither layout has this length.
    #[error("a record of {0} bytes")]
    Length(usize),
    /// No such kind, or not one with this layout.
    #[error("a record of kind {0}")]
    Kind(u8),
    /// More options than a header holds, or not whole words of them.
    #[error("a record with {0} bytes of options")]
    Options(u8),
    /// Bits are set that mean nothing.
    #[error("a record with unknown bits")]
    Bits,
}

/// Decodes one record of the ring.
pub fn record(bytes: &[u8]) -> Result<Record, Error> {
    if let Ok(plain) = abi::Record::read_from_bytes(bytes) {
        return decode(&plain, None);
    }
    match abi::SynRecord::read_from_bytes(bytes) {
        Ok(syn) => decode(&syn.record, Some(&syn.options)),
        Err(_) => Err(Error::Length(bytes.len())),
    }
}

/// A record with the option bytes that follow it, if any do.
pub(crate) fn decode(record: &abi::Record, options: Option<&[u8; MAX_OPTIONS]>) -> Result<Record, Error> {
    let kind = Kind::from_code(record.kind)
        .filter(|kind| kind.has_options() == options.is_some())
        .ok_or(Error::Kind(record.kind))?;
    let options_len = usize::from(record.options_len);
    if options_len > MAX_OPTIONS || !options_len.is_multiple_of(4) {
        return Err(Error::Options(record.options_len));
    }
    if record.bits & !(BIT_EGRESS | BIT_FORWARDED | BIT_IPV6) != 0
        || record.reserved != [0; 2]
        || record.flags > 0x01ff
    {
        return Err(Error::Bits);
    }
    let egress = record.bits & BIT_EGRESS != 0;
    Ok(Record {
        cpu: record.cpu,
        number: record.number,
        kind,
        forwarded: record.bits & BIT_FORWARDED != 0,
        segment: Segment {
            ts: Timestamp(record.ts),
            flow: Flow {
                src: record.src,
                dst: record.dst,
                src_port: record.src_port,
                dst_port: record.dst_port,
                interface: record.ifindex,
                vlan: record.vlan,
                ipv6: record.bits & BIT_IPV6 != 0,
            },
            flags: TcpFlags(record.flags),
            seq: SeqNum(record.seq),
            ack: SeqNum(record.ack),
            window: record.window,
            payload_len: record.payload_len,
            ttl: record.ttl,
            options: options.map(|bytes| RawOptions::new(&bytes[..options_len])),
            direction: if egress { Direction::Egress } else { Direction::Ingress },
            sender: Sender::Unknown,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::{Error, record};
    use tcptrace_common::abi::{Kind, Record, SynRecord};
    use zerocopy::IntoBytes as _;

    const PLAIN: Record = Record { kind: Kind::Fin as u8, options_len: 12, ..Record::EMPTY };

    #[test]
    fn only_a_record_decodes() {
        let syn = SynRecord { record: Record { kind: Kind::Syn as u8, ..Record::EMPTY }, options: [0; 40] };
        assert_eq!(record(PLAIN.as_bytes()).map(|record| record.kind), Ok(Kind::Fin));
        assert_eq!(record(syn.as_bytes()).map(|record| record.kind), Ok(Kind::Syn));
        for (wrong, error) in [
            (Record { kind: 0, ..PLAIN }, Error::Kind(0)),
            (Record { kind: 6, ..PLAIN }, Error::Kind(6)),
            (Record { kind: Kind::Syn as u8, ..PLAIN }, Error::Kind(1)),
            (Record { options_len: 44, ..PLAIN }, Error::Options(44)),
            (Record { options_len: 3, ..PLAIN }, Error::Options(3)),
            (Record { bits: 8, ..PLAIN }, Error::Bits),
            (Record { reserved: [0, 1], ..PLAIN }, Error::Bits),
            (Record { flags: 0x200, ..PLAIN }, Error::Bits),
        ] {
            assert_eq!(record(wrong.as_bytes()), Err(error), "{wrong:?}");
        }
        let plain_as_syn = SynRecord { record: PLAIN, options: [0; 40] };
        assert_eq!(record(plain_as_syn.as_bytes()), Err(Error::Kind(Kind::Fin as u8)));
    }

    #[test]
    fn any_other_length_is_an_error() {
        let bytes = [0_u8; 200];
        for len in (0..200).filter(|len| ![80, 120].contains(len)) {
            assert_eq!(record(&bytes[..len]), Err(Error::Length(len)));
        }
    }
}
