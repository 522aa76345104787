//! How a process ended, in words.

use anstyle::Style as Ink;
use tracer_core::{report::Exit, text::signal};

use super::palette::{BAD, ODD, PLAIN};

/// `exit 0`, `killed by SIGKILL (9)` or `running`, and its style.
pub(super) fn words(exit: Option<Exit>) -> (String, Ink) {
    let Some(Exit { code, signal }) = exit else {
        return ("running".to_owned(), PLAIN);
    };
    match (signal, code) {
        (Some(number), _) => (format!("killed by {}", signal::named(number)), BAD),
        (None, Some(code)) => (format!("exit {code}"), if code == 0 { PLAIN } else { ODD }),
        (None, None) => ("ended".to_owned(), PLAIN),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_named() {
        let killed = Exit { code: None, signal: Some(9) };
        assert_eq!(words(Some(killed)).0, "killed by SIGKILL (9)");
    }

    #[test]
    fn a_code_and_no_end_have_their_own_words() {
        assert_eq!(words(Some(Exit { code: Some(125), signal: None })).0, "exit 125");
        assert_eq!(words(None).0, "running");
    }
}
