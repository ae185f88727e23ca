//! Holds what one tracer said against what was made while it ran.

use super::{
    Made,
    episode::{Ended, Episode, PROBE_PORT},
    script::End,
};
use crate::{
    schema,
    trace::{flow_of, of_kind},
    traffic::Flow,
    way::Way,
};
use serde_json::Value;
use std::{
    collections::HashMap,
    fmt,
    ops::AddAssign,
    os::unix::process::ExitStatusExt as _,
    time::{Duration, Instant},
};

/// Between a segment and its line, with `--once` and on a busy machine.
const LAG: Duration = Duration::from_millis(1500);
/// After it was stopped or its reader was, the tracer has caught up within this.
const CATCH_UP: Duration = Duration::from_secs(3);
/// `--syn-timeout`, and the second at which the tracker's time goes on.
const SILENCE: Duration = Duration::from_millis(4200);
/// For how long a reset is doubted, and a little more.
const DOUBT: Duration = Duration::from_millis(2100);
/// How old a SYN that was not sent again has to be at the end of a trace to be called unanswered, and a little more.
const IN_FLIGHT: Duration = Duration::from_millis(3100);
/// Of a trace that ends well, what is sent this long before is told of.
const LAST: Duration = Duration::from_millis(300);

/// Connections by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Lived while the tracer did, and nothing came between them and it.
    pub(super) made: u64,
    /// Of those: reported as they were.
    pub(super) right: u64,
    /// Reported with a word that something may be missing, and something was.
    pub(super) incomplete: u64,
    /// Not reported, and so many records are counted as lost or shed.
    pub(super) missing: u64,
    /// Lost or shed.
    pub(super) lost: u64,
    /// Others, which no more was asked of than that they may be true.
    pub(super) others: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.made += other.made;
        self.right += other.right;
        self.incomplete += other.incomplete;
        self.missing += other.missing;
        self.lost += other.lost;
        self.others += other.others;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { made, right, incomplete, missing, lost, others } = self;
        write!(
            f,
            "{made} made, {right} right, {incomplete} incomplete, {missing} missing ({lost} segments lost or shed); \
             {others} cut or at the edges"
        )
    }
}

/// The account, and what is wrong.
pub(super) fn judge(episode: &Episode, made: &HashMap<Flow, Made>) -> (Tally, Vec<String>) {
    let mut faults = ending_faults(episode);
    let events = events(episode, &mut faults);
    let (tally, wrong) = compare(episode, &events, made);
    faults.extend(wrong);
    (tally, faults)
}

fn compare(episode: &Episode, events: &[Value], made: &HashMap<Flow, Made>) -> (Tally, Vec<String>) {
    let mut faults = Vec::new();
    let mut reports: HashMap<Flow, Vec<&Value>> = HashMap::new();
    for event in of_kind(events, "connection") {
        match known(event, made) {
            Some(flow) => reports.entry(flow).or_default().push(event),
            None if is_probe(event) => {}
            None => faults.push(format!("nobody made this: {event}")),
        }
    }
    let losses = Losses::of(events, episode.attached);
    let mut tally = Tally { lost: losses.in_all().segments, ..Tally::default() };
    for (flow, made) in made {
        let told = reports.get(flow).map_or(&[][..], Vec::as_slice);
        let wrong = if let Some(ended) = whole_until(episode, made) {
            // A silence may be told wrongly for what is lost later.
            whole_fault(made, told, losses.until(ended + silence(made)), &mut tally)
        } else if told.is_empty() {
            None
        } else {
            tally.others += 1;
            told.iter().find_map(|event| impossible(made, event))
        };
        faults.extend(wrong.map(|wrong| format!("{flow} ({:?}): {wrong}: {told:?}", made.plan.way)));
    }
    if tally.missing > tally.lost {
        faults.push(format!("{} connections are missing, and {} segments", tally.missing, tally.lost));
    }
    (tally, faults)
}

