//! Debian's Prometheus scrapes a trace, and its own queries give what the events of the trace say.

use super::{AT, exchange};
use crate::folder::Folder;
use crate::{
    lab::{Family, Host, Lab, eventually},
    loss::lose_segments,
    trace::{Trace, of_kind},
    traffic::{Kind, drive},
};
use serde_json::Value;
use std::{
    fmt::Write as _,
    fs,
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

const API: &str = "127.0.0.1:9090";
const RULES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/prometheus");
/// Connections of which most take microseconds.
const FAST: usize = 60;
/// Connections whose first SYN is lost, which take a second.
const SLOW: usize = 4;

/// A Prometheus that scrapes the trace, killed when dropped.
struct Prometheus<'a> {
    child: Child,
    host: &'a Host,
    _folder: Folder,
}

impl<'a> Prometheus<'a> {
    fn start(host: &'a Host, features: &[&str]) -> Self {
        let folder = Folder::new();
        let rules = fs::canonicalize(RULES).expect("the rules are in the repository");
        let config = format!(
            "global:\n  scrape_interval: 1s\n  evaluation_interval: 1s\n\
             rule_files: [{0}/rules.yml, {0}/alerts.yml]\n\
             scrape_configs:\n  - job_name: tcptrace\n    static_configs:\n      - targets: ['{AT}']\n",
            rules.display()
        );
        let file = folder.join("prometheus.yml");
        fs::write(&file, config).expect("our folder");
        let mut command = Command::new("prometheus");
        command
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
            .arg(format!("--web.listen-address={API}"))
            .args(features)
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.join("log")).expect("our folder"));
        let child = host.ns.enter(|| command.spawn()).unwrap_or_else(|error| panic!("prometheus: {error}"));
        Self { child, host, _folder: folder }
    }

    /// The results of a query now; an error while it does not answer yet.
    fn query(&self, query: &str) -> Result<Vec<Value>, String> {
        let stream = self.host.ns.enter(|| TcpStream::connect(API)).map_err(|error| error.to_string())?;
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a socket");
        let mut coded = String::new();
        for byte in query.bytes() {
            write!(coded, "%{byte:02x}").expect("a String takes everything");
        }
        let answer = exchange(
            stream,
            &format!("GET /api/v1/query?query={coded} HTTP/1.1\r\nHost: {API}\r\nConnection: close\r\n\r\n"),
        );
        if answer.status != 200 {
            return Err(String::from_utf8_lossy(&answer.body).into_owned());
        }
        // A short answer comes in one piece or in chunks.
        let text = answer.text();
        let json = text.find('{').zip(text.rfind('}')).map_or("", |(from, to)| &text[from..=to]);
        let mut answer: Value = serde_json::from_str(json).map_err(|error| format!("{error}: {text}"))?;
        Ok(answer["data"]["result"].as_array_mut().map(std::mem::take).unwrap_or_default())
    }

    /// The one value that a query gives.
    fn value(&self, query: &str) -> Result<f64, String> {
        let results = self.query(query)?;
        let value = results.first().and_then(|it| it["value"][1].as_str()).and_then(|it| it.parse().ok());
        value.ok_or_else(|| format!("{query}: {results:?}"))
    }
}

impl Drop for Prometheus<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The bounds of the classic bucket that a value is in, from the text of a scrape.
fn classic_bucket(text: &str, value: f64) -> (f64, f64) {
    let mut bounds: Vec<f64> = text
        .lines()
        .filter(|line| line.starts_with("tcptrace_handshake_duration_seconds_bucket"))
        .filter_map(|line| {
            line.split(['{', ','])
                .find_map(|label| label.strip_prefix("le=\""))?
                .split('"')
                .next()?
                .parse()
                .ok()
        })
        .filter(|bound: &f64| bound.is_finite())
        .collect();
    bounds.sort_by(f64::total_cmp);
    let upper = *bounds.iter().find(|bound| value <= **bound).expect("a bucket");
    let lower = bounds.iter().rev().find(|bound| **bound < value).copied().unwrap_or_default();
    (lower, upper)
}

