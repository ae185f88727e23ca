//! Where fields are in the structures of the running kernel, by its own description of them (Documentation/bpf/btf.rst).

use std::{fs, sync::OnceLock};

/// The description of the running kernel.
const KERNEL: &str = "/sys/kernel/btf/vmlinux";
const MAGIC: u16 = 0xeb9f;
/// Octets that each type has, whatever its kind.
const TYPE: usize = 12;
const STRUCT: u32 = 4;

/// The offsets of fields that the programs read, in octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Offsets {
    /// `linux_binprm::interp`, the path of the program that is executed.
    pub(crate) binprm_interp: u32,
    /// `task_struct::tgid`, the number of a process.
    pub(crate) task_tgid: u32,
}

impl Offsets {
    /// Those of the running kernel, or why they are not known. The description has some MiB, and is read once.
    pub(crate) fn of_kernel() -> Result<Self, String> {
        static KNOWN: OnceLock<Result<Offsets, String>> = OnceLock::new();
        let read = || {
            let described = fs::read(KERNEL).map_err(|error| format!("{KERNEL}: {error}"))?;
            Self::of(&described).ok_or_else(|| format!("{KERNEL} does not describe what is needed"))
        };
        KNOWN.get_or_init(read).clone()
    }

    fn of(described: &[u8]) -> Option<Self> {
        let types = Types::of(described)?;
        Some(Self {
            binprm_interp: types.offset("linux_binprm", "interp")?,
            task_tgid: types.offset("task_struct", "tgid")?,
        })
    }
}

/// A description: the types one after the other, and their names.
struct Types<'a> {
    types: &'a [u8],
    names: &'a [u8],
}

impl<'a> Types<'a> {
    fn of(described: &'a [u8]) -> Option<Self> {
        let magic = u16::from_ne_bytes(described.get(..2)?.try_into().ok()?);
        let header = (magic == MAGIC).then(|| described.get(4..24))??;
        let [len, types_at, types_len, names_at, names_len] =
            std::array::from_fn(|nth| word(header, nth * 4));
        let part = |at: Option<usize>, part_len: Option<usize>| {
            let start = len?.checked_add(at?)?;
            described.get(start..start.checked_add(part_len?)?)
        };
        Some(Self { types: part(types_at, types_len)?, names: part(names_at, names_len)? })
    }

    fn is_named(&self, at: usize, name: &str) -> bool {
        let there = self.names.get(at..).and_then(|names| names.strip_prefix(name.as_bytes()));
        there.is_some_and(|rest| rest.first() == Some(&0))
    }

    /// The offset of a field of a structure; `None` if there is none, or it does not begin at an octet.
    fn offset(&self, structure: &str, field: &str) -> Option<u32> {
        let mut rest = self.types;
        while let Some(info) = word(rest, 4) {
            let (kind, count) = ((info >> 24) & 0x1f, info & 0xffff);
            let after = rest.get(TYPE..)?;
            if kind == STRUCT as usize && self.is_named(word(rest, 0)?, structure) {
                let mut members = after.get(..count * 12)?.chunks_exact(12);
                let member =
                    members.find(|member| word(member, 0).is_some_and(|name| self.is_named(name, field)))?;
                // With the flag the upper octet is the width of a bit field.
                let bits = word(member, 8)?;
                let bits = if info >> 31 == 1 { bits & 0x00ff_ffff } else { bits };
                return (bits % 8 == 0).then(|| u32::try_from(bits / 8).ok())?;
            }
            rest = after.get(more(kind, count)?..)?;
        }
        None
    }
}

/// How many octets follow a type of this kind with this count; `None` for a kind that is not known.
fn more(kind: usize, count: usize) -> Option<usize> {
    Some(match kind {
        // Pointers, forward declarations, type definitions, qualifiers, functions, floating point and tags of types.
        2 | 7..=12 | 16 | 18 => 0,
        // Integers, variables and tags of declarations.
        1 | 14 | 17 => 4,
        // Arrays.
        3 => 12,
        // Structures, unions, sections and enumerations of 64 bits.
        4 | 5 | 15 | 19 => count * 12,
        // Enumerations, and parameters of functions.
        6 | 13 => count * 8,
        _ => return None,
    })
}

fn word(bytes: &[u8], at: usize) -> Option<usize> {
    let word = u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?);
    usize::try_from(word).ok()
}

#[cfg(test)]
mod tests {
    use super::{KERNEL, Offsets, Types};
    use std::fs;

    #[test]
    fn the_running_kernel_describes_what_is_needed() {
        let offsets = Offsets::of_kernel().expect("a kernel with CONFIG_DEBUG_INFO_BTF");
        assert!(offsets.binprm_interp > 0 && offsets.task_tgid > 0, "{offsets:?}");
        // Two numbers lie side by side (include/linux/sched.h).
        let described = fs::read(KERNEL).expect("readable");
        let types = Types::of(&described).expect("whole");
        assert_eq!(types.offset("task_struct", "pid"), Some(offsets.task_tgid - 4));
        assert_eq!(types.offset("task_struct", "no such field"), None);
        assert_eq!(types.offset("no such structure", "pid"), None);
    }

    #[test]
    fn what_is_cut_short_describes_nothing() {
        let described = fs::read(KERNEL).expect("readable");
        for len in [0, 1, 4, 23, 24, 100, described.len() / 2] {
            assert_eq!(Offsets::of(&described[..len]), None);
        }
        assert_eq!(Offsets::of(&[0xff; 100]), None);
    }
}
