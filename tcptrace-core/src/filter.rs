//! Filter expressions, in the language of pcap-filter(7) as far as it is about TCP connections, and their translation
//! into the program that the kernel programs run ([`tcptrace_common::filter`]).
//!
//! A connection matches as a whole: its source is its client, and `outbound` is what this host opened.

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

/// The most steps of a filter that runs here, over a capture. Each is run for each SYN, FIN and RST: so many take a tenth of a
/// millisecond.
pub const MOST_STEPS: usize = 1 << 16;

/// A filter, ready to be run. The default takes everything.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Filter {
    text: String,
    steps: Arc<[Step]>,
    either_way: bool,
}

impl Filter {
    /// Compiles an expression; an empty one takes everything.
    pub fn compile(text: &str, names: &dyn Names) -> Result<Self, FilterError> {
        let located = |(at, problem)| FilterError { text: text.to_owned(), at, problem };
        let Some(expr) = parse::expression(text, names).map_err(located)? else {
            return Ok(Self { text: text.to_owned(), ..Self::default() });
        };
        let steps = compile::steps(&expr).map_err(|problem| located((0..text.len(), problem)))?;
        let either_way = compile::tells_ends_apart(&expr);
        Ok(Self { text: text.to_owned(), steps: steps.into(), either_way })
    }

    /// It asks which end is the client, or which way it went: a segment alone cannot always tell, so that the source of
    /// the segments lets more through, and the tracker has to ask again.
    #[must_use]
    pub fn tells_ends_apart(&self) -> bool {
        self.either_way
    }

    /// It asks for VLAN tags.
    #[must_use]
    pub fn asks_for_vlans(&self) -> bool {
        let tags = [Field::OuterVlan as u8, Field::InnerVlan as u8];
        self.steps.iter().any(|step| tags.contains(&step.field))
    }

    /// What there is to run.
    #[must_use]
    pub fn steps(&self) -> Steps<'_> {
        Steps { list: &self.steps, either_way: self.either_way }
    }

    /// The program for the kernel programs, if it is no longer than they run.
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

    /// The verdict on a connection whose first SYN was sent so: its client is the source.
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

    /// The expression.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// Why an expression is not a filter, and where.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub struct FilterError {
    text: String,
    at: Range<usize>,
    problem: Problem,
}

/// What is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum Problem {
    /// Something else has to stand there.
    #[error("expected {0}")]
    Expected(&'static str),
    /// Known from pcap-filter, and of no use here or not yet.
    #[error("'{word}' is not supported: {why}")]
    Unsupported {
        /// The word.
        word: String,
        /// Why not.
        why: &'static str,
    },
    /// Known to nobody.
    #[error("'{0}' is neither a word of the filter language nor an address or port")]
    Unknown(String),
    /// Two words that do not go together.
    #[error("'{0}' does not go with '{1}'")]
    Mismatch(String, String),
    /// Not what stands after that word.
    #[error("'{value}' is not {what}")]
    Value {
        /// What stands there.
        value: String,
        /// What should.
        what: &'static str,
    },
    /// A name without an address.
    #[error("cannot find an address of '{0}'")]
    Unresolved(String),
    /// Bits after the prefix.
    #[error("'{0}' has bits set outside its mask")]
    HostBits(String),
    /// Parentheses within parentheses.
    #[error("nested more than {} deep", parse::MAX_NESTING)]
    Nesting,
    /// Too long for the kernel programs.
    #[error(
        "takes {0} steps, and the kernel programs run {MAX_STEPS}: use a net or a port range for a list (over a capture, with \
         -r, it may be longer)"
    )]
    TooLongLive(usize),
    /// Too long for anything.
    #[error("takes {0} steps, and there may be {MOST_STEPS}: use a net or a port range for a list")]
    TooLong(usize),
    /// Longer than that whatever it is compiled to.
    #[error("more than {MOST_STEPS} conditions: use a net or a port range for a list")]
    TooMany,
}

/// Characters of the expression in an error, at most.
const EXCERPT: usize = 400;

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot use the filter: {}", self.problem)?;
        // Where it stands, in the line of it.
        let start = self.text[..self.at.start].rfind('\n').map_or(0, |at| at + 1);
        let line = self.text[start..].lines().next().unwrap_or_default();
        if line.is_empty() {
            return Ok(());
        }
        let before = self.text[start..self.at.start].chars().count();
        let carets = self.text[self.at.clone()].lines().next().unwrap_or_default().chars().count().max(1);
        // Of a line that fills the screen, the part about that place.
        let skipped = if line.chars().count() > EXCERPT { before.saturating_sub(EXCERPT / 2) } else { 0 };
        let excerpt: String = line.chars().skip(skipped).take(EXCERPT).collect();
        let (before, carets) = (before - skipped, carets.min(EXCERPT));
        write!(f, "\n  {excerpt}\n  {:before$}{}", "", "^".repeat(carets))
    }
}

/// What an expression says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Expr {
    Test(Test),
    Not(Box<Expr>),
    /// The first, and what is joined to all that is before it. A list, as a tree of many thousand conditions would be as deep.
    Chain(Box<Expr>, Vec<(Join, Expr)>),
}

/// What joins two conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Join {
    And,
    Or,
}

/// One condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Test {
    /// All that is traced.
    Tcp,
    /// 4 or 6.
    Family(u8),
    Net(Side, Net),
    /// Both ends included.
    Ports(Side, u16, u16),
    /// Any tag, or this one.
    Vlan(Option<u16>),
    Inbound,
    Outbound,
}

/// Which end an address or port is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) enum Side {
    #[default]
    Either,
    Both,
    Source,
    Destination,
}

/// An address and the bits of it that count.
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
