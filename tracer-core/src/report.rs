//! The report: what every renderer shows and what scripts read.
//!
//! The JSON form of these types is the public schema `tracer.report/1`, described field by field in
//! `SCHEMA.md`. Only additions are allowed under that name.

pub(crate) mod build;
mod captured;
mod claim;
mod command;
mod tail;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

#[cfg(test)]
pub(crate) use self::build::commands;
pub use self::{
    build::{
        LostStream, Wanted, build, captured, lost_streams, of_case, recovered, stream_of, tail,
        wanted,
    },
    captured::{Captured, CapturedStream, Recovered, RecoveredKind},
    claim::{Claim, WorkerLog},
    command::{Command, CommandImage, CommandStream, StreamSegment},
    tail::{NotKept, Tail},
};
use crate::{
    session::{LossReason, Target},
    text::{Arguments, Variables},
    verdict::Finding,
};

/// The schema's name and version.
pub const SCHEMA: &str = "tracer.report/1";

/// The report of a run.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: String,
    /// The most important finding, as one sentence.
    pub verdict: String,
    /// The target.
    pub target: Target,
    /// When it was traced.
    pub window: Window,
    /// Processes in order of their start.
    pub processes: Vec<Process>,
    /// Processes that had ended and were summed up by command, to keep to a limit of memory; they are not in
    /// `processes`.
    #[serde(default)]
    pub summed_up: Vec<SummedUp>,
    /// Watched objects, in the order in which they came under watch.
    pub objects: Vec<Object>,
    /// The commands in order of their start: what each wrote to stdout and stderr, and what became of it.
    #[serde(default)]
    pub commands: Vec<Command>,
    /// Number of further commands that are left out.
    #[serde(default)]
    pub more_commands: u64,
    /// The paths of the output from process to process.
    #[serde(default)]
    pub hops: Vec<Chain>,
    /// What managers returned according to their logs, next to what the kernel counted.
    #[serde(default)]
    pub claims: Vec<Claim>,
    /// How well those logs could be read.
    #[serde(default)]
    pub worker_logs: Vec<WorkerLog>,
    /// Findings, the most important first.
    pub findings: Vec<Finding>,
    /// Number of facts that could not be recorded, for each reason; all 0 if nothing was missed.
    pub losses: BTreeMap<LossReason, u64>,
    /// Bytes that these facts stood for, if known; reasons without any are absent.
    #[serde(default)]
    pub lost_bytes: BTreeMap<LossReason, u64>,
    /// The gVisor sandboxes that tracer looked into; absent if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sandboxes: Vec<Sandbox>,
    /// Captured output (`--capture`); absent if nothing was captured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capture: Option<Captured>,
    /// Ends of streams that lost output, from a history with such ends; absent if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tails: Vec<Tail>,
    /// Number of further streams that lost output and of which no end was kept; absent if there are none.
    #[serde(default, skip_serializing_if = "is_none")]
    pub more_tails: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_none(number: &u64) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// The time span of the trace.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct Window {
    /// When all hooks were attached: RFC 3339, UTC.
    pub start: String,
    /// Length in seconds.
    pub seconds: f64,
}

/// A gVisor sandbox that tracer looked into.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Sandbox {
    /// Its number in this report, from 1 on.
    pub number: u32,
    /// Id of its first container.
    pub container: String,
    /// Pid of gVisor's kernel; 0 when unknown.
    pub pid: u32,
    /// Whether it ran before tracer looked into it, so that earlier calls are not counted.
    pub looked_late: bool,
}

/// The processes of one command below one process.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct SummedUp {
    /// Their name (`comm`); `others` for all further names.
    pub comm: String,
    /// Pid of the process below which they were, 0 when unknown.
    pub ppid: u32,
    /// How many there were.
    pub processes: u64,
    /// How many of them failed or were killed.
    pub failed: u64,
    /// Bytes that they wrote to watched objects.
    pub written: u64,
    /// Bytes that they read from them.
    pub read: u64,
}

