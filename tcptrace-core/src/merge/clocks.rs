//! How the clocks of two traces differ, and how long segments take between them.
//!
//! Let `later` be how much later a segment was seen at the second place than at the first, each by its own clock. It is the
//! difference of the clocks plus the delay for what goes from the first place to the second, and the difference minus the delay for
//! what comes back. No delay is negative, so the difference lies between the most of what came back and the least of what went
//! there.

/// The least and the most of some values, and how many there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) least: i64,
    pub(super) most: i64,
    pub(super) count: u64,
}

impl Range {
    fn with(range: Option<Self>, value: i64) -> Self {
        match range {
            None => Self { least: value, most: value, count: 1 },
            Some(Self { least, most, count }) => {
                Self { least: least.min(value), most: most.max(value), count: count + 1 }
            }
        }
    }
}

/// What segments that were surely seen at both of two places say of clocks and delays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Between {
    /// How much later at the second place was seen what went there.
    pub(super) there: Option<Range>,
    /// How much later at the second place was seen what came from there; by itself it was seen there first.
    pub(super) back: Option<Range>,
}

/// A clock's difference lies within so much of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Offset {
    pub(super) middle: i64,
    pub(super) bound: i64,
}

/// No less than this may a delay differ from those that are known, as a host can be busy that long.
const SLACK_NS: i64 = 10_000_000;

impl Between {
    /// Takes a segment that went from the first place to the second, or back.
    pub(super) fn add(&mut self, goes_there: bool, later: i64) {
        let range = if goes_there { &mut self.there } else { &mut self.back };
        *range = Some(Range::with(*range, later));
    }

    /// Whether the clocks went alike: else no difference fits all segments.
    pub(super) fn is_steady(&self) -> bool {
        self.there.zip(self.back).is_none_or(|(there, back)| back.most <= there.least)
    }

    /// By how much the second clock is ahead of the first; `None` where that is not bounded.
    pub(super) fn offset(&self) -> Option<Offset> {
        let (there, back) = self.there.zip(self.back).filter(|_| self.is_steady())?;
        let bound = (i128::from(there.least) - i128::from(back.most)).unsigned_abs().div_ceil(2);
        let bound = i64::try_from(bound).ok()?;
        Some(Offset { middle: back.most.saturating_add(there.least.saturating_sub(back.most) / 2), bound })
    }

    /// By how much times of the second clock are to be moved to be beside those of the first: half-way between the two directions,
    /// or as if the fastest segment had taken no time.
    pub(super) fn shift(&self) -> Option<i64> {
        match (self.there, self.back) {
            (Some(there), Some(back)) => Some(there.least.midpoint(back.most)),
            (Some(there), None) => Some(there.least),
            (None, Some(back)) => Some(back.most),
            (None, None) => None,
        }
    }

    /// The sum of the least delays of both directions, which no clock has a part in.
    pub(super) fn round_trip(&self) -> Option<u64> {
        let (there, back) = self.there.zip(self.back)?;
        u64::try_from(there.least.saturating_sub(back.most)).ok()
    }

    /// How much later at the second place a segment may be seen that goes there: as much as others were, and somewhat less or more,
    /// but not before it was sent.
    pub(super) fn window(&self) -> Option<(i64, i64)> {
        let Range { least, most, .. } = self.there?;
        let slack = (most.saturating_sub(least) / 2).max(SLACK_NS);
        let earliest = least.saturating_sub(slack);
        // Something came back that late at the most, so that the difference of the clocks is no less.
        let sent = self.back.map_or(earliest, |back| back.most);
        Some((earliest.max(sent).min(least), most.saturating_add(slack)))
    }

    /// The same from the second place to the first.
    pub(super) fn reversed(&self) -> Self {
        let reversed = |range: Option<Range>| {
            range.map(|Range { least, most, count }| Range {
                least: most.saturating_neg(),
                most: least.saturating_neg(),
                count,
            })
        };
        // What went there comes from the second place, and so it comes back.
        Self { there: reversed(self.back), back: reversed(self.there) }
    }
}
