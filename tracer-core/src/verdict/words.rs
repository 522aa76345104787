//! Phrases that rules share.

use tracer_common::{ledger::WRITE, loss::Reason, object::ObjectId};

use super::{Case, Scope, Stream, Subject, inner::stream_fd};
use crate::{
    event::{BlockedCall, BlockedThread, FileNow},
    session::{Close, Kind, Process, named},
    text::{self, shorten, signal, units},
    verdict::Confidence,
};

/// The advice for a reader that succeeded before it had read everything.
pub(super) const HAD_ENOUGH: &str =
    "The next command of the pipeline had read what it wanted (as `head` does).";

/// The advice for a reader that could not read at all.
pub(super) const LOOK_AT_READER: &str =
    "Look at the command that should read: its name, its redirections, and PATH.";

/// The signal of a terminal that has ended (`signal(7)`).
const SIGHUP: u32 = 1;
/// Maximal number of columns of a command line in a sentence.
const COMMAND: usize = 60;

/// The command and its pid: `docker pull x (pid 71)`.
pub(super) fn who(subject: &Subject<'_>) -> String {
    called_at(subject.process, subject.wrote_ns)
}

/// The same with the command line that the process had when the stream was first used.
pub(super) fn writer(subject: &Subject<'_>, stream: &Stream) -> String {
    match stream.row.first_ns {
        0 => who(subject),
        first_ns => called_at(subject.process, first_ns),
    }
}

/// A process by the command line that it had at a time, or by its latest one if the time is 0.
fn called_at(process: &Process, time_ns: u64) -> String {
    match time_ns {
        0 => called(process),
        time_ns => named(&shortened(&process.command_at(time_ns)), process.id),
    }
}

/// A process by its command line.
pub(super) fn called(process: &Process) -> String {
    named(&shortened(&process.command()), process.id)
}

/// A command line on one line, cut if it is long.
fn shortened(command: &str) -> String {
    let one_line = command.split_whitespace().take(COMMAND).collect::<Vec<_>>().join(" ");
    shorten(&one_line, COMMAND)
}

/// An object by its name, on one line and cut if it is long.
pub(super) fn object(case: &Case<'_>, object: &ObjectId) -> String {
    text::name(&case.session.object_name(object))
}

/// What a thread that is blocked waits for: `waits to read pipe:[9]`; `None` if it is not known.
pub(super) fn waits(case: &Case<'_>, thread: &BlockedThread) -> Option<String> {
    let what = match thread.call {
        BlockedCall::Read => "waits to read",
        BlockedCall::Write => "is itself blocked writing to",
        BlockedCall::Lock => "waits for a lock on",
        BlockedCall::Open | BlockedCall::Stopped | BlockedCall::Other => return None,
    };
    Some(format!("{what} {}", text::name(&waited_for(case, thread)?)))
}

/// The name of what the fd of a blocked thread leads to.
pub(super) fn waited_for(case: &Case<'_>, thread: &BlockedThread) -> Option<String> {
    let watched = thread.object.map(|object| case.session.object_name(&object));
    watched.or_else(|| Some(thread.path.clone()).filter(|path| !path.is_empty()))
}

/// The name of a stream. If stdout and stderr are one object, that of the closest ancestor for which it is one of them:
/// after `>&2`, fd 1 is stderr.
pub(super) fn stream(case: &Case<'_>, subject: &Subject<'_>, stream: &Stream) -> String {
    if subject.stdout.object != subject.stderr.object {
        return stream_or_object(case, subject, stream);
    }
    let name = match stream_fd(case.session, subject.process, &stream.object) {
        Some(1) => "stdout",
        Some(_) => "stderr",
        None => match used_fds(case, subject, &stream.object) {
            (true, false) => "stdout",
            (false, true) => "stderr",
            _ => "stdout and stderr",
        },
    };
    name.to_owned()
}

/// `stdout`, `stderr`, or the name of an object that is neither, and that a shell's builtin only used as such.
pub(super) fn stream_or_object(case: &Case<'_>, subject: &Subject<'_>, stream: &Stream) -> String {
    let is_other = subject.scope == Scope::Redirected
        && !stream.object.is_none()
        && !case.is_stream_of_writer(&stream.object);
    if is_other { object(case, &stream.object) } else { stream.name().to_owned() }
}

