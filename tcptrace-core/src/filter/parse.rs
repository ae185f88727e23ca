//! Parses a filter expression. As in pcap-filter(7), `and` and `or` have the same precedence and group from left to
//! right, `not` binds tighter, and a value without qualifiers has those of the value before it.

use super::{
    Condition, Expr, Join, MOST_STEPS, Net, Problem, Side,
    lex::{Token, TokenKind, tokens},
    names::Names,
};
use std::{
    net::{IpAddr, Ipv4Addr},
    ops::Range,
};

/// How deep parentheses and `not`s may be nested.
pub(super) const MAX_NESTING: usize = 32;

type Located<T> = Result<T, (Range<usize>, Problem)>;

/// The qualifiers before a value, such as `tcp src port`.
#[derive(Clone, Copy, Default)]
struct Qualifiers {
    proto: Option<Proto>,
    side: Option<Side>,
    kind: Option<ValueKind>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Proto {
    Ip,
    Ip6,
    Tcp,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum ValueKind {
    Host,
    Net,
    Port,
    PortRange,
}

struct ExpressionParser<'a> {
    text: &'a str,
    tokens: Vec<Token>,
    next: usize,
    names: &'a dyn Names,
    /// The qualifiers of the last value.
    last: Option<Qualifiers>,
    nesting: usize,
    /// The number of conditions so far, each of which takes at least one step.
    conditions: usize,
}

/// Parses an expression; `None` for an empty one.
pub(super) fn expression(text: &str, names: &dyn Names) -> Located<Option<Expr>> {
    let mut parser = ExpressionParser {
        text,
        tokens: tokens(text),
        next: 0,
        names,
        last: None,
        nesting: 0,
        conditions: 0,
    };
    if parser.tokens.is_empty() {
        return Ok(None);
    }
    let expr = parser.expr()?;
    match parser.tokens.get(parser.next) {
        None => Ok(Some(expr)),
        Some(token) => Err((token.at.clone(), parser.surplus(token))),
    }
}

/// An expression of several that are joined; one alone stays as it is.
fn chain(first: Expr, rest: Vec<(Join, Expr)>) -> Expr {
    if rest.is_empty() { first } else { Expr::Chain(Box::new(first), rest) }
}

impl ExpressionParser<'_> {
    fn word(&self, token: &Token) -> &str {
        &self.text[token.at.clone()]
    }

    fn peek(&self) -> Option<Token> {
        self.tokens.get(self.next).cloned()
    }

    /// The token `ahead` of the next one, if it is a word.
    fn peek_word(&self, ahead: usize) -> Option<&str> {
        let token = self.tokens.get(self.next + ahead).filter(|token| token.kind == TokenKind::Word)?;
        Some(self.word(token))
    }

    fn kind(&self, ahead: usize) -> Option<TokenKind> {
        self.tokens.get(self.next + ahead).map(|token| token.kind)
    }

    /// The empty range at the end of the text, where something is missing.
    fn end(&self) -> Range<usize> {
        self.text.len()..self.text.len()
    }

    /// Counts a condition. More conditions than there may be steps are an error at once, so that a long text takes no
    /// memory.
    fn count_condition(&mut self, at: &Range<usize>) -> Located<()> {
        self.conditions += 1;
        if self.conditions > MOST_STEPS { Err((at.clone(), Problem::TooMany)) } else { Ok(()) }
    }

    fn surplus(&self, token: &Token) -> Problem {
        match token.kind {
            TokenKind::Other => self.unsupported_bytes(token),
            _ => unsupported(self.word(token)).unwrap_or(Problem::Expected("'and' or 'or'")),
        }
    }

    fn unsupported_bytes(&self, token: &Token) -> Problem {
        Problem::Unsupported {
            word: self.word(token).to_owned(),
            why: "a filter here is about addresses, ports and VLANs, not about other bytes of a packet",
        }
    }

