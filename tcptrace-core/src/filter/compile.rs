//! Compiles a parsed expression into the steps of a filter.

use super::{Condition, Expr, Join, MOST_STEPS, Net, Problem, Side};
use tcptrace_common::filter::{Field, MAX_DEPTH, Op, Step, Way};

/// A test of one field: its masked value lies between `low` and `low + span`.
#[derive(Clone, Copy)]
struct RangeTest {
    field: Field,
    mask: u64,
    low: u64,
    span: u64,
}

impl RangeTest {
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

/// Compiles an expression into steps.
pub(super) fn steps(expr: &Expr) -> Result<Vec<Step>, Problem> {
    let mut compiler = Compiler { list: Vec::new(), depth: 0, deepest: 0 };
    compiler.expr(expr, Op::Push);
    if compiler.list.len() > MOST_STEPS {
        return Err(Problem::TooLong(compiler.list.len()));
    }
    if compiler.deepest > MAX_DEPTH {
        return Err(Problem::Nesting);
    }
    Ok(compiler.list)
}

/// Whether an expression asks which end is the client, or which way the connection was opened.
pub(super) fn tells_ends_apart(expr: &Expr) -> bool {
    match expr {
        Expr::Condition(Condition::Net(side, _) | Condition::Ports(side, ..)) => {
            matches!(side, Side::Source | Side::Destination)
        }
        Expr::Condition(Condition::Inbound | Condition::Outbound) => true,
        Expr::Condition(Condition::Tcp | Condition::Family(_) | Condition::Vlan(_)) => false,
        Expr::Not(inner) => tells_ends_apart(inner),
        Expr::Chain(first, rest) => {
            tells_ends_apart(first) || rest.iter().any(|(_, expr)| tells_ends_apart(expr))
        }
    }
}

struct Compiler {
    list: Vec<Step>,
    depth: usize,
    deepest: usize,
}

impl Compiler {
    /// Appends one test as a step; `op` is `Push`, `AndTest` or `OrTest`.
    fn push_test(&mut self, range: RangeTest, op: Op) {
        self.list.push(range.step(op));
        if op == Op::Push {
            self.depth += 1;
            self.deepest = self.deepest.max(self.depth);
        }
    }

    /// Combines the two topmost values of the stack.
    fn combine(&mut self, op: Op) {
        self.list.push(RangeTest::is(Field::Family, 0).step(op));
        self.depth -= 1;
    }

    /// Puts the value of an expression on the stack with `Push`, or combines it with the top of the stack with
    /// `AndTest` or `OrTest`.
    fn expr(&mut self, expr: &Expr, op: Op) {
        if let Expr::Condition(condition) = expr {
            let ranges = single_step_tests(*condition);
            // A condition of one step, or one whose steps are joined in the same way as it is joined to what is before
            // it, needs no place on the stack.
            if ranges.len() == 1 || (!ranges.is_empty() && op == joining_op(*condition)) {
                return ranges.into_iter().for_each(|range| self.push_test(range, op));
            }
        }
        match expr {
            Expr::Condition(condition) => self.push_condition(*condition),
            Expr::Not(inner) => {
                self.expr(inner, Op::Push);
                self.list.push(RangeTest::is(Field::Family, 0).step(Op::Not));
            }
            Expr::Chain(first, rest) => self.chain(first, rest),
        }
        match op {
            Op::AndTest => self.combine(Op::And),
            Op::OrTest => self.combine(Op::Or),
            _ => {}
        }
    }

