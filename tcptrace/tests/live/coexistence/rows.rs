//! What may be on an interface.

use super::libxdp::Filter;
use crate::{
    lab::{Family, Lab},
    netns::has_tcx,
    stranger::Stranger,
    trace::{Trace, command},
    traffic::{Kind, drive},
};
use aya::programs::{
    TcAttachType::{Egress, Ingress},
    XdpMode,
};
use std::{
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
};

const TC_ACT_OK: i32 = 0;
const TC_ACT_UNSPEC: i32 = -1;
const XDP_PASS: i32 = 2;

pub(super) struct Row {
    pub(super) there: &'static str,
    /// Of the trace, besides the interface.
    pub(super) args: &'static [&'static str],
    pub(super) set: fn(&Lab) -> Result<Theirs, String>,
    /// With these words the trace is refused.
    pub(super) refused: Option<&'static str>,
    /// The same, but only where TC programs go by clsact.
    pub(super) only_on_clsact: bool,
}

impl Row {
    pub(super) fn is_refused(&self) -> bool {
        self.refused.is_some() && !(self.only_on_clsact && has_tcx())
    }
}

const fn row(there: &'static str, set: fn(&Lab) -> Result<Theirs, String>) -> Row {
    Row { there, args: &[], set, refused: None, only_on_clsact: false }
}

const XDP: &[&str] = &["--ingress", "xdp"];
const XDP_THERE: Option<&str> = Some("an XDP program is already on tt0");

pub(super) const ROWS: &[Row] = &[
    row("nothing", |_| Ok(Theirs::default())),
    Row { args: XDP, ..row("nothing; --ingress xdp", |_| Ok(Theirs::default())) },
    row("filters on clsact, first, that end the chain", |lab| Ok(clsact(lab, 1, TC_ACT_OK))),
    row("filters on clsact that let others decide", |lab| Ok(clsact(lab, 0, TC_ACT_UNSPEC))),
    row("clsact without filters", |lab| {
        lab.a.ns.tc(&["qdisc", "add", "dev", lab.a.dev, "clsact"]);
        Ok(Theirs::default())
    }),
    Row {
        refused: Some("an ingress qdisc is on tt0"),
        only_on_clsact: true,
        ..row("the older ingress qdisc with a u32 filter", ingress_qdisc)
    },
    row("TCX programs that end the chain", |lab| tcx(lab, TC_ACT_OK)),
    row("TCX programs that let others decide", |lab| tcx(lab, TC_ACT_UNSPEC)),
    row("XDP, native, by a link", |lab| Ok(xdp(lab, XdpMode::Driver))),
    row("XDP, generic, by a link", |lab| Ok(xdp(lab, XdpMode::Skb))),
    Row {
        args: XDP,
        refused: XDP_THERE,
        ..row("XDP, native, by a link; --ingress xdp", |lab| Ok(xdp(lab, XdpMode::Driver)))
    },
    row("XDP of the name xdp_dispatcher", |lab| Ok(dispatcher(lab))),
    Row {
        args: XDP,
        refused: XDP_THERE,
        ..row("XDP of the name xdp_dispatcher; --ingress xdp", |lab| Ok(dispatcher(lab)))
    },
    row("xdp-filter, loaded by libxdp", |lab| Ok(filter(lab))),
    Row { args: XDP, refused: XDP_THERE, ..row("xdp-filter; --ingress xdp", |lab| Ok(filter(lab))) },
    row("htb with classes and a filter", htb),
    row("tbf", |lab| root_qdisc(lab, &["tbf", "rate", "1gbit", "burst", "1mb", "latency", "50ms"])),
    row("fq", |lab| root_qdisc(lab, &["fq"])),
    row("fq_codel", |lab| root_qdisc(lab, &["fq_codel"])),
    row("pfifo", |lab| root_qdisc(lab, &["pfifo", "limit", "100"])),
    row("another tcptrace", |lab| Ok(tracer(lab, &[]))),
    row("another tcptrace --ingress xdp", |lab| Ok(tracer(lab, XDP))),
    row("bpftool that watches all the time", |lab| Ok(watcher(lab))),
];

