//! What we say of every connection against what tshark and a reading of the headers say of the stream.

use super::{
    case::{Case, Verdict},
    corpus::{Capture, Corpus},
    ours::{Ours, Seen},
    stream::Stream,
    tally::{Tables, Tally},
};
use libtest_mimic::{Failed, Trial};
use std::{collections::BTreeSet, path::PathBuf};
use tcptrace_common::wire::tunnel::Decap;

/// A capture and the truth about it.
#[derive(Clone)]
struct Judged {
    capture: PathBuf,
    truth: PathBuf,
    tolerance_ns: u64,
}

pub(crate) fn trials(corpus: &Corpus, tables: &Tables) -> Vec<Trial> {
    let all: Vec<(String, Judged)> = corpus
        .captures()
        .into_iter()
        .filter(|capture| capture.format != "snoop")
        .filter_map(|capture| Some((capture.name.clone(), judged(corpus, &capture)?)))
        .collect();
    let mut trials: Vec<Trial> = all
        .iter()
        .cloned()
        .map(|(name, judged)| Trial::test(format!("truth: {name}"), move || compare(&judged)?.conclude()))
        .collect();
    trials.push(tunnelled(all.clone(), tables.clone()));
    let tables = tables.clone();
    trials.push(Trial::test("truth: the totals", move || {
        let mut sum = Tally::default();
        for (_, judged) in &all {
            sum.add(compare(judged)?);
        }
        let plausible = sum.equal > 0;
        tables.add(format!("streams, with the truth:\n{sum}"), plausible)
    }));
    trials
}

/// What is in tunnels is not seen without being told to look into them, and all there is with.
fn tunnelled(all: Vec<(String, Judged)>, tables: Tables) -> Trial {
    Trial::test("truth: streams in tunnels", move || {
        let mut sum = Tally::default();
        for (name, judged) in &all {
            let streams: Vec<Stream> = super::corpus::lines(&judged.truth);
            let streams: Vec<&Stream> = streams.iter().filter(|stream| stream.is_in_known_tunnel()).collect();
            if streams.is_empty() {
                continue;
            }
            let (with, without) = (Ours::of(&judged.capture)?, Ours::with(&judged.capture, Decap::NONE)?);
            for stream in streams {
                let kinds = with.tunnels_of(stream);
                if kinds.is_empty() {
                    // No lifecycle segment, or an ICMP error's quote.
                    continue;
                }
                let Verdict { rules, unexplained } = Case::new(stream, &with, judged.tolerance_ns).judge();
                sum.count(stream, &rules, &unexplained);
                sum.count_layers(
                    kinds.iter().map(String::as_str),
                    !rules.is_empty(),
                    !unexplained.is_empty(),
                );
                // The same ends may be seen outside of it as well.
                let outside = without.of_stream(stream).len();
                if outside >= with.of_stream(stream).len() {
                    return Err(
                        format!("{name}: {stream}: {outside} segments seen outside of a tunnel").into()
                    );
                }
            }
        }
        let plausible = sum.equal >= 17;
        tables.add(format!("streams in tunnels:\n{sum}"), plausible)
    })
}

fn judged(corpus: &Corpus, capture: &Capture) -> Option<Judged> {
    let truth = corpus.truth(&capture.name);
    // Only what says microseconds is rounded to them.
    let tolerance_ns = if capture.format.contains("us") { 1000 } else { 1 };
    truth.is_file().then(|| Judged { capture: corpus.capture(&capture.name), truth, tolerance_ns })
}

fn compare(judged: &Judged) -> Result<Tally, Failed> {
    let ours = Ours::of(&judged.capture)?;
    let mut tally = Tally::default();
    let streams: Vec<Stream> = super::corpus::lines(&judged.truth);
    for stream in &streams {
        let case = Case::new(stream, &ours, judged.tolerance_ns);
        let Verdict { rules, unexplained } = case.judge();
        tally.count(stream, &rules, &unexplained);
        tally.count_layers(stream.layers(), !rules.is_empty(), !unexplained.is_empty());
    }
    tally.unexplained.extend(made_up(&ours, &streams));
    Ok(tally)
}

/// Segments of ours that are no stream's. A fragmented one stands elsewhere for tshark ([`Rule::Fragments`]).
///
/// [`Rule::Fragments`]: super::case::rules::Rule::Fragments
fn made_up(ours: &Ours, streams: &[Stream]) -> Vec<String> {
    let known: BTreeSet<u64> =
        streams.iter().flat_map(|stream| ours.of_stream(stream)).map(|seen| seen.frame).collect();
    let fragmented =
        |seen: &Seen| streams.iter().any(|stream| stream.quality.fragmented > 0 && seen.is_between(stream));
    let made_up = ours.seen.iter().filter(|seen| !known.contains(&seen.frame) && !fragmented(seen));
    made_up.map(|seen| format!("no stream's: {seen:?}")).collect()
}