/// One process of the target.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct Process {
    /// Pid in the initial pid namespace; of a guest of gVisor, the pid in its sandbox.
    pub pid: u32,
    /// Number of the gVisor sandbox in which it is a guest; absent for a process of this machine.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub sandbox: u32,
    /// Pid inside its innermost pid namespace; equal to `pid` outside containers.
    pub ns_pid: u32,
    /// Pid of its parent, 0 when unknown.
    pub ppid: u32,
    /// Name of its latest image (`comm`).
    pub comm: String,
    /// Arguments of its latest image, or the beginning of them; empty when they could not be read.
    pub argv: Arguments,
    /// Bytes that all arguments have, or at least, if `argv` is only their beginning.
    #[serde(default)]
    pub argv_bytes: Option<u64>,
    /// Milliseconds from the start of the trace to its start; negative if it started before.
    pub start_ms: f64,
    /// Milliseconds from the start of the trace to its end.
    pub end_ms: Option<f64>,
    /// How it ended; `null` while it runs.
    pub exit: Option<Exit>,
    /// Whether it ran before the hooks were attached, so that earlier output is unknown.
    pub attached_late: bool,
    /// Whether it replaced its image (`execve`) while traced.
    pub executed: bool,
    /// Output through fds that the user did not ask for.
    pub elsewhere: Elsewhere,
    /// One row for each fd and object.
    pub fds: Vec<Fd>,
    /// What fd 0, 1 and 2 pointed to when it started its latest image, or was adopted: the id of each object.
    pub stdio: Vec<String>,
    /// What they pointed to at its end; empty while it runs.
    #[serde(default)]
    pub stdio_at_end: Vec<String>,
    /// Facts: a check for a terminal, a failed connect, a failed exec, a replaced fd.
    pub facts: Vec<Fact>,
    /// Environment variables that are set and change what programs print; `null` if they could not be read.
    #[serde(default)]
    pub environment: Option<Variables>,
    /// Whether the environment was longer than what tracer reads, so that variables may be missing here.
    #[serde(default)]
    pub environment_cut: bool,
}

/// How a process ended; one of the two is set.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Exit {
    /// Exit code.
    pub code: Option<u32>,
    /// Signal number.
    pub signal: Option<u32>,
}

/// Output through fds that the user did not ask for.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
pub struct Elsewhere {
    /// Bytes written; `null` while the process runs, because the kernel side reports the sum at its end.
    pub bytes: Option<u64>,
    /// Calls that wrote them.
    pub writes: Option<u64>,
}

/// What a process wrote through one fd to one object.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct Fd {
    /// Fd number; -1 for a file registered with io_uring that is on no standard fd.
    pub fd: i32,
    /// The object's id, as in [`Object::id`].
    pub object: String,
    /// `pipe fifo pty socket file null device closed unknown`.
    pub kind: String,
    /// Bytes written, as counted in the kernel.
    pub bytes: u64,
    /// Calls that returned 0 or more.
    pub writes: u64,
    /// Failed calls by error class.
    pub errors: BTreeMap<String, u32>,
    /// Calls that wrote fewer bytes than requested, but at least one.
    pub short: u32,
    /// Calls that wrote 0 bytes and did not fail.
    pub zero: u32,
    /// Bytes refused with `EAGAIN`, summed over all refusals.
    pub refused_bytes: u64,
    /// Bytes in the last 67 to 134 ms before the latest write; a thread race can make it too small.
    pub last_moments_bytes: u64,
    /// Milliseconds from the start of the trace to the first call.
    pub first_write_ms: Option<f64>,
    /// Milliseconds from the start of the trace to the latest call.
    pub last_write_ms: Option<f64>,
    /// How it wrote: system calls and io_uring.
    pub ways: Vec<String>,
}

/// A fact about a process.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct Fact {
    /// `tty_asked connect_failed exec_failed fd_replaced fd_closed nonblock emulated facts_cut file_cut`.
    pub kind: String,
    /// Milliseconds from the start of the trace.
    pub at_ms: f64,
    /// The fd concerned, if there is one.
    pub fd: Option<i32>,
    /// The name of the error (`ENOENT`), if the call failed.
    pub error: Option<String>,
    /// What it was about: an address, a path, an object.
    pub about: String,
}