/// The connection that an event is of. Of one whose beginning was not seen the ends are a guess, which says so; and of one
/// that both ends open the server's SYN may be the first that is seen.
fn known(event: &Value, made: &HashMap<Flow, Made>) -> Option<Flow> {
    let flow = flow_of(event);
    let turned = Flow { client: flow.server, server: flow.client };
    if made.contains_key(&flow) {
        Some(flow)
    } else {
        let it = made.get(&turned)?;
        (event["direction_inferred"] == true || it.plan.way == Way::BothOpen).then_some(turned)
    }
}

fn is_probe(event: &Value) -> bool {
    let flow = flow_of(event);
    [flow.client, flow.server].iter().any(|end| end.port() == PROBE_PORT)
}

/// When it ended, if every segment of it passed the hooks of this tracer, which had the time to say so.
fn whole_until(episode: &Episode, made: &Made) -> Option<Instant> {
    let (ended, fate) = made.ended.as_ref()?;
    let (until, margin) = told_until(episode);
    let needs = if ends_well(episode) { in_flight(made) } else { silence(made) };
    let cut = episode.cut.iter().any(|(from, to)| made.began <= *to && *ended >= *from);
    let whole = made.began >= episode.attached && *ended + needs + margin <= until;
    (whole && fate.error.is_none() && !cut).then_some(*ended)
}

/// How long after the last segment the tracer decides that it was the last.
fn silence(made: &Made) -> Duration {
    match made.plan.way {
        Way::Unanswered => SILENCE,
        way if way.outcome() == "reset" => DOUBT,
        _ => Duration::ZERO,
    }
}

/// How long after its last SYN a try is called in flight, and not unanswered.
fn in_flight(made: &Made) -> Duration {
    if made.plan.way == Way::Unanswered { IN_FLIGHT } else { Duration::ZERO }
}

fn ends_well(episode: &Episode) -> bool {
    matches!(episode.ended, Ended::InterfaceGone | Ended::AsPlanned(End::Interrupted))
}

/// What ended so long before then is to be told of, or counted.
fn told_until(episode: &Episode) -> (Instant, Duration) {
    if ends_well(episode) {
        return (episode.ending, LAST);
    }
    let behind = episode.behind.iter().filter(|(_, to)| *to + CATCH_UP > episode.ending);
    (behind.map(|(from, _)| *from).fold(episode.ending, Instant::min), LAG)
}

/// Of one that the tracer saw all of.
fn whole_fault(made: &Made, told: &[&Value], loss: Loss, tally: &mut Tally) -> Option<String> {
    tally.made += 1;
    let (complete, incomplete): (Vec<&Value>, Vec<&Value>) =
        told.iter().copied().partition(|event| event["complete"] == true);
    match complete[..] {
        [] if told.is_empty() && loss.segments == 0 => Some("it is missing, and nothing was lost".to_owned()),
        [] if told.is_empty() => {
            tally.missing += 1;
            None
        }
        _ if loss.segments == 0 && !loss.limited && !incomplete.is_empty() => {
            Some("it is incomplete, and nothing was lost".to_owned())
        }
        [] => {
            tally.incomplete += 1;
            None
        }
        [event] => {
            tally.right += 1;
            let faults = made.plan.faults(event);
            (!faults.is_empty()).then(|| faults.join(", "))
        }
        _ => Some(format!("it was told of {} times", complete.len())),
    }
}

/// Of one that was cut, or that began before the tracer or outlived it: what cannot be, whatever was seen of it.
fn impossible(made: &Made, event: &Value) -> Option<String> {
    let from_the_other_end = flow_of(event) != made.plan.flow;
    if event["complete"] != true || event["partial"] == true || from_the_other_end {
        return None;
    }
    let outcome = event["outcome"].as_str()?;
    let went_as_planned = made.ended.as_ref().is_none_or(|(_, fate)| fate.error.is_none());
    if went_as_planned && outcome == made.plan.way.outcome() {
        let faults = made.plan.faults(event);
        return (!faults.is_empty()).then(|| faults.join(", "));
    }
    let connected = made.ended.as_ref().is_none_or(|(_, fate)| fate.connected);
    let wrong = match outcome {
        "closed" | "reset" => !connected,
        "refused" => made.plan.way != Way::Refused,
        _ => false,
    };
    wrong.then(|| format!("it cannot be {outcome}"))
}

