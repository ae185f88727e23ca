//! Things go wrong at random while traffic goes on: the tracer is killed, stopped, its disk filled, its reader slow or gone,
//! its interface down, deleted and made again. Whatever is told as complete is right, and whatever is not told is counted,
//! or ended with the tracer.

mod disk;
mod episode;
mod judge;
mod script;

use crate::{
    asked,
    lab::{Host, Lab, assert_no_link_is_left},
    loss::lose_segments,
    mix::{Account, Fate, Mix, Over},
    packets::Rng,
    process::running,
    trace::binary,
    traffic::Flow,
    way::Plan,
};
use disk::Disk;
use judge::Tally;
use script::Script;
use std::{
    collections::HashMap,
    fs,
    hash::{BuildHasher as _, RandomState},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

const RATE: u32 = 100;

/// A connection and its time.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    pub(crate) plan: Plan,
    pub(crate) began: Instant,
    /// And how, if it has.
    pub(crate) ended: Option<(Instant, Fate)>,
}

/// What was made lately.
#[derive(Default)]
struct Log {
    made: Mutex<HashMap<Flow, Made>>,
    over: AtomicBool,
}

impl Log {
    fn with<R>(&self, look: impl FnOnce(&mut HashMap<Flow, Made>) -> R) -> R {
        look(&mut self.made.lock().expect("nobody panics with it"))
    }

    /// What ended before then cannot be told of any more.
    fn forget(&self, before: Instant) {
        self.with(|made| made.retain(|_, it| it.ended.as_ref().is_none_or(|(ended, _)| *ended >= before)));
    }
}

impl Account for Log {
    fn begins(&self, plan: Plan) {
        let made = Made { plan, began: Instant::now(), ended: None };
        let before = self.with(|all| all.insert(plan.flow, made));
        assert!(before.is_none(), "{} was used before", plan.flow);
    }

    fn ends(&self, flow: Flow, fate: Fate) {
        let now = Instant::now();
        self.with(|all| all.get_mut(&flow).expect("it began").ended = Some((now, fate)));
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }
}

#[test]
fn chaos() {
    let minutes: f64 = asked("TCPTRACE_CHAOS_MINUTES").unwrap_or(0.3);
    let seed = asked("TCPTRACE_CHAOS_SEED").unwrap_or_else(|| RandomState::new().hash_one(0) % 1_000_000);
    let length = Duration::from_mins(1).mul_f64(minutes);
    eprintln!("chaos: seed {seed}, {minutes} minutes, {RATE} connections a second");
    let lab = Lab::new();
    lose_segments(&lab.b);
    for host in [&lab.a, &lab.b] {
        keep_addresses(host);
    }
    let disk = Disk::new();
    let log = Log::default();
    let (tally, faults) = thread::scope(|scope| {
        let _over = Over(&log.over);
        let mix = Mix {
            lab: &lab,
            account: &log,
            rate: RATE,
            long: Duration::from_secs(1)..=Duration::from_secs(15),
            patience: Duration::from_secs(5),
            seed,
        };
        scope.spawn(move || mix.run());
        episodes(&lab, &log, &disk, length, &mut Rng(seed))
    });
    eprintln!("chaos: in all: {tally}");
    for fault in &faults {
        eprintln!("chaos: FAULT: {fault}");
    }
    assert!(faults.is_empty(), "{} faults with seed {seed}, see above", faults.len());
    assert!(tally.right > 0, "some connections were told of as they were");
    assert_eq!(running(binary(), &lab.a.ns.path()), [0_u32; 0], "no tracer is left");
}

/// One tracer after the other.
fn episodes(lab: &Lab, log: &Log, disk: &Disk, length: Duration, rng: &mut Rng) -> (Tally, Vec<String>) {
    let begin = Instant::now();
    let (mut total, mut faults) = (Tally::default(), Vec::new());
    let mut nth = 0;
    while nth < Script::SHORT || begin.elapsed() < length {
        let script = Script::draw(rng, nth);
        nth += 1;
        let episode = episode::run(lab, disk, &script);
        assert_no_link_is_left(&lab.a.ns, lab.a.dev);
        let (tally, wrong) = log.with(|made| judge::judge(&episode, made));
        eprintln!("chaos: {:>4} s: {script}: {tally}", begin.elapsed().as_secs());
        faults.extend(wrong.into_iter().map(|fault| format!("{script}: {fault}")));
        total += tally;
        log.forget(episode.over);
    }
    (total, faults)
}

/// Addresses outlive an interface that is down, and are there at once when it is up.
fn keep_addresses(host: &Host) {
    host.ns.enter(|| {
        for (setting, value) in [("keep_addr_on_down", "1"), ("accept_dad", "0")] {
            for of in ["all", "default", host.dev] {
                let path = format!("/proc/sys/net/ipv6/conf/{of}/{setting}");
                fs::write(&path, value).unwrap_or_else(|error| panic!("{path}: {error}"));
            }
        }
    });
}