/// What others have, and what of it can be asked whether it is at work.
#[derive(Default)]
pub(super) struct Theirs {
    strangers: Vec<(&'static str, Stranger)>,
    filter: Option<Filter>,
    tracers: Vec<Trace>,
    watcher: Option<Watcher>,
    /// What was attached when the trace began.
    pub(super) programs: Vec<String>,
}

impl Theirs {
    fn of(lab: &Lab, strangers: Vec<(&'static str, Stranger)>) -> Self {
        Self { strangers, programs: lab.a.programs(), ..Self::default() }
    }

    /// What their programs are called.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let strangers = self.strangers.iter().map(|(name, _)| *name);
        strangers.chain(self.filter.iter().map(|it| &*it.name))
    }

    /// How many packets each program has seen, how many connections each tracer, and how often the watcher looked.
    pub(super) fn seen(&self, lab: &Lab) -> Vec<(String, u64)> {
        let programs = self.strangers.iter().map(|(name, it)| ((*name).to_owned(), it.runs()));
        programs.chain(self.filter.iter().map(|it| ("xdp-filter".to_owned(), it.passed(lab)))).collect()
    }

    /// What libxdp has attached.
    pub(super) fn note(&self) -> String {
        self.filter.as_ref().map(|it| format!(" ({})", it.name)).unwrap_or_default()
    }

