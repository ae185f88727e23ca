//! Filter expressions, in the language of pcap-filter(7) as far as that is about TCP connections, and their translation
//! into steps that the kernel programs run ([`tcptrace_common::filter`]).
//!
//! A filter is about whole connections: the source of a connection is its client, and `outbound` is a connection that
//! this host opened.

mod compile;
mod lex;
mod names;
mod parse;
#[cfg(test)]
mod tests;

pub use names::Names;

use crate::segment::{Direction, Flow};
use std::{fmt, net::IpAddr, ops::Range, sync::Arc};
use tcptrace_common::{
    abi::{BIT_IPV6, Record},
    filter::{Field, MAX_STEPS, NUMBERS, Program, Step, Steps, Way, numbers},
};
use thiserror::Error;

/// The most steps of a filter over a capture file. All steps are run for each SYN, FIN and RST, and this many take a
/// tenth of a millisecond.
pub const MOST_STEPS: usize = 1 << 16;

/// A filter that is ready to run. The default filter takes everything.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Filter {
    text: String,
    steps: Arc<[Step]>,
    either_way: bool,
}

impl Filter {
    /// Compiles an expression; an empty one takes everything. `names` looks up the names of hosts and services in it.
    pub fn compile(text: &str, names: &dyn Names) -> Result<Self, FilterError> {
        let located = |(at, problem)| FilterError { text: text.to_owned(), at, problem };
        let Some(expr) = parse::expression(text, names).map_err(located)? else {
            return Ok(Self { text: text.to_owned(), ..Self::default() });
        };
        let steps = compile::steps(&expr).map_err(|problem| located((0..text.len(), problem)))?;
        let either_way = compile::tells_ends_apart(&expr);
        Ok(Self { text: text.to_owned(), steps: steps.into(), either_way })
    }

    /// Whether the filter asks which end is the client, or which way the connection was opened. A single segment cannot
    /// always tell, so that the source of the segments lets both cases through, and the tracker applies the filter
    /// again.
    #[must_use]
    pub fn tells_ends_apart(&self) -> bool {
        self.either_way
    }

    /// Whether the filter asks for VLAN tags.
    #[must_use]
    pub fn asks_for_vlans(&self) -> bool {
        let tags = [Field::OuterVlan as u8, Field::InnerVlan as u8];
        self.steps.iter().any(|step| tags.contains(&step.field))
    }

    /// The steps of the filter.
    #[must_use]
    pub fn steps(&self) -> Steps<'_> {
        Steps { list: &self.steps, either_way: self.either_way }
    }

    /// The filter as a program for the kernel programs. It is an error if it has more steps than these run.
    pub fn program(&self) -> Result<Box<Program>, FilterError> {
        let count = self.steps.len();
        let mut program = Box::new(Program::ALL);
        let (Some(room), Ok(len)) = (program.steps.get_mut(..count), u32::try_from(count)) else {
            let (text, problem) = (self.text.clone(), Problem::TooLongLive(count));
            return Err(FilterError { at: 0..text.len(), text, problem });
        };
        room.copy_from_slice(&self.steps);
        (program.len, program.either_way) = (len, u32::from(self.either_way));
        Ok(program)
    }

    /// Whether the filter takes a connection whose client is the source of `flow`, and whose first SYN went in
    /// `direction`.
    #[must_use]
    pub fn takes(&self, flow: &Flow, direction: Direction) -> bool {
        let record = Record {
            src: flow.src,
            dst: flow.dst,
            src_port: flow.src_port,
            dst_port: flow.dst_port,
            vlan: flow.vlan,
            bits: if flow.ipv6 { BIT_IPV6 } else { 0 },
            ..Record::EMPTY
        };
        let mut all = [0; NUMBERS];
        numbers(&record, false, &mut all);
        let way = match direction {
            Direction::Ingress => Way::Inbound,
            Direction::Egress => Way::Outbound,
            Direction::Unknown => Way::Unknown,
        };
        all[Field::Way as usize] = way as u64;
        self.steps().takes(&all)
    }

    /// The expression that the filter was compiled from.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// Why an expression is not a filter, and where in it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub struct FilterError {
    text: String,
    at: Range<usize>,
    problem: Problem,
}