/// An object that output of the target goes to or comes from.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct Object {
    /// Name within this report: `pipe:[88123]`, `/var/log/x`, `/dev/pts/3`, `socket:[5]`.
    pub id: String,
    /// As in [`Fd::kind`].
    pub kind: String,
    /// Path in its own mount namespace, or address of the socket; empty for a pipe.
    pub path: String,
    /// Size of a file when it came under watch, in bytes; `null` for everything else.
    #[serde(default)]
    pub size: Option<u64>,
    /// Id of the socket at the other end; `null` if it is not on this machine.
    #[serde(default)]
    pub peer: Option<String>,
    /// Id of the other half of a pty or unix stream, on which is read what is written to this one.
    #[serde(default)]
    pub joined: Option<String>,
    /// What the path of a file leads to at the end: `same`, `replaced` (rotated) or `gone`.
    #[serde(default)]
    pub now: Option<String>,
    /// Path of the file at the end, if it was renamed in its directory.
    #[serde(default)]
    pub renamed: Option<String>,
    /// Latest known size of the file, in bytes.
    #[serde(default)]
    pub size_after: Option<u64>,
    /// Capacity of a pipe, in bytes.
    #[serde(default)]
    pub capacity: Option<u64>,
    /// Number of relays between the target and its writers.
    #[serde(default)]
    pub hop: u32,
    /// Bytes written while watched, by all processes.
    pub written: u64,
    /// Bytes read while watched, by all processes; on the other half, if there is one.
    pub read: u64,
    /// Unread bytes when it came under watch; `null` if unknown.
    pub unread_before: Option<u64>,
    /// Unread bytes; `null` for objects without a reader (files, devices), and if the other end is not known.
    pub unread: Option<u64>,
    /// Unread bytes, as the kernel side found them after the latest call; `null` if it could not look.
    #[serde(default)]
    pub inside: Option<u64>,
    /// Bytes that had arrived at a socket or terminal whose other end is unknown, and that no process has read; `null`
    /// for everything else, and if the kernel side could not look after the latest read.
    #[serde(default)]
    pub incoming: Option<u64>,
    /// Bytes that a blocked write has already put into the pipe; not yet in `written`.
    #[serde(default)]
    pub in_flight: u64,
    /// Whether `unread_before + written + in_flight = read + inside`; `null` if no look proves it.
    pub balanced: Option<bool>,
    /// Why its counts may be wrong: keys of [`Report::losses`].
    #[serde(default)]
    pub doubts: Vec<LossReason>,
    /// Writers, most bytes first.
    pub writers: Vec<Endpoint>,
    /// Readers, most bytes first.
    pub readers: Vec<Endpoint>,
    /// Processes that hold it open, and for what.
    pub holders: Vec<Holder>,
    /// Closed read ends, in order.
    #[serde(default)]
    pub closes: Vec<Close>,
}

/// A read end that was closed.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct Close {
    /// Pid in the initial pid namespace.
    pub pid: u32,
    /// Its name.
    pub comm: String,
    /// Fd number.
    pub fd: i32,
    /// Milliseconds from the start of the trace.
    pub at_ms: f64,
    /// `close`, or `exit` if the process ended with it open.
    pub by: String,
}

/// One path of output: the process of each step reads what the previous step wrote.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct Chain {
    /// Pid of the command at its beginning.
    pub subject_pid: u32,
    /// Its stream: 1 or 2.
    pub fd: i32,
    /// The steps.
    pub steps: Vec<Step>,
}

/// One process on a path.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct Step {
    /// Pid in the initial pid namespace.
    pub pid: u32,
    /// Its name.
    pub comm: String,
    /// Bytes that it read from the object of the previous step; `null` in the first step.
    pub read: Option<u64>,
    /// Id of the object that it wrote to; `null` if no write was seen.
    pub object: Option<String>,
    /// Bytes that it wrote to `object`.
    pub bytes: u64,
}

/// A process that wrote to or read from an object.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Endpoint {
    /// Pid in the initial pid namespace.
    pub pid: u32,
    /// Its name.
    pub comm: String,
    /// Bytes it moved.
    pub bytes: u64,
}

/// A process that holds an object open.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Holder {
    /// Pid in the initial pid namespace.
    pub pid: u32,
    /// Its name.
    pub comm: String,
    /// Fd number.
    pub fd: i32,
    /// `read`, `write` or `both`.
    pub access: String,
}

impl Report {
    /// Whether the exit code is 1: a part of the output did not arrive at a reader or in a file, or this is not known.
    ///
    /// It is true if any process lost bytes, if bytes wait unread or were discarded, if the command never wrote, and if
    /// the counts are incomplete.
    #[must_use]
    pub fn has_loss(&self) -> bool {
        self.findings.iter().any(Finding::is_loss)
    }
}
