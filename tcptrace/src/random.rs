//! Random bytes from the kernel.

use rustix::{
    io::{Errno, Result},
    rand::{GetRandomFlags, getrandom},
};

/// Fills all of `bytes` by getrandom(2), which may give fewer at once or be interrupted by a signal.
pub(crate) fn fill(bytes: &mut [u8]) -> Result<()> {
    let mut filled = 0;
    while filled < bytes.len() {
        match getrandom(&mut bytes[filled..], GetRandomFlags::empty()) {
            Ok(len) => filled += len,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
