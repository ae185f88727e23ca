//! Decides which connections are wanted, by a small program over the numbers of a segment. User space makes the program
//! from a filter expression, and it runs in the kernel programs and in user space alike.
//!
//! A program is a list of steps over a stack of truth values, one bit each. A step tests one number and combines the
//! outcome with the top of the stack, or it combines the two topmost values. There are no jumps: each step is the same
//! few instructions whatever the outcome is, so the verifier follows one way through it and not one for every outcome.

use crate::abi::{BIT_EGRESS, BIT_IPV6, NO_VLAN, Record};
use core::hint::black_box;

/// The most steps of a program in the kernel. A list of fifty ports takes a hundred.
pub const MAX_STEPS: usize = 128;

/// The most values that may be on the stack at once, which is one word.
pub const MAX_DEPTH: usize = 64;

/// How many numbers a step can choose from: a power of two, so that a mask keeps an index within it.
pub const NUMBERS: usize = 16;

/// The numbers of one segment, indexed by [`Field`].
pub type Numbers = [u64; NUMBERS];

/// The number that a step tests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Field {
    /// IPv4 source address with bit 32 set; 0 in IPv6.
    SourceV4 = 0,
    /// IPv4 destination address with bit 32 set; 0 in IPv6.
    DestinationV4 = 1,
    /// Upper half of the IPv6 source address; 0 in IPv4.
    SourceHigh = 2,
    /// Lower half of the IPv6 source address; 0 in IPv4.
    SourceLow = 3,
    /// Upper half of the IPv6 destination address; 0 in IPv4.
    DestinationHigh = 4,
    /// Lower half of the IPv6 destination address; 0 in IPv4.
    DestinationLow = 5,
    /// Source port.
    SourcePort = 6,
    /// Destination port.
    DestinationPort = 7,
    /// The outer (or only) VLAN identifier; [`NO_VLAN`] for none.
    OuterVlan = 8,
    /// The inner VLAN identifier; [`NO_VLAN`] for none.
    InnerVlan = 9,
    /// The IP version: 4 or 6.
    Family = 10,
    /// The way that the segment passes: a [`Way`].
    Way = 11,
}

/// The way that a segment passes, as this host sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u64)]
pub enum Way {
    /// The way is not known.
    Unknown = 0,
    /// The segment comes into the host.
    Inbound = 1,
    /// The segment goes out of the host.
    Outbound = 2,
}

impl Way {
    /// The way of the connection's other direction.
    #[must_use]
    pub const fn reversed(self) -> Self {
        match self {
            Self::Unknown => Self::Unknown,
            Self::Inbound => Self::Outbound,
            Self::Outbound => Self::Inbound,
        }
    }
}

/// What a step does with the stack.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Op {
    /// Puts the test's outcome on the stack.
    Push,
    /// Makes the top true if it and the test's outcome are.
    AndTest,
    /// Makes the top true if it or the test's outcome is.
    OrTest,
    /// Replaces the two topmost values by one that is true if both are.
    And,
    /// Replaces the two topmost values by one that is true if either is.
    Or,
    /// Turns the top into its opposite.
    Not,
}

/// One step of a filter's program. Its test is true if `(number & mask) - low`, modulo 2^64, is at most `span`.
///
/// What the step does with the stack is not one of six codes but a recipe, each part of which is 0 or 1, so that every
/// step takes the same way through [`Step::run`]. A branch for each of six codes, in each of 128 steps, is more than
/// the verifier follows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
#[cfg_attr(
    feature = "user",
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
pub struct Step {
    /// The bits of the number that count.
    pub mask: u64,
    /// The least number that passes the test.
    pub low: u64,
    /// How many numbers above `low` pass, too.
    pub span: u64,
    /// The number that is tested: a [`Field`].
    pub field: u8,
    /// How many values the stack grows by.
    grows: u8,
    /// How many values the stack shrinks by.
    shrinks: u8,
    /// 1 if the operand is the test's outcome, 0 if it is the former top.
    tests: u8,
    /// 1 if the top becomes false where the operand is false.
    ands: u8,
    /// 1 if the top becomes true where the operand is true.
    ors: u8,
    /// 1 if the top is turned into its opposite.
    turns: u8,
    reserved: u8,
}

