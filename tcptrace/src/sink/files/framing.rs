//! What the bytes in a file are, as far as a file has to be complete in itself.

use std::{fs::File, os::unix::fs::FileExt as _};

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Lines, each of which stands by itself.
    Lines,
    /// Blocks of pcapng, in a section that describes the interfaces of its packets.
    Blocks,
}

/// The type of the block that begins a section (`draft-ietf-opsawg-pcapng`, section 4.1).
const SECTION: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];

/// The type of the block that describes an interface (section 4.2), as our writer orders its octets.
const INTERFACE: [u8; 4] = [1, 0, 0, 0];

/// What every file has to begin with: the blocks of the section that packets to come may refer to.
#[derive(Debug)]
pub(super) struct Head {
    framing: Framing,
    blocks: Vec<u8>,
}

impl Head {
    pub(super) const fn new(framing: Framing) -> Self {
        Self { framing, blocks: Vec::new() }
    }

    /// What is to be written before `first`, which is the first that a file is given.
    pub(super) fn before(&self, first: &[u8]) -> Vec<u8> {
        if first.starts_with(&SECTION) { Vec::new() } else { self.blocks.clone() }
    }

    /// Remembers what of `written`, which is whole blocks, the next file has to begin with.
    pub(super) fn remember(&mut self, mut written: &[u8]) {
        if self.framing == Framing::Lines {
            return;
        }
        while let Some((block, rest)) = block(written) {
            if block.starts_with(&SECTION) {
                self.blocks.clear();
            }
            if block.starts_with(&SECTION) || block.starts_with(&INTERFACE) {
                self.blocks.extend_from_slice(block);
            }
            written = rest;
        }
    }
}

/// The first block, and what follows it.
fn block(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let len = u32::from_le_bytes(bytes.get(4..8)?.try_into().ok()?);
    bytes.split_at_checked(usize::try_from(len).ok().filter(|&len| len > 0)?)
}

/// Whether the last octet of a file of so many bytes is a line feed.
pub(super) fn ends_a_line(file: &File, len: u64) -> bool {
    let mut last = [0];
    file.read_exact_at(&mut last, len - 1).is_ok_and(|()| last == *b"\n")
}

#[cfg(test)]
mod tests {
    use super::{Framing, Head};
    use tcptrace_core::sink::pcapng::Writer;

    fn of_kind(kind: u32) -> Vec<u8> {
        let mut block = kind.to_le_bytes().to_vec();
        block.extend(16_u32.to_le_bytes());
        block.extend([7; 4]);
        block.extend(16_u32.to_le_bytes());
        block
    }

    #[test]
    fn the_blocks_of_the_section_are_remembered() {
        let mut section = Vec::new();
        Writer::new().begin(&mut section);
        let mut head = Head::new(Framing::Blocks);
        assert!(head.before(&section).is_empty());
        head.remember(&section);
        head.remember(&[of_kind(1), of_kind(6), of_kind(1), of_kind(6)].concat());
        let expected = [section.clone(), of_kind(1), of_kind(1)].concat();
        assert_eq!(head.before(&of_kind(6)), expected);
        assert_eq!(head.before(&of_kind(1)), expected);
        assert!(head.before(&section).is_empty(), "a section of its own");
        head.remember(&section);
        assert_eq!(
            head.before(&of_kind(6)),
            section,
            "the interfaces of another section are not of this one"
        );
    }

    #[test]
    fn lines_stand_by_themselves() {
        let mut head = Head::new(Framing::Lines);
        head.remember(b"{}\n{}\n");
        assert!(head.before(b"{}\n").is_empty());
    }
}
