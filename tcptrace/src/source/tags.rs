//! Leaves out VLAN tags where not all of them are seen.

use crate::{kernel::attach::Notice, segment::Flow};

/// Whether VLAN tags are part of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tags {
    /// Tags tell flows apart.
    Kept,
    /// Tags are left out, because a flow's other direction may be seen without them. None has been seen yet.
    Ignored,
    /// Tags are left out, some have been seen, and the user has been told.
    Reported,
}

impl Tags {
    pub(super) const fn new(ignored: bool) -> Self {
        if ignored { Self::Ignored } else { Self::Kept }
    }

    /// Takes the tags out of a flow where they are ignored. The first time that there are some, it returns a notice of
    /// that.
    pub(super) fn strip(&mut self, flow: &mut Flow) -> Option<Notice> {
        const NONE: [u16; 2] = [Flow::NO_VLAN; 2];
        if *self == Self::Kept || flow.vlan == NONE {
            return None;
        }
        flow.vlan = NONE;
        let is_reported = std::mem::replace(self, Self::Reported) == Self::Reported;
        (!is_reported).then_some(Notice::TagsNotTold)
    }
}
