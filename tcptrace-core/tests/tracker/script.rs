//! Plays scripts ([`tcptrace_testing::script`] has the language), and asks which events they caused.

use tcptrace_core::{
    event::{AnomalyReason, Connection, Event, Role},
    segment::{Flow, Input, Segment, Timestamp},
    track::{Config, Tracker},
};
use tcptrace_testing::script::{Script, Step};

fn steps(text: &str) -> Vec<Step> {
    let script = Script::parse(text).unwrap_or_else(|error| panic!("{error} of {text}"));
    script.steps().cloned().collect()
}

pub(super) fn segment(line: &str) -> Segment {
    match &steps(line)[..] {
        [Step::Input(Input::Segment(segment))] => segment.clone(),
        other => panic!("{line} is {other:?}"),
    }
}

pub(super) fn flow(from_client: bool) -> Flow {
    segment(if from_client { "0 C . 0" } else { "0 S . 0" }).flow
}

pub(super) fn config() -> Config {
    Config::default()
}

pub(super) struct Run {
    pub(super) tracker: Tracker,
    pub(super) events: Vec<Event>,
}

impl Run {
    pub(super) fn new(config: Config) -> Self {
        let mut tracker = Tracker::new(config);
        tracker.name_interface(1, "eth0".into());
        Self { tracker, events: Vec::new() }
    }

    pub(super) fn feed(self, script: &str) -> Self {
        steps(script).into_iter().fold(self, |run, step| match step {
            Step::Input(input) => run.input(&input),
            Step::End(ts) => run.end(ts),
        })
    }

    pub(super) fn input(mut self, input: &Input) -> Self {
        let events = &mut self.events;
        self.tracker.input(input, &mut |e| events.push(e));
        self
    }

    pub(super) fn tick(self, ms: &str) -> Self {
        self.feed(&format!("{ms} tick"))
    }

    pub(super) fn finish(self, ms: &str) -> Self {
        self.feed(&format!("{ms} end"))
    }

    fn end(mut self, ts: Timestamp) -> Self {
        let events = &mut self.events;
        self.tracker.finish(ts, &mut |e| events.push(e));
        self
    }

    pub(super) fn connections(&self) -> Vec<&Connection> {
        self.events
            .iter()
            .filter_map(|e| if let Event::Connection(c) = e { Some(&**c) } else { None })
            .collect()
    }

    pub(super) fn only(&self) -> &Connection {
        let all = self.connections();
        assert_eq!(all.len(), 1, "{all:#?}");
        all[0]
    }

    pub(super) fn anomalies(&self) -> Vec<(AnomalyReason, Option<u32>)> {
        self.events
            .iter()
            .filter_map(|e| if let Event::Anomaly(a) = e { Some((a.reason, a.expected)) } else { None })
            .collect()
    }

    /// The transitions, each as `C SYN-SENT>ESTABLISHED`, with a `?` where it was inferred.
    pub(super) fn transitions(&self) -> Vec<String> {
        self.events
            .iter()
            .filter_map(|e| match e {
                Event::Transition(t) => Some(format!(
                    "{} {}>{}{}",
                    if t.endpoint == Role::Client { "C" } else { "S" },
                    t.from.name(),
                    t.to.name(),
                    if t.inferred { "?" } else { "" }
                )),
                _ => None,
            })
            .collect()
    }

    pub(super) fn established(&self) -> usize {
        self.events.iter().filter(|e| matches!(e, Event::Established(_))).count()
    }
}

pub(super) fn run(script: &str) -> Run {
    Run::new(config()).feed(script)
}

pub(super) const OPEN: &str = "
    0       C S  1000
    10      S S. 5000 1001
    10.1    C .  1001 5001";

pub(super) fn opened(rest: &str) -> Run {
    run(&format!("{OPEN}\n{rest}"))
}
