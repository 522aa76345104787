//! How a process ended, in words.

use anstyle::Style as Ink;
use tracer_core::report::Exit;

use super::palette::{BAD, ODD, PLAIN};

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

/// `exit 0`, `killed by SIGKILL (9)` or `running`, and its style.
pub(super) fn words(exit: Option<Exit>) -> (String, Ink) {
    let Some(Exit { code, signal }) = exit else {
        return ("running".to_owned(), PLAIN);
    };
    match (signal, code) {
        (Some(signal), _) => (format!("killed by {} ({signal})", signal_name(signal)), BAD),
        (None, Some(code)) => (format!("exit {code}"), if code == 0 { PLAIN } else { ODD }),
        (None, None) => ("ended".to_owned(), PLAIN),
    }
}

fn signal_name(signal: u32) -> String {
    let index = usize::try_from(signal).ok().and_then(|number| number.checked_sub(1));
    match index.and_then(|index| SIGNALS.get(index)) {
        Some(name) => (*name).to_owned(),
        None if signal >= FIRST_REAL_TIME => format!("SIGRTMIN+{}", signal - FIRST_REAL_TIME),
        None => "signal".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn killed(signal: u32) -> String {
        words(Some(Exit { code: None, signal: Some(signal) })).0
    }

    #[test]
    fn signals_are_named_with_their_number() {
        assert_eq!(killed(9), "killed by SIGKILL (9)");
        assert_eq!(killed(13), "killed by SIGPIPE (13)");
        assert_eq!(killed(31), "killed by SIGSYS (31)");
        assert_eq!(killed(34), "killed by SIGRTMIN+0 (34)");
        assert_eq!(killed(0), "killed by signal (0)");
    }

    #[test]
    fn a_code_and_no_end_have_their_own_words() {
        assert_eq!(words(Some(Exit { code: Some(125), signal: None })).0, "exit 125");
        assert_eq!(words(None).0, "running");
    }
}
