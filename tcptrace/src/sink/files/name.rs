//! Names of files that rotate: what the file that is written is called, what it is called once it is done with, and
//! which files in its folder are such.

use jiff::{Timestamp, Zoned, fmt::strtime, tz::TimeZone};
use std::{
    ffi::{OsStr, OsString},
    path::Path,
};

/// The ending of files that are compressed.
pub(super) const ZSTD: &str = ".zst";

/// What stands between a name and its extension once the file is done with: the time in UTC, to the millisecond.
const STAMP: &str = "-%Y%m%dT%H%M%S.%3fZ";

/// How long a stamp is.
const STAMP_LEN: usize = "-20260613T100000.123Z".len();

/// The name that the user gave, without its folder.
#[derive(Clone, Debug)]
pub(super) struct Name {
    text: OsString,
    /// Whether the name is a pattern that strftime(3) fills in.
    is_pattern: bool,
}

impl Name {
    /// A pattern must be one whose names can be told again: they are removed by it.
    pub(super) fn new(text: &OsStr, zone: &TimeZone) -> Result<Self, String> {
        let name = Self { text: text.to_owned(), is_pattern: text.as_encoded_bytes().contains(&b'%') };
        if name.is_pattern {
            let now = Zoned::new(Timestamp::now(), zone.clone());
            let expanded = name.current(&now)?;
            if expanded.as_encoded_bytes().contains(&b'/') {
                return Err("a name may not contain a slash: folders have no pattern".to_owned());
            }
            if !name.is_done(&expanded) {
                return Err(
                    "files of this name could not be told from others: give numbers, such as %Y-%m-%d"
                        .to_owned(),
                );
            }
        }
        Ok(name)
    }

    /// What the file that is written from `now` on is called.
    pub(super) fn current(&self, now: &Zoned) -> Result<OsString, String> {
        if !self.is_pattern {
            return Ok(self.text.clone());
        }
        let pattern = self.text.to_str().ok_or("a pattern is of UTF-8")?;
        strtime::format(pattern, now).map(OsString::from).map_err(|error| error.to_string())
    }

    /// What `current` is called once it is done with.
    pub(super) fn done(current: &OsStr, at: Timestamp) -> OsString {
        let (stem, extension) = split(current);
        let mut name = stem;
        // The format is one that takes every time.
        name.push(strtime::format(STAMP, at).unwrap_or_default());
        name.push(extension);
        name
    }

    /// Whether a file of this name is one that this trace, or one like it, has done with.
    pub(super) fn is_done(&self, name: &OsStr) -> bool {
        let Some(name) = name.to_str() else {
            return !self.is_pattern && self.is_stamped(name.as_encoded_bytes());
        };
        let name = name.strip_suffix(ZSTD).unwrap_or(name);
        if !self.is_pattern {
            return self.is_stamped(name.as_bytes());
        }
        let Some(pattern) = self.text.to_str() else { return false };
        let fits = |name: &str| strtime::parse(pattern, name).is_ok();
        fits(name) || without_stamp(name).is_some_and(|name| fits(&name))
    }

    /// Whether the name is that of the user with a stamp in it.
    fn is_stamped(&self, name: &[u8]) -> bool {
        let (stem, extension) = split(&self.text);
        name.strip_prefix(stem.as_encoded_bytes())
            .and_then(|rest| rest.strip_suffix(extension.as_encoded_bytes()))
            .is_some_and(is_stamp)
    }

    /// The time at which a file of this name was done with, if the name says it.
    pub(super) fn stamp(name: &OsStr) -> Option<String> {
        let name = name.to_str()?;
        stamp_in(name).map(|at| name[at..at + STAMP_LEN].to_owned())
    }
}

/// The name before its extension, and the extension with its dot.
fn split(name: &OsStr) -> (OsString, OsString) {
    let path = Path::new(name);
    let mut dotted = OsString::new();
    if let Some(extension) = path.extension() {
        dotted.push(".");
        dotted.push(extension);
    }
    (path.file_stem().unwrap_or(name).to_owned(), dotted)
}