/// The bounds of the native bucket that a value is in: powers of 2^(1/8) (schema 3).
fn native_bucket(value: f64) -> (f64, f64) {
    let index = (value.log2() * 8.0).ceil();
    (((index - 1.0) / 8.0).exp2(), (index / 8.0).exp2())
}

/// Has Prometheus tell quantiles of handshakes, and compares them with the times in the events.
fn quantiles(
    name: &str,
    features: &[&str],
    by: &str,
    series: &str,
    bucket: impl Fn(&str, f64) -> (f64, f64),
) {
    let lab = Lab::new();
    let trace = Trace::all_events(&lab.a, &["--metrics", AT]);
    let prometheus = Prometheus::start(&lab.a, features);
    for nth in 0..FAST {
        drive([Kind::ClientCloses, Kind::Silent, Kind::Bulk][nth % 3], &lab.a, &lab.b, Family::V4);
    }
    lose_segments(&lab.a);
    lose_segments(&lab.b);
    for _ in 0..SLOW {
        drive(Kind::SynRetry, &lab.a, &lab.b, Family::V4);
    }
    trace.wait_for_connections(FAST + SLOW);
    let all = (FAST + SLOW) as f64;
    eventually("Prometheus has scraped everything", || {
        match prometheus.value("sum(tcptrace_connections_total)")? {
            count if count == all => Ok(()),
            count => Err(format!("{count} connections")),
        }
    });
    let text = super::get(&lab.a, "/metrics", "text/plain");
    let mut answers = Vec::new();
    for percent in [50, 90, 99] {
        let query = format!("histogram_quantile({percent} / 100, sum{by} ({series}))");
        answers.push((percent, prometheus.value(&query).unwrap_or_else(|error| panic!("{error}"))));
    }
    // The rules that ship with it are loaded and make series.
    eventually("the rules make series", || {
        prometheus.value("max(service:tcptrace_handshake_duration_seconds:p99_5m)").map(drop)
    });
    let report = trace.stop();
    let events = report.events();
    let mut times: Vec<u64> =
        of_kind(&events, "established").filter_map(|it| it["syn_to_established_ns"].as_u64()).collect();
    times.sort_unstable();
    assert_eq!(times.len(), FAST + SLOW);
    for (percent, answer) in answers {
        let rank = (percent * times.len()).div_ceil(100);
        let truth = times[rank - 1] as f64 / 1e9;
        let (lower, upper) = bucket(text.text(), truth);
        eprintln!(
            "{name}: quantile {percent} %: {answer:.6} s, in truth {truth:.6} s, in a bucket from {lower:.6} to {upper:.6}"
        );
        assert!(
            answer >= lower * 0.999_999 && answer <= upper * 1.000_001,
            "{percent} %: {answer} for {truth}"
        );
    }
}

#[test]
fn quantiles_of_classic_buckets_are_true_within_a_bucket() {
    quantiles("classic", &[], " by (le)", "tcptrace_handshake_duration_seconds_bucket", classic_bucket);
}

#[test]
fn quantiles_of_native_histograms_are_true_within_a_tenth() {
    quantiles(
        "native",
        &["--enable-feature=native-histograms"],
        "",
        "tcptrace_handshake_duration_seconds",
        |_, truth| native_bucket(truth),
    );
}

/// What promtool says of the files that ship.
#[test]
fn rules_and_alerts_are_valid_and_do_what_they_say() {
    let file = |name: &str| -> PathBuf { Path::new(RULES).join(name) };
    for (words, files) in
        [(["check", "rules"], &["rules.yml", "alerts.yml"][..]), (["test", "rules"], &["tests.yml"])]
    {
        let output = Command::new("promtool")
            .args(words)
            .args(files.iter().map(|name| file(name)))
            .output()
            .unwrap_or_else(|error| panic!("promtool: {error}"));
        let said = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
    }
}
