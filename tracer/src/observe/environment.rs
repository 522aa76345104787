//! Environment variables that change what programs print, or which server they use.

use tracer_common::id::ProcessId;
use tracer_core::event::EventKind;

use crate::sys::bounded;

/// The variables that a report shows. None of them has a secret.
const TELLING: [&str; 14] = [
    "BUILDKIT_PROGRESS",
    "CI",
    "COLUMNS",
    "COMPOSE_PROGRESS",
    "DOCKER_BUILDKIT",
    "DOCKER_CLI_HINTS",
    "DOCKER_CONTEXT",
    "DOCKER_HOST",
    "FORCE_COLOR",
    "LANG",
    "NO_COLOR",
    "PYTHONUNBUFFERED",
    "RUST_LOG",
    "TERM",
];

/// How many bytes of a value are kept: every finding about a process quotes it.
const LONGEST: usize = 1024;

/// How many bytes of an environment are read. Usual ones have less than 10 KiB, and a process can make its own as large
/// as its address space.
const READ: usize = 64 << 10;

/// The shown variables of a process; `None` if it has ended.
pub(super) fn environment(process: ProcessId) -> Option<EventKind> {
    // One read and one pass: a tree can have tens of thousands of processes.
    let read = bounded::beginning(format!("/proc/{}/environ", process.tgid), READ).ok()?;
    let mut variables: Vec<(String, String)> = entries(&read).filter_map(telling).collect();
    // If a variable is set twice, `getenv` returns the first value.
    variables.sort_by(|one, other| one.0.cmp(&other.0));
    variables.dedup_by(|later, first| later.0 == first.0);
    Some(EventKind::Environment { process, variables, cut: read.is_cut })
}

/// `NAME=value` each. Of an environment that was cut, the last one may lack its end and is left out.
fn entries(read: &bounded::Beginning) -> impl Iterator<Item = &[u8]> {
    let raw = read.bytes.as_slice();
    let whole =
        if read.is_cut { raw.iter().rposition(|byte| *byte == 0).unwrap_or(0) } else { raw.len() };
    raw.get(..whole).unwrap_or_default().split(|byte| *byte == 0)
}

/// The variable, if it is one that is shown.
fn telling(raw: &[u8]) -> Option<(String, String)> {
    let at = raw.iter().position(|byte| *byte == b'=')?;
    let (name, value) = (raw.get(..at)?, raw.get(at + 1..)?);
    let name = TELLING.iter().find(|telling| telling.as_bytes() == name)?;
    let kept = String::from_utf8_lossy(value.get(..LONGEST).unwrap_or(value));
    let mark = if value.len() > LONGEST { "…" } else { "" };
    Some(((*name).to_owned(), format!("{kept}{mark}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_entry_of_a_cut_environment_is_left_out() {
        let entries = |raw: &[u8], is_cut| {
            let read = bounded::Beginning { bytes: raw.to_vec(), is_cut };
            entries(&read).filter_map(telling).count()
        };
        assert_eq!(entries(b"TERM=x\0LANG=C", false), 2);
        assert_eq!(entries(b"TERM=x\0LANG=C", true), 1);
        assert_eq!(entries(b"TERM=x", true), 0);
    }

    #[test]
    fn a_value_is_kept_up_to_a_length() {
        assert_eq!(telling(b"TERM=xterm"), Some(("TERM".to_owned(), "xterm".to_owned())));
        assert_eq!(telling(b"SECRET=x"), None);
        let long = [b"TERM=".as_slice(), &[b'x'; 5000]].concat();
        let (_, kept) = telling(&long).unwrap();
        assert_eq!(kept, "x".repeat(LONGEST) + "…");
    }
}
