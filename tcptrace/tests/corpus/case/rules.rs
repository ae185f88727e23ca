//! Where our definition of a connection differs from tshark's of a stream on purpose: each difference has a rule, and
//! each rule looks at the stream and at what we made of it, never at the file's name.

use super::{Case, Field, Kind, nanoseconds};
use crate::{
    ours::Seen,
    stream::{Header, Stream},
};
use tcptrace::event::{AnomalyReason, Connection, Outcome};

/// Why a difference is none, or is not one yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rule {
    /// The stream is inside of a tunnel of a kind that is never looked into.
    Tunnel,
    /// IPv6 in frames that say IPv4: counted as such. tshark goes by the header.
    ContradictsFrame,
    /// No SYN, FIN or RST: a connection without a lifecycle segment has no line.
    NoLifecycleSegment,
    /// Control bits that no stack sends together (SYN with FIN or RST) are an anomaly, and change nothing.
    ImpossibleFlags,
    /// tshark counts what comes after the connection's end as its; a line is written at the end.
    AfterTheEnd,
    /// A SYN-ACK or FIN whose numbers do not fit is an anomaly, and changes nothing.
    DoesNotFit,
    /// A RST whose numbers do not fit (RFC 5961 §3.2) is an anomaly, and ends nothing.
    RstOutOfWindow,
    /// All that was seen is a RST at sequence number 0, which answers a SYN (RFC 9293 §3.10.7.1): refused, though the SYN
    /// was not seen.
    RefusesUnseenSyn,
    /// An ICMP error answers the SYN: refused by the network. The truth looks at TCP alone, where nothing answers.
    RefusedByIcmp,
    /// RST is looked at before FIN (RFC 9293 §3.10.7.4): with both, it is a RST.
    FinWithRst,
    /// tshark keys by addresses and ports alone: over several VLANs or interfaces, several connections are one stream.
    SeveralPlaces,
    /// The four-tuple was opened again, after an end, a time-out or with other numbers: several connections of ours.
    Reopened,
    /// With another ISN tshark begins a new stream, in whichever direction; for us the connection can go on.
    SplitByTshark,
    /// Before establishment the newest SYN-ACK's number counts (docs/states-and-times.md); the truth has the first one's.
    NewerIsn,
    /// `synack_to_ack` is from the last SYN-ACK (docs/states-and-times.md), the truth's from the first.
    FromTheLastSynAck,
    /// The acknowledgement covers data of the SYN-ACK too; the truth demands the relative number 1.
    AcknowledgesData,
    /// A segment that is not the sender's first after its SYN proves the establishment, but not when it was.
    NotTheFirstAck,
    /// No SYN-ACK passed, and the client goes on behind its SYN: it is established then. The truth wants a SYN-ACK.
    Unheard,
    /// The SYN-ACK stands before the SYN in the file: the truth goes by the order, we by the time stamps.
    OvertakenSyn,
    /// The clock was set, so that a time of the truth's is negative or of years, or a connection of ours timed out.
    BackwardsTime,
    /// Both ends are the same address and port, so that one direction looks like the other.
    SelfConnection,
    /// tshark takes a fragmented segment at its last fragment; its header is in the first.
    Fragments,
    /// Cut off by the snap length before the end of the TCP header: counted as such. tshark shows what there is.
    CutShort,
    /// A packet that was captured more than once counts once. tshark counts each.
    CapturedTwice,
    /// Headers that contradict themselves are counted as such and not looked into. tshark shows what there is.
    Malformed,
}

