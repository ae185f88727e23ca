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
/// [`Rule::Fragments`]: super::rules::Rule::Fragments
fn made_up(ours: &Ours, streams: &[Stream]) -> Vec<String> {
    let known: BTreeSet<u64> =
        streams.iter().flat_map(|stream| ours.of_stream(stream)).map(|seen| seen.frame).collect();
    let fragmented =
        |seen: &Seen| streams.iter().any(|stream| stream.quality.fragmented > 0 && seen.is_between(stream));
    let made_up = ours.seen.iter().filter(|seen| !known.contains(&seen.frame) && !fragmented(seen));
    made_up.map(|seen| format!("no stream's: {seen:?}")).collect()
}