fn is_stamp(text: &[u8]) -> bool {
    let form = b"-dddddddd\x54dddddd.ddd\x5a";
    text.len() == form.len()
        && text
            .iter()
            .zip(form)
            .all(|(&byte, &form)| if form == b'd' { byte.is_ascii_digit() } else { byte == form })
}

/// Where the last stamp in a name begins.
fn stamp_in(name: &str) -> Option<usize> {
    name.as_bytes().windows(STAMP_LEN).rposition(is_stamp)
}

/// The name without the stamp in it, if it has one.
fn without_stamp(name: &str) -> Option<String> {
    let at = stamp_in(name)?;
    Some(format!("{}{}", &name[..at], &name[at + STAMP_LEN..]))
}

#[cfg(test)]
mod tests {
    use super::Name;
    use jiff::{Zoned, tz::TimeZone};
    use std::ffi::OsStr;

    fn name(text: &str) -> Name {
        Name::new(OsStr::new(text), &TimeZone::UTC).expect("a name")
    }

    fn at() -> Zoned {
        "2026-06-13T10:00:07.1239[UTC]".parse().expect("a time")
    }

    #[test]
    fn a_file_that_is_done_with_says_when() {
        for (current, done) in [
            ("events.jsonl", "events-20260613T100007.123Z.jsonl"),
            ("events", "events-20260613T100007.123Z"),
            ("a.b.pcapng", "a.b-20260613T100007.123Z.pcapng"),
            (".hidden", ".hidden-20260613T100007.123Z"),
        ] {
            assert_eq!(name(current).current(&at()).as_deref(), Ok(OsStr::new(current)));
            assert_eq!(Name::done(OsStr::new(current), at().timestamp()), done);
            assert!(name(current).is_done(OsStr::new(done)));
            assert!(name(current).is_done(OsStr::new(&format!("{done}.zst"))));
            assert_eq!(Name::stamp(OsStr::new(done)).as_deref(), Some("-20260613T100007.123Z"));
            assert_eq!(Name::stamp(OsStr::new(current)), None);
        }
    }

    #[test]
    fn only_our_own_files_are_ours() {
        for other in [
            "events.jsonl",
            "events.jsonl.zst",
            "events-old.jsonl",
            "events-20260613T100007.123Z.json",
            "events-20260613T100007.123Z.jsonl.gz",
            "events-20260613T100007.123Z.jsonl.zst.part",
            "events-2026061XT100007.123Z.jsonl",
            "other-20260613T100007.123Z.jsonl",
            "events-events-20260613T100007.123Z.jsonl",
            "events-20260613T100007Z.jsonl",
        ] {
            assert!(!name("events.jsonl").is_done(OsStr::new(other)), "{other}");
        }
    }

    #[test]
    fn a_pattern_is_filled_in_and_told_again() {
        let name = name("events-%Y-%m-%d_%H.jsonl");
        assert_eq!(name.current(&at()).as_deref(), Ok(OsStr::new("events-2026-06-13_10.jsonl")));
        for ours in [
            "events-2026-06-13_10.jsonl",
            "events-1999-12-31_23.jsonl.zst",
            "events-2026-06-13_10-20260613T100007.123Z.jsonl",
            "events-2026-06-13_10-20260613T100007.123Z.jsonl.zst",
        ] {
            assert!(name.is_done(OsStr::new(ours)), "{ours}");
        }
        for other in ["events-2026-06-13.jsonl", "events-2026-06-13_10.jsonl.1", "events-2026-13-13_10.jsonl"]
        {
            assert!(!name.is_done(OsStr::new(other)), "{other}");
        }
    }

    #[test]
    fn a_pattern_that_makes_no_sense_is_refused() {
        for wrong in ["events-%", "events-%!.jsonl", "%D.jsonl"] {
            assert!(Name::new(OsStr::new(wrong), &TimeZone::UTC).is_err(), "{wrong}");
        }
    }
}
