//! Writes all metrics, with whatever encoder is asked for.

use super::{
    Model,
    host::Counter,
    labels::{Labels, With},
    lock,
    series::{Counts, Series, Time},
};
use crate::event::{Outcome, Role};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _, NoLabelSet},
    metrics::MetricType,
    registry::Unit,
};
use std::{
    fmt,
    sync::{Arc, Mutex},
};

/// The metrics as the registry asks for them.
#[derive(Debug)]
pub(super) struct Exposition(Arc<Mutex<Model>>);

impl Exposition {
    pub(super) const fn new(model: Arc<Mutex<Model>>) -> Self {
        Self(model)
    }
}

/// The series with their labels.
type All<'a> = [(&'a Labels, &'a Series)];

/// A count of each label set, with the name of the metric and its help.
type OfCounts = (&'static str, &'static str, fn(&Counts) -> u64);

impl Collector for Exposition {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let model = &*lock(&self.0);
        let all = model.busiest.all();
        times(&mut encoder, &all)?;
        counts(&mut encoder, &all)?;
        outcomes(&mut encoder, &all)?;
        resets(&mut encoder, &all)?;
        let changes = model.busiest.changes();
        let places = model.busiest.places();
        for each in model.host.counters() {
            counter(&mut encoder, &each)?;
        }
        let help = "How often a label set took the place of another among those with series of their own";
        counter(
            &mut encoder,
            &Counter { name: "label_set_changes", help, key: "", rows: vec![("", changes)] },
        )?;
        if let Some(seconds) = model.host.cpu_seconds() {
            let help = "CPU time of the tracer without its kernel programs";
            encoder
                .encode_descriptor("process_cpu", help, Some(&Unit::Seconds), MetricType::Counter)?
                .encode_counter::<NoLabelSet, f64, u64>(&seconds, None)?;
        }
        for each in model.host.gauges() {
            if let Some(value) = each.value {
                encoder
                    .encode_descriptor(each.name, each.help, None, MetricType::Gauge)?
                    .encode_gauge(&value)?;
            }
        }
        encoder
            .encode_descriptor("label_sets", "Label sets with series of their own", None, MetricType::Gauge)?
            .encode_gauge(&places)?;
        encoder
            .encode_descriptor("build", "The version of tcptrace", None, MetricType::Info)?
            .encode_info(&With(None, "version", env!("CARGO_PKG_VERSION")))
    }
}

fn times(encoder: &mut DescriptorEncoder<'_>, all: &All<'_>) -> fmt::Result {
    for time in Time::ALL {
        let mut known = all.iter().filter_map(|&(labels, it)| Some((labels, it.times(time)?))).peekable();
        if known.peek().is_none() {
            continue;
        }
        let (name, help) = time.describe();
        let mut family =
            encoder.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Histogram)?;
        for (labels, histogram) in known {
            histogram.encode(family.encode_family(labels)?)?;
        }
    }
    Ok(())
}

fn counts(encoder: &mut DescriptorEncoder<'_>, all: &All<'_>) -> fmt::Result {
    const COUNTS: [OfCounts; 5] = [
        ("established_connections", "Handshakes that were completed", |it| it.established),
        ("syn_retransmits", "SYNs beyond the first of a connection", |it| it.syn_retransmits),
        ("synack_retransmits", "SYN-ACKs beyond the first of a connection", |it| it.synack_retransmits),
        ("sent_segments", "Segments that this host's sockets sent", |it| it.segments_sent),
        ("retransmitted_segments", "Segments that this host's sockets sent again, SYNs included", |it| {
            it.segments_retransmitted
        }),
    ];
    for (name, help, count) in COUNTS {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, series) in all {
            let count = count(&series.counts);
            family.encode_family(*labels)?.encode_counter::<NoLabelSet, u64, u64>(&count, None)?;
        }
    }
    Ok(())
}

fn outcomes(encoder: &mut DescriptorEncoder<'_>, all: &All<'_>) -> fmt::Result {
    // `open` comes at the end of the trace alone, after which nobody can ask.
    let over = Outcome::ALL.into_iter().filter(|outcome| *outcome != Outcome::Open);
    let over: Vec<_> = over.map(|outcome| (outcome.json_name(), outcome)).collect();
    let failed: Vec<_> = over.iter().copied().filter(|(_, outcome)| outcome.is_failed_handshake()).collect();
    let count = |counts: &Counts, outcome| counts.outcomes.of(outcome);
    let family = ("connections", "Connections that are over, by outcome", "outcome");
    by(encoder, family, all, &over, count)?;
    by(encoder, ("connection_failures", "Handshakes that failed, by how", "error_type"), all, &failed, count)
}

fn resets(encoder: &mut DescriptorEncoder<'_>, all: &All<'_>) -> fmt::Result {
    let help = "Connections that a RST ended, or whose SYN it answered, by who sent it";
    let roles = Role::ALL.map(|role| (role.json_name(), role));
    by(encoder, ("resets", help, "by"), all, &roles, |counts, role| match role {
        Role::Client => counts.resets_by_client,
        Role::Server => counts.resets_by_server,
    })
}

/// Writes a counter of each label set, with one more label that tells kinds apart.
fn by<K: Copy>(
    encoder: &mut DescriptorEncoder<'_>,
    (name, help, key): (&str, &str, &'static str),
    all: &All<'_>,
    kinds: &[(&'static str, K)],
    count: impl Fn(&Counts, K) -> u64,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (labels, series) in all {
        for &(value, kind) in kinds {
            let count = count(&series.counts, kind);
            let labels = With(Some(labels), key, value);
            family.encode_family(&labels)?.encode_counter::<NoLabelSet, u64, u64>(&count, None)?;
        }
    }
    Ok(())
}

/// Writes a counter of the trace as a whole.
fn counter(encoder: &mut DescriptorEncoder<'_>, counter: &Counter) -> fmt::Result {
    let mut family = encoder.encode_descriptor(counter.name, counter.help, None, MetricType::Counter)?;
    for (value, count) in &counter.rows {
        if counter.key.is_empty() {
            family.encode_counter::<NoLabelSet, u64, u64>(count, None)?;
        } else {
            let labels = With(None, counter.key, value);
            family.encode_family(&labels)?.encode_counter::<NoLabelSet, u64, u64>(count, None)?;
        }
    }
    Ok(())
}
