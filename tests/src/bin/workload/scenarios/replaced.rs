//! A child that borrows its parent's memory until it execs.

use std::ffi::{c_int, c_long, c_void};

use anyhow::{Result, ensure};
use tracer_tests::{paths::Identity, procfs::object_of, truth::FdTruth};

use crate::{
    ledger::Ledger,
    process::{self, Image, Tables},
    sys::{self, Outcome},
};

const BEFORE_EXEC: [u8; 41] = [b'b'; 41];

/// What parent and child share while the parent is suspended.
struct Shared<'a> {
    tables: Tables<'a>,
    written: Outcome,
}

/// `vfork` and exec: the child writes before the exec, on its parent's stack of books, and the
/// new program writes after it.
pub(crate) fn vfork_exec(ledger: &mut Ledger) -> Result<()> {
    ledger.write(1, 61)?;
    let image = Image::of_self(&["write", Identity::Direct.word()])?;
    let mut shared = Shared { tables: image.tables(), written: Err(0) };
    let mut stack = vec![0_u128; 4096];
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    // SAFETY: the stack's end is aligned and the child has it for itself; the parent sleeps
    // until the child has left this memory, so `shared` is used by one process at a time.
    let child = unsafe {
        let top = stack.as_mut_ptr_range().end.cast::<c_void>();
        libc::clone(child, top, flags, (&raw mut shared).cast())
    };
    let child = sys::check("clone", c_long::from(child))? as libc::pid_t;
    ensure!(shared.written == Ok(BEFORE_EXEC.len()), "the child wrote {:?}", shared.written);
    let mut row = FdTruth::new(1, object_of(1));
    row.note(BEFORE_EXEC.len(), shared.written);
    ledger.publish_row_for(child.try_into()?, row)?;
    process::wait_success(child)?;
    ledger.write(2, 62)
}

extern "C" fn child(shared: *mut c_void) -> c_int {
    // SAFETY: `vfork_exec` passes its `Shared`, which nobody else touches meanwhile.
    let shared = unsafe { &mut *shared.cast::<Shared<'_>>() };
    shared.written = sys::write(1, &BEFORE_EXEC);
    shared.tables.exec();
    127
}
