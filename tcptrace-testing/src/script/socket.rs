//! Parses what a script says of the socket that sent a segment: `uid=1000` with a SYN or SYN-ACK, and with a FIN or RST any of
//! `rtt=12ms`, `retransmits=3`, `acked=5000000000` (octets), `received=7` (octets) and `unacked=0` (octets), joined by commas.

use super::{Problem, number};
use tcptrace_core::{
    segment::Segment,
    socket::{SenderSocket, SocketNumbers, SocketOwner},
};
use zerocopy::FromZeros as _;

/// What `word` says of the socket that sent `segment`.
pub(super) fn parse(word: &str, segment: &Segment) -> Result<SenderSocket, Problem> {
    let unknown = || Problem::Unknown(word.to_owned(), "what is known of a socket");
    let mut values = word.split(',').map(|item| item.split_once('=').ok_or_else(unknown));
    if segment.flags.syn() {
        let ("uid", uid) = values.next().ok_or_else(unknown)?? else { return Err(unknown()) };
        let uid = uid.parse().map_err(|_| unknown())?;
        return Ok(SenderSocket::Owner(SocketOwner { cookie: 1, uid, cgroup: 0, names: None }));
    }
    if !segment.flags.fin() && !segment.flags.rst() {
        return Err(unknown());
    }
    let mut numbers =
        SocketNumbers { snd_una: segment.seq.0, snd_nxt: segment.end().0, ..SocketNumbers::new_zeroed() };
    numbers.rcv_nxt = segment.ack.0;
    for item in values {
        let (name, value) = item?;
        let octets = || value.parse::<u64>().map_err(|_| unknown());
        let count = || value.parse::<u32>().map_err(|_| unknown());
        match name {
            "rtt" => {
                let eighths = number::duration(value, number::MILLISECOND)? / 125;
                numbers.srtt = u32::try_from(eighths).map_err(|_| unknown())?;
            }
            "retransmits" => numbers.retransmits = count()?,
            "acked" => numbers.bytes_acked = octets()?,
            "received" => numbers.bytes_received = octets()?,
            "unacked" => numbers.snd_una = numbers.snd_nxt.wrapping_sub(count()?),
            _ => return Err(unknown()),
        }
    }
    Ok(SenderSocket::Numbers(numbers))
}
