//! The screen of `tcptrace top`: what it knows of connections ([`Board`]), what the user looks at ([`Ui`]), and how both are
//! drawn into a buffer ([`view`]). Nothing here has a clock, a terminal or any other I/O: bytes that a terminal sends become
//! [`keys`] and [`action`]s, and what is drawn becomes bytes again ([`frame`]).

pub mod action;
mod board;
mod by;
mod columns;
mod ended;
pub mod frame;
mod group;
pub mod keys;
mod rows;
mod spark;
mod table;
mod ui;
pub mod view;
mod window;

pub use board::{Board, Entered, Limits, Open, Totals};
pub use by::{By, Key};
pub use columns::Column;
pub use ended::Ended;
pub use group::{Group, Time};
pub use spark::Marks;
pub use ui::{Effect, Ui};
pub use window::Window;

/// Seconds that a rate is an average of.
const RATE_SECONDS: usize = 10;
