//! Our connections against the conn.log that Zeek's own tests expect of the same captures.

use super::{
    corpus::{self, Corpus},
    ours::Ours,
    stream::{Stream, plain},
    tally::{Tables, Tally},
};
use libtest_mimic::{Failed, Trial};
use serde::Deserialize;
use std::{
    collections::BTreeSet,
    fmt, fs,
    net::IpAddr,
    path::{Path, PathBuf},
};
use tcptrace::event::{Address, Connection};

/// A test of Zeek's with what it expects.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Log {
    tcp_conns: Vec<Conn>,
}

/// A line of conn.log. Some tests print some columns only.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
struct Conn {
    #[serde(rename = "id.orig_h")]
    orig_ip: Option<String>,
    #[serde(rename = "id.orig_p")]
    orig_port: Option<String>,
    #[serde(rename = "id.resp_h")]
    resp_ip: Option<String>,
    #[serde(rename = "id.resp_p")]
    resp_port: Option<String>,
    #[serde(rename = "conn_state")]
    state: Option<String>,
    orig_bytes: Option<String>,
    resp_bytes: Option<String>,
    history: Option<String>,
    tunnel_parents: Option<String>,
}

/// Why a difference is none, or is not one yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rule {
    /// Tunnels are not looked into without being told to.
    Tunnel,
    /// Zeek drops what has a bad checksum (`C` in the history) unless told not to. A NIC that computes checksums makes
    /// every capture of what was sent look like that, so we never look.
    BadChecksum,
    /// Picked up in its middle, and turned round by Zeek (`^` in the history) or by us, who guess from the ports.
    TurnedRound,
    /// Zeek says 0 of an end that sent no data as far as was seen; we know only where a FIN or RST says where it ended.
    NoEndNoCount,
    /// The SYN of that end was not seen, so there is nothing to count from.
    NoBeginNoCount,
    /// More than 4 GiB: ours is modulo 2^32, and says that it may be.
    Modulo,
    /// A line is written at the end of the connection; Zeek goes on for a while, and can see a FIN after the RST.
    AfterTheEnd,
    /// Zeek counts the data that it saw, we the sequence numbers: from the RST's there can be more.
    NotAllSeen,
    /// Zeek's test prints only some columns of the log.
    NotPrinted,
}

pub(crate) fn trials(corpus: &Corpus, tables: &Tables) -> Vec<Trial> {
    let mut all = Vec::new();
    for capture in corpus.captures().into_iter().filter(|capture| capture.format != "snoop") {
        for log in corpus.conn_logs(&capture.name) {
            all.push((corpus.capture(&capture.name), corpus.truth(&capture.name), log));
        }
    }
    let mut trials: Vec<Trial> = all
        .iter()
        .cloned()
        .map(|(capture, truth, log)| {
            let name = log.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            Trial::test(format!("zeek: {name}"), move || compare(&capture, &truth, &log)?.conclude())
        })
        .collect();
    if !all.is_empty() {
        let tables = tables.clone();
        trials.push(Trial::test("zeek: the totals", move || totals(&all, &tables)));
    }
    trials
}

fn totals(all: &[(PathBuf, PathBuf, PathBuf)], tables: &Tables) -> Result<(), Failed> {
    let mut sum = Tally::default();
    for (capture, truth, log) in all {
        sum.add(compare(capture, truth, log)?);
    }
    tables.add(format!("connections, with Zeek's conn.log:\n{sum}"), sum.equal > 0)
}

fn compare(capture: &Path, truth: &Path, log: &Path) -> Result<Tally, Failed> {
    let log: Log = serde_json::from_str(&fs::read_to_string(log)?)?;
    let streams: Vec<Stream> = if truth.is_file() { corpus::lines(truth) } else { Vec::new() };
    let ours = Ours::of(capture)?;
    let mut left: Vec<&Connection> = ours.connections.values().collect();
    left.sort_by_key(|connection| connection.common.id);
    let mut tally = Tally::default();
    for conn in &log.tcp_conns {
        let mut verdict = Verdict::default();
        match left.iter().position(|ours| conn.is(ours)) {
            Some(place) => conn.judge(left.remove(place), &streams, &mut verdict),
            None => verdict.rule_or(conn.rule_for_none(&streams), "none of ours".to_owned()),
        }
        tally.count(conn, &verdict.rules, &verdict.unexplained);
    }
    Ok(tally)
}

#[derive(Default)]
struct Verdict {
    rules: BTreeSet<Rule>,
    unexplained: Vec<String>,
}

impl Verdict {
    fn rule_or(&mut self, rule: Option<Rule>, difference: String) {
        match rule {
            Some(rule) => {
                self.rules.insert(rule);
            }
            None => self.unexplained.push(difference),
        }
    }
}

/// What one end sent, as far as the line says.
struct Sent {
    bytes: Option<u64>,
    began: bool,
    ended: bool,
}

impl Sent {
    fn by_client(ours: &Connection) -> Self {
        Self {
            bytes: ours.client_bytes,
            began: ours.client_isn.is_some(),
            ended: ours.client_fins + ours.client_rsts > 0,
        }
    }

    fn by_server(ours: &Connection) -> Self {
        Self {
            bytes: ours.server_bytes,
            began: ours.server_isn.is_some(),
            ended: ours.server_fins + ours.server_rsts > 0,
        }
    }
}

