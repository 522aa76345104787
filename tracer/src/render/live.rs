//! What is told while a trace runs: one line for each event, for people or as JSON.

use std::io;

use anstyle::Style as Ink;
use serde::{Serialize, Serializer};
use tracer_core::{
    report::{Exit, SCHEMA},
    text::{
        json::harmless_line,
        shorten,
        units::{bytes, count, exact, rounded},
    },
    verdict::Rule,
};

use super::{
    Style, exit,
    palette::{BAD, FAINT, PLAIN, STRONG},
    text::Text,
};

/// The most columns of a command, so that the line also has room for a time and a sentence.
const COMMAND: usize = 48;

/// An event with a line. Times are in milliseconds from the start of the trace. Commands are in the form of
/// [`super::command_line`]. As JSON, the name of the variant is the line's type.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum LiveEvent {
    /// A process of the target started.
    Started {
        /// Time.
        at_ms: f64,
        /// Its pid.
        pid: u32,
        /// Its command.
        command: String,
        /// Pid of its parent; 0 if unknown.
        ppid: u32,
    },
    /// A process wrote through an fd for the first time.
    FirstWrite {
        /// Time.
        at_ms: f64,
        /// Its pid.
        pid: u32,
        /// Its command.
        command: String,
        /// The fd; -1 if it has no number.
        #[serde(serialize_with = "number_or_null")]
        fd: i32,
        /// Name of the object.
        object: String,
        /// Bytes of that write.
        bytes: u64,
    },
    /// The first write of a process through an fd failed, but for the moment only (`EAGAIN`, `EINTR`).
    WriteFailed {
        /// Time.
        at_ms: f64,
        /// Its pid.
        pid: u32,
        /// Its command.
        command: String,
        /// The fd; -1 if it has no number.
        #[serde(serialize_with = "number_or_null")]
        fd: i32,
        /// Name of the object.
        object: String,
        /// Name of the error, such as `EPIPE`.
        error: String,
    },
    /// A process read from a watched object for the first time.
    FirstRead {
        /// Time.
        at_ms: f64,
        /// Its pid.
        pid: u32,
        /// Its command.
        command: String,
        /// Name of the object.
        object: String,
        /// Bytes of that read.
        bytes: u64,
    },
    /// A process ended.
    Ended {
        /// Time.
        at_ms: f64,
        /// Its pid.
        pid: u32,
        /// Its command.
        command: String,
        /// How it ended; `None` if tracer did not see that.
        exit: Option<Exit>,
        /// Bytes that it wrote to stdout.
        bytes_stdout: u64,
        /// Bytes that it wrote to stderr.
        bytes_stderr: u64,
    },
    /// Something is known already that the report will have as a finding, unless it still changes.
    EarlyFinding {
        /// Time.
        at_ms: f64,
        /// The rule that will probably report it.
        rule: Rule,
        /// The process that the message is about.
        pid: u32,
        /// Its command.
        command: String,
        /// The fd; -1 if it has no number.
        #[serde(serialize_with = "number_or_null")]
        fd: i32,
        /// Name of the object.
        object: String,
        /// What is known: a sentence without its subject, which is the process.
        message: String,
    },
    /// How far the trace is.
    Progress(Progress),
}

/// Sums of a trace so far. They are as exact as counts can be that change while they are added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Progress {
    /// Time.
    pub at_ms: f64,
    /// Bytes that processes of the target have written.
    pub written: u64,
    /// Bytes per second that they wrote since the last such line.
    pub written_per_second: u64,
    /// Bytes of those that were read.
    pub read: u64,
    /// Bytes per second that were read since the last such line.
    pub read_per_second: u64,
    /// Bytes that they wrote to pipes, sockets and terminals that still exist, and that were not read yet.
    pub unread: u64,
    /// Processes of the target that have not ended.
    pub processes: u64,
}

impl LiveEvent {
    /// The event as a line of NDJSON, with its line feed.
    ///
    /// # Errors
    /// None that can happen: every event can be encoded.
    pub fn json(&self) -> io::Result<Vec<u8>> {
        #[derive(Serialize)]
        struct Line<'a> {
            schema: &'static str,
            #[serde(flatten)]
            event: &'a LiveEvent,
        }
        let mut line = Vec::new();
        harmless_line(&Line { schema: SCHEMA, event: self }, &mut line)?;
        Ok(line)
    }
}

