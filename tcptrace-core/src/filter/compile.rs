//! From an expression to the steps of its program.

use super::{Expr, Join, MOST_STEPS, Net, Problem, Side, Test};
use tcptrace_common::filter::{Field, MAX_DEPTH, Op, Step, Way};

/// One test, without what is done with its outcome.
#[derive(Clone, Copy)]
struct Range {
    field: Field,
    mask: u64,
    low: u64,
    span: u64,
}

impl Range {
    const fn is(field: Field, value: u64) -> Self {
        Self::masked(field, u64::MAX, value)
    }

    const fn masked(field: Field, mask: u64, value: u64) -> Self {
        Self { field, mask, low: value & mask, span: 0 }
    }

    const fn step(self, op: Op) -> Step {
        Step::new(op, self.field, self.mask, self.low, self.span)
    }
}

/// Compiles.
pub(super) fn steps(expr: &Expr) -> Result<Vec<Step>, Problem> {
    let mut steps = Steps { list: Vec::new(), depth: 0, deepest: 0 };
    steps.expr(expr, Op::Push);
    if steps.list.len() > MOST_STEPS {
        return Err(Problem::TooLong(steps.list.len()));
    }
    if steps.deepest > MAX_DEPTH {
        return Err(Problem::Nesting);
    }
    Ok(steps.list)
}

/// It asks which end is the client, or which way it went.
pub(super) fn tells_ends_apart(expr: &Expr) -> bool {
    match expr {
        Expr::Test(Test::Net(side, _) | Test::Ports(side, ..)) => {
            matches!(side, Side::Source | Side::Destination)
        }
        Expr::Test(Test::Inbound | Test::Outbound) => true,
        Expr::Test(Test::Tcp | Test::Family(_) | Test::Vlan(_)) => false,
        Expr::Not(inner) => tells_ends_apart(inner),
        Expr::Chain(first, rest) => {
            tells_ends_apart(first) || rest.iter().any(|(_, expr)| tells_ends_apart(expr))
        }
    }
}

struct Steps {
    list: Vec<Step>,
    depth: usize,
    deepest: usize,
}

impl Steps {
    /// One test; `op` is `Push`, `AndTest` or `OrTest`.
    fn test(&mut self, range: Range, op: Op) {
        self.list.push(range.step(op));
        if op == Op::Push {
            self.depth += 1;
            self.deepest = self.deepest.max(self.depth);
        }
    }

    /// Combines the two topmost.
    fn combine(&mut self, op: Op) {
        self.list.push(Range::is(Field::Family, 0).step(op));
        self.depth -= 1;
    }

    /// What `expr` says is put on the stack, or combined with its top by `AndTest` or `OrTest`.
    fn expr(&mut self, expr: &Expr, op: Op) {
        if let Expr::Test(test) = expr {
            let ranges = alternatives(*test);
            // One condition, or several that are joined as what is before them.
            if ranges.len() == 1 || (!ranges.is_empty() && op == joined(*test)) {
                return ranges.into_iter().for_each(|range| self.test(range, op));
            }
        }
        match expr {
            Expr::Test(test) => self.tests(*test),
            Expr::Not(inner) => {
                self.expr(inner, Op::Push);
                self.list.push(Range::is(Field::Family, 0).step(Op::Not));
            }
            Expr::Chain(first, rest) => self.chain(first, rest),
        }
        match op {
            Op::AndTest => self.combine(Op::And),
            Op::OrTest => self.combine(Op::Or),
            _ => {}
        }
    }

    /// Of the first two the longer first: what is one test needs no place of its own then.
    fn chain(&mut self, first: &Expr, rest: &[(Join, Expr)]) {
        let op = |join| if join == Join::And { Op::AndTest } else { Op::OrTest };
        let rest = match rest {
            [(join, second), rest @ ..] if matches!(first, Expr::Test(_)) => {
                self.expr(second, Op::Push);
                self.expr(first, op(*join));
                rest
            }
            rest => {
                self.expr(first, Op::Push);
                rest
            }
        };
        for (join, expr) in rest {
            self.expr(expr, op(*join));
        }
    }

