//! Test data for writes. A process never writes the same part of it twice.

use std::sync::atomic::{AtomicU64, Ordering};

use tracer_tests::content;

static POSITION: AtomicU64 = AtomicU64::new(0);

/// The next `size` bytes of this process's data. They are never freed: after `vmsplice` a pipe refers
/// to these pages until they are read.
pub(crate) fn bytes(size: usize) -> &'static [u8] {
    let position = POSITION.fetch_add(size as u64, Ordering::Relaxed);
    content::bytes(u64::from(std::process::id()), position, size).leak()
}
