//! Bytes that are missing in a file: whether the command wrote the file anew on purpose, or one writer took them from another.

use tracer_common::{
    ledger::{LedgerKey, LedgerRow},
    object::ObjectId,
};

use super::{Loss, cause::cut};
use crate::{
    session::{Fact, FactKind, Process, may_be_after},
    verdict::Case,
};

/// A command that writes to one file again and again, one time after the other, means to.
pub(super) fn is_meant(case: &Case<'_>, object: &ObjectId, loss: Loss) -> bool {
    matches!(loss, Loss::Missing(_)) && is_rewritten(case, object)
}

/// Whether a command writes a file anew on purpose: no process that is not a part of the latest writing had it as its
/// output any more, and it was not opened for stdout and for stderr apart from each other.
fn is_rewritten(case: &Case<'_>, object: &ObjectId) -> bool {
    let Some((latest, row)) = case.writes_to(object).max_by_key(|(_, row)| row.last_ns) else {
        return false;
    };
    let Some(writer) = case.session.processes.get(&latest.process) else { return false };
    let has_it = |process: &Process| {
        let ended = process.end_ns.is_some_and(|end_ns| end_ns < row.first_ns);
        let is_related = case.is_above(process.id, writer) || case.is_above(writer.id, process);
        !is_related && !ended && process.has_as_output(object)
    };
    !is_split(case, object)
        && !is_own(case, object)
        && !is_interleaved(case, object)
        && !is_cut_under_writer(case, object)
        && !is_mixed(case, object, writer)
        && !has_other_writer(case, object, writer, row.first_ns)
        && !case.session.processes.values().any(has_it)
}

/// Whether stdout and stderr of a process were two openings of a file (`>log 2>log`): bytes are missing, and no process cut it.
pub(super) fn is_split(case: &Case<'_>, object: &ObjectId) -> bool {
    let had_both = |(key, row): (&LedgerKey, &LedgerRow)| {
        let had = |fd| has_at(case, &LedgerKey { fd, ..*key }, row.first_ns);
        had(1) && had(2)
    };
    cut(case, object).is_none() && case.writes_to(object).any(had_both)
}

/// Whether the process that cut a file had it as its own output (`>/dev/stderr`), or has it as its input (`tr a b <f >f`).
fn is_own(case: &Case<'_>, object: &ObjectId) -> bool {
    is_own_output(case, object) || is_own_input(case, object)
}

/// Whether the process that cut a file last had it as its stdout or stderr at that time, and opened it once more by its name.
/// A program that cuts its stdout itself (`ftruncate(2)`) means to.
pub(super) fn is_own_output(case: &Case<'_>, object: &ObjectId) -> bool {
    let Some((cut_ns, by)) = cut(case, object) else { return false };
    let is_it = |fact: &&Fact| fact.kind == FactKind::FileCut && fact.time_ns == *cut_ns;
    let is_of_stdio =
        by.facts.iter().find(is_it).is_some_and(|fact| matches!(fact.fd, Some(1 | 2)));
    let had = [1, 2].map(|fd| case.session.stdio_at(by, fd, *cut_ns) == Some(*object));
    !is_of_stdio && had.contains(&true)
}

/// Whether the process that cut a file last has it as its stdin, too.
pub(super) fn is_own_input(case: &Case<'_>, object: &ObjectId) -> bool {
    let has = |by: &Process| by.executed && by.stdio_object(0) == Some(*object);
    cut(case, object).is_some_and(|(_, by)| has(by))
}

/// Whether a writer began while another one had the file as its output and went on later, and no process cut it: each had a
/// place of its own in it. (The kernel side does not see who cuts a file that no process has had open for a while.)
fn is_interleaved(case: &Case<'_>, object: &ObjectId) -> bool {
    let mut rows: Vec<(&LedgerKey, &LedgerRow)> = case.writes_to(object).collect();
    rows.sort_unstable_by_key(|(_, row)| row.first_ns);
    let is_disturbed = |(at, (key, row)): (usize, &(&LedgerKey, &LedgerRow))| {
        let later = rows.iter().skip(at + 1).take(MOST_LATER);
        let began = later.map(|(_, later)| later.first_ns).filter(|began| *began <= row.last_ns);
        began.into_iter().any(|began| has_at(case, key, began))
    };
    cut(case, object).is_none() && rows.iter().enumerate().any(is_disturbed)
}