    /// After all traces: tracers go on tracing, and the watcher was never refused.
    pub(super) fn assert_alive(self, lab: &Lab) {
        if let Some(filter) = self.filter {
            filter.unload(lab);
        }
        for trace in self.tracers {
            let before = trace.count(|line| line.contains(r#""event":"connection""#));
            assert!(before >= 2, "it saw {before} of the connections");
            drive(Kind::ClientCloses, &lab.a, &lab.b, Family::V4);
            trace.wait_for_connections(before + 1);
            let report = trace.stop();
            assert!(report.status.success(), "{}", report.stderr);
        }
        if let Some(watcher) = self.watcher {
            let looks = watcher.stop();
            assert!(looks > 0, "bpftool looked {looks} times");
        }
    }
}

fn clsact(lab: &Lab, priority: u16, verdict: i32) -> Theirs {
    let (ns, dev) = (&lab.a.ns, lab.a.dev);
    ns.tc(&["qdisc", "add", "dev", dev, "clsact"]);
    let sides = [("their_filter_in", Ingress), ("their_filter_out", Egress)];
    let strangers = sides.map(|(name, side)| {
        let mut stranger = Stranger::tc(name, verdict);
        stranger.filter(ns, dev, side, priority);
        (name, stranger)
    });
    Theirs::of(lab, strangers.into())
}

/// A class in a filter's verdict ends the chain too.
fn ingress_qdisc(lab: &Lab) -> Result<Theirs, String> {
    let dev = lab.a.dev;
    attempt(lab, &["qdisc", "add", "dev", dev, "ingress"])?;
    let filter = ["filter", "add", "dev", dev, "ingress", "protocol", "ip", "pref", "1"];
    attempt(lab, &[&filter[..], &["u32", "match", "u32", "0", "0", "classid", "1:1"]].concat())?;
    Ok(Theirs::of(lab, Vec::new()))
}

fn tcx(lab: &Lab, verdict: i32) -> Result<Theirs, String> {
    if !has_tcx() {
        return Err("the kernel has no TCX before 6.6".to_owned());
    }
    let sides = [("their_tcx_in", Ingress), ("their_tcx_out", Egress)];
    let strangers = sides.map(|(name, side)| {
        let mut stranger = Stranger::tc(name, verdict);
        stranger.link(&lab.a.ns, lab.a.dev, side);
        (name, stranger)
    });
    Ok(Theirs::of(lab, strangers.into()))
}

fn xdp(lab: &Lab, mode: XdpMode) -> Theirs {
    let mut stranger = Stranger::xdp("their_xdp", XDP_PASS);
    stranger.link_xdp(&lab.a.ns, lab.a.dev, mode);
    Theirs::of(lab, vec![("their_xdp", stranger)])
}

/// Of the name that libxdp gives it, and attached in its way: by netlink, without a link.
fn dispatcher(lab: &Lab) -> Theirs {
    let stranger = Stranger::xdp("xdp_dispatcher", XDP_PASS);
    let id = stranger.info().id().to_string();
    lab.a.ns.run("bpftool", &["net", "attach", "xdpdrv", "id", &id, "dev", lab.a.dev]);
    Theirs::of(lab, vec![("xdp_dispatcher", stranger)])
}

fn filter(lab: &Lab) -> Theirs {
    let filter = Filter::load(lab);
    Theirs { filter: Some(filter), ..Theirs::of(lab, Vec::new()) }
}

fn htb(lab: &Lab) -> Result<Theirs, String> {
    let dev = lab.a.dev;
    root_qdisc(lab, &["handle", "1:", "htb", "default", "10"])?;
    for class in ["1:10", "1:20"] {
        attempt(
            lab,
            &["class", "add", "dev", dev, "parent", "1:", "classid", class, "htb", "rate", "1gbit"],
        )?;
    }
    let filter = ["filter", "add", "dev", dev, "parent", "1:", "protocol", "ip", "pref", "3", "u32"];
    attempt(lab, &[&filter[..], &["match", "ip", "dport", "80", "0xffff", "flowid", "1:20"]].concat())?;
    Ok(Theirs::of(lab, Vec::new()))
}

fn root_qdisc(lab: &Lab, qdisc: &[&str]) -> Result<Theirs, String> {
    attempt(lab, &[&["qdisc", "add", "dev", lab.a.dev, "root"], qdisc].concat())?;
    Ok(Theirs::of(lab, Vec::new()))
}

/// The kernel may have been built without it.
fn attempt(lab: &Lab, args: &[&str]) -> Result<(), String> {
    let output = lab.a.ns.enter(|| Command::new("tc").args(args).output().expect("tc runs"));
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(said.lines().next().unwrap_or("tc says nothing").to_owned())
}

fn tracer(lab: &Lab, args: &[&str]) -> Theirs {
    let mut trace = Trace::spawn(&lab.a, &mut command(&[&["-i", lab.a.dev, "--json"], args].concat()));
    trace.wait_until_attached();
    Theirs { tracers: vec![trace], ..Theirs::of(lab, Vec::new()) }
}

/// Runs bpftool again and again.
struct Watcher {
    stop: Arc<AtomicBool>,
    looks: Arc<AtomicUsize>,
    thread: JoinHandle<()>,
}

impl Watcher {
    fn stop(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("bpftool was never refused");
        self.looks.load(Ordering::Relaxed)
    }
}

fn watcher(lab: &Lab) -> Theirs {
    let (stop, looks) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let thread = thread::spawn({
        let (path, stop, looks) = (lab.a.ns.path(), Arc::clone(&stop), Arc::clone(&looks));
        move || {
            crate::netns::enter_path(&path);
            while !stop.load(Ordering::Relaxed) {
                for what in ["net", "prog", "link"] {
                    let mut bpftool = Command::new("bpftool");
                    bpftool.args(["-j", what, "show"]).stdout(Stdio::null()).stderr(Stdio::null());
                    // A program that goes while it looks is an error to it, and none of ours.
                    bpftool.status().expect("bpftool runs");
                }
                looks.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    Theirs { watcher: Some(Watcher { stop, looks, thread }), ..Theirs::of(lab, Vec::new()) }
}
