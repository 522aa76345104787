//! Files without a name, and files that are not at their path any more: who removed them, and whether what is in them is gone
//! for certain.

use std::path::{Path, PathBuf};

use tracer_common::{
    ledger::{LedgerKey, LedgerRow, READ, WRITE},
    object::ObjectId,
};

use super::{Loss, began};
use crate::{
    event::FileNow,
    session::{
        GENERATIONS, Holding, Object, Process, Session, is_given, is_read_write, is_remover,
        latest_possible_ns, names,
    },
    text::units,
    verdict::{Case, words},
};

/// Whether a file has no name any more.
pub(in crate::verdict) fn is_removed(case: &Case<'_>, object: &ObjectId) -> bool {
    let known = case.session.objects.get(object);
    known.is_some_and(Object::is_removed)
}

/// What became of the bytes in a file that no path leads to, and of which so many were not read.
pub(super) fn loss(case: &Case<'_>, object: &Object, left: u64) -> Option<Loss> {
    if is_removed(case, &object.id) {
        let is_readable = case.session.holders(&object.id).any(Holding::reads);
        let is_proven = !object.deleted || !may_be_used_unseen(case, object);
        let is_missed = || {
            was_tried(case, object)
                || has_failed_owner(case, object)
                || !may_be_passed_on(case, object, left)
        };
        return match is_proven {
            _ if is_readable => None,
            true => Some(Loss::Removed(left)),
            false => is_missed().then_some(Loss::Unproven(left)),
        };
    }
    if !held_output_of_failure(case, object) || was_given_to_reader(case, object) {
        return None;
    }
    match remover(case, &object.id) {
        Some(by) if removes(by) => Some(Loss::Removed(left)),
        None if renamer(case, object).is_none() && is_unread(case, object) => {
            has_failed_owner(case, object).then_some(Loss::Unproven(left))
        }
        _ => None,
    }
}

/// Whether a file without a name can be used in ways that tracer does not count: a process that has it open for reading can
/// map it into its memory (`mmap(2)`), and one that was made without a name can get one (`linkat(2)`).
fn may_be_used_unseen(case: &Case<'_>, object: &Object) -> bool {
    let is_read_write = |(key, _): (&LedgerKey, &LedgerRow)| {
        let writer = case.session.processes.get(&key.process);
        let stdio = writer.into_iter().flat_map(|known| [known.stdio, known.stdio_at_end]);
        let mut states = stdio.flatten().flatten();
        states.any(|state| state.object == object.id && is_read_write(state.flags))
    };
    object.is_unnamed() || case.writes_to(&object.id).any(is_read_write)
}

/// Whether a process tried to read from a file: it does not map it.
fn was_tried(case: &Case<'_>, object: &Object) -> bool {
    case.flows.get(&object.id).readers.iter().any(|reader| {
        let mut rows = case.session.rows_on(reader.process, object.id, READ);
        rows.any(|(_, row)| row.calls > 0)
    })
}

/// Whether no process has read anything of a file.
fn is_unread(case: &Case<'_>, object: &Object) -> bool {
    case.flows.get(&object.id).read == 0
}

/// Whether a process failed that gave a file to a writer as its output: it had to show what it says.
fn has_failed_owner(case: &Case<'_>, object: &Object) -> bool {
    owners(case, object).any(Process::has_failed)
}

/// The processes that gave a file to its writers.
fn owners<'a>(case: &'a Case<'_>, object: &'a Object) -> impl Iterator<Item = &'a Process> {
    case.writes_to(&object.id).filter_map(|(key, _)| {
        let writer = case.session.processes.get(&key.process)?;
        let mut above = case.session.line_of(writer).skip(1).take(GENERATIONS);
        above.find(|known| !known.has_as_output(&object.id))
    })
}

/// Whether an owner of a file, or what it started, wrote so many bytes after the file was written: they may be from there.
fn may_be_passed_on(case: &Case<'_>, object: &Object, left: u64) -> bool {
    let written_ns = case.writes_to(&object.id).map(|(_, row)| row.last_ns).max().unwrap_or(0);
    let own = |process: &Process| {
        let rows = case.session.rows_on(process.id, object.id, WRITE);
        let latest = rows.filter(|(_, row)| latest_possible_ns(row) >= written_ns);
        latest.map(|(_, row)| row.bytes).sum::<u64>()
    };
    let since = |process: &Process| {
        let later = case.written_at_or_after(process.id, written_ns).saturating_sub(own(process));
        later.saturating_add(process.other_bytes.unwrap_or(0))
    };
    let has_ended = |known: &&Process| known.end_ns.is_some_and(|end_ns| end_ns < written_ns);
    owners(case, object).any(|owner| {
        let processes = case.session.processes.values().filter(|known| !has_ended(known));
        let mut found = 0_u64;
        processes.filter(|known| case.is_above(owner.id, known)).map(since).any(|bytes| {
            found = found.saturating_add(bytes);
            found >= left
        })
    })
}

/// Whether a file that no process has open any more, and that is not at its path, held the output of a command that failed:
/// what removed it has removed the reason. The log of a command that succeeded is removed on purpose, and so is a file that a
/// shell only redirected one step to, such as a lock with its pid.
fn held_output_of_failure(case: &Case<'_>, object: &Object) -> bool {
    let is_its_output = |writer: &Process| {
        let at_end = writer.stdio_at_end.iter().flat_map(|stdio| &stdio[1..]);
        writer.has_as_output(&object.id)
            || at_end.into_iter().any(|state| state.object == object.id)
    };
    let has_failed = |(key, _): (&LedgerKey, &LedgerRow)| {
        let writer = case.session.processes.get(&key.process);
        writer.is_some_and(|writer| writer.has_failed() && is_its_output(writer))
    };
    object.is_missing() && case.writes_to(&object.id).any(has_failed)
}

