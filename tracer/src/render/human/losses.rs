//! What the tracer itself missed, in words.

use std::io;

use tracer_common::loss::{self, NAMES};
use tracer_core::{
    recording,
    report::Report,
    text::units::{bytes, count},
};

use crate::render::{
    palette::{ODD, PLAIN},
    text::{Page, Text},
};

/// A sentence for each reason, in the order of [`NAMES`].
const SENTENCES: [&str; loss::COUNT as usize] = [
    "the event buffer was full: starts, ends or facts of processes are missing",
    "the process table was full: some processes were not followed",
    "the ledger was full: bytes moved that are in no line above",
    "the object table was full: the readers of some pipes or sockets are not known",
    "the program's memory could not be read: sizes of some calls are not known",
    "a kernel structure could not be read: what some fds pointed to is not known",
    "a fd was closed by another thread during the call: bytes without a target",
    "the table of io_uring requests was full: some requests were not counted",
    "io_uring requests were submitted before the trace began: they were not counted",
    "io_uring requests asked for no completion: their bytes are not known",
    "io_uring was used, and this kernel does not tell which file a request is about",
    "native AIO (io_submit) was used, which is not counted",
    "a program with the x32 ABI was used, whose calls are not counted",
    "records of the kernel side could not be read",
    "the kernel skipped the counting program while it ran already on that CPU",
    "the table of read ends was full: who closed some pipes is not known",
];

/// Writes one line for each reason that was hit.
pub(super) fn write(page: &mut Page<'_>, report: &Report) -> io::Result<()> {
    let mut hit = report.losses.iter().filter(|(_, events)| **events > 0).peekable();
    if hit.peek().is_none() {
        return Ok(());
    }
    page.section()?;
    page.line(&Text::styled(ODD, "What tracer could not record:"))?;
    for (reason, events) in hit {
        let size = report.lost_bytes.get(reason).copied().unwrap_or(0);
        let words = format!("{} ({})", sentence(reason), amount(*events, size));
        page.words(Text::blank(2), 4, PLAIN, &words)?;
    }
    Ok(())
}

fn sentence(reason: &str) -> &str {
    let known = NAMES.iter().position(|&name| name == reason);
    let of_reading = match reason {
        recording::CUT => "the recording has no end: what came after its last line is missing",
        recording::DAMAGED => "lines of the recording could not be read: what they said is missing",
        _ => reason,
    };
    known.and_then(|index| SENTENCES.get(index).copied()).unwrap_or(of_reading)
}

fn amount(events: u64, size: u64) -> String {
    let times = count(events, "time", "times");
    if size == 0 { times } else { format!("{times}, {}", bytes(size)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_sentence_and_unknown_ones_their_name() {
        for (index, name) in NAMES.iter().enumerate() {
            assert_eq!(sentence(name), SENTENCES[index]);
            assert!(!SENTENCES[..index].contains(&SENTENCES[index]), "{name}");
        }
        assert_eq!(sentence("ring_full").split(':').next(), Some("the event buffer was full"));
        for name in recording::REASONS {
            assert_ne!(sentence(name), name);
        }
        assert_eq!(sentence("undecodable"), SENTENCES[13]);
        assert_eq!(sentence("quantum_foam"), "quantum_foam");
    }
}