/// Whether bytes went to an object through fd 1, and whether through fd 2.
fn used_fds(case: &Case<'_>, subject: &Subject<'_>, object: &ObjectId) -> (bool, bool) {
    let members = subject.members.iter();
    let rows = members.flat_map(|member| case.session.rows_on(*member, *object, WRITE));
    let used = rows.filter(|(_, row)| row.bytes > 0);
    used.fold((false, false), |(out, err), (key, _)| (out || key.fd == 1, err || key.fd == 2))
}

/// How the read end was closed: `python3 (pid 7) closed its read end 12 ms after the end of the command`.
pub(super) fn closed_by(
    case: &Case<'_>,
    closer: &Close,
    subject: &Subject<'_>,
    stream: &Stream,
) -> String {
    if let Some(never_read) = never_read(case, closer, subject, &case.session.peer(&stream.object))
    {
        return never_read;
    }
    let is_terminal = stream.kind == Kind::Pty;
    let how = match (closer.by_exit, is_terminal) {
        (true, false) => "ended with its read end open",
        (false, false) => "closed its read end",
        (true, true) => "ended with the terminal open",
        (false, true) => "closed the terminal",
    };
    let who = closer_name(case, closer, &case.session.peer(&stream.object));
    let since = match subject.process.end_ns {
        // The end of the terminal is why the command ended.
        _ if is_terminal && subject.process.signal() == Some(SIGHUP) => String::new(),
        Some(end) if closer.time_ns >= end => {
            format!(" {} after the command had ended", units::span(closer.time_ns, end))
        }
        Some(end) => format!(" {} before the command ended", units::span(end, closer.time_ns)),
        None => String::new(),
    };
    format!("{who} {how}{since}")
}

/// The process that closed a read end, with the name that it had when it last read from there, else when it closed it. The
/// thread that did may have another name than the process.
pub(super) fn closer_name(case: &Case<'_>, closer: &Close, end: &ObjectId) -> String {
    let known = case.session.processes.get(&closer.process);
    match known.filter(|known| !known.comm.is_empty()) {
        Some(known) => known.short_at(case.last_read(known.id, end).unwrap_or(closer.time_ns)),
        None => named(&closer.comm, closer.process),
    }
}

/// The exit code with which a shell says that it does not find a command.
const NOT_FOUND: u32 = 127;
/// Number of processes after a writer that may be the next command of its pipeline.
const NEXT: usize = 8;

/// The next command of a pipeline, if it could not read at all: it was not found, or was started without a stdin. The shell
/// only closes its own copy of the read end.
pub(super) fn never_read(
    case: &Case<'_>,
    closer: &Close,
    subject: &Subject<'_>,
    end: &ObjectId,
) -> Option<String> {
    let why = |known: &Process| {
        let has_no_stdin = known.stdio_object(0).is_some_and(|stdin| stdin.is_none());
        match known.executed {
            true if has_no_stdin => Some("was started with its stdin closed"),
            false if known.exit_code() == Some(NOT_FOUND) => Some(
                "should read it and ended with exit code 127: its command was not found, very likely",
            ),
            _ => None,
        }
    };
    let processes = &case.session.processes;
    let closed_by = processes.get(&closer.process);
    let has_read = case.last_read(closer.process, end).is_some();
    let told = |known: &Process| Some(format!("{} {}", known.short(), why(known)?));
    if has_read || closer.by_exit {
        return closed_by.filter(|known| !has_read && !known.executed).and_then(told);
    }
    let is_shell = case.is_above(closer.process, subject.process);
    let next = processes.after(subject.process.id).take(NEXT);
    let mut next = next.filter(|known| known.parent == closer.process && is_shell);
    next.find_map(told)
}

/// The limitation of a sum: ` since tracer attached`, or that tracer lost something; empty if it is complete.
pub(super) fn reach(case: &Case<'_>, subject: &Subject<'_>) -> &'static str {
    match case.confidence(subject) {
        Confidence::Certain => "",
        Confidence::Unsure if subject.process.attached_late => " since tracer attached",
        Confidence::Unsure => ", as far as tracer could see",
    }
}

/// The limitation of a sum of a process that ran before the trace: ` since tracer attached`.
pub(super) fn since_attached(subject: &Subject<'_>) -> &'static str {
    if subject.process.attached_late { " since tracer attached" } else { "" }
}

/// Why the counts of an object may be wrong: the rest of a sentence after "because".
pub(super) fn doubt(reason: Reason) -> &'static str {
    match reason {
        Reason::MaybeAnswered => {
            "a seccomp supervisor or a tracer may have answered some of its calls"
        }
        Reason::UringAmbiguous => {
            "completions of its io_uring requests did not tell which request they were about"
        }
        Reason::TtyFlushed => "a process discarded what was in the terminal",
        Reason::MemoryChanged => {
            "what a call said that it moved may have been changed in the program's memory"
        }
        Reason::FdRaced => "one thread replaced an fd while another may have been using it",
        Reason::Uncounted => "bytes passed tracer unseen",
        Reason::MaybeMoved => "a call may have moved bytes before it failed",
        _ => "tracer missed something",
    }
}

