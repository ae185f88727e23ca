//! The stories in user space: each straight to the tracker, and as packets through the header parser and the lifecycle
//! test. `tcptrace/tests/lifecycle` shows the same packets to the kernel programs.

use libtest_mimic::{Arguments, Trial};
use std::{process::ExitCode, sync::Arc};
use tcptrace_testing::{
    packet,
    script::Level,
    stories::{self, Stories},
};

#[expect(clippy::print_stdout, reason = "what is not played everywhere must be seen")]
fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let stories = stories::all();
    let conclusion = libtest_mimic::run(&arguments, trials(&stories));
    if !arguments.list {
        print!("{}", stories::restricted(&stories));
    }
    conclusion.exit_code()
}

fn trials(stories: &Stories) -> Vec<Trial> {
    let mut trials = Vec::new();
    for story in stories {
        if story.has_level(Level::Tracker) {
            let played = Arc::clone(story);
            trials
                .push(Trial::test(format!("tracker: {}", story.name), move || Ok(played.play_to_tracker()?)));
        }
        if story.has_level(Level::Packets) {
            let played = Arc::clone(story);
            trials.push(Trial::test(format!("packets: {}", story.name), move || {
                let mut parser = packet::parser(played.script()?.scene());
                Ok(played.play(|input| packet::capture(&mut parser, input))?)
            }));
        }
        let changed = Arc::clone(story);
        trials.push(Trial::test(format!("demands: {}", story.name), move || Ok(changed.check_demands()?)));
    }
    trials
}
