//! Actions of signals that neither std nor tokio sets.

use std::ptr;

use rustix::process::{Pid, Signal, getpid, kill_process};

/// Ignores `SIGXFSZ`: a write beyond the limit on file size then fails with an error, instead of killing tracer.
pub(crate) fn ignore_file_size() {
    set_action(libc::SIGXFSZ, libc::SIG_IGN);
}

/// Ignores `SIGTTOU`, which stops a process of the background that writes to its terminal after `stty tostop`. A traced
/// command can take the terminal's foreground and set that. The kernel then lets the write pass (`__tty_check_change` in
/// drivers/tty/tty_jobctrl.c).
pub(crate) fn ignore_terminal_stops() {
    set_action(libc::SIGTTOU, libc::SIG_IGN);
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

/// An action as the kernel has it (`struct sigaction` in include/linux/signal_types.h, on x86-64 and arm64). libc's calls
/// refuse the signals that libc uses itself, which a command inherits all the same.
#[repr(C)]
#[derive(Default)]
struct Action {
    handler: libc::sighandler_t,
    flags: libc::c_ulong,
    restorer: usize,
    mask: u64,
}

/// Sets the default action of a signal, or ignores it. Async-signal-safe. The kernel refuses SIGKILL and SIGSTOP.
pub(crate) fn set_action(signal: libc::c_int, handler: libc::sighandler_t) {
    let wanted = Action { handler, ..Action::default() };
    let none: *mut Action = ptr::null_mut();
    // SAFETY: the structure lives here. A null pointer asks for no old action.
    unsafe {
        libc::syscall(libc::SYS_rt_sigaction, signal, &raw const wanted, none, size_of::<u64>())
    };
}

/// Whether a signal is ignored now. Async-signal-safe.
pub(crate) fn is_ignored(signal: libc::c_int) -> bool {
    let mut found = Action::default();
    let none: *const Action = ptr::null();
    // SAFETY: the structure lives here. A null pointer leaves the kernel's action unchanged.
    let status = unsafe {
        libc::syscall(libc::SYS_rt_sigaction, signal, none, &raw mut found, size_of::<u64>())
    };
    status == 0 && found.handler == libc::SIG_IGN
}
