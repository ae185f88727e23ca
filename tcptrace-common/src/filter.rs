//! Which connections are wanted: a small program over the numbers of a segment, the same in the kernel programs and in
//! user space, which makes it from a filter expression.
//!
//! A program is a list of steps over a stack of truth values, one bit each. A step tests one number and combines what
//! it found with the top of the stack, or combines the two topmost. There are no jumps: each step is the same few
//! instructions whatever it finds, so the verifier follows one way through it and not one for every outcome.

use crate::abi::{BIT_EGRESS, BIT_IPV6, NO_VLAN, Record};
use core::hint::black_box;

/// The most steps of a program in the kernel. A list of fifty ports takes a hundred.
pub const MAX_STEPS: usize = 128;

/// Values that one expression may have waiting at once: bits of a word.
pub const MAX_DEPTH: usize = 64;

/// The numbers that a step can test, a power of two of them.
pub const NUMBERS: usize = 16;

/// The numbers of one segment, by [`Field`].
pub type Numbers = [u64; NUMBERS];

/// What a step tests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Field {
    /// IPv4 source address with bit 32 set; 0 in IPv6.
    SourceV4 = 0,
    /// Likewise of the destination.
    DestinationV4 = 1,
    /// IPv6 source address, upper half; 0 in IPv4.
    SourceHigh = 2,
    /// Lower half.
    SourceLow = 3,
    /// IPv6 destination address, upper half; 0 in IPv4.
    DestinationHigh = 4,
    /// Lower half.
    DestinationLow = 5,
    /// Source port.
    SourcePort = 6,
    /// Destination port.
    DestinationPort = 7,
    /// The outer (or only) VLAN identifier; [`NO_VLAN`] for none.
    OuterVlan = 8,
    /// The inner one.
    InnerVlan = 9,
    /// 4 or 6.
    Family = 10,
    /// A [`Way`].
    Way = 11,
}

/// Which way a segment passes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u64)]
pub enum Way {
    /// Nobody can say.
    Unknown = 0,
    /// Into the host.
    Inbound = 1,
    /// Out of the host.
    Outbound = 2,
}

impl Way {
    /// The other direction's.
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
    /// The top becomes itself and the test's outcome.
    AndTest,
    /// The top becomes itself or the test's outcome.
    OrTest,
    /// The two topmost become one: both.
    And,
    /// The two topmost become one: either.
    Or,
    /// The top becomes its opposite.
    Not,
}

/// One step. A test is true where `(number & mask) - low`, modulo 2^64, is at most `span`.
///
/// What it does is not a code but a recipe, each part 0 or 1, so that every step takes the same way through
/// [`Step::run`]: a branch for each of six codes, in each of 128 steps, is more than the verifier follows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
#[cfg_attr(
    feature = "user",
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
pub struct Step {
    /// Which bits count.
    pub mask: u64,
    /// The least number that passes.
    pub low: u64,
    /// How many more do.
    pub span: u64,
    /// A [`Field`].
    pub field: u8,
    /// The stack grows by this.
    grows: u8,
    /// It shrinks by this.
    shrinks: u8,
    /// The operand is the test's outcome, not the former top.
    tests: u8,
    /// The top must agree with the operand.
    ands: u8,
    /// The operand is enough.
    ors: u8,
    /// The top is turned over.
    turns: u8,
    reserved: u8,
}

impl Step {
    /// One that tests, if it tests, whether the number `field` is within `span` from `low` on, of the bits in `mask`.
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

/// The steps of a program, be they in a map's or in memory, where there may be more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Steps<'a> {
    /// None takes everything.
    pub list: &'a [Step],
    /// The expression tells source from destination, so a segment also passes if the other direction's would.
    pub either_way: bool,
}

impl Steps<'_> {
    /// Takes everything.
    pub const ALL: Self = Self { list: &[], either_way: false };

    /// As [`Program::admits`].
    #[must_use]
    pub fn admits(&self, record: &Record, scratch: &mut Numbers) -> bool {
        self.list.is_empty() || admits(self.either_way, record, scratch, |numbers| self.takes(numbers))
    }

    /// The verdict on these numbers, as they are.
    #[must_use]
    pub fn takes(&self, numbers: &Numbers) -> bool {
        verdict(self.list, u32::try_from(self.list.len()).unwrap_or(u32::MAX), numbers)
    }
}

/// One direction's numbers are taken, or with `either_way` the other's.
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

/// What the first `len` steps say of these numbers.
#[inline(always)]
fn verdict(steps: &[Step], len: u32, numbers: &Numbers) -> bool {
    // Nothing to test: everything.
    let mut stack = u64::from(len == 0);
    for (nth, step) in (0..).zip(steps) {
        if nth >= len {
            break;
        }
        stack = step.run(stack, numbers);
    }
    stack & 1 == 1
}

/// A whole program, as it lies in its map.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
#[cfg_attr(
    feature = "user",
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
pub struct Program {
    /// How many steps; 0 takes everything.
    pub len: u32,
    /// Not 0: the expression tells source from destination, so a segment also passes if the other direction's would.
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
    /// Takes everything.
    pub const ALL: Self =
        Self { len: 0, either_way: 0, steps: [Step::new(Op::Push, Field::Family, 0, 0, 0); MAX_STEPS] };

    /// A record of this segment is wanted. Which end is the client only some segments show, so where the expression
    /// tells ends apart what either direction's verdict takes is passed on, and the tracker decides. `scratch` is the
    /// caller's, as it is more than the kernel programs have stack for; what is left in it means nothing.
    #[inline(always)]
    #[must_use]
    pub fn admits(&self, record: &Record, scratch: &mut Numbers) -> bool {
        self.len == 0 || admits(self.either_way != 0, record, scratch, |numbers| self.takes(numbers))
    }

    /// The verdict on these numbers, as they are.
    #[inline(never)]
    #[must_use]
    pub fn takes(&self, numbers: &Numbers) -> bool {
        verdict(&self.steps, self.len, numbers)
    }
}

impl Step {
    /// The stack after this step; the top is bit 0.
    #[inline(always)]
    #[must_use]
    pub fn run(&self, stack: u64, numbers: &Numbers) -> u64 {
        let number = numbers[usize::from(self.field) % NUMBERS];
        let (off, span) = ((number & self.mask).wrapping_sub(self.low), self.span);
        // 1 where `off` is more than `span`: the borrow of their difference. A comparison would be a branch, and the
        // compiler makes it one again where it sees it.
        let beyond = black_box(((!span & off) | ((!span | off) & span.wrapping_sub(off))) >> 63);
        let tests = u64::from(self.tests);
        let operand = ((beyond ^ 1) & tests) | (stack & (tests ^ 1));
        let (ands, ors) = (u64::from(self.ands), u64::from(self.ors));
        let base = (stack << (self.grows & 1)) >> (self.shrinks & 1);
        ((base & (operand | !ands)) | (operand & ors)) ^ u64::from(self.turns)
    }
}

/// The numbers of a record's segment; with `reversed` those that the other direction would have.
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