impl Case<'_> {
    /// There is no connection, for a reason.
    pub(crate) fn nothing_to_compare(&self) -> Option<Rule> {
        if self.seen.is_empty() && self.stream.is_in_unknown_tunnel() {
            return Some(Rule::Tunnel);
        }
        let contradicts = |layers: &String| layers == "ip:ipv6";
        if self.seen.is_empty() && self.bad_version && self.stream.enc.ip_layers.iter().all(contradicts) {
            return Some(Rule::ContradictsFrame);
        }
        let announced: u64 = Kind::ALL.into_iter().filter_map(|kind| self.theirs(kind)).sum();
        if announced == 0 && self.connections.is_empty() {
            return Some(Rule::NoLifecycleSegment);
        }
        let impossible = |seen: &&Seen| seen.anomaly == Some(AnomalyReason::ImpossibleFlags);
        let all = !self.seen.is_empty() && self.seen.iter().all(impossible);
        (self.connections.is_empty() && all).then_some(Rule::ImpossibleFlags)
    }

    /// Not as many segments of a kind were seen as there are.
    pub(crate) fn partly_visible(&self, kind: Kind, visible: u64, theirs: u64) -> Option<Rule> {
        let quality = &self.stream.quality;
        // The truth counts SYN+FIN as a SYN, and not as a FIN as well.
        let both = self.seen_of(kind).filter(|seen| seen.anomaly == Some(AnomalyReason::ImpossibleFlags));
        if visible > theirs {
            return (visible - theirs <= both.count() as u64).then_some(Rule::ImpossibleFlags);
        }
        let missing = theirs - visible;
        if quality.self_connection {
            Some(Rule::SelfConnection)
        } else if self.stream.is_in_unknown_tunnel() {
            Some(Rule::Tunnel)
        } else if missing <= quality.fragmented {
            Some(Rule::Fragments)
        } else if missing <= quality.malformed {
            Some(Rule::Malformed)
        } else {
            (missing <= quality.truncated).then_some(Rule::CutShort)
        }
    }

    /// `rest` segments of a kind are neither in a line nor late, nor another stream's.
    pub(crate) fn uncounted(&self, kind: Kind, rest: i128) -> Option<Rule> {
        let misfits = |what: &dyn Fn(&Seen) -> bool| {
            rest > 0 && rest <= self.seen_of(kind).filter(|seen| !seen.late && what(seen)).count() as i128
        };
        if misfits(&|seen| seen.segment.copy) {
            Some(Rule::CapturedTwice)
        } else if misfits(&|seen| seen.anomaly == Some(AnomalyReason::ImpossibleFlags)) {
            Some(Rule::ImpossibleFlags)
        } else if misfits(&|seen| seen.anomaly.is_some()) {
            Some(Rule::DoesNotFit)
        } else if misfits(&|seen| seen.segment.flags.fin() && seen.segment.flags.rst()) {
            Some(Rule::FinWithRst)
        } else if self.is_split() {
            Some(Rule::SplitByTshark)
        } else {
            self.stream.quality.self_connection.then_some(Rule::SelfConnection)
        }
    }

    /// The rule under which a connection differs.
    pub(crate) fn rule_for(&self, field: Field, connection: &Connection) -> Option<Rule> {
        if self.stream.quality.self_connection {
            return Some(Rule::SelfConnection);
        }
        if self.stream.is_in_unknown_tunnel() {
            return Some(Rule::Tunnel);
        }
        if self.is_in_several_places() {
            return Some(Rule::SeveralPlaces);
        }
        if self.is_split() {
            return Some(Rule::SplitByTshark);
        }
        let agrees = |other: &&Connection| self.differences(other).iter().all(|(known, _)| *known != field);
        if self.connections.len() > 1 && self.connections.iter().any(agrees) {
            return Some(Rule::Reopened);
        }
        match field {
            Field::SynToEstablished | Field::SynToSynAck | Field::SynAckToAck => {
                let copied = self.seen.iter().any(|seen| seen.segment.copy);
                self.rule_for_time(field, connection).or(copied.then_some(Rule::CapturedTwice))
            }
            Field::ClientIsn => self.is_late(Kind::Syn).then_some(Rule::AfterTheEnd),
            Field::ServerIsn => self.rule_for_server_isn(connection),
            Field::FirstFin => self.rule_for_first_fin(),
            Field::Outcome => self.rule_for_outcome(connection),
        }
    }

    fn is_in_several_places(&self) -> bool {
        let place = |connection: &Connection| {
            let common = &connection.common;
            (common.interface.clone(), common.vlan)
        };
        self.connections.windows(2).any(|pair| place(pair[0]) != place(pair[1]))
    }

    /// A connection of ours has segments of another stream of tshark's.
    fn is_split(&self) -> bool {
        self.all.iter().any(|seen| !seen.late && !self.is_within(seen))
    }

    /// All of a kind came after the end.
    fn is_late(&self, kind: Kind) -> bool {
        self.seen_of(kind).count() > 0 && self.seen_of(kind).all(|seen| seen.late)
    }

    fn rule_for_time(&self, field: Field, connection: &Connection) -> Option<Rule> {
        let (stream, times, lat) = (self.stream, &connection.times, self.stream.lat.as_ref()?);
        let (theirs, ours) = match field {
            Field::SynToEstablished => (lat.syn_to_ack, times.syn_to_established_ns),
            Field::SynToSynAck => (lat.last_syn_to_synack, times.syn_to_synack_ns),
            _ => (lat.synack_to_ack, times.synack_to_ack_ns),
        };
        let frame = |first: &Option<Header>| first.as_ref().map(|header| header.frame);
        let overtaken = frame(&stream.synack.first) < frame(&stream.syn.first);
        if overtaken && stream.synack.first.is_some() {
            return Some(Rule::OvertakenSyn);
        }
        let timed_out = self.connections.len() > 1 && self.goes_backwards();
        // By a stamp that the next packet takes back a handshake takes years; ours is not known then.
        let taken_back = ours.is_none() && theirs.is_some_and(|theirs| theirs > 86_400.0);
        if timed_out || taken_back || theirs.is_some_and(|theirs| theirs < 0.0) {
            return Some(Rule::BackwardsTime);
        }
        let unheard = stream.synack.first.is_none() && connection.server_isn.is_none();
        if field == Field::SynToEstablished && unheard && theirs.is_none() {
            return Some(Rule::Unheard);
        }
        if field == Field::SynAckToAck && self.is_from_the_last_synack(ours, theirs) {
            return Some(Rule::FromTheLastSynAck);
        }
        if theirs.is_none() && self.is_as_the_loose_acknowledgement(field, ours) {
            return Some(Rule::AcknowledgesData);
        }
        let not_first = stream.hs_ack.as_ref().zip(stream.syn.first.as_ref());
        let not_first = not_first.is_some_and(|(ack, syn)| ack.seq != syn.seq.wrapping_add(1));
        if ours.is_none() && not_first && field != Field::SynToSynAck {
            return Some(Rule::NotTheFirstAck);
        }
        self.misfit_in_handshake()
    }

    /// The clock was set, or the file was put together from several.
    fn goes_backwards(&self) -> bool {
        self.seen.windows(2).any(|pair| pair[0].segment.common.ts > pair[1].segment.common.ts)
    }

    /// Theirs is longer by what lies between the first and the last SYN-ACK before the acknowledgement.
    fn is_from_the_last_synack(&self, ours: Option<u64>, theirs: Option<f64>) -> bool {
        let answered = self.stream.hs_ack.as_ref().or(self.stream.hs_ack_loose.as_ref());
        let answered = answered.map_or(u64::MAX, |header| header.frame);
        let mut synacks = self.seen_of(Kind::SynAck).filter(|seen| seen.frame < answered);
        let first = synacks.next().map(|seen| seen.segment.common.ts);
        let last = synacks.last().map(|seen| seen.segment.common.ts);
        match (first.zip(last), theirs) {
            (Some((first, last)), Some(theirs)) => {
                self.same_time(ours, Some(nanoseconds(theirs) - i128::from(last.since(first))))
            }
            _ => false,
        }
    }

    /// Ours ends with the acknowledgement that is one if data may be acknowledged as well.
    fn is_as_the_loose_acknowledgement(&self, field: Field, ours: Option<u64>) -> bool {
        let from = if field == Field::SynToEstablished { &self.stream.syn } else { &self.stream.synack };
        let from = from.first.as_ref().and_then(Header::ns);
        let to = self.stream.hs_ack_loose.as_ref().and_then(Header::ns);
        from.zip(to).is_some_and(|(from, to)| self.same_time(ours, Some(i128::from(to) - i128::from(from))))
    }

    /// The SYN-ACK did not count.
    fn misfit_in_handshake(&self) -> Option<Rule> {
        if self.has(AnomalyReason::ImpossibleFlags) {
            return Some(Rule::ImpossibleFlags);
        }
        let reasons = [AnomalyReason::SynackAckMismatch, AnomalyReason::HandshakeAckMismatch];
        reasons.into_iter().any(|reason| self.has(reason)).then_some(Rule::DoesNotFit)
    }

    fn rule_for_server_isn(&self, connection: &Connection) -> Option<Rule> {
        let newest =
            self.seen_of(Kind::SynAck).filter(|seen| !seen.late && seen.id() == connection.common.id).last();
        if self.has(AnomalyReason::SynackIsnChanged)
            && newest.is_some_and(|seen| Some(seen.segment.seq) == connection.server_isn)
        {
            return Some(Rule::NewerIsn);
        }
        if self.is_late(Kind::SynAck) {
            return Some(Rule::AfterTheEnd);
        }
        self.misfit_in_handshake()
    }

    fn rule_for_first_fin(&self) -> Option<Rule> {
        let fins = self.seen_of(Kind::FinA).chain(self.seen_of(Kind::FinB));
        rule_for_fin(fins.min_by_key(|seen| seen.frame)?)
    }

    fn rule_for_outcome(&self, connection: &Connection) -> Option<Rule> {
        let restarted = connection.outcome == Outcome::Reused
            || (connection.outcome == Outcome::Aborted && connection.reset_by.is_none());
        if restarted {
            return Some(Rule::Reopened);
        }
        let answers_syn = |seen: &Seen| seen.segment.flags.rst() && seen.segment.seq == 0;
        if connection.outcome == Outcome::Refused
            && connection.partial
            && self.seen.iter().all(|seen| answers_syn(seen))
        {
            return Some(Rule::RefusesUnseenSyn);
        }
        if connection.outcome == Outcome::RefusedIcmp
            && connection.icmp_error.is_some()
            && self.stream.outcomes().contains(&Outcome::Unanswered)
        {
            return Some(Rule::RefusedByIcmp);
        }
        // What the label goes by came later.
        let end = self.seen.iter().filter(|seen| !seen.late).map(|seen| seen.frame).max();
        let established = self.stream.hs_ack.as_ref().or(self.stream.hs_ack_loose.as_ref());
        if self.seen.iter().any(|seen| seen.late) || established.is_some_and(|ack| Some(ack.frame) > end) {
            return Some(Rule::AfterTheEnd);
        }
        if self.has(AnomalyReason::RstOutOfWindow) {
            return Some(Rule::RstOutOfWindow);
        }
        let fins = self.seen_of(Kind::FinA).chain(self.seen_of(Kind::FinB));
        let mut fins = fins.filter_map(rule_for_fin);
        fins.next().or_else(|| self.misfit_in_handshake())
    }
}

