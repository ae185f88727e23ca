//! Community IDs that were made already: every event of a connection has the same, and a hash takes as long as most of the
//! line.

use crate::event::{Address, Common, CommunityId};

/// Of the connections that began last. An open one has long been pushed out if it lives for long, and is hashed again.
#[derive(Clone, Debug, Default)]
pub(super) struct Ids {
    /// By the connection's number, which counts up; grows to [`Ids::MOST`].
    known: Vec<Option<Known>>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    ends: [Address; 2],
    id: CommunityId,
}

impl Ids {
    /// Half a megabyte, no more than a processor keeps near: a tenth of a second of connections at a high rate.
    const MOST: u64 = 8192;

    /// The Community ID of an event's connection; `again` if more events of it may come.
    pub(super) fn of(&mut self, common: &Common, again: bool) -> CommunityId {
        let ends = [common.client, common.server];
        let place = usize::try_from(common.id % Self::MOST).unwrap_or_default();
        if let Some(Some(known)) = self.known.get(place)
            && known.ends == ends
        {
            return known.id;
        }
        let id = CommunityId::new(common.client, common.server);
        if again {
            if place >= self.known.len() {
                self.known.resize(place + 1, None);
            }
            self.known[place] = Some(Known { ends, id });
        }
        id
    }
}