    fn expr(&mut self) -> Located<Expr> {
        let first = self.term()?;
        let mut rest = Vec::new();
        loop {
            let join = match self.kind(0) {
                Some(TokenKind::And) => Join::And,
                Some(TokenKind::Or) => Join::Or,
                _ => return Ok(chain(first, rest)),
            };
            self.next += 1;
            rest.push((join, self.term()?));
        }
    }

    fn term(&mut self) -> Located<Expr> {
        let Some(token) = self.peek() else {
            return Err((self.end(), Problem::Expected("a condition")));
        };
        match token.kind {
            TokenKind::Not | TokenKind::Open => {
                if self.nesting == MAX_NESTING {
                    return Err((token.at, Problem::Nesting));
                }
                self.nesting += 1;
                self.next += 1;
                let expr = if token.kind == TokenKind::Not {
                    Expr::Not(Box::new(self.term()?))
                } else {
                    let expr = self.expr()?;
                    match self.peek() {
                        Some(token) if token.kind == TokenKind::Close => self.next += 1,
                        Some(token) => return Err((token.at.clone(), self.surplus(&token))),
                        None => return Err((self.end(), Problem::Expected("')'"))),
                    }
                    expr
                };
                self.nesting -= 1;
                Ok(expr)
            }
            TokenKind::Word => self.primitive(&token),
            TokenKind::Other => Err((token.at.clone(), self.unsupported_bytes(&token))),
            _ => Err((token.at, Problem::Expected("a condition"))),
        }
    }

    fn primitive(&mut self, first: &Token) -> Located<Expr> {
        let word = self.word(first).to_owned();
        match word.as_str() {
            "inbound" | "outbound" => {
                self.next += 1;
                self.count_condition(&first.at)?;
                Ok(Expr::Condition(if word == "inbound" { Condition::Inbound } else { Condition::Outbound }))
            }
            "vlan" => {
                self.count_condition(&first.at)?;
                self.vlan()
            }
            word if is_qualifier(word) => self.qualified(),
            word => {
                if let Some(problem) = unsupported(word) {
                    return Err((first.at.clone(), problem));
                }
                let qualifiers = self.last.unwrap_or_default();
                self.value(qualifiers)
            }
        }
    }

    fn vlan(&mut self) -> Located<Expr> {
        self.next += 1;
        let Some(word) = self.peek_word(0).filter(|word| word.starts_with(|c: char| c.is_ascii_digit()))
        else {
            return Ok(Expr::Condition(Condition::Vlan(None)));
        };
        let id = number(word).filter(|id| *id < 4096);
        let value = word.to_owned();
        let token = self.tokens[self.next].clone();
        self.next += 1;
        match id {
            Some(id) => Ok(Expr::Condition(Condition::Vlan(Some(id)))),
            None => Err((token.at, Problem::Value { value, what: "a VLAN identifier (0 to 4095)" })),
        }
    }

    /// Parses qualifiers and the value after them.
    fn qualified(&mut self) -> Located<Expr> {
        let mut qualifiers = Qualifiers::default();
        let mut last = self.tokens[self.next].clone();
        while let Some(token) = self.peek().filter(|token| token.kind == TokenKind::Word) {
            let word = self.word(&token).to_owned();
            let clash = match word.as_str() {
                "ip" => qualifiers.proto.replace(Proto::Ip).is_some(),
                "ip6" => qualifiers.proto.replace(Proto::Ip6).is_some(),
                "tcp" => qualifiers.proto.replace(Proto::Tcp).is_some(),
                "src" | "dst" => qualifiers.side.replace(self.side(&word)).is_some(),
                "host" => qualifiers.kind.replace(ValueKind::Host).is_some(),
                "net" => qualifiers.kind.replace(ValueKind::Net).is_some(),
                "port" => qualifiers.kind.replace(ValueKind::Port).is_some(),
                "portrange" => qualifiers.kind.replace(ValueKind::PortRange).is_some(),
                _ => break,
            };
            if clash {
                return Err((token.at, Problem::Mismatch(word, self.word(&last).to_owned())));
            }
            last = token;
            self.next += 1;
        }
        let alone = qualifiers.side.is_none() && qualifiers.kind.is_none();
        match self.peek() {
            Some(token) if token.kind == TokenKind::Word && !(alone && is_primitive(self.word(&token))) => {
                self.value(qualifiers)
            }
            next => match (alone, qualifiers.proto) {
                (true, Some(proto)) => {
                    self.count_condition(&last.at)?;
                    Ok(Expr::Condition(match proto {
                        Proto::Ip => Condition::Family(4),
                        Proto::Ip6 => Condition::Family(6),
                        Proto::Tcp => Condition::Tcp,
                    }))
                }
                _ => {
                    Err((next.map_or(self.end(), |token| token.at), Problem::Expected("an address or port")))
                }
            },
        }
    }