/// Number of later writers that are looked at for each one.
const MOST_LATER: usize = 16;

/// Whether the fd of a row was stdout or stderr, and pointed to its object at a time.
fn has_at(case: &Case<'_>, key: &LedgerKey, time_ns: u64) -> bool {
    let process = case.session.processes.get(&key.process);
    let at = |process| case.session.stdio_at(process, key.fd, time_ns);
    matches!(key.fd, 1 | 2) && process.and_then(at) == Some(key.object)
}

/// Whether a process cut the file while another one was writing to it: `tee /dev/stderr`, with stderr in a file. The time
/// of a file's row can be too early, so a process that has the file as its output may have written after the cut.
fn is_cut_under_writer(case: &Case<'_>, object: &ObjectId) -> bool {
    let Some((cut_ns, by)) = cut(case, object) else { return false };
    let has_it = |id| {
        let process: Option<&Process> = case.session.processes.get(&id);
        process.is_some_and(|process| {
            process.end_ns.is_none_or(|end_ns| end_ns > *cut_ns) && process.has_as_output(object)
        })
    };
    case.writes_to(object).any(|(key, row)| {
        let goes_on = row.last_ns > *cut_ns || may_be_after(row, *cut_ns) && has_it(key.process);
        key.process != by.id && row.first_ns <= *cut_ns && goes_on
    })
}

/// Whether the latest output of a file stands in front of older output: the file was not emptied before, and each writer
/// got it as stdout or stderr. A program that opens a file by itself, such as `dd conv=notrunc`, changes it on purpose.
fn is_mixed(case: &Case<'_>, object: &ObjectId, latest: &Process) -> bool {
    let bytes: u64 = case
        .writes_to(object)
        .filter(|(key, _)| key.process == latest.id)
        .map(|(_, row)| row.bytes)
        .sum();
    let size = case.session.objects.get(object).and_then(|object| object.size_after);
    let was_given = |key: &LedgerKey| {
        let process = case.session.processes.get(&key.process);
        process.is_some_and(|process| process.has_as_output(object))
    };
    cut(case, object).is_none()
        && size.is_some_and(|size| size > bytes)
        && case.writes_to(object).all(|(key, _)| was_given(key))
}

/// Whether a process that is not related to the writer had written to a file, and still ran.
fn has_other_writer(case: &Case<'_>, object: &ObjectId, writer: &Process, time_ns: u64) -> bool {
    case.writes_to(object).any(|(key, row)| {
        let Some(other) = case.session.processes.get(&key.process) else { return false };
        let ended_ns =
            other.end_ns.unwrap_or(if is_sum(case, key) { row.last_ns } else { u64::MAX });
        let ran = row.first_ns < time_ns && ended_ns > time_ns;
        ran && !case.is_above(other.id, writer) && !case.is_above(writer.id, other)
    })
}

/// Whether what is missing in a file is what one job wrote, and another job has written the file anew since: the log of the
/// latest run. A recorder judges each job by itself.
pub(super) fn is_of_another_job(case: &Case<'_>, object: &ObjectId) -> bool {
    let Some((latest, row)) = case.writes_to(object).max_by_key(|(_, row)| row.last_ns) else {
        return false;
    };
    // What a job writes through one open file after the other, and cuts itself, is no other job's.
    let is_of_job = |key: &LedgerKey| {
        case.session.processes.get(&key.process).is_some_and(|writer| writer.is_target)
    };
    let is_latest =
        |key: &LedgerKey| key.process == latest.process || is_of_job(latest) && is_of_job(key);
    let began = case.writes_to(object).filter(|(key, _)| is_latest(key));
    let began = began.map(|(key, row)| if is_sum(case, key) { row.last_ns } else { row.first_ns });
    let began_ns = began.min().unwrap_or(row.first_ns);
    let mut others = case.writes_to(object).filter(|(key, _)| !is_latest(key)).peekable();
    let cut_ns = case.cuts.get(object).map_or(0, |(cut_ns, _)| *cut_ns);
    case.session.is_part
        && others.peek().is_some()
        && others.all(|(_, other)| other.last_ns < began_ns)
        && cut_ns <= began_ns
        && is_rewritten(case, object)
}

/// Whether a row is that of several processes, so that its times say little.
fn is_sum(case: &Case<'_>, key: &LedgerKey) -> bool {
    case.session.processes.get(&key.process).is_some_and(|known| known.summed_up.is_some())
}
