//! Code that the tests of tcptrace share. None of it is in the program that ships.
//!
//! | module | what it is |
//! |---|---|
//! | [`script`] | scripts of segments and of the events that they must cause: the language of the stories and of the tests of the tracker |
//! | [`stories`] | the files in `stories/`, each one way that a connection can go |
//! | [`packet`] | the segments of a script as packets |
//! | [`fuzzing`] | the bodies of the fuzz targets, which are run as property tests too |
#![expect(
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    reason = "a panic is how a test fails, and what a test does not use it does not need"
)]

pub mod fuzzing;
pub mod packet;
pub mod script;
pub mod stories;