    /// Parses `src`, `dst`, `src or dst` or `src and dst`, up to the last of these words, which the caller consumes.
    fn side(&mut self, first: &str) -> Side {
        let other = if first == "src" { "dst" } else { "src" };
        let joined = match self.kind(1) {
            Some(TokenKind::Or) => Some(Side::Either),
            Some(TokenKind::And) => Some(Side::Both),
            _ => None,
        };
        match joined {
            Some(side) if self.peek_word(2) == Some(other) => {
                self.next += 2;
                side
            }
            _ if first == "src" => Side::Source,
            _ => Side::Destination,
        }
    }

    /// Parses a value, or `in` and a list of values.
    fn value(&mut self, qualifiers: Qualifiers) -> Located<Expr> {
        self.last = Some(qualifiers);
        if self.peek_word(0) != Some("in") {
            return self.single(qualifiers);
        }
        self.next += 1;
        match self.peek() {
            Some(token) if token.kind == TokenKind::OpenList => self.next += 1,
            next => return Err((next.map_or(self.end(), |token| token.at), Problem::Expected("'{'"))),
        }
        let mut list: Option<Expr> = None;
        let mut rest = Vec::new();
        loop {
            let Some(token) = self.peek() else {
                return Err((self.end(), Problem::Expected("'}'")));
            };
            match (token.kind, list.take()) {
                (TokenKind::CloseList, Some(first)) => {
                    self.next += 1;
                    return Ok(chain(first, rest));
                }
                (TokenKind::Comma, Some(first)) => {
                    self.next += 1;
                    list = Some(first);
                }
                (TokenKind::Word, None) => list = Some(self.list_item(qualifiers)?),
                (TokenKind::Word, Some(first)) => {
                    rest.push((Join::Or, self.list_item(qualifiers)?));
                    list = Some(first);
                }
                _ => return Err((token.at, Problem::Expected("an address or port"))),
            }
        }
    }

    /// Parses a value in a list, where a port may be a range: `8000-8010`, or `8000..8010` as in Wireshark.
    fn list_item(&mut self, mut qualifiers: Qualifiers) -> Located<Expr> {
        let range = self.peek_word(0).is_some_and(|word| split_port_range(word).is_some());
        if qualifiers.kind == Some(ValueKind::Port) && range {
            qualifiers.kind = Some(ValueKind::PortRange);
        }
        self.single(qualifiers)
    }