impl Step {
    /// Makes a step. If `op` has a test, it is whether the bits in `mask` of the number `field` are a number from `low`
    /// to `low` + `span`.
    #[must_use]
    pub const fn new(op: Op, field: Field, mask: u64, low: u64, span: u64) -> Self {
        let [grows, shrinks, tests, ands, ors, turns] = match op {
            Op::Push => [1, 0, 1, 0, 1, 0],
            Op::AndTest => [0, 0, 1, 1, 0, 0],
            Op::OrTest => [0, 0, 1, 0, 1, 0],
            Op::And => [0, 1, 0, 1, 0, 0],
            Op::Or => [0, 1, 0, 0, 1, 0],
            Op::Not => [0, 0, 0, 0, 0, 1],
        };
        Self { mask, low, span, field: field as u8, grows, shrinks, tests, ands, ors, turns, reserved: 0 }
    }
}

/// The steps of a program in memory, where there may be more of them than a [`Program`] has room for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Steps<'a> {
    /// The steps. Without any, everything is admitted.
    pub list: &'a [Step],
    /// Whether the expression tells source from destination. A segment then also passes if one of the other direction
    /// would.
    pub either_way: bool,
}

impl Steps<'_> {
    /// The steps that admit everything.
    pub const ALL: Self = Self { list: &[], either_way: false };

    /// Whether a record of this segment is wanted; see [`Program::admits`].
    #[must_use]
    pub fn admits(&self, record: &Record, scratch: &mut Numbers) -> bool {
        self.list.is_empty() || admits(self.either_way, record, scratch, |numbers| self.takes(numbers))
    }

    /// Whether the steps pass these numbers, of one direction.
    #[must_use]
    pub fn takes(&self, numbers: &Numbers) -> bool {
        verdict(self.list, u32::try_from(self.list.len()).unwrap_or(u32::MAX), numbers)
    }
}

/// Whether `takes` passes the numbers of the record's own direction or, with `either_way`, those of the other
/// direction.
#[inline(always)]
fn admits(
    either_way: bool,
    record: &Record,
    scratch: &mut Numbers,
    takes: impl Fn(&Numbers) -> bool,
) -> bool {
    numbers(record, false, scratch);
    if takes(scratch) {
        return true;
    }
    either_way && {
        numbers(record, true, scratch);
        takes(scratch)
    }
}

/// Whether the first `len` steps pass these numbers.
#[inline(always)]
fn verdict(steps: &[Step], len: u32, numbers: &Numbers) -> bool {
    // Without steps everything passes.
    let mut stack = u64::from(len == 0);
    for (nth, step) in (0..).zip(steps) {
        if nth >= len {
            break;
        }
        stack = step.run(stack, numbers);
    }
    stack & 1 == 1
}

/// A whole program, as it lies in a map of the kernel programs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
#[cfg_attr(
    feature = "user",
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
pub struct Program {
    /// How many steps there are. Without any, everything is admitted.
    pub len: u32,
    /// Not 0 if the expression tells source from destination. A segment then also passes if one of the other direction
    /// would.
    pub either_way: u32,
    /// The steps, `len` of them.
    pub steps: [Step; MAX_STEPS],
}

impl Default for Program {
    fn default() -> Self {
        Self::ALL
    }
}

impl Program {
    /// The program that admits everything.
    pub const ALL: Self =
        Self { len: 0, either_way: 0, steps: [Step::new(Op::Push, Field::Family, 0, 0, 0); MAX_STEPS] };

