//! Parses what a script says of the socket that sent a segment: `uid=1000` with a SYN or SYN-ACK, and with a FIN or RST any of
//! `rtt=12ms`, `retransmits=3`, `acked=5000000000` (octets), `received=7` (octets) and `unacked=0` (octets), joined by commas; with any of them who did what, as in `connect=curl[1234]`, `listen=`, `accept=`, `close=` and `snapshot=`.

use super::{Problem, number};
use tcptrace_core::{
    segment::Segment,
    socket::{How, SenderSocket, SocketFacts, SocketNumbers, SocketOwner, SocketProcess},
};
use zerocopy::FromZeros as _;

/// What `word` says of the socket that sent `segment`.
pub(super) fn parse(word: &str, segment: &Segment) -> Result<SenderSocket, Problem> {
    let unknown = || Problem::Unknown(word.to_owned(), "what is known of a socket");
    let mut values = word.split(',').map(|item| item.split_once('=').ok_or_else(unknown));
    if segment.flags.syn() {
        let ("uid", uid) = values.next().ok_or_else(unknown)?? else { return Err(unknown()) };
        let uid = uid.parse().map_err(|_| unknown())?;
        let facts = SocketFacts::Owner(SocketOwner { uid, cgroup: 0, names: None });
        let process = values
            .next()
            .transpose()?
            .map(|(how, name)| process(how, name).ok_or_else(unknown))
            .transpose()?;
        return Ok(SenderSocket { cookie: 1, facts, process });
    }
    if !segment.flags.fin() && !segment.flags.rst() {
        return Err(unknown());
    }
    let mut numbers =
        SocketNumbers { snd_una: segment.seq.0, snd_nxt: segment.end().0, ..SocketNumbers::new_zeroed() };
    numbers.rcv_nxt = segment.ack.0;
    let mut user = None;
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
            how => user = Some(process(how, value).ok_or_else(unknown)?),
        }
    }
    Ok(SenderSocket { cookie: 1, facts: SocketFacts::Numbers(numbers), process: user })
}

/// The process `NAME[PID]` that did `how`.
pub(super) fn process(how: &str, named: &str) -> Option<SocketProcess> {
    let how = match how {
        "connect" => How::Connect,
        "listen" => How::Listen,
        "accept" => How::Accept,
        "close" => How::Close,
        "snapshot" => How::Snapshot,
        _ => return None,
    };
    let (name, pid) = named.strip_suffix(']')?.split_once('[')?;
    let mut comm = [0; 16];
    comm.get_mut(..name.len())?.copy_from_slice(name.as_bytes());
    Some(SocketProcess { pid: pid.parse().ok()?, comm, how, exe: None })
}
