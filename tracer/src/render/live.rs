//! Live lines: one line for each event while a trace runs.

use anstyle::Style as Ink;
use tracer_core::{
    report::Exit,
    text::{
        shorten,
        units::{bytes, grouped},
    },
};

use super::{
    Style, exit,
    palette::{BAD, FAINT, PLAIN, STRONG},
    text::Text,
};

/// The most columns of a command, so that the line also has room for a time and a sentence.
const COMMAND: usize = 48;

/// An event with a line. Times are in milliseconds from the start of the trace. Commands are in the form of
/// [`super::command_line`].
#[derive(Clone, Debug, PartialEq)]
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
        fd: i32,
        /// Name of the object.
        object: String,
        /// Bytes of that write.
        bytes: u64,
    },
    /// The first write of a process through an fd failed.
    WriteFailed {
        /// Time.
        at_ms: f64,
        /// Its pid.
        pid: u32,
        /// Its command.
        command: String,
        /// The fd; -1 if it has no number.
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
    };
    sentence(*at_ms, *pid, command, &words, ink).render(style)
}

fn sentence(at_ms: f64, pid: u32, command: &str, words: &str, ink: Ink) -> Text {
    Text::styled(FAINT, &format!("{:+9.3} s", at_ms / 1e3))
        .and(PLAIN, "  ")
        .and(STRONG, &shorten(command, COMMAND))
        .and(PLAIN, &format!(" ({pid}) "))
        .and(ink, words)
}

fn started(ppid: u32) -> String {
    if ppid == 0 { "started".to_owned() } else { format!("started by pid {ppid}") }
}

fn place(fd: i32, object: &str) -> String {
    format!("{} → {object}", fd_name(fd))
}

fn ended(exit: Option<Exit>, stdout: u64, stderr: u64) -> (String, Ink) {
    let (how, ink) = match exit {
        Some(_) => exit::words(exit),
        None => ("ended".to_owned(), PLAIN),
    };
    let totals = format!("stdout {} B, stderr {} B", grouped(stdout), grouped(stderr));
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