/// How the subject ended: ` It exited with 125.`, ` Still running.`
pub(super) fn ending(subject: &Subject<'_>) -> String {
    end_of(subject.process)
}

/// How a process ended: ` It exited with 125.`, ` Still running.`
pub(super) fn end_of(process: &Process) -> String {
    match (process.exit_code(), process.signal()) {
        (Some(code), _) => format!(" It exited with {code}."),
        (None, Some(number)) => format!(" It was killed by {}.", signal::named(number)),
        (None, None) if process.end_ns.is_some() => " How it ended is not known.".to_owned(),
        (None, None) => " Still running.".to_owned(),
    }
}

/// The object of a stream: `pipe:[9], whose read end manager (pid 60) holds`.
pub(super) fn destination(case: &Case<'_>, stream: &Stream) -> String {
    let name = object(case, &stream.object);
    let peer = case.session.peer(&stream.object);
    let mut readers = case.session.holders(&peer).filter(|holding| holding.reads());
    let has_readers = stream.kind.passes_on() && stream.kind != Kind::Pty;
    match readers.next().filter(|_| has_readers && !case.is_one_ended(&stream.object)) {
        Some(reader) => {
            format!("{name}, whose read end {} holds", named(&reader.comm, reader.process))
        }
        None => name,
    }
}

/// Where the bytes of a stream are: `all read by manager (pid 60)`.
pub(super) fn fate(case: &Case<'_>, stream: &Stream) -> String {
    let name = object(case, &stream.object);
    match stream.kind {
        Kind::Pipe | Kind::Fifo => taken(case, stream),
        Kind::Socket if case.session.is_joined(&stream.object) => taken(case, stream),
        Kind::Null => "discarded in /dev/null".to_owned(),
        Kind::File => file(case, &stream.object),
        Kind::Pty if case.is_shown_by_tracer(&stream.object) => {
            format!("to the terminal {name}, which tracer passes on to its own stdout")
        }
        Kind::Pty => match case.flows.get(&stream.object).readers_in_words() {
            Some(reader) => format!("to the terminal {name}, which {reader} shows"),
            None => format!("to the terminal {name}"),
        },
        Kind::Socket => format!("into {name}, beyond which this machine's sight ends"),
        Kind::Device | Kind::HandedIn | Kind::Unknown => format!("to {name}"),
        Kind::Closed => "to a closed fd".to_owned(),
    }
}

/// The bytes that readers read.
fn taken(case: &Case<'_>, stream: &Stream) -> String {
    let flow = case.flows.get(&stream.object);
    match (flow.unread, flow.readers_in_words()) {
        (Some(0), Some(readers)) => format!("all read by {readers}"),
        (Some(unread), Some(readers)) => {
            format!(
                "{} of it read by {readers}, {} unread",
                units::exact(flow.read),
                units::exact(unread)
            )
        }
        (_, None) => {
            format!("read by nobody so far, in {}", object(case, &stream.object))
        }
        (None, Some(readers)) => format!("{} read by {readers}", units::exact(flow.read)),
    }
}

/// The file, and whether its path still leads to it.
pub(super) fn file(case: &Case<'_>, id: &ObjectId) -> String {
    let name = object(case, id);
    let known = case.session.objects.get(id);
    if let Some(known) = known.filter(|known| !known.renamed.is_empty()) {
        if known.deleted {
            return format!(
                "into the file {}, which had no name before",
                text::name(&known.renamed)
            );
        }
        return format!("into the file {name}, which is {} now", text::name(&known.renamed));
    }
    match known.and_then(|known| known.now) {
        Some(FileNow::Replaced) => format!(
            "into the file that was {name}; another file has that name now (rotated or replaced)"
        ),
        Some(FileNow::Gone) => {
            format!("into the file {name}, which is no longer at its path (removed or renamed)")
        }
        Some(FileNow::NotVisible) => format!(
            "into the file {name}, which is not visible from here (another root or mount namespace)"
        ),
        _ => format!("into the file {name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_command_is_cut_with_a_mark() {
        let short = shortened(&"x".repeat(100));
        assert_eq!(short.chars().count(), COMMAND);
        assert!(short.ends_with('…'));
    }
}
