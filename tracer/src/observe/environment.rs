//! Arguments of a process, and environment variables that change what programs print, or which server they use.

use std::{
    fs::File,
    io::{self, Read as _},
};

use tracer_common::id::ProcessId;
use tracer_core::event::EventKind;

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

/// How many bytes are read of arguments and of an environment: as many as `execve(2)` takes with the usual limit on the
/// stack. A process can claim that they are longer (`PR_SET_MM_MAP`).
const MOST_READ: u64 = 2 << 20;

/// The arguments of a process; `None` if it has ended, or has none.
pub(super) fn arguments(process: ProcessId) -> Option<EventKind> {
    let raw = read(process, "cmdline").ok()?;
    let body = raw.strip_suffix(&[0]).unwrap_or(&raw);
    let words = body.split(|byte| *byte == 0);
    let argv = words.map(|word| String::from_utf8_lossy(word).into_owned()).collect();
    (!body.is_empty()).then_some(EventKind::Arguments { process, argv })
}

/// The shown variables of a process; `None` if it has ended.
pub(super) fn environment(process: ProcessId) -> Option<EventKind> {
    // One read and one pass: a tree can have tens of thousands of processes.
    let raw = read(process, "environ").ok()?;
    let mut variables: Vec<(String, String)> =
        raw.split(|byte| *byte == 0).filter_map(telling).collect();
    // If a variable is set twice, `getenv` returns the first value.
    variables.sort_by(|one, other| one.0.cmp(&other.0));
    variables.dedup_by(|later, first| later.0 == first.0);
    Some(EventKind::Environment { process, variables })
}

fn read(process: ProcessId, name: &str) -> io::Result<Vec<u8>> {
    let mut raw = Vec::new();
    let file = File::open(format!("/proc/{}/{name}", process.tgid))?;
    file.take(MOST_READ).read_to_end(&mut raw)?;
    Ok(raw)
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
    fn a_value_is_kept_up_to_a_length() {
        assert_eq!(telling(b"TERM=xterm"), Some(("TERM".to_owned(), "xterm".to_owned())));
        assert_eq!(telling(b"SECRET=x"), None);
        let long = [b"TERM=".as_slice(), &[b'x'; 5000]].concat();
        let (_, kept) = telling(&long).unwrap();
        assert_eq!(kept, "x".repeat(LONGEST) + "…");
    }
}
