//! Makes the summary on stderr, and the distribution of handshake times that `stats` events have too.

use super::{Consumer, Moment, Opened, Opening};
use crate::{
    cli::FilterText,
    event::{Event, Kind, Kinds, Stats},
    run::RunError,
    sink::summary::Summary,
};

pub(super) fn open(opening: &Opening<'_>) -> Opened {
    let config = opening.config;
    let speaks = !config.output.quiet;
    if config.screen {
        // The screen has what the summary would say.
        return None;
    }
    if !speaks && !config.events().contains(Kind::Stats) {
        return None;
    }
    let filters = !matches!(&config.filter, FilterText::Given(text) if text.trim().is_empty());
    let summary = Summary::new().by(&config.summary_by, config.summary_top);
    let summary = if filters { summary.filtered() } else { summary };
    Some(Ok(Box::new(Reporter { summary, speaks })))
}

/// The consumer that sums events up.
struct Reporter {
    summary: Summary,
    /// Whether the summary is reported. With `--quiet` it only completes `stats` events.
    speaks: bool,
}

impl Consumer for Reporter {
    fn wants(&self) -> Kinds {
        let counted = Kinds::NONE.with(Kind::Established).with(Kind::Stats);
        if self.speaks { counted.with(Kind::Connection) } else { counted }
    }

    fn event(&mut self, event: &Event) -> Result<(), RunError> {
        self.summary.observe(event);
        Ok(())
    }

    fn complete(&self, stats: &mut Stats) {
        stats.handshakes = self.summary.handshakes();
    }

    fn report(&mut self, moment: Moment<'_>) -> Option<String> {
        match moment {
            Moment::SoFar(stats) => {
                self.summary.observe(&Event::Stats(Box::new(stats.clone())));
                Some(format!("so far: {}\n", self.summary.render()))
            }
            Moment::End { dropped } => {
                self.summary.record_dropped(dropped);
                Some(self.summary.render())
            }
        }
    }
}
