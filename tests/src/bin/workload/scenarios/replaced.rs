//! A child that shares its parent's memory until it execs.

use std::ffi::{c_int, c_long, c_void};

use anyhow::{Result, ensure};
use tracer_tests::{paths::Identity, procfs::object_of, truth::FdTruth};

use crate::{
    ledger::Ledger,
    process::{self, Image, Tables},
    sys::{self, Outcome},
};

const BEFORE_EXEC: [u8; 41] = [b'b'; 41];

/// Data of the child, in memory shared with the suspended parent.
struct Shared<'a> {
    tables: Tables<'a>,
    written: Outcome,
}

/// `vfork` and exec. The child writes before the exec, which the parent counts for it; the new program
/// writes after it.
pub(crate) fn vfork_exec(ledger: &mut Ledger) -> Result<()> {
    ledger.write(1, 61)?;
    let image = Image::of_self(&["write", Identity::Direct.word()])?;
    let mut shared = Shared { tables: image.tables(), written: Err(0) };
    let mut stack = vec![0_u128; 4096];
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    // SAFETY: the stack's end is aligned, and only the child uses the stack. The parent is suspended
    // until the child execs or exits, so only one process at a time uses `shared`.
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
    // SAFETY: `vfork_exec` passes its `Shared` and is suspended while this runs.
    let shared = unsafe { &mut *shared.cast::<Shared<'_>>() };
    shared.written = sys::write(1, &BEFORE_EXEC);
    shared.tables.exec();
    127
}
