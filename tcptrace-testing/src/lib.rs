//! What the tests of tcptrace share, and nothing that is in what ships.
//!
//! | module | what it is |
//! |---|---|
//! | [`script`] | scripts of segments and of the events that they cause: the language of the stories and of the tracker's tests |
//! | [`stories`] | the files in `stories/`, each a way that a connection can go |
//! | [`packet`] | a script's segments as packets |
//! | [`fuzzing`] | the bodies of the fuzz targets, which are property tests too |
#![expect(
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    reason = "a panic is how a test fails, and what a test does not use it does not need"
)]

pub mod fuzzing;
pub mod packet;
pub mod script;
pub mod stories;
