//! The part of the report about commands: their streams, and what became of each segment of them.

use serde::{Deserialize, Serialize};

use super::Exit;
use crate::verdict::{Confidence, Outcome, RedirectedBy};

/// A process that was started to run a program, or that wrote to stdout or stderr.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct Command {
    /// Pid in the initial pid namespace.
    pub pid: u32,
    /// Command line of its latest image, or the beginning of it.
    pub command: String,
    /// Milliseconds from the start of the trace to its start; negative if it started before.
    pub start_ms: f64,
    /// How it ended; `null` while it runs.
    pub exit: Option<Exit>,
    /// Its images, in order. A process that executes several programs has several.
    pub images: Vec<CommandImage>,
    /// Number of images before those.
    pub more_images: u64,
    /// The path of the FIFO that it is blocked opening.
    pub opening: Option<String>,
    /// stdout and stderr, as far as they are of interest.
    pub streams: Vec<CommandStream>,
}

/// One image of a process.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct CommandImage {
    /// Its name (`comm`).
    pub comm: String,
    /// Its command line, or the beginning of it.
    pub command: String,
    /// Milliseconds from the start of the trace to its start.
    pub start_ms: f64,
    /// Whether it was started by `execve` while traced; else it is that of the parent, or ran before the trace.
    pub executed: bool,
}

/// stdout or stderr of a command.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct CommandStream {
    /// `stdout` or `stderr`.
    pub stream: String,
    /// Where it led, in the order in which it began to.
    pub segments: Vec<StreamSegment>,
    /// Number of further segments that are left out.
    pub more_segments: u64,
}

/// What was written to a stream through one fd to one object.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct StreamSegment {
    /// Fd number; -1 for a file registered with io_uring that is on no standard fd.
    pub fd: i32,
    /// The object's id, as in [`super::Object::id`].
    pub object: String,
    /// As in [`super::Fd::kind`].
    pub kind: String,
    /// Milliseconds from the start of the trace since when the fd led there; the first write, if nothing earlier is known.
    /// `null` if it did so before the trace.
    pub since_ms: Option<f64>,
    /// Who made it lead there; `null` if that is not known.
    pub redirected_by: Option<RedirectedBy>,
    /// Index in [`Command::images`] of the image that wrote there first.
    pub first_image: Option<u64>,
    /// The same of the image that wrote there last.
    pub last_image: Option<u64>,
    /// Bytes that the command itself wrote.
    pub bytes: u64,
    /// Bytes that processes below it wrote to the same stream.
    pub started_bytes: u64,
    /// Bytes that were refused to all of them, and not written again.
    pub refused_bytes: u64,
    /// What became of the bytes.
    pub outcome: Outcome,
    /// Whether everything was counted that this rests on.
    pub confidence: Confidence,
    /// Pids of the processes that read from the object, most bytes first.
    pub read_by: Vec<u32>,
    /// Number of further readers.
    pub more_readers: u64,
}