/// Each line, checked, but for one that was torn.
fn events(episode: &Episode, faults: &mut Vec<String>) -> Vec<Value> {
    let mut events = Vec::new();
    for (nth, line) in episode.lines.iter().enumerate() {
        match serde_json::from_str(line) {
            Ok(event) => events.push(event),
            Err(_) if nth + 1 == episode.lines.len() && !ends_well(episode) => {}
            Err(error) => faults.push(format!("{error}: {line:?}")),
        }
    }
    // The schema's check of a line takes long, so some of them will do.
    let step = events.len() / 100 + 1;
    let some: Vec<String> = events.iter().step_by(step).map(Value::to_string).collect();
    schema::assert_valid(&some.join("\n"));
    events
}

/// What did not come, as of one of the statistics.
#[derive(Clone, Copy, Default)]
struct Loss {
    /// Segments that are counted as not having come.
    segments: u64,
    /// Fewer connections were followed for a while: some may lack a segment, whether or not one came meanwhile.
    limited: bool,
}

/// As of each of the statistics.
struct Losses(Vec<(Instant, Loss)>);

impl Losses {
    fn of(events: &[Value], attached: Instant) -> Self {
        let number = |value: &Value| value.as_u64().unwrap_or_default();
        let sum =
            |counts: &Value| counts.as_object().into_iter().flat_map(|it| it.values()).map(number).sum();
        let mut limited = false;
        let as_of = |stats: &Value| {
            // The kernel's own count is ahead of the tracer's.
            let records = number(&stats["records_lost"]).max(sum(&stats["ring_full"]));
            let segments = records + sum(&stats["shed"]) + number(&stats["pending_overwrites"]);
            limited |= stats["admission_rate"].as_f64().is_some_and(|rate| rate < 1.0);
            (attached + Duration::from_nanos(number(&stats["elapsed_ns"])), Loss { segments, limited })
        };
        Self(of_kind(events, "stats").map(as_of).collect())
    }

    fn in_all(&self) -> Loss {
        self.0.last().map_or_else(Loss::default, |(_, loss)| *loss)
    }

    /// The tracer's time begins a little before it says that it traces.
    fn until(&self, then: Instant) -> Loss {
        const EARLIER: Duration = Duration::from_millis(300);
        self.0.iter().find(|(at, _)| *at >= then + EARLIER).map_or_else(|| self.in_all(), |(_, loss)| *loss)
    }
}

/// What is wrong with how it ended.
fn ending_faults(episode: &Episode) -> Vec<String> {
    let Episode { ended, status, stderr, .. } = episode;
    let (good, words): (bool, &[&str]) = match ended {
        Ended::AsPlanned(End::Interrupted) => (status.success(), &["connections: "]),
        Ended::InterfaceGone => (status.success(), &["tt0"]),
        // As `head` does.
        Ended::AsPlanned(End::ReaderGone) => (status.success(), &[]),
        Ended::AsPlanned(End::Killed) => (status.signal() == Some(9), &[]),
        Ended::AsPlanned(End::DiskFull) => {
            (status.code() == Some(1), &["tcptrace: cannot write the output", "No space left on device"])
        }
        Ended::AsPlanned(End::CaptureFull) => {
            (status.success(), &["/output: No space left on device", "the capture lacks"])
        }
        Ended::ByItself => (false, &[]),
    };
    let mut faults = Vec::new();
    if !good {
        faults.push(format!("it ended with {status}, {ended:?}: {stderr}"));
    }
    let missing: Vec<_> = words.iter().filter(|word| !stderr.contains(**word)).collect();
    if !missing.is_empty() || stderr.contains("panicked") {
        faults.push(format!("it does not say {missing:?}, or panicked: {stderr}"));
    }
    faults
}

/// A judge that finds everything right would be of no use.
mod tests {
    use super::{End, Ended, Episode, Flow, Made, Tally, Value, Way, compare};
    use crate::{mix::Fate, way::Plan};
    use serde_json::json;
    use std::{
        collections::HashMap,
        os::unix::process::ExitStatusExt as _,
        process::ExitStatus,
        time::{Duration, Instant},
    };

