//! Parses the lines on which something happens: a packet passes, or something else reaches the tracker.

use super::{
    Problem, START, Scene, Step, number,
    scene::{Who, mapped},
    socket,
    words::Words,
};
use std::net::IpAddr;
use tcptrace_common::{abi::MAX_OPTIONS, seq::SeqNum, tcp::TcpFlags};
use tcptrace_core::segment::{
    Acceptance, ClockChange, Flow, IcmpError, Input, LossReport, RawOptions, Segment, Timestamp,
};

const WINDOW: u16 = 14_600;
const TTL: u8 = 64;

/// Parses the rest of a line that begins with `time`; `last` is the time of the line before.
pub(super) fn step(
    time: &str,
    words: &mut Words<'_>,
    last: Timestamp,
    scene: &mut Scene,
) -> Result<Step, Problem> {
    let ts = match time.strip_prefix('+') {
        Some(more) => last.plus(number::duration(more, number::MILLISECOND)?),
        None => at(number::duration(time, number::MILLISECOND)?),
    };
    let step = match words.need("who, or what")? {
        "tick" => Step::Input(Input::Tick(ts)),
        "end" => Step::End(ts),
        "clock" => Step::Input(Input::Clock(clock(words, ts)?)),
        "overwritten" => Step::Input(Input::Overwritten(ts)),
        "lost" => Step::Input(Input::Lost(lost(words, ts)?)),
        "R" => Step::Input(Input::Icmp(icmp(words, ts, scene)?)),
        who => {
            let who = Who::parse(who)?;
            if words.peek() == Some("accepted") {
                words.next();
                return accepted(words, ts, scene.flow(who));
            }
            let mut segment = segment(words, ts, who, scene)?;
            details(words, &mut segment, scene)?;
            Step::Input(Input::Segment(segment))
        }
    };
    words.end()?;
    Ok(step)
}

fn at(ns: u64) -> Timestamp {
    START.plus(ns)
}

fn lost(words: &mut Words<'_>, until: Timestamp) -> Result<LossReport, Problem> {
    let records = words.parse("a number of records")?;
    words.expect("since")?;
    Ok(LossReport { records, after: at(words.time()?), until })
}

/// Parses `set` or `unknown`. The time that the clock shows does not matter, as long as it is another one than before.
fn clock(words: &mut Words<'_>, ts: Timestamp) -> Result<ClockChange, Problem> {
    match words.need("set or unknown")? {
        // A clock that is set at another time is ahead by another amount.
        "set" => Ok(ClockChange { ts, ahead: Some(ts.0) }),
        "unknown" => Ok(ClockChange { ts, ahead: None }),
        word => Err(Problem::Unknown(word.to_owned(), "set or unknown")),
    }
}

fn icmp(words: &mut Words<'_>, ts: Timestamp, scene: &mut Scene) -> Result<IcmpError, Problem> {
    words.expect("icmp")?;
    let word = words.need("type and code")?;
    let numbers =
        word.split_once('/').and_then(|(kind, code)| Some((kind.parse().ok()?, code.parse().ok()?)));
    let (kind, code) = numbers.ok_or_else(|| Problem::Unknown(word.to_owned(), "TYPE/CODE"))?;
    words.expect("from")?;
    let from: IpAddr = words.parse("an address")?;
    if from.is_ipv4() != scene.client.is_ipv4() {
        return Err(Problem::Versions);
    }
    words.expect("quotes")?;
    let who = Who::parse(words.need("C or S")?)?;
    let mut quoted = segment(words, ts, who, scene)?;
    // The error travels to the sender of the packet that it quotes.
    (quoted.direction, quoted.sender) = scene.passes(!who.is_client);
    // The identification of the quoted packet is not recorded.
    quoted.id = 0;
    if words.peek() == Some("short") {
        words.next();
        quoted = Segment { flags: TcpFlags(0), ack: SeqNum(0), window: 0, payload_len: 0, ..quoted };
    }
    Ok(IcmpError { quoted, from: mapped(from), kind, code })
}

/// Parses `by NAME[PID]`.
fn accepted(words: &mut Words<'_>, ts: Timestamp, flow: Flow) -> Result<Step, Problem> {
    words.expect("by")?;
    let named = words.need("a process")?;
    let process =
        socket::process("accept", named).ok_or_else(|| Problem::Unknown(named.to_owned(), "NAME[PID]"))?;
    words.end()?;
    Ok(Step::Input(Input::Accepted(Box::new(Acceptance { ts, flow, process }))))
}