/// Whether a program that started after the first write has a file in its arguments and does not remove it: `grep x FILE`.
/// Its reads need not be counted, if it is so quick that tracer does not watch the file yet.
fn was_given_to_reader(case: &Case<'_>, object: &Object) -> bool {
    let began = began(case, &object.id).unwrap_or(0);
    let writes = |id| case.writes_to(&object.id).any(|(key, _)| key.process == id);
    case.session.processes.values().any(|process| {
        process.executed
            && process.id.start_ns > began
            && !is_remover(process)
            && is_given(process, Path::new(&object.path))
            && !writes(process.id)
    })
}

/// The processes that run a program which removes files.
pub(in crate::verdict) fn removers(session: &Session) -> Vec<&Process> {
    let processes = session.processes.values();
    processes.filter(|process| is_remover(process)).collect()
}

/// Whether a program does nothing with a file but remove it.
pub(super) fn removes(by: &Process) -> bool {
    ["rm", "unlink"].contains(&by.comm.as_str())
}

/// The process that probably removed a file, or put another one in its place: the only remover with one of its names in an
/// argument that still ran when the file was first written. The kernel side does not see which process removes a name.
pub(in crate::verdict::rules) fn remover<'a>(
    case: &'a Case<'_>,
    object: &ObjectId,
) -> Option<&'a Process> {
    let object = case.session.objects.get(object)?;
    let names = [Some(PathBuf::from(&object.path)), renamer(case, object).map(|(_, name)| name)];
    let is_named = |process: &Process| {
        names.iter().flatten().any(|name| is_given(process, name))
            && renames(case, process, object).is_none()
    };
    let mut found = after_first_write(case, &object.id).filter(|process| is_named(process));
    found.next().filter(|_| found.next().is_none())
}

/// The only process that renamed a file, and the name that it gave it.
pub(super) fn renamer<'a>(case: &'a Case<'_>, object: &Object) -> Option<(&'a Process, PathBuf)> {
    let mut found = after_first_write(case, &object.id)
        .filter_map(|process| Some((process, renames(case, process, object)?)));
    found.next().filter(|_| found.next().is_none())
}

/// The removers that still ran when a file was first written.
fn after_first_write<'a>(
    case: &'a Case<'_>,
    object: &ObjectId,
) -> impl Iterator<Item = &'a Process> {
    let began = began(case, object);
    let runs = move |process: &&Process| {
        began.is_some_and(|began| process.end_ns.is_none_or(|end_ns| end_ns > began))
    };
    case.removers.iter().copied().filter(runs)
}

/// The name that `mv` gave a file, if it did not copy it to another file system and remove it.
fn renames(case: &Case<'_>, process: &Process, object: &Object) -> Option<PathBuf> {
    let path = Path::new(&object.path);
    let words: Vec<&str> = process.argv.iter().skip(1).map(AsRef::as_ref).collect();
    let (target, sources) = words.split_last().filter(|_| process.comm == "mv")?;
    let has_copied = case.last_read(process.id, &object.id).is_some();
    let is_source = sources.iter().any(|source| names(source, path)) && !names(target, path);
    (is_source && !has_copied).then(|| PathBuf::from(target))
}

/// How a file went: `, which was removed, probably by rm x (pid 7): 12 B are gone`.
pub(super) fn describe(case: &Case<'_>, object: &ObjectId, bytes: u64) -> String {
    let by = remover(case, object).map(|by| format!(", probably by {}", words::called(by)));
    let by = by.unwrap_or_default();
    let known = case.session.objects.get(object);
    let how = match known.and_then(|known| renamer(case, known)) {
        Some((mv, _)) => format!("which {} renamed, and which was removed then", words::called(mv)),
        None => "which was removed".to_owned(),
    };
    format!(", {how}{by}: {} are gone", units::exact(bytes))
}

/// The same of a file of which it is not proven.
pub(super) fn describe_unproven(case: &Case<'_>, object: &ObjectId, bytes: u64) -> String {
    let flow = case.flows.get(object);
    let (bytes, read) = (units::exact(bytes), units::exact(flow.read));
    if !is_removed(case, object) {
        return format!(
            ", which no process has read and which is not at its path any more: {bytes} are gone, if it was not moved"
        );
    }
    let read = match flow.readers_in_words() {
        Some(reader) => format!("{reader} read {read} of it"),
        None => "no process read it".to_owned(),
    };
    let known = case.session.objects.get(object);
    let or =
        if known.is_some_and(Object::can_get_name) { " or gave it a name elsewhere" } else { "" };
    format!(
        ", a file without a name, and {read}: {bytes} are gone, if no process mapped it into its memory{or}"
    )
}

/// A file that is not at its path, and that `rm` removed or `mv` replaced before its last bytes were written. What is removed
/// when all is written is removed on purpose.
pub(super) fn removed_while_written(case: &Case<'_>, file: &Object) -> Option<Loss> {
    let by = remover(case, &file.id)?;
    let flow = case.flows.get(&file.id);
    let last_ns = case.writes_to(&file.id).map(|(_, row)| row.last_ns).max()?;
    let is_target = by.argv.iter().last().is_some_and(|last| names(last, Path::new(&file.path)));
    let did_it = match file.now {
        Some(FileNow::Gone) => removes(by),
        Some(FileNow::Replaced) => by.comm == "mv" && is_target,
        _ => false,
    };
    let is_before = by.end_ns.is_some_and(|end_ns| end_ns < last_ns);
    let left = flow.written.saturating_sub(flow.read);
    (did_it && is_before && file.renamed.is_empty() && left > 0).then_some(Loss::Removed(left))
}
