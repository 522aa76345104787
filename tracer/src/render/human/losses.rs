//! What tracer itself could not record, in words.

use std::io;

use tracer_common::loss::Reason;
use tracer_core::{
    report::Report,
    session::LossReason,
    text::{
        list,
        units::{bytes, count},
    },
};

use crate::render::{
    palette::{ODD, PLAIN},
    text::{Page, Text},
};

/// Writes one line for each reason.
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

/// The names of the reasons.
pub(super) fn names(report: &Report) -> String {
    let hit = report.losses.iter().filter(|(_, events)| **events > 0);
    list(hit.map(|(reason, _)| reason.name()), ", ")
}

/// What a reason means.
pub(in crate::render) fn sentence(reason: &LossReason) -> &str {
    match reason {
        LossReason::Trace(reason) => of_trace(*reason),
        LossReason::RecordingCut => {
            "the recording was cut: what came after its last line is missing"
        }
        LossReason::RecordingDamaged => {
            "lines of the recording could not be read: what they said is missing"
        }
        LossReason::SummedUp => {
            "--max-memory was reached: processes that had ended were added up by command"
        }
        LossReason::GuestDropped => {
            "the sandbox dropped messages about its programs: calls, starts or ends are missing"
        }
        LossReason::GuestQueueFull => {
            "messages of a sandbox found no room in tracer's memory: calls are missing"
        }
        LossReason::GuestUnreadable => "messages of a sandbox could not be read",
        LossReason::GuestCallsNotTold => {
            "programs in a sandbox made calls whose bytes gVisor does not tell"
        }
        LossReason::GuestEndsNotTold => "gVisor did not tell how programs in a sandbox ended",
        LossReason::GuestTablesFull => {
            "a sandbox had more processes, files or pipes than tracer keeps"
        }
        LossReason::ContainerMissed => {
            "what the command had an engine start ran before tracer found it, or was not found here"
        }
        LossReason::Other(name) => name,
    }
}

const fn of_trace(reason: Reason) -> &'static str {
    match reason {
        Reason::RingFull => {
            "the event buffer was full: starts, ends or facts of processes are missing"
        }
        Reason::ProcessesFull => {
            "the process table was full, so some processes were not followed: raise --max-processes"
        }
        Reason::LedgerFull => "the ledger was full: bytes moved that are in no line above",
        Reason::ObjectsFull => {
            "the object table was full, so some readers are not known: raise --max-objects"
        }
        Reason::UserMemory => {
            "the program's memory could not be read: sizes of some calls are not known"
        }
        Reason::KernelMemory => {
            "a kernel structure could not be read: it is not known what some fds led to"
        }
        Reason::FdGone => {
            "another thread closed an fd during a call: it is not known where the bytes went"
        }
        Reason::UringFull => {
            "the table of io_uring requests was full: some requests were not counted"
        }
        Reason::UringUnmatched => {
            "io_uring requests were submitted before the trace began: they were not counted"
        }
        Reason::UringSilent => {
            "io_uring requests asked for no completion: their bytes are not known"
        }
        Reason::UringNotCovered => {
            "io_uring was used, and this kernel does not say which file a request uses"
        }
        Reason::AioNotCovered => "native AIO (io_submit) was used, which is not counted",
        Reason::X32NotCovered => "a program with the x32 ABI was used, whose calls are not counted",
        Reason::Undecodable => "records of the kernel side could not be read",
        Reason::SkippedRuns => "the kernel skipped runs of the counting program",
        Reason::ReadEndsFull => {
            "the table of read ends was full: it is not known who closed some pipes"
        }
        Reason::MaybeAnswered => {
            "a seccomp supervisor or a tracer may have answered calls instead of the kernel"
        }
        Reason::UringAmbiguous => {
            "io_uring completions did not say which of several requests they belong to"
        }
        Reason::TtyFlushed => "processes discarded what was in a terminal: how much is not known",
        Reason::MemoryChanged => {
            "the bytes of some calls were read from memory that other threads could change"
        }
        Reason::FdRaced => "fds were replaced while other threads may have been using them",
        Reason::Uncounted => "the kernel, or the size of a file, shows bytes that were not counted",
        Reason::MaybeMoved => {
            "a call that failed, or told of too few messages, may have moved bytes"
        }
    }
}

fn amount(events: u64, size: u64) -> String {
    let times = count(events, "time");
    if size == 0 { times } else { format!("{times}, {}", bytes(size)) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_reason_has_its_own_sentence_and_unknown_ones_their_name() {
        let sentences: BTreeSet<String> =
            LossReason::all().map(|reason| sentence(&reason).to_owned()).collect();
        assert_eq!(sentences.len(), LossReason::all().count());
        assert!(LossReason::all().all(|reason| sentence(&reason) != reason.name()));
        assert_eq!(sentence(&LossReason::Other("quantum_foam".to_owned())), "quantum_foam");
    }
}
