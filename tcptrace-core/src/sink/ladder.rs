//! The ladder of a connection: its segments one below the other as arrows between the two ends, with the states of both ends at
//! the margins, and how long after each other they passed.
//!
//! ```text
//!        ms       +ms  CLIENT                                         SERVER
//!     0.000            SYN-SENT     |-- SYN 0 ---------------------->| LISTEN?
//!    28.789    28.789               |<-- SYN ACK 0 ack 1 ------------| SYN-RECEIVED
//! ```
//!
//! A ladder is drawn when its connection is over, so that the events of the connections that are open are kept until then.

#[cfg(any(feature = "report", feature = "top"))]
mod kept;
mod rungs;
mod svg;
mod text;

use super::{Sink, text::TextSink};
use crate::event::Event;
use bytes::BytesMut;
use hashbrown::HashMap;
#[cfg(feature = "top")]
pub(crate) use kept::Ladder;
#[cfg(any(feature = "report", feature = "top"))]
pub(crate) use kept::Ladders;
pub(crate) use rungs::{Rungs, names as flag_names};
#[cfg(feature = "report")]
pub(crate) use svg::embed;
pub(crate) use text::draw;

/// What a ladder is drawn as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LadderForm {
    /// The ladders are lines of text, of this width.
    Text {
        /// How many columns a line has; [`LadderSink::LEAST_WIDTH`] at least.
        width: usize,
    },
    /// The first ladder is a picture in SVG, and no other is drawn.
    Svg,
}

/// A sink that draws the ladder of each connection.
#[derive(Debug)]
pub struct LadderSink {
    form: LadderForm,
    /// The only connection that is drawn, by its number; `None` for all.
    only: Option<u64>,
    /// Writes the line about the connection above its ladder.
    head: TextSink,
    open: HashMap<u64, Rungs>,
    drawn: u64,
}

impl LadderSink {
    /// The width below which the states and the times leave no room for an arrow.
    pub const LEAST_WIDTH: usize = 72;

    /// A sink that draws in this form. The line above each ladder is what `head` writes of the connection.
    #[must_use]
    pub fn new(form: LadderForm, only: Option<u64>, head: TextSink) -> Self {
        Self { form, only, head, open: HashMap::new(), drawn: 0 }
    }

    /// How many connections matched.
    #[must_use]
    pub fn drawn(&self) -> u64 {
        self.drawn
    }
}

impl Sink for LadderSink {
    fn event(&mut self, event: &Event, out: &mut BytesMut) {
        let Some(common) = event.common() else { return };
        if self.only.is_some_and(|only| only != common.id) {
            return;
        }
        let Event::Connection(connection) = event else {
            self.open.entry(common.id).or_default().add(event);
            return;
        };
        let rungs = self.open.remove(&common.id).unwrap_or_default();
        match self.form {
            LadderForm::Text { width } => {
                if self.drawn > 0 {
                    out.extend_from_slice(b"\n");
                }
                self.head.event(event, out);
                draw(&rungs, width.max(Self::LEAST_WIDTH), out);
            }
            LadderForm::Svg if self.drawn == 0 => svg::draw(connection, &rungs, out),
            LadderForm::Svg => {}
        }
        self.drawn += 1;
    }
}
