//! Actions of signals that neither std nor tokio sets.

use std::ptr;

use rustix::process::{Pid, Signal, getpid, kill_process};

/// Ignores `SIGXFSZ`: a write beyond the limit on file size then fails with an error, instead of killing tracer.
pub(crate) fn ignore_file_size() {
    set_action(libc::SIGXFSZ, libc::SIG_IGN);
}

/// Ends this process as the signal would have ended it without a handler.
pub(crate) fn die_of(signal: Signal) -> ! {
    set_action(signal.as_raw(), libc::SIG_DFL);
    let own: Pid = getpid();
    // The first process of a pid namespace survives this.
    let _ = kill_process(own, signal);
    // SAFETY: `_exit` ends the process without running exit handlers, which could wait for a blocked thread.
    unsafe { libc::_exit(128 + signal.as_raw()) }
}

fn set_action(signal: libc::c_int, action: libc::sighandler_t) {
    // SAFETY: the structure lives here and is valid when zero; both actions are constants of the system. A null pointer
    // asks for no old action.
    unsafe {
        let mut wanted: libc::sigaction = std::mem::zeroed();
        wanted.sa_sigaction = action;
        libc::sigaction(signal, &raw const wanted, ptr::null_mut());
    }
}
