//! Gates, which let one copy of the TC programs serve many network namespaces.
//!
//! Devices of several namespaces can have the same index, and nothing that a program may look at says which namespace a
//! packet's device is in. So the number of the namespace is left beside the packet, in its `tc_classid`. A filter on
//! clsact puts it there by itself (`net/sched/cls_bpf.c`, `cls_bpf_classify`). A TCX link does not: it holds a *gate*
//! instead, a program of a few instructions for each namespace and side, which writes the number and goes on with the
//! program that all share, by a tail call. As the index in the array of programs is a constant, the kernel makes a
//! plain jump of the tail call where it can (kernel/bpf/arraymap.c, `prog_array_map_poke_run`).

use super::entry::Entry;
use crate::kernel::calls::raw::{self, BPF_PROG_TYPE_SCHED_CLS, Instruction};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd},
};

/// `offsetof(struct __sk_buff, tc_classid)` (`linux/bpf.h`).
const TC_CLASSID: i16 = 72;
/// `BPF_FUNC_tail_call`.
const TAIL_CALL: i32 = 12;
/// `TC_ACT_UNSPEC`: if the tail call fails, the packet passes as if nothing were attached.
const PASS: i32 = -1;

/// The gates to one copy of the programs.
pub(super) struct Gates {
    /// The array of programs that the gates go on with, by entry.
    programs: OwnedFd,
    /// The entries that are in the array. Putting a program there again would have the kernel patch each gate to it.
    present: BTreeSet<Entry>,
    /// The gates, by the number of the namespace and by entry.
    made: BTreeMap<(u16, Entry), OwnedFd>,
}

impl Gates {
    /// Makes the array. There are no gates yet.
    pub(super) fn new() -> io::Result<Self> {
        #[expect(clippy::cast_possible_truncation, reason = "five")]
        let programs = raw::program_array(Entry::ALL.len() as u32)?;
        Ok(Self { programs, present: BTreeSet::new(), made: BTreeMap::new() })
    }

    /// The gate from a namespace to `program`, which is the program of this entry. The first call makes it.
    pub(super) fn gate(
        &mut self,
        netns: u16,
        entry: Entry,
        program: BorrowedFd<'_>,
    ) -> io::Result<BorrowedFd<'_>> {
        let index = entry as u32;
        if !self.made.contains_key(&(netns, entry)) {
            if !self.present.contains(&entry) {
                raw::put(self.programs.as_fd(), index, program)?;
                self.present.insert(entry);
            }
            let code = instructions(netns, self.programs.as_raw_fd(), index);
            let gate = raw::load(BPF_PROG_TYPE_SCHED_CLS, &code, entry.name())?;
            self.made.insert((netns, entry), gate);
        }
        Ok(self.made[&(netns, entry)].as_fd())
    }

    /// Lets go of the gates of a namespace that is gone.
    pub(super) fn remove(&mut self, netns: u16) {
        self.made.retain(|(of, _), _| *of != netns);
    }

    /// All gates.
    pub(super) fn all(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.made.values().map(|gate| gate.as_fd())
    }
}

/// The instructions of a gate: it writes the number of the namespace, and goes on with the program at `index` of the
/// array.
fn instructions(netns: u16, array: i32, index: u32) -> [Instruction; 8] {
    const MOV: u8 = 0xb7;
    const STORE_32: u8 = 0x63;
    const LOAD_64: u8 = 0x18;
    const CALL: u8 = 0x85;
    const EXIT: u8 = 0x95;
    /// `BPF_PSEUDO_MAP_FD`, the source of a `LOAD_64` whose value is the descriptor of a map.
    const MAP: u8 = 1;
    let one = |code: u8, to: u8, from: u8, offset: i16, value: i32| {
        let [low, high] = offset.to_ne_bytes();
        let [a, b, c, d] = value.to_ne_bytes();
        [code, from << 4 | to, low, high, a, b, c, d]
    };
    [
        one(MOV, 0, 0, 0, netns.into()),
        one(STORE_32, 1, 0, TC_CLASSID, 0),
        one(LOAD_64, 2, MAP, 0, array),
        one(0, 0, 0, 0, 0),
        one(MOV, 3, 0, 0, index.cast_signed()),
        one(CALL, 0, 0, 0, TAIL_CALL),
        one(MOV, 0, 0, 0, PASS),
        one(EXIT, 0, 0, 0, 0),
    ]
}