impl Conn {
    fn orig(&self) -> (Option<IpAddr>, Option<u16>) {
        end(self.orig_ip.as_ref(), self.orig_port.as_ref())
    }

    fn resp(&self) -> (Option<IpAddr>, Option<u16>) {
        end(self.resp_ip.as_ref(), self.resp_port.as_ref())
    }

    /// The same ends, whoever is the client.
    fn is(&self, ours: &Connection) -> bool {
        self.has_orig(&ours.common.client) && fits(self.resp(), &ours.common.server)
            || self.has_orig(&ours.common.server) && fits(self.resp(), &ours.common.client)
    }

    fn has_orig(&self, address: &Address) -> bool {
        fits(self.orig(), address)
    }

    fn history(&self, letters: &[char]) -> bool {
        self.history.as_ref().is_some_and(|history| history.contains(letters))
    }

    /// The truth's streams between these ends.
    fn streams<'a>(&self, streams: &'a [Stream]) -> impl Iterator<Item = &'a Stream> {
        let ends = (self.orig(), self.resp());
        let is = move |(ip, port): (Option<IpAddr>, Option<u16>), end: Option<(IpAddr, u16)>| {
            end.is_some_and(|end| ip == Some(end.0) && port == Some(end.1))
        };
        streams.iter().filter(move |stream| {
            let (a, b) = (stream.a.address(), stream.b.address());
            is(ends.0, a) && is(ends.1, b) || is(ends.0, b) && is(ends.1, a)
        })
    }

    fn rule_for_none(&self, streams: &[Stream]) -> Option<Rule> {
        let in_tunnel = self.streams(streams).any(Stream::is_in_unknown_tunnel);
        if in_tunnel {
            Some(Rule::Tunnel)
        } else {
            // What follows a dropped SYN is a connection of its own to Zeek.
            self.history(&['C', 'c']).then_some(Rule::BadChecksum)
        }
    }

    fn judge(&self, ours: &Connection, streams: &[Stream], verdict: &mut Verdict) {
        if self.state.is_none() {
            verdict.rules.insert(Rule::NotPrinted);
            return;
        }
        let turned = !self.has_orig(&ours.common.client);
        let bad = self.history(&['C', 'c'])
            || (turned && self.streams(streams).any(|stream| stream.quality.bad_checksum > 0));
        let bad = bad.then_some(Rule::BadChecksum);
        if turned {
            let guessed = ours.direction_inferred || self.history(&['^']);
            verdict.rule_or(bad.or(guessed.then_some(Rule::TurnedRound)), "turned round".to_owned());
        }
        let state = format!("{:?}", ours.zeek_conn_state).to_uppercase();
        if self.state.as_ref().is_some_and(|theirs| *theirs != state) {
            let late = self.has_late_end(ours).then_some(Rule::AfterTheEnd);
            verdict.rule_or(bad.or(late), format!("{state}, not {:?}", self.state));
        }
        let (client, server) = (Sent::by_client(ours), Sent::by_server(ours));
        let (orig, resp) = if turned { (server, client) } else { (client, server) };
        for (end, sent, theirs) in [("orig", orig, &self.orig_bytes), ("resp", resp, &self.resp_bytes)] {
            let theirs: Option<u64> = theirs.as_ref().and_then(|bytes| bytes.parse().ok());
            if sent.bytes != theirs {
                let rule = bad.or_else(|| rule_for_bytes(ours, &sent, theirs));
                verdict.rule_or(rule, format!("{end}: {:?} bytes, not {theirs:?}", sent.bytes));
            }
        }
    }

    /// Zeek has a FIN that came after the RST that ended ours.
    fn has_late_end(&self, ours: &Connection) -> bool {
        let both = self.history(&['F']) && self.history(&['f']);
        both && ours.reset_by.is_some() && self.history(&['R', 'r'])
    }
}

fn rule_for_bytes(connection: &Connection, ours: &Sent, theirs: Option<u64>) -> Option<Rule> {
    match (ours.bytes, theirs) {
        (Some(ours), Some(theirs)) if theirs >> 32 > 0 => {
            (connection.bytes_mod_4gib && theirs & 0xffff_ffff == ours).then_some(Rule::Modulo)
        }
        (None, Some(_)) if !ours.began => Some(Rule::NoBeginNoCount),
        (None, Some(_)) if !ours.ended || connection.reset_by.is_some() => Some(Rule::NoEndNoCount),
        (Some(ours), Some(theirs)) if ours > theirs && connection.reset_by.is_some() => {
            Some(Rule::NotAllSeen)
        }
        _ => None,
    }
}

fn end(ip: Option<&String>, port: Option<&String>) -> (Option<IpAddr>, Option<u16>) {
    (ip.and_then(|ip| ip.parse().ok()).map(plain), port.and_then(|port| port.parse().ok()))
}

/// What is not known fits everything.
fn fits((ip, port): (Option<IpAddr>, Option<u16>), address: &Address) -> bool {
    ip.is_none_or(|ip| ip == plain(address.ip)) && port.is_none_or(|port| port == address.port)
}

impl fmt::Display for Conn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ((orig, orig_port), (resp, resp_port)) = (self.orig(), self.resp());
        write!(f, "{orig:?}:{orig_port:?} > {resp:?}:{resp_port:?} {:?} {:?}", self.state, self.history)
    }
}
