//! What a helper process is asked to look at, and its answers. Every answer is a list of events.

use std::{
    io::{self, BufRead as _, BufReader, Write as _},
    os::unix::net::UnixStream,
};

use serde::{Deserialize, Serialize};
use tracer_common::{id::ProcessId, object::ObjectId};
use tracer_core::event::{EventKind, Look};

use super::{
    arguments, blocked,
    engine_logs::{self, LogRequest},
    environment,
    files::{self, FileRequest},
};
use crate::sys::helper::encode;

/// One thing to look at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Request {
    /// Arguments and environment of a process, either or both.
    Process {
        /// The process.
        process: ProcessId,
        /// Whether to read its arguments.
        arguments: bool,
        /// Whether to read its environment.
        environment: bool,
    },
    /// The calls in which the threads of a process are blocked.
    Threads {
        /// The process.
        process: ProcessId,
        /// Whether to look for a process that can write to the pipe that it reads.
        writers: bool,
    },
    /// The same while the trace runs: nothing depends on the answer.
    ThreadsNow {
        /// The process.
        process: ProcessId,
    },
    /// Size and name of a file.
    File(FileRequest),
    /// A container engine's log file.
    Log(LogRequest),
}

/// What may be the cause if a helper does not answer. It is not looked at again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cause {
    /// A process: its memory is locked.
    Process(ProcessId),
    /// A file system, by its device: it stands still.
    Device(u32),
}

impl Request {
    /// What would be the cause if no answer came.
    pub(super) fn cause(&self) -> Cause {
        match self {
            Self::Process { process, .. }
            | Self::Threads { process, .. }
            | Self::ThreadsNow { process } => Cause::Process(*process),
            Self::File(FileRequest { object, .. }) | Self::Log(LogRequest { object, .. }) => {
                Cause::Device(object.dev)
            }
        }
    }

    /// What is not seen if no answer comes: the kind of look, the process and the object.
    pub(super) fn subject(&self) -> (Look, ProcessId, Option<ObjectId>) {
        match self {
            Self::Process { process, .. } => (Look::Process, *process, None),
            Self::Threads { process, .. } | Self::ThreadsNow { process } => {
                (Look::Threads, *process, None)
            }
            Self::File(FileRequest { object, .. }) => {
                (Look::File, ProcessId::default(), Some(*object))
            }
            Self::Log(LogRequest { object, .. }) => {
                (Look::Log, ProcessId::default(), Some(*object))
            }
        }
    }

    /// Looks. This is what can block.
    fn answer(&self) -> Vec<EventKind> {
        match self {
            Self::Process { process, arguments, environment } => {
                let argv = arguments.then(|| arguments::arguments(*process)).flatten();
                let variables = environment.then(|| environment::environment(*process)).flatten();
                argv.into_iter().chain(variables).collect()
            }
            Self::Threads { process, writers } => blocked::threads_of(*process, *writers),
            Self::ThreadsNow { process } => blocked::threads_of(*process, false),
            Self::File(request) => files::look(request).into_iter().collect(),
            Self::Log(request) => engine_logs::read(request).into_iter().collect(),
        }
    }
}

/// Answers requests until the other end is closed: one line for each.
pub(super) fn serve(socket: UnixStream) -> io::Result<()> {
    let mut requests = BufReader::new(socket.try_clone()?);
    let (mut answers, mut line) = (socket, String::new());
    while requests.read_line(&mut line)? > 0 {
        let request: Request = serde_json::from_str(&line)?;
        answers.write_all(&encode(&request.answer())?)?;
        line.clear();
    }
    Ok(())
}