    fn single(&mut self, qualifiers: Qualifiers) -> Located<Expr> {
        let Some(token) = self.peek().filter(|token| token.kind == TokenKind::Word) else {
            return Err((self.end(), Problem::Expected("an address or port")));
        };
        let word = self.word(&token).trim_start_matches('\\').to_owned();
        self.next += 1;
        self.count_condition(&token.at)?;
        let located = |problem| (token.at.clone(), problem);
        let side = qualifiers.side.unwrap_or_default();
        match (qualifiers.kind, qualifiers.proto) {
            (Some(ValueKind::Port | ValueKind::PortRange), Some(Proto::Ip)) => {
                Err(located(Problem::Mismatch("port".into(), "ip".into())))
            }
            (Some(ValueKind::Port | ValueKind::PortRange), Some(Proto::Ip6)) => {
                Err(located(Problem::Mismatch("port".into(), "ip6".into())))
            }
            (None | Some(ValueKind::Host | ValueKind::Net), Some(Proto::Tcp)) => {
                Err(located(Problem::Mismatch("tcp".into(), "host' or 'net".into())))
            }
            (Some(ValueKind::Port), _) => {
                let port = self.port(&word).map_err(located)?;
                Ok(Expr::Condition(Condition::Ports(side, port, port)))
            }
            (Some(ValueKind::PortRange), _) => {
                let (low, high) = split_port_range(&word).unwrap_or((&word, &word));
                let (low, high) = (self.port(low).map_err(located)?, self.port(high).map_err(located)?);
                Ok(Expr::Condition(Condition::Ports(side, low.min(high), low.max(high))))
            }
            (kind, proto) => {
                let nets = if kind == Some(ValueKind::Net) || (kind.is_none() && word.contains('/')) {
                    vec![self.net(&word).map_err(located)?]
                } else {
                    self.hosts(&word).map_err(located)?
                };
                let wanted = match proto {
                    Some(Proto::Ip) => Some(4),
                    Some(Proto::Ip6) => Some(6),
                    _ => None,
                };
                let mut tests = nets
                    .into_iter()
                    .filter(|net| wanted.is_none_or(|family| net.family() == family))
                    .map(|net| Expr::Condition(Condition::Net(side, net)));
                let first = tests.next().ok_or_else(|| {
                    let what = if wanted == Some(4) { "an IPv4 address" } else { "an IPv6 address" };
                    located(Problem::Value { value: word.clone(), what })
                })?;
                Ok(chain(first, tests.map(|test| (Join::Or, test)).collect()))
            }
        }
    }

    fn port(&self, word: &str) -> Result<u16, Problem> {
        if let Some(port) = number(word) {
            return Ok(port);
        }
        let value = || Problem::Value { value: word.to_owned(), what: "a TCP port or the name of one" };
        if word.bytes().all(|b| b.is_ascii_digit()) {
            return Err(value());
        }
        self.names.port(word).ok_or_else(value)
    }

    fn hosts(&self, word: &str) -> Result<Vec<Net>, Problem> {
        if let Ok(address) = word.parse::<IpAddr>() {
            return Ok(vec![Net::host(address)]);
        }
        let value = |what| Problem::Value { value: word.to_owned(), what };
        if word.contains('/') {
            return Err(value("the address of one host ('net' takes a prefix)"));
        }
        if word.bytes().all(|b| b.is_ascii_digit() || b == b'.') || word.contains(':') {
            return Err(value("an address"));
        }
        let hosts = self.names.host(word);
        if hosts.is_empty() {
            let unknown = self.last.is_none_or(|last| last.kind.is_none() && last.side.is_none());
            let word = word.to_owned();
            return Err(if unknown { Problem::Unknown(word) } else { Problem::Unresolved(word) });
        }
        Ok(hosts.into_iter().map(Net::host).collect())
    }

    /// Parses a net: `10.0.0.0/8`, `10`, `192.168`, `2001:db8::/32` or `10.0.0.0 mask 255.0.0.0`.
    fn net(&mut self, word: &str) -> Result<Net, Problem> {
        let value = |what| Problem::Value { value: word.to_owned(), what };
        let (address, prefix) = word.split_once('/').map_or((word, None), |(a, p)| (a, Some(p)));
        let prefix = match prefix {
            Some(text) => Some(number(text).ok_or_else(|| value("a net"))?),
            None => None,
        };
        let net = if address.contains(':') {
            let address: u128 =
                address.parse::<std::net::Ipv6Addr>().map_err(|_| value("an IPv6 net"))?.into();
            let prefix = prefix.unwrap_or(128);
            if prefix > 128 {
                return Err(value("an IPv6 net: a prefix has at most 128 bits"));
            }
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            Net::V6 { address, mask }
        } else {
            let (address, octets) = short_v4(address).ok_or_else(|| value("an IPv4 net"))?;
            let prefix = prefix.unwrap_or(8 * octets);
            if prefix > 32 {
                return Err(value("an IPv4 net: a prefix has at most 32 bits"));
            }
            let mask = match self.mask()? {
                Some(mask) => mask,
                None => u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0),
            };
            Net::V4 { address, mask }
        };
        let outside = match net {
            Net::V4 { address, mask } => address & !mask != 0,
            Net::V6 { address, mask } => address & !mask != 0,
        };
        if outside { Err(Problem::HostBits(word.to_owned())) } else { Ok(net) }
    }

    fn mask(&mut self) -> Result<Option<u32>, Problem> {
        if self.peek_word(0) != Some("mask") {
            return Ok(None);
        }
        let Some(word) = self.peek_word(1) else {
            return Err(Problem::Expected("a mask such as 255.255.0.0 after it"));
        };
        let mask = word
            .parse::<Ipv4Addr>()
            .map_err(|_| Problem::Value { value: word.to_owned(), what: "an IPv4 mask" })?;
        self.next += 2;
        Ok(Some(mask.into()))
    }
}

