//! Names of signals.

/// Names of signals 1 to 31: `include/uapi/asm-generic/signal.h`, as on x86-64 and arm64.
const SIGNALS: [&str; 31] = [
    "SIGHUP",
    "SIGINT",
    "SIGQUIT",
    "SIGILL",
    "SIGTRAP",
    "SIGABRT",
    "SIGBUS",
    "SIGFPE",
    "SIGKILL",
    "SIGUSR1",
    "SIGSEGV",
    "SIGUSR2",
    "SIGPIPE",
    "SIGALRM",
    "SIGTERM",
    "SIGSTKFLT",
    "SIGCHLD",
    "SIGCONT",
    "SIGSTOP",
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
    "SIGURG",
    "SIGXCPU",
    "SIGXFSZ",
    "SIGVTALRM",
    "SIGPROF",
    "SIGWINCH",
    "SIGIO",
    "SIGPWR",
    "SIGSYS",
];

/// The first real-time signal that the C library leaves to programs (`signal(7)`).
const FIRST_REAL_TIME: u32 = 34;

/// The name and the number, like `SIGKILL (9)`; `signal (0)` for a number without a name.
#[must_use]
pub fn named(signal: u32) -> String {
    let index = usize::try_from(signal).ok().and_then(|number| number.checked_sub(1));
    let name = match index.and_then(|index| SIGNALS.get(index)) {
        Some(name) => (*name).to_owned(),
        None if signal >= FIRST_REAL_TIME => format!("SIGRTMIN+{}", signal - FIRST_REAL_TIME),
        None => "signal".to_owned(),
    };
    format!("{name} ({signal})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_named_with_their_number() {
        let names = [9, 13, 31, 34, 0].map(named);
        let expected =
            ["SIGKILL (9)", "SIGPIPE (13)", "SIGSYS (31)", "SIGRTMIN+0 (34)", "signal (0)"];
        assert_eq!(names, expected);
    }
}
