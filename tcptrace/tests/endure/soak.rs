//! Mixed traffic at a steady rate for as long as is asked for: each connection is reported once and as it went, nothing is
//! lost, and the tracer takes no more of anything at the end than at the beginning.

use crate::{
    asked,
    lab::{Lab, eventually},
    loss::lose_segments,
    mix::{Account, Fate, Mix, Over},
    process::Usage,
    trace::{Trace, command, flow_of},
    traffic::Flow,
    way::{Plan, Way},
};
use serde_json::Value;
use std::{
    collections::{BTreeMap, HashMap},
    io::{self, BufRead as _, BufReader, PipeReader},
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// The figures of one run.
struct Length {
    run: Duration,
    /// Not judged: what ended is remembered for the length of TIME-WAIT, so until then the tracer grows.
    warm_up: Duration,
    sample: Duration,
    rate: u32,
    long: [Duration; 2],
    time_wait: &'static str,
}

impl Length {
    fn asked_for() -> Self {
        let rate = asked("TCPTRACE_SOAK_RATE").unwrap_or(150);
        let seconds = Duration::from_secs;
        match asked("TCPTRACE_SOAK_MINUTES") {
            Some(minutes) => {
                let run = seconds(60).mul_f64(minutes);
                let warm_up = seconds(90).min(run / 4);
                let long = [seconds(20), seconds(120).min(run)];
                Self { run, warm_up, sample: seconds(10).min(run / 40), rate, long, time_wait: "60s" }
            }
            None => Self {
                run: seconds(24),
                warm_up: seconds(8),
                sample: Duration::from_millis(400),
                rate,
                long: [seconds(2), seconds(8)],
                time_wait: "3s",
            },
        }
    }
}

/// What was made and what was told of it.
#[derive(Default)]
struct Ledger {
    books: Mutex<Books>,
    over: AtomicBool,
}

#[derive(Default)]
struct Books {
    /// Made and not reported yet.
    awaited: HashMap<Flow, Plan>,
    /// Begun and not ended yet.
    under_way: usize,
    made: BTreeMap<Way, u64>,
    reported: u64,
    faults: Vec<String>,
    stats: Value,
}

impl Ledger {
    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().expect("no bookkeeper panics")
    }

    /// Takes note of all lines until the tracer ends.
    fn read(&self, from: PipeReader) {
        for line in BufReader::new(from).lines() {
            let line = line.expect("the tracer prints text");
            let event: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
            self.books().take(&event);
        }
    }
}

impl Books {
    fn take(&mut self, event: &Value) {
        if event["event"] == "stats" {
            self.stats = event.clone();
            return;
        }
        if event["event"] == "start" {
            return;
        }
        let flow = flow_of(event);
        self.reported += 1;
        let Some(plan) = self.awaited.remove(&flow) else {
            self.faults.push(format!("{flow} was reported twice or never made: {event}"));
            return;
        };
        let mut faults = plan.faults(event);
        if event["complete"] != true {
            faults.push("it is not complete".to_owned());
        }
        if !faults.is_empty() {
            self.faults.push(format!("{flow} ({:?}): {}: {event}", plan.way, faults.join(", ")));
        }
    }
}

impl Account for Ledger {
    fn begins(&self, plan: Plan) {
        let mut books = self.books();
        books.under_way += 1;
        *books.made.entry(plan.way).or_default() += 1;
        // Before the first segment: its report may come before the traffic's thread runs again.
        books.awaited.insert(plan.flow, plan);
    }

    fn ends(&self, flow: Flow, fate: Fate) {
        let mut books = self.books();
        books.under_way -= 1;
        if let Some(error) = fate.error {
            books.faults.push(format!("{flow} did not go as planned: {error}"));
        }
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }
}

#[test]
fn soak() {
    let length = Length::asked_for();
    let lab = Lab::new();
    lose_segments(&lab.b);
    let (reader, writer) = io::pipe().expect("a pipe");
    let args = ["-i", lab.a.dev, "--json", "--events", "connection,stats", "--stats-interval", "10s"];
    let limits = ["--syn-timeout", "3s", "--time-wait", length.time_wait];
    let mut trace = Trace::spawn(&lab.a, command(&[&args[..], &limits].concat()).stdout(writer));
    trace.wait_until_attached();
    let ledger = Ledger::default();
    let mix = Mix {
        lab: &lab,
        account: &ledger,
        rate: length.rate,
        long: length.long[0]..=length.long[1],
        patience: Duration::from_secs(30),
        seed: 1,
    };
    let samples = thread::scope(|scope| {
        let reading = scope.spawn(|| ledger.read(reader));
        let traffic = scope.spawn(|| mix.run());
        let samples = {
            // Also if that panics: the traffic's threads are waited for.
            let _over = Over(&ledger.over);
            sample(&length, &trace, &ledger)
        };
        traffic.join().expect("the traffic runs");
        eventually("everything is reported", || match ledger.books().awaited.len() {
            0 => Ok(()),
            n => Err(format!("{n} connections are not")),
        });
        let report = trace.stop();
        assert!(report.status.success(), "tcptrace ended with {}: {}", report.status, report.stderr);
        reading.join().expect("the reader reads");
        samples
    });
    lab.a.assert_nothing_attached();
    let books = ledger.books();
    books.print(&length);
    let table = Judged::new(&samples, &length);
    table.print();
    books.check();
    table.check();
}

