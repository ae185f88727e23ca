//! Code that the tests of tcptrace share. None of it is in the program that ships.
//!
//! | module | what it is |
//! |---|---|
//! | [`script`] | scripts of segments and of the events that they must cause: the language of the stories and of the tests of the tracker |
//! | [`stories`] | the files in `stories/`, each one way that a connection can go |
//! | [`packet`] | the segments of a script as packets |
//! | [`packets`] | packets of every shape, byte by byte |
//! | [`fuzzing`] | the bodies of the fuzz targets, which are run as property tests too |
//! | [`folder`] | a folder of a test's own, which is removed in the end |
//! | [`skips`] | how a test that cannot run is counted |
//!
//! The feature `program` adds what needs the program, and so a compiler for the kernel programs, and root when it is run:
//!
//! | module | what it is |
//! |---|---|
//! | `kernel` | test runs of the kernel programs, packets as fast as the machine can make them, and a device that drops them |
//! | `netns`, `lab`, `loss` | network namespaces with hosts in them, and packets that are lost between these |
//! | `traffic` | connections between the hosts, each in one of the ways to open and close |
//! | `trace`, `schema` | the built program, run and read, and the schema that its lines must follow |
//! | `hooks`, `stranger` | what is attached to an interface, and the programs of others there |
#![expect(
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    clippy::return_self_not_must_use,
    reason = "a panic is how a test fails, and what a test does not use it does not need"
)]
#![expect(missing_docs, reason = "the fields of headers and hosts are called what they are")]
#![expect(clippy::cast_possible_truncation, reason = "packets of tests are small")]
#![expect(clippy::should_implement_trait, reason = "numbers at random are drawn, not iterated over")]
#![cfg_attr(
    feature = "program",
    expect(
        clippy::new_without_default,
        reason = "what is made here are hosts and processes, each of them on purpose"
    )
)]

pub mod folder;
pub mod fuzzing;
pub mod packet;
pub mod packets;
pub mod script;
pub mod skips;
pub mod stories;

#[cfg(feature = "program")]
pub mod hooks;
#[cfg(feature = "program")]
pub mod kernel;
#[cfg(feature = "program")]
pub mod lab;
#[cfg(feature = "program")]
pub mod loss;
#[cfg(feature = "program")]
pub mod netns;
#[cfg(feature = "program")]
pub mod schema;
#[cfg(feature = "program")]
pub mod stranger;
#[cfg(feature = "program")]
pub mod trace;
#[cfg(feature = "program")]
pub mod traffic;
