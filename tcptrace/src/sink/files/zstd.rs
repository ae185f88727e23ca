//! Compresses a file by zstd (RFC 8878): frame after frame, so that memory is bounded and a reader needs little.

use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use std::io::{self, Read, Write};

/// How much of the file a frame has.
const FRAME: u64 = 1024 * 1024;

/// Compresses all that `from` has.
pub(super) fn compress(mut from: impl Read, mut to: impl Write) -> io::Result<()> {
    let mut part = Vec::new();
    loop {
        part.clear();
        // The encoder panics where its reader or writer fails, so it is given memory alone.
        from.by_ref().take(FRAME).read_to_end(&mut part)?;
        if part.is_empty() {
            return Ok(());
        }
        to.write_all(&compress_to_vec(&part[..], CompressionLevel::Fastest))?;
    }
}

#[cfg(test)]
mod tests {
    use super::{FRAME, compress};
    use ruzstd::decoding::StreamingDecoder;
    use std::io::Read as _;

    #[test]
    fn what_is_compressed_is_smaller_and_comes_back() {
        let line =
            |number: usize| format!("{{\"event\":\"connection\",\"id\":{number},\"outcome\":\"closed\"}}\n");
        let whole: Vec<u8> = (0..50_000).flat_map(|number| line(number).into_bytes()).collect();
        assert!(whole.len() as u64 > 2 * FRAME, "several frames");
        let mut compressed = Vec::new();
        compress(&whole[..], &mut compressed).expect("memory");
        assert!(compressed.len() * 4 < whole.len(), "{} of {}", compressed.len(), whole.len());
        let (mut rest, mut back) = (&compressed[..], Vec::new());
        while !rest.is_empty() {
            StreamingDecoder::new(&mut rest).expect("a frame").read_to_end(&mut back).expect("it is whole");
        }
        assert_eq!(back, whole);
    }
}