    /// Compiles a chain. Of its first two expressions the longer goes first: an expression of one step can then be
    /// combined with the top of the stack without a place of its own.
    fn chain(&mut self, first: &Expr, rest: &[(Join, Expr)]) {
        let op = |join| if join == Join::And { Op::AndTest } else { Op::OrTest };
        let rest = match rest {
            [(join, second), rest @ ..] if matches!(first, Expr::Condition(_)) => {
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

    /// Puts the value of a condition with several steps on the stack.
    fn push_condition(&mut self, condition: Condition) {
        match condition {
            Condition::Net(side, net @ Net::V6 { .. }) => {
                let ends = ends(side);
                for (nth, source) in ends.iter().enumerate() {
                    for (part, range) in v6_tests(*source, net).into_iter().enumerate() {
                        self.push_test(range, if part == 0 { Op::Push } else { Op::AndTest });
                    }
                    if nth == 1 {
                        self.combine(if side == Side::Both { Op::And } else { Op::Or });
                    }
                }
            }
            _ => {
                for (nth, range) in single_step_tests(condition).into_iter().enumerate() {
                    self.push_test(range, if nth == 0 { Op::Push } else { joining_op(condition) });
                }
            }
        }
    }
}

/// How the steps of one condition are joined.
const fn joining_op(condition: Condition) -> Op {
    match condition {
        Condition::Net(Side::Both, _) | Condition::Ports(Side::Both, ..) => Op::AndTest,
        _ => Op::OrTest,
    }
}

/// The ends that a condition is about; true is the source.
const fn ends(side: Side) -> &'static [bool] {
    match side {
        Side::Source => &[true],
        Side::Destination => &[false],
        Side::Either | Side::Both => &[true, false],
    }
}

/// The steps of a condition of which each step tests a whole address, port or tag. An IPv6 net has such steps only if
/// it is for one end, and one step tests it.
fn single_step_tests(condition: Condition) -> Vec<RangeTest> {
    match condition {
        Condition::Tcp => vec![RangeTest { field: Field::Family, mask: 0, low: 0, span: 0 }],
        Condition::Family(family) => vec![RangeTest::is(Field::Family, family.into())],
        Condition::Net(side, Net::V4 { address, mask }) => {
            let field = |source| if source { Field::SourceV4 } else { Field::DestinationV4 };
            // Bit 32 of these fields is set for IPv4, and is 0 for IPv6.
            let (value, mask) = (1 << 32 | u64::from(address), 1 << 32 | u64::from(mask));
            ends(side).iter().map(|&source| RangeTest::masked(field(source), mask, value)).collect()
        }
        Condition::Net(side, net @ Net::V6 { .. }) => match ends(side) {
            [source] => {
                let parts = v6_tests(*source, net);
                if parts.len() == 1 { parts } else { Vec::new() }
            }
            _ => Vec::new(),
        },
        Condition::Ports(side, low, high) => {
            let field = |source| if source { Field::SourcePort } else { Field::DestinationPort };
            let (low, span) = (low.into(), u64::from(high - low));
            let range = |&source| RangeTest { field: field(source), mask: u64::MAX, low, span };
            ends(side).iter().map(range).collect()
        }
        // VLAN identifiers have 12 bits (IEEE 802.1Q), and the value for no tag is above them.
        Condition::Vlan(None) => {
            vec![RangeTest { field: Field::OuterVlan, mask: u64::MAX, low: 0, span: 0x0fff }]
        }
        Condition::Vlan(Some(id)) => {
            [Field::OuterVlan, Field::InnerVlan].map(|field| RangeTest::is(field, id.into())).to_vec()
        }
        Condition::Inbound => vec![RangeTest::is(Field::Way, Way::Inbound as u64)],
        Condition::Outbound => vec![RangeTest::is(Field::Way, Way::Outbound as u64)],
    }
}

/// The steps that must all hold for an IPv6 address to be in a net.
#[expect(clippy::cast_possible_truncation, reason = "the halves of an address")]
fn v6_tests(source: bool, net: Net) -> Vec<RangeTest> {
    let Net::V6 { address, mask } = net else { return Vec::new() };
    let (high, low) = if source {
        (Field::SourceHigh, Field::SourceLow)
    } else {
        (Field::DestinationHigh, Field::DestinationLow)
    };
    let halves = [(high, (address >> 64) as u64, (mask >> 64) as u64), (low, address as u64, mask as u64)];
    let mut ranges: Vec<RangeTest> = halves
        .into_iter()
        .filter(|(_, _, mask)| *mask != 0)
        .map(|(field, value, mask)| RangeTest::masked(field, mask, value))
        .collect();
    // IPv4 has zero in these fields, so that a net which begins with zeros needs a test of the version.
    if address & mask == 0 {
        ranges.push(RangeTest::is(Field::Family, 6));
    }
    ranges
}