/// What is wrong with an expression.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum Problem {
    /// Something else is required at this place.
    #[error("expected {0}")]
    Expected(&'static str),
    /// A word of pcap-filter(7) that is of no use for TCP connections, or is not supported.
    #[error("'{word}' is not supported: {why}")]
    Unsupported {
        /// The word.
        word: String,
        /// The reason, for the user.
        why: &'static str,
    },
    /// A word that is neither of the language nor an address or port.
    #[error("'{0}' is neither a word of the filter language nor an address or port")]
    Unknown(String),
    /// Two words that do not go together.
    #[error("'{0}' does not go with '{1}'")]
    Mismatch(String, String),
    /// A value that is not of the type that the word before it requires.
    #[error("'{value}' is not {what}")]
    Value {
        /// The value.
        value: String,
        /// The type that is required.
        what: &'static str,
    },
    /// A name of a host that has no address.
    #[error("cannot find an address of '{0}'")]
    Unresolved(String),
    /// A net whose address has bits set outside its prefix or mask.
    #[error("'{0}' has bits set outside its mask")]
    HostBits(String),
    /// Parentheses or `not`s are nested too deep.
    #[error("nested more than {} deep", parse::MAX_NESTING)]
    Nesting,
    /// The filter has more steps than the kernel programs run.
    #[error(
        "takes {0} steps, and the kernel programs run {MAX_STEPS}: use a net or a port range for a list (over a capture, with \
         -r, it may be longer)"
    )]
    TooLongLive(usize),
    /// The filter has more steps than run over a capture file.
    #[error("takes {0} steps, and there may be {MOST_STEPS}: use a net or a port range for a list")]
    TooLong(usize),
    /// The filter has more conditions than there may be steps.
    #[error("more than {MOST_STEPS} conditions: use a net or a port range for a list")]
    TooMany,
}

/// The most characters of an expression that an error shows.
const EXCERPT: usize = 400;

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot use the filter: {}", self.problem)?;
        // The error shows the line of the expression that the problem is in.
        let start = self.text[..self.at.start].rfind('\n').map_or(0, |at| at + 1);
        let line = self.text[start..].lines().next().unwrap_or_default();
        if line.is_empty() {
            return Ok(());
        }
        let before = self.text[start..self.at.start].chars().count();
        let carets = self.text[self.at.clone()].lines().next().unwrap_or_default().chars().count().max(1);
        // Of a long line, only the part around the problem is shown.
        let skipped = if line.chars().count() > EXCERPT { before.saturating_sub(EXCERPT / 2) } else { 0 };
        let excerpt: String = line.chars().skip(skipped).take(EXCERPT).collect();
        let (before, carets) = (before - skipped, carets.min(EXCERPT));
        write!(f, "\n  {excerpt}\n  {:before$}{}", "", "^".repeat(carets))
    }
}

/// A filter expression, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Expr {
    Condition(Condition),
    Not(Box<Expr>),
    /// An expression, and more that are joined to it one after the other, from left to right. They are a list, because
    /// a tree of many thousand conditions would be too deep for recursion.
    Chain(Box<Expr>, Vec<(Join, Expr)>),
}

/// How two conditions are joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Join {
    And,
    Or,
}

/// One condition of a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    /// Any TCP connection.
    Tcp,
    /// The version of IP: 4 or 6.
    Family(u8),
    Net(Side, Net),
    /// A range of ports with both its ends.
    Ports(Side, u16, u16),
    /// This VLAN tag, or any tag.
    Vlan(Option<u16>),
    Inbound,
    Outbound,
}

/// Which end of a connection an address or port is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) enum Side {
    #[default]
    Either,
    Both,
    Source,
    Destination,
}

/// An address, and a mask of the bits of it that count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Net {
    V4 { address: u32, mask: u32 },
    V6 { address: u128, mask: u128 },
}

impl Net {
    pub(crate) fn host(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => Self::V4 { address: v4.into(), mask: u32::MAX },
            IpAddr::V6(v6) => Self::V6 { address: v6.into(), mask: u128::MAX },
        }
    }

    pub(crate) const fn family(self) -> u8 {
        match self {
            Self::V4 { .. } => 4,
            Self::V6 { .. } => 6,
        }
    }
}
