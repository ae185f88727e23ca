//! zstd (RFC 8878) as a stream of frames. `zstd` writes one frame, concatenated files have several, and `pzstd` writes
//! skippable frames between them.

use ruzstd::decoding::{
    BlockDecodingStrategy, FrameDecoder,
    errors::{FrameDecoderError, ReadFrameHeaderError},
};
use std::{
    error::Error,
    io::{self, BufRead, Read},
};

/// Decompresses a stream of frames. The decoder limits windows to 128 MiB, and that bounds its memory.
pub(super) struct Decoder<R> {
    source: R,
    frame: FrameDecoder,
    /// Whether a frame was begun and has not ended.
    within: bool,
}

impl<R: BufRead> Decoder<R> {
    pub(super) fn new(source: R) -> Self {
        Self { source, frame: FrameDecoder::new(), within: false }
    }

    /// Begins the next frame, and returns false at the end of the stream.
    fn begin(&mut self) -> io::Result<bool> {
        while !self.source.fill_buf()?.is_empty() {
            match self.frame.reset(&mut self.source) {
                Ok(()) => return Ok(true),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => self.skip(u64::from(length))?,
                Err(error) => return Err(as_io(&error)),
            }
        }
        Ok(false)
    }

    fn skip(&mut self, len: u64) -> io::Result<()> {
        let skipped = io::copy(&mut self.source.by_ref().take(len), &mut io::sink())?;
        if skipped < len { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }

    /// Ends a frame; its checksum must be right if it has one.
    fn end(&mut self) -> io::Result<()> {
        self.within = false;
        match (self.frame.get_checksum_from_data(), self.frame.get_calculated_checksum()) {
            (Some(written), Some(computed)) if written != computed => {
                Err(io::Error::new(io::ErrorKind::InvalidData, "the checksum of a zstd frame is wrong"))
            }
            _ => Ok(()),
        }
    }
}

impl<R: BufRead> Read for Decoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.within {
                let len = self.frame.read(buffer)?;
                if len > 0 || buffer.is_empty() {
                    return Ok(len);
                }
                if self.frame.is_finished() {
                    self.end()?;
                } else {
                    self.frame
                        .decode_blocks(&mut self.source, BlockDecodingStrategy::UptoBlocks(1))
                        .map_err(|error| as_io(&error))?;
                }
            } else if self.begin()? {
                self.within = true;
            } else {
                return Ok(0);
            }
        }
    }
}

/// Translates an error of the decoder. An error of reading, also an early end, keeps its own kind; everything else is
/// invalid data.
fn as_io(error: &FrameDecoderError) -> io::Error {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return match error.raw_os_error() {
                Some(code) => io::Error::from_raw_os_error(code),
                None => error.kind().into(),
            };
        }
        cause = error.source();
    }
    io::Error::new(io::ErrorKind::InvalidData, error.to_string())
}