/// Parses `FLAGS SEQ [ACK [LEN]]`.
fn segment(words: &mut Words<'_>, ts: Timestamp, who: Who, scene: &mut Scene) -> Result<Segment, Problem> {
    let flags = flags(words.need("flags")?)?;
    let seq = words.parse("a sequence number")?;
    let ack = words.number("an acknowledgement number")?.unwrap_or_default();
    let payload_len = words.number("a length")?.unwrap_or_default();
    let (direction, sender) = scene.passes(who.is_client);
    Ok(Segment {
        ts,
        flow: scene.flow(who),
        flags,
        seq: SeqNum(seq),
        ack: SeqNum(ack),
        window: WINDOW,
        payload_len,
        fragmented: false,
        ttl: TTL,
        id: if scene.client.is_ipv4() { identification(ts) } else { 0 },
        options: None,
        direction,
        sender,
        lot: 0,
        encapsulation: None,
        socket: None,
        request: None,
    })
}

/// An identification that is another one for each microsecond, as if the stack counted.
fn identification(ts: Timestamp) -> u16 {
    u16::try_from((ts.0 / 1000) & 0xffff).unwrap_or_default()
}

/// Parses what may follow the numbers, each at most once.
fn details(words: &mut Words<'_>, segment: &mut Segment, scene: &mut Scene) -> Result<(), Problem> {
    let mut seen: Vec<&str> = Vec::new();
    while let Some(word) = words.next() {
        let name = if word.starts_with('<') { "<" } else { word };
        if seen.contains(&name) {
            return Err(Problem::Twice(word.to_owned()));
        }
        seen.push(name);
        match name {
            "win" => segment.window = words.parse("a window")?,
            "ttl" => segment.ttl = words.parse("a TTL")?,
            "id" => segment.id = words.parse("an identification")?,
            "fragment" => segment.fragmented = true,
            "on" => segment.flow.interface = scene.interface(words.need("an interface")?),
            "vlan" => segment.flow.vlan = vlans(words.need("a VLAN")?)?,
            "socket" => {
                let known = socket::parse(words.need("what is known of the socket")?, segment)?;
                segment.socket = Some(Box::new(known));
            }
            "<" if !segment.flags.syn() => return Err(Problem::OptionsWithoutSyn),
            "<" => segment.options = Some(options(word)?),
            _ => return Err(Problem::TooMuch(word.to_owned())),
        }
    }
    if segment.flags.syn() && segment.options.is_none() {
        segment.options = Some(options("<mss 1460>")?);
    }
    Ok(())
}

fn flags(word: &str) -> Result<TcpFlags, Problem> {
    if word == "-" {
        return Ok(TcpFlags(0));
    }
    let mut all = TcpFlags(0);
    for letter in word.chars() {
        let Some(bit) = TcpFlags::from_letter(letter) else {
            return Err(Problem::Unknown(word.to_owned(), "flags"));
        };
        if all.contains(bit) {
            return Err(Problem::Twice(letter.to_string()));
        }
        all = all.union(bit);
    }
    Ok(all)
}

/// Parses `5`, or `5.7` for 7 within 5.
fn vlans(word: &str) -> Result<[u16; 2], Problem> {
    let id = |text: &str| {
        let id = text.parse().ok().filter(|&id: &u16| id < 4096);
        id.ok_or_else(|| Problem::Unknown(text.to_owned(), "a VLAN"))
    };
    Ok(match word.split_once('.') {
        Some((outer, inner)) => [id(outer)?, id(inner)?],
        None => [id(word)?, Flow::NO_VLAN],
    })
}

/// Parses options such as `<mss 1460,sackOK>` into the bytes of a header, filled up with no-operations.
fn options(word: &str) -> Result<RawOptions, Problem> {
    let inner = word.strip_prefix('<').and_then(|rest| rest.strip_suffix('>'));
    let inner = inner.ok_or(Problem::Missing("the '>' after the options"))?;
    let mut bytes = Vec::new();
    for item in inner.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        let unknown = || Problem::Unknown(item.to_owned(), "an option");
        match item.split_once(' ') {
            Some(("mss", mss)) => {
                let [high, low] = mss.parse::<u16>().map_err(|_| unknown())?.to_be_bytes();
                bytes.extend([2, 4, high, low]);
            }
            Some(("wscale", shift)) => bytes.extend([3, 3, shift.parse().map_err(|_| unknown())?]),
            None if item == "sackOK" => bytes.extend([4, 2]),
            Some(("TS", values)) => {
                let (value, echo) = values.split_once('/').ok_or_else(unknown)?;
                bytes.extend([8, 10]);
                for number in [value, echo] {
                    bytes.extend(number.parse::<u32>().map_err(|_| unknown())?.to_be_bytes());
                }
            }
            None if item == "TS" => bytes.extend([8, 10, 0, 0, 0, 1, 0, 0, 0, 0]),
            None if item == "tfo" => bytes.extend([34, 10, 1, 2, 3, 4, 5, 6, 7, 8]),
            None if item == "mptcp" => bytes.extend([30, 4, 1, 1]),
            _ => return Err(unknown()),
        }
    }
    bytes.resize(bytes.len().next_multiple_of(4), 1);
    if bytes.len() > MAX_OPTIONS { Err(Problem::Options(bytes.len())) } else { Ok(RawOptions::new(&bytes)) }
}