    /// A refused connection from the fourth to the fifth of ten seconds, what is told of it, and how many records are
    /// lost at the sixth second and at the end.
    fn verdict(reports: &[Value], lost: [u64; 2], ended: Ended) -> (Tally, Vec<String>) {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let flow = Flow { client: ([10, 0, 0, 1], 1024).into(), server: ([10, 0, 0, 2], 20_000).into() };
        let plan = Plan { flow, way: Way::Refused, request: 0, answer: 0 };
        let made = Made { plan, began: at(4), ended: Some((at(5), Fate::default())) };
        let episode = Episode {
            attached: start,
            ending: at(10),
            over: at(10),
            ended,
            cut: Vec::new(),
            behind: vec![(at(3), at(9))],
            lines: Vec::new(),
            stderr: String::new(),
            status: ExitStatus::from_raw(0),
        };
        let stats = |elapsed_ns: u64, records_lost: u64| json!({ "event": "stats", "elapsed_ns": elapsed_ns, "records_lost": records_lost });
        let stats = [stats(6_000_000_000, lost[0]), stats(10_000_000_000, lost[1])];
        compare(&episode, &[reports, &stats].concat(), &HashMap::from([(flow, made)]))
    }

    fn report(outcome: &str, complete: bool) -> Value {
        let end = |ip, port| json!({ "ip": ip, "port": port });
        json!({
            "event": "connection", "client": end("10.0.0.1", 1024), "server": end("10.0.0.2", 20_000),
            "outcome": outcome, "complete": complete, "partial": false, "vantage": "client", "ip_version": 4,
            "simultaneous_open": false, "reset_by": "server",
        })
    }

    const WELL: Ended = Ended::AsPlanned(End::Interrupted);
    const MADE: Tally = Tally { made: 1, right: 0, incomplete: 0, missing: 0, lost: 0, others: 0 };

    #[test]
    fn what_is_told_as_it_was_is_right() {
        let (tally, faults) = verdict(&[report("refused", true)], [0; 2], WELL);
        assert_eq!((tally, faults), (Tally { right: 1, ..MADE }, Vec::new()));
    }

    #[test]
    fn a_lie_is_found() {
        for (reports, said) in [
            (&[report("closed", true)][..], "outcome is \"closed\""),
            (&[report("refused", true), report("refused", true)], "told of 2 times"),
            (&[report("refused", false)], "incomplete, and nothing was lost"),
            (&[], "missing, and nothing was lost"),
        ] {
            let (_, faults) = verdict(reports, [0; 2], WELL);
            assert!(faults.len() == 1 && faults[0].contains(said), "{said}: {faults:?}");
        }
        let (_, faults) = verdict(&[report("closed", true)], [5; 2], WELL);
        assert_eq!(faults.len(), 1, "whatever was lost: {faults:?}");
        let (_, faults) = verdict(&[], [0, 5], WELL);
        assert_eq!(faults.len(), 1, "nothing was lost when it was told of: {faults:?}");
        let mut stranger = report("refused", true);
        stranger["client"]["port"] = json!(1025);
        let (_, faults) = verdict(&[report("refused", true), stranger], [5; 2], WELL);
        assert!(faults.len() == 1 && faults[0].contains("nobody made this"), "{faults:?}");
    }

    #[test]
    fn what_is_counted_as_lost_may_be_missing() {
        let (tally, faults) = verdict(&[], [2; 2], WELL);
        assert_eq!((tally, faults), (Tally { missing: 1, lost: 2, ..MADE }, Vec::new()));
        let (tally, faults) = verdict(&[report("unanswered", false)], [2; 2], WELL);
        assert_eq!((tally, faults), (Tally { incomplete: 1, lost: 2, ..MADE }, Vec::new()));
    }

    #[test]
    fn a_tracer_that_was_killed_right_after_it_was_stopped_could_not_tell() {
        let killed = Ended::AsPlanned(End::Killed);
        assert_eq!(verdict(&[], [0; 2], killed), (Tally::default(), Vec::new()));
        let (tally, faults) = verdict(&[report("closed", true)], [0; 2], killed);
        assert_eq!((tally.others, faults.len()), (1, 1), "but what it told cannot be: {faults:?}");
    }
}
