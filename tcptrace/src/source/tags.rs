//! VLAN tags where not all of them are seen.

use crate::{kernel::attach::Notice, segment::Flow};

/// What becomes of VLAN tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tags {
    /// They tell flows apart.
    Told,
    /// They do not, as one direction may be without.
    Ignored,
    /// And there are some, which was said.
    Said,
}

impl Tags {
    pub(super) const fn new(ignored: bool) -> Self {
        if ignored { Self::Ignored } else { Self::Told }
    }

    /// Leaves out of a flow what is to be ignored; what to say of that, once.
    pub(super) fn note(&mut self, flow: &mut Flow) -> Option<Notice> {
        const NONE: [u16; 2] = [Flow::NO_VLAN; 2];
        if *self == Self::Told || flow.vlan == NONE {
            return None;
        }
        flow.vlan = NONE;
        let said = std::mem::replace(self, Self::Said) == Self::Said;
        (!said).then_some(Notice::TagsNotTold)
    }
}