impl Stream {
    /// In one that is never looked into, by its layers: another network is within a backbone's service tag, in Ethernet over
    /// MPLS, in what access points wrap their frames in, in L2TP, Teredo, compression.
    pub(crate) fn is_in_unknown_tunnel(&self) -> bool {
        const UNKNOWN: [&str; 7] = ["capwap", "pw", "l2tp", "ipcomp", "ieee8021ah", "cfp", "teredo"];
        self.enc.stacks.iter().any(|stack| {
            let layers = || stack.split(':');
            let unknown = |layer: &str| UNKNOWN.iter().any(|tunnel| layer.starts_with(tunnel));
            layers().any(unknown) || layers().skip_while(|&layer| layer != "gre").any(|layer| layer == "wlan")
        })
    }

    /// In one that is looked into if it is asked for: another IP header, without its own layer in the stack, or these.
    pub(crate) fn is_in_known_tunnel(&self) -> bool {
        const KNOWN: [&str; 6] = ["gre", "erspan", "vxlan", "geneve", "gtp", "tzsp"];
        let enc = &self.enc;
        let known = |layer: &str| KNOWN.contains(&layer);
        !self.is_in_unknown_tunnel()
            && (enc.ip_layers.iter().any(|layers| layers.contains(':'))
                || enc.stacks.iter().any(|stack| stack.split(':').any(known)))
    }
}

/// Why a FIN did not count.
fn rule_for_fin(fin: &Seen) -> Option<Rule> {
    if fin.late {
        Some(Rule::AfterTheEnd)
    } else if fin.segment.flags.rst() {
        Some(Rule::FinWithRst)
    } else if fin.anomaly == Some(AnomalyReason::ImpossibleFlags) {
        Some(Rule::ImpossibleFlags)
    } else {
        fin.anomaly.map(|_| Rule::DoesNotFit)
    }
}
