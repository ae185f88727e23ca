//! Files of JSON lines, which are told from captures by their first byte.

use super::{
    FileError, Files, Position, Reader,
    open::{self, Opened, Unread},
    window::Fill,
};
use std::{io, sync::atomic::Ordering};

/// The longest line in bytes. The longest event, with all that a name and a path may have, is some ten thousand.
const LONGEST: usize = 1 << 20;

/// What a file has in it.
pub enum Content {
    /// Lines of JSON.
    Lines(Box<Lines>),
    /// Anything else: it is a capture, or reading it fails. Nothing of the file was read.
    Capture(Unread),
    /// The same of a stream, which cannot be read a second time.
    Stream(Box<Files>),
}

/// The lines of a file, plain or compressed, in order.
pub struct Lines {
    opened: Opened,
    /// The length of the line that was given last, with its end.
    given: usize,
    count: u64,
}

impl Unread {
    /// Finds out what the file has in it, and waits for its first byte. No capture begins with a brace.
    pub fn content(self) -> Result<Content, FileError> {
        let again = self.reopen()?;
        let mut opened = open::start_reading(self)?;
        // What cannot be read is told when the file is read as a capture.
        let begins_with_a_brace = matches!(opened.window.want(1, true), Ok(Fill::Ready))
            && opened.window.bytes().first() == Some(&b'{');
        if begins_with_a_brace {
            return Ok(Content::Lines(Box::new(Lines { opened, given: 0, count: 0 })));
        }
        Ok(match again {
            Some(again) => Content::Capture(again.rewind()?),
            None => Content::Stream(Box::new(Files::from(Reader::begin(opened)?))),
        })
    }
}

impl Lines {
    /// The next line without its end, which is waited for; `None` at the end of the file. The last line may have no end.
    #[expect(
        clippy::should_implement_trait,
        reason = "the line borrows from the reader; an iterator's cannot"
    )]
    pub fn next(&mut self) -> Result<Option<&[u8]>, FileError> {
        let window = &mut self.opened.window;
        window.consume(std::mem::take(&mut self.given));
        let mut searched = 0;
        let end = loop {
            if let Some(end) = window.bytes()[searched..].iter().position(|&byte| byte == b'\n') {
                break searched + end;
            }
            searched = window.bytes().len();
            let wanted = window.want(searched + 1, true);
            match wanted {
                Ok(Fill::Ready | Fill::Later) if searched < LONGEST => {}
                Ok(Fill::End) => break searched,
                Ok(_) => {
                    return Err(
                        self.failed(io::Error::new(io::ErrorKind::InvalidData, "a line without an end"))
                    );
                }
                Err(error) => return Err(self.failed(error)),
            }
        };
        let has_end = end < window.bytes().len();
        self.given = end + usize::from(has_end);
        if self.given == 0 {
            return Ok(None);
        }
        self.count += 1;
        Ok(Some(&self.opened.window.bytes()[..end]))
    }

    /// The name of the file in errors.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.opened.name
    }

    /// How many lines were given so far.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// How far the file was read. A line counts as a packet there.
    #[must_use]
    pub fn position(&self) -> Position {
        let Opened { window, read, total, .. } = &self.opened;
        let bytes = read.as_ref().map_or_else(|| window.offset(), |read| read.load(Ordering::Relaxed));
        Position { bytes, total: *total, packets: self.count }
    }

    fn failed(&self, source: io::Error) -> FileError {
        FileError::Lines { name: self.opened.name.clone(), lines: self.count, source }
    }
}

#[cfg(test)]
mod tests {
    use super::{Content, LONGEST, Lines};
    use crate::capture::open::open_unread;
    use flate2::{Compression, write::GzEncoder};
    use std::{fs, io::Write as _};
    use tcptrace_testing::folder::Folder;

    fn content(bytes: &[u8]) -> Content {
        let folder = Folder::new();
        let path = folder.join("file");
        fs::write(&path, bytes).expect("it can be written");
        // What is open can be read after the folder is gone.
        open_unread(&path).expect("it opens").content().expect("it can be read")
    }

    fn lines(bytes: &[u8]) -> Lines {
        match content(bytes) {
            Content::Lines(lines) => *lines,
            Content::Capture(_) | Content::Stream(_) => panic!("it is taken for a capture"),
        }
    }

    fn all(mut lines: Lines) -> Vec<String> {
        let mut all = Vec::new();
        while let Some(line) = lines.next().expect("it can be read") {
            all.push(String::from_utf8_lossy(line).into_owned());
        }
        assert_eq!(lines.count(), all.len() as u64);
        all
    }

    #[test]
    fn lines_are_given_one_by_one_whether_compressed_or_not() {
        let plain = b"{1}\n\n{2}\n{3}";
        let expected = ["{1}", "", "{2}", "{3}"];
        assert_eq!(all(lines(plain)), expected);
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(plain).expect("a Vec takes everything");
        let gzip = gzip.finish().expect("a Vec takes everything");
        assert_eq!(all(lines(&gzip)), expected);
    }

    #[test]
    fn a_long_line_is_whole_and_one_without_end_is_an_error() {
        let long = [b"{".repeat(LONGEST - 1), b"\n{}\n".to_vec()].concat();
        let all = all(lines(&long));
        assert_eq!(all.iter().map(String::len).collect::<Vec<_>>(), [LONGEST - 1, 2]);
        let error = lines(&b"{".repeat(4 * LONGEST)).next().map(|_| ()).expect_err("too long");
        assert!(error.to_string().ends_with("a line without an end"), "{error}");
    }

    #[test]
    fn what_begins_with_no_brace_is_taken_for_a_capture() {
        for bytes in [&b"\xd4\xc3\xb2\xa1"[..], b"text", b"\x1f\x8b\x08\x00 damaged"] {
            assert!(matches!(content(bytes), Content::Capture(_)), "{bytes:?}");
        }
    }
}