    /// Whether a record of this segment is wanted. Only some segments show which end is the client. So where the
    /// expression tells the ends apart, a segment is admitted if one of either direction would pass, and the tracker
    /// decides. `scratch` is the caller's, as it is larger than the kernel programs' stack allows; what is left in it
    /// means nothing.
    #[inline(always)]
    #[must_use]
    pub fn admits(&self, record: &Record, scratch: &mut Numbers) -> bool {
        self.len == 0 || admits(self.either_way != 0, record, scratch, |numbers| self.takes(numbers))
    }

    /// Whether the steps pass these numbers, of one direction.
    #[inline(never)]
    #[must_use]
    pub fn takes(&self, numbers: &Numbers) -> bool {
        verdict(&self.steps, self.len, numbers)
    }
}

impl Step {
    /// The stack after this step. Its top is bit 0.
    #[inline(always)]
    #[must_use]
    pub fn run(&self, stack: u64, numbers: &Numbers) -> u64 {
        let number = numbers[usize::from(self.field) % NUMBERS];
        let (off, span) = ((number & self.mask).wrapping_sub(self.low), self.span);
        // `beyond` is 1 if `off` is more than `span`: it is the borrow of their difference. A comparison would be a
        // branch, and without `black_box` the compiler makes this one again.
        let beyond = black_box(((!span & off) | ((!span | off) & span.wrapping_sub(off))) >> 63);
        let tests = u64::from(self.tests);
        let operand = ((beyond ^ 1) & tests) | (stack & (tests ^ 1));
        let (ands, ors) = (u64::from(self.ands), u64::from(self.ors));
        let base = (stack << (self.grows & 1)) >> (self.shrinks & 1);
        ((base & (operand | !ands)) | (operand & ors)) ^ u64::from(self.turns)
    }
}

/// Writes the numbers of a record's segment to `out`, or with `reversed` those that a segment of the other direction
/// would have.
#[inline(always)]
pub fn numbers(record: &Record, reversed: bool, out: &mut Numbers) {
    let (src, dst) = if reversed { (&record.dst, &record.src) } else { (&record.src, &record.dst) };
    let (src_port, dst_port) =
        if reversed { (record.dst_port, record.src_port) } else { (record.src_port, record.dst_port) };
    let ipv6 = record.bits & BIT_IPV6 != 0;
    let egress = (record.bits & BIT_EGRESS != 0) != reversed;
    address(src, ipv6, out, [Field::SourceV4, Field::SourceHigh, Field::SourceLow]);
    address(dst, ipv6, out, [Field::DestinationV4, Field::DestinationHigh, Field::DestinationLow]);
    out[Field::SourcePort as usize] = u64::from(src_port);
    out[Field::DestinationPort as usize] = u64::from(dst_port);
    out[Field::OuterVlan as usize] = u64::from(record.vlan[0]);
    out[Field::InnerVlan as usize] = u64::from(record.vlan[1]);
    out[Field::Family as usize] = if ipv6 { 6 } else { 4 };
    out[Field::Way as usize] = if egress { Way::Outbound as u64 } else { Way::Inbound as u64 };
}

#[inline(always)]
fn address(bytes: &[u8; 16], ipv6: bool, out: &mut Numbers, [v4, high, low]: [Field; 3]) {
    let half = |at: usize| {
        let mut half = [0; 8];
        half.copy_from_slice(&bytes[at..at + 8]);
        u64::from_be_bytes(half)
    };
    let (upper, lower) = (half(0), half(8));
    out[v4 as usize] = if ipv6 { 0 } else { 1 << 32 | (lower & 0xffff_ffff) };
    out[high as usize] = if ipv6 { upper } else { 0 };
    out[low as usize] = if ipv6 { lower } else { 0 };
}

const _: () = {
    assert!(size_of::<Step>() == 32);
    assert!(size_of::<Program>() == 8 + 32 * MAX_STEPS);
    assert!(NO_VLAN == 0xffff);
};