/// A line of NDJSON that counts lines which found no room.
#[must_use]
pub fn left_out_json(lines: u64) -> Vec<u8> {
    format!("{{\"type\":\"left_out\",\"schema\":\"{SCHEMA}\",\"lines\":{lines}}}\n").into_bytes()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
fn number_or_null<S: Serializer>(fd: &i32, serializer: S) -> Result<S::Ok, S::Error> {
    u32::try_from(*fd).ok().serialize(serializer)
}

/// The line, without its line feed: `+0.012 s  docker pull x (71) started by pid 60`.
#[must_use]
pub fn live_line(event: &LiveEvent, style: &Style) -> String {
    let (at_ms, pid, command, words, ink) = match event {
        LiveEvent::Started { at_ms, pid, command, ppid } => {
            (at_ms, pid, command, started(*ppid), PLAIN)
        }
        LiveEvent::FirstWrite { at_ms, pid, command, fd, object, bytes: size } => {
            let words = format!("wrote {} to {}", bytes(*size), place(*fd, object));
            (at_ms, pid, command, words, PLAIN)
        }
        LiveEvent::WriteFailed { at_ms, pid, command, fd, object, error } => {
            let words = format!("failed to write to {}: {error}", place(*fd, object));
            (at_ms, pid, command, words, BAD)
        }
        LiveEvent::FirstRead { at_ms, pid, command, object, bytes: size } => {
            let words = format!("read {} from {object}", bytes(*size));
            (at_ms, pid, command, words, PLAIN)
        }
        LiveEvent::Ended { at_ms, pid, command, exit, bytes_stdout, bytes_stderr } => {
            let (words, ink) = ended(*exit, *bytes_stdout, *bytes_stderr);
            (at_ms, pid, command, words, ink)
        }
        LiveEvent::EarlyFinding { at_ms, rule, pid, command, message, .. } => {
            (at_ms, pid, command, format!("{message} [{rule}]"), BAD)
        }
        LiveEvent::Progress(sums) => {
            return time(sums.at_ms).and(FAINT, &progress(sums)).render(style);
        }
    };
    sentence(*at_ms, *pid, command, &words, ink).render(style)
}

fn time(at_ms: f64) -> Text {
    Text::styled(FAINT, &format!("{:+9.3} s", at_ms / 1e3)).and(PLAIN, "  ")
}

/// `11.7 MiB written (1.2 MiB/s), 11.6 MiB read (1.2 MiB/s), 64.0 KiB unread, 17 processes alive`
fn progress(sums: &Progress) -> String {
    let Progress { written, written_per_second, read, read_per_second, unread, processes, .. } =
        *sums;
    let [written, written_per_second, read, read_per_second, unread] =
        [written, written_per_second, read, read_per_second, unread].map(rounded);
    format!(
        "{written} written ({written_per_second}/s), {read} read ({read_per_second}/s), \
         {unread} unread, {} alive",
        count(processes, "process")
    )
}

fn sentence(at_ms: f64, pid: u32, command: &str, words: &str, ink: Ink) -> Text {
    time(at_ms)
        .and(STRONG, &shorten(command, COMMAND))
        .and(PLAIN, &format!(" ({pid}) "))
        .and(ink, words)
}

fn started(ppid: u32) -> String {
    if ppid == 0 { "started".to_owned() } else { format!("started by pid {ppid}") }
}

/// `fd 1 stdout → pipe:[88123]`
pub(crate) fn place(fd: i32, object: &str) -> String {
    format!("{} → {object}", fd_name(fd))
}

fn ended(exit: Option<Exit>, stdout: u64, stderr: u64) -> (String, Ink) {
    let (how, ink) = match exit {
        Some(_) => exit::words(exit),
        None => ("ended".to_owned(), PLAIN),
    };
    let totals = format!("stdout {}, stderr {}", exact(stdout), exact(stderr));
    (format!("{how} · {totals}"), ink)
}

/// `fd 1 stdout`, `fd 7`, `io_uring file`.
pub(super) fn fd_name(fd: i32) -> String {
    match fd {
        0 => "fd 0 stdin".to_owned(),
        1 => "fd 1 stdout".to_owned(),
        2 => "fd 2 stderr".to_owned(),
        _ if fd < 0 => "io_uring file".to_owned(),
        _ => format!("fd {fd}"),
    }
}