/// Splits a range of ports, `8000-8010` or `8000..8010`, into its two ends.
fn split_port_range(word: &str) -> Option<(&str, &str)> {
    word.split_once("..").or_else(|| {
        let (low, high) = word.split_once('-')?;
        // The name of a service can have a hyphen, so that only what begins with a digit is a range.
        low.starts_with(|c: char| c.is_ascii_digit()).then_some((low, high))
    })
}

fn number(word: &str) -> Option<u16> {
    if word.bytes().all(|b| b.is_ascii_digit()) { word.parse().ok() } else { None }
}

/// Parses an IPv4 address whose last octets may be missing, and counts its octets.
fn short_v4(word: &str) -> Option<(u32, u16)> {
    let mut address = 0_u32;
    let mut octets = 0;
    for part in word.split('.') {
        let octet: u8 = number(part)?.try_into().ok()?;
        address = address << 8 | u32::from(octet);
        octets += 1;
        if octets > 4 {
            return None;
        }
    }
    Some((address << (8 * (4 - octets)), octets))
}

fn is_qualifier(word: &str) -> bool {
    matches!(word, "ip" | "ip6" | "tcp" | "src" | "dst" | "host" | "net" | "port" | "portrange")
}

fn is_primitive(word: &str) -> bool {
    is_qualifier(word) || matches!(word, "vlan" | "inbound" | "outbound") || unsupported(word).is_some()
}

/// The problem with a word of pcap-filter(7) that has no meaning for TCP connections, or that a record does not tell.
fn unsupported(word: &str) -> Option<Problem> {
    let why = match word {
        "udp" | "sctp" | "icmp" | "icmp6" | "igmp" | "igrp" | "pim" | "ah" | "esp" | "vrrp" | "carp"
        | "arp" | "rarp" | "proto" | "protochain" | "iso" | "isis" | "stp" | "netbeui" | "atalk" | "aarp"
        | "decnet" | "lat" | "moprc" | "mopdl" | "ipx" => "tcptrace traces TCP only",
        "ether" | "fddi" | "tr" | "wlan" | "link" | "ppp" | "slip" | "ra" | "ta" | "addr1" | "addr2"
        | "addr3" | "addr4" | "type" | "subtype" | "dir" | "atm" | "llc" | "gateway" => {
            "link-layer headers are not part of a connection"
        }
        "broadcast" | "multicast" => "no TCP connection has such an address",
        "less" | "greater" | "len" | "length" => "a connection has no packet length",
        "ifname" | "on" | "ifindex" => "choose interfaces with -i",
        "rnr" | "rulenum" | "reason" | "rset" | "ruleset" | "srnr" | "subrulenum" | "action" => {
            "it is of pf's logs"
        }
        "mpls" | "pppoed" | "pppoes" | "geneve" | "vxlan" | "gre" | "gtp" => {
            "labels and tunnels are seen through, not filtered by"
        }
        _ => return None,
    };
    Some(Problem::Unsupported { word: word.to_owned(), why })
}
