//! The kernel side as user space sees it.

pub mod object;
pub mod test_run;
