//! Random bytes of the kernel.

use rustix::{
    io::{Errno, Result},
    rand::{GetRandomFlags, getrandom},
};

/// Fills all of `bytes`.
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
