//! What the workloads write: no two bytes' worth of output of one process are interchangeable.

use std::sync::atomic::{AtomicU64, Ordering};

use tracer_tests::content;

static POSITION: AtomicU64 = AtomicU64::new(0);

/// So many bytes that this process has not written yet. They stay where they are: a pipe that was
/// given pages by `vmsplice` refers to them for as long as nobody has read it.
pub(crate) fn bytes(size: usize) -> &'static [u8] {
    let position = POSITION.fetch_add(size as u64, Ordering::Relaxed);
    content::bytes(u64::from(std::process::id()), position, size).leak()
}