    /// A test that takes more than one step.
    fn tests(&mut self, test: Test) {
        match test {
            Test::Net(side, net @ Net::V6 { .. }) => {
                let ends = ends(side);
                for (nth, source) in ends.iter().enumerate() {
                    for (part, range) in v6(*source, net).into_iter().enumerate() {
                        self.test(range, if part == 0 { Op::Push } else { Op::AndTest });
                    }
                    if nth == 1 {
                        self.combine(if side == Side::Both { Op::And } else { Op::Or });
                    }
                }
            }
            _ => {
                for (nth, range) in alternatives(test).into_iter().enumerate() {
                    self.test(range, if nth == 0 { Op::Push } else { joined(test) });
                }
            }
        }
    }
}

/// How the conditions of one test are joined.
const fn joined(test: Test) -> Op {
    match test {
        Test::Net(Side::Both, _) | Test::Ports(Side::Both, ..) => Op::AndTest,
        _ => Op::OrTest,
    }
}

/// True for the source.
const fn ends(side: Side) -> &'static [bool] {
    match side {
        Side::Source => &[true],
        Side::Destination => &[false],
        Side::Either | Side::Both => &[true, false],
    }
}

/// The steps of a test in which each step is a whole condition. None for one that is not made so.
fn alternatives(test: Test) -> Vec<Range> {
    match test {
        Test::Tcp => vec![Range { field: Field::Family, mask: 0, low: 0, span: 0 }],
        Test::Family(family) => vec![Range::is(Field::Family, family.into())],
        Test::Net(side, Net::V4 { address, mask }) => {
            let field = |source| if source { Field::SourceV4 } else { Field::DestinationV4 };
            // With the bit that IPv4 addresses have and IPv6 has not.
            let (value, mask) = (1 << 32 | u64::from(address), 1 << 32 | u64::from(mask));
            ends(side).iter().map(|&source| Range::masked(field(source), mask, value)).collect()
        }
        Test::Net(side, net @ Net::V6 { .. }) => match ends(side) {
            [source] => {
                let parts = v6(*source, net);
                if parts.len() == 1 { parts } else { Vec::new() }
            }
            _ => Vec::new(),
        },
        Test::Ports(side, low, high) => {
            let field = |source| if source { Field::SourcePort } else { Field::DestinationPort };
            let (low, span) = (low.into(), u64::from(high - low));
            let range = |&source| Range { field: field(source), mask: u64::MAX, low, span };
            ends(side).iter().map(range).collect()
        }
        // 12 bits by IEEE 802.1Q; what stands for none has more.
        Test::Vlan(None) => vec![Range { field: Field::OuterVlan, mask: u64::MAX, low: 0, span: 0x0fff }],
        Test::Vlan(Some(id)) => {
            [Field::OuterVlan, Field::InnerVlan].map(|field| Range::is(field, id.into())).to_vec()
        }
        Test::Inbound => vec![Range::is(Field::Way, Way::Inbound as u64)],
        Test::Outbound => vec![Range::is(Field::Way, Way::Outbound as u64)],
    }
}

/// The conditions, all of which must hold, for one IPv6 address to be in a net.
#[expect(clippy::cast_possible_truncation, reason = "the halves of an address")]
fn v6(source: bool, net: Net) -> Vec<Range> {
    let Net::V6 { address, mask } = net else { return Vec::new() };
    let (high, low) = if source {
        (Field::SourceHigh, Field::SourceLow)
    } else {
        (Field::DestinationHigh, Field::DestinationLow)
    };
    let halves = [(high, (address >> 64) as u64, (mask >> 64) as u64), (low, address as u64, mask as u64)];
    let mut ranges: Vec<Range> = halves
        .into_iter()
        .filter(|(_, _, mask)| *mask != 0)
        .map(|(field, value, mask)| Range::masked(field, mask, value))
        .collect();
    // What is all zero in IPv6 is what IPv4 has there too.
    if address & mask == 0 {
        ranges.push(Range::is(Field::Family, 6));
    }
    ranges
}
