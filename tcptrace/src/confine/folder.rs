//! Confines a thread that writes files to the folder that they are in.

use super::{ConfineError, Purpose, confine};
use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, PathBeneath, Ruleset, RulesetAttr as _,
    RulesetCreatedAttr as _, RulesetError,
};
use std::os::fd::BorrowedFd;

/// The kernel's interface of Landlock that the rules are written for. Of an older one as much is used as there is.
const INTERFACE: ABI = ABI::V5;

/// Confines this thread to what writing files in a folder takes: to the system calls, and by Landlock to the folder, on
/// kernels that have it (5.13).
pub fn confine_to_folder(folder: BorrowedFd<'_>, of_others: bool) -> Result<(), ConfineError> {
    restrict(folder)?;
    confine(Purpose::Files { of_others }, &[])
}

/// Has Landlock refuse everything but files in the folder.
fn restrict(folder: BorrowedFd<'_>) -> Result<(), RulesetError> {
    Ruleset::default()
        .handle_access(AccessFs::from_all(INTERFACE))?
        .handle_access(AccessNet::from_all(INTERFACE))?
        .create()?
        .add_rule(PathBeneath::new(folder, allowed()))?
        .restrict_self()
        .map(drop)
}

/// What is allowed in the folder.
fn allowed() -> BitFlags<AccessFs> {
    AccessFs::ReadFile
        | AccessFs::WriteFile
        | AccessFs::Truncate
        | AccessFs::ReadDir
        | AccessFs::MakeReg
        | AccessFs::RemoveFile
}