/// What the tracer takes, now and then for as long as the run is, and a line about it each minute.
fn sample(length: &Length, trace: &Trace, ledger: &Ledger) -> Vec<(Duration, Usage)> {
    let begin = Instant::now();
    let (mut samples, mut said) = (Vec::new(), Duration::ZERO);
    while begin.elapsed() < length.run {
        thread::sleep(length.sample);
        let (at, usage) = (begin.elapsed(), Usage::of(trace.id()));
        samples.push((at, usage));
        let books = ledger.books();
        if at.saturating_sub(said) >= Duration::from_mins(1) {
            said = at;
            eprintln!(
                "soak: {:>4} s: {} made, {} reported, {} under way; {} KiB resident ({} at most), {} descriptors, \
                 {} threads, {} KiB of maps",
                at.as_secs(),
                books.made.values().sum::<u64>(),
                books.reported,
                books.under_way,
                usage.rss_kib,
                usage.peak_kib,
                usage.descriptors,
                usage.threads,
                usage.maps_kib,
            );
        }
        assert!(books.faults.is_empty(), "{} faults: {:#?}", books.faults.len(), first(&books.faults));
    }
    samples
}

fn first(faults: &[String]) -> &[String] {
    &faults[..faults.len().min(10)]
}

impl Books {
    fn print(&self, length: &Length) {
        let made: u64 = self.made.values().sum();
        eprintln!(
            "soak: {:.1} min at {}/s: {made} connections made, {} reported",
            length.run.as_secs_f64() / 60.0,
            length.rate,
            self.reported
        );
        eprintln!("soak: made {:?}", self.made);
        eprintln!("soak: the last statistics: {}", self.stats);
    }

    fn check(&self) {
        assert!(self.faults.is_empty(), "{} faults: {:#?}", self.faults.len(), first(&self.faults));
        assert_eq!(self.made.len(), Way::ALL.len(), "each way was gone: {:?}", self.made);
        let stats = &self.stats;
        assert_eq!(stats["last"], true, "{stats:#}");
        for counter in ["records_lost", "events_dropped", "pending_overwrites", "connections_open"] {
            assert_eq!(stats[counter], 0, "{counter} in {stats:#}");
        }
        for counters in ["ring_full", "shed", "unparsable"] {
            let counters = stats[counters].as_object().expect("counts");
            assert!(counters.values().all(|count| *count == 0), "{stats:#}");
        }
        let outcomes = stats["connections"].as_object().expect("counts");
        for (outcome, told) in outcomes {
            let ways = self.made.iter().filter(|(way, _)| way.outcome() == outcome);
            let made: u64 = ways.map(|(_, made)| made).sum();
            assert_eq!(*told, made, "{outcome} in {stats:#}");
        }
    }
}

/// One measure over the time that is judged.
struct Course {
    name: &'static str,
    /// Medians of the four quarters.
    quarters: [u64; 4],
    most: u64,
    /// The last quarter may exceed the first by so much.
    allowed: u64,
}

struct Judged(Vec<Course>);

impl Judged {
    /// Resident memory may grow by a twentieth or 1 MiB, whichever is more: the allocator's, not the tracer's. All else may
    /// not grow.
    fn new(samples: &[(Duration, Usage)], length: &Length) -> Self {
        let warm: Vec<Usage> =
            samples.iter().filter(|(at, _)| *at > length.warm_up).map(|(_, usage)| *usage).collect();
        assert!(warm.len() >= 8, "{} samples are too few to judge by", warm.len());
        let course = |name, of: fn(&Usage) -> u64, allowed: fn(u64) -> u64| {
            let quarter = |nth: usize| {
                let mut values: Vec<u64> =
                    warm[nth * warm.len() / 4..(nth + 1) * warm.len() / 4].iter().map(of).collect();
                values.sort_unstable();
                values[values.len() / 2]
            };
            let quarters = [0, 1, 2, 3].map(quarter);
            let most = warm.iter().map(of).max().unwrap_or_default();
            Course { name, quarters, most, allowed: allowed(quarters[0]) }
        };
        Self(vec![
            course("KiB resident", |it| it.rss_kib, |first| (first / 20).max(1024)),
            course("KiB at most", |it| it.peak_kib, |first| (first / 20).max(1024)),
            course("descriptors", |it| it.descriptors, |_| 0),
            course("threads", |it| it.threads, |_| 0),
            course("KiB of maps", |it| it.maps_kib, |_| 0),
        ])
    }

    fn print(&self) {
        eprintln!("soak: {:>14}  medians of the four quarters after warming up, most", "");
        for Course { name, quarters: [a, b, c, d], most, .. } in &self.0 {
            eprintln!("soak: {name:>14}  {a:>8} {b:>8} {c:>8} {d:>8}  {most:>8}");
        }
    }

    fn check(&self) {
        for Course { name, quarters, allowed, .. } in &self.0 {
            assert!(
                quarters[3] <= quarters[0] + allowed,
                "{name} grew from quarter to quarter: {quarters:?}"
            );
        }
    }
}
