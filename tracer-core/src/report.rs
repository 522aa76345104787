//! The finished report: what every renderer shows and what scripts read.
//!
//! The JSON form of these types is the public schema `tracer.report/1`, described field by field in
//! `SCHEMA.md`. Only additions are allowed under that name.

mod build;
mod captured;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use self::{
    build::{Wanted, build, captured, recovered, stream_of, wanted},
    captured::{Captured, CapturedStream, Recovered, RecoveredKind},
};
use crate::{
    session::{LossReason, Target},
    text::{Arguments, Variables},
    verdict::{Finding, Rule, Severity},
};

/// The schema's name and version.
pub const SCHEMA: &str = "tracer.report/1";

/// Everything a run found out.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: String,
    /// The sentence to read first.
    pub verdict: String,
    /// What was traced.
    pub target: Target,
    /// When.
    pub window: Window,
    /// Processes in order of their start.
    pub processes: Vec<Process>,
    /// Objects under watch, in order of first sight.
    pub objects: Vec<Object>,
    /// The ways that output took from process to process.
    #[serde(default)]
    pub hops: Vec<Chain>,
    /// What managers' logs say they handed out, beside what the kernel counted.
    #[serde(default)]
    pub claims: Vec<Claim>,
    /// How well those logs could be read.
    #[serde(default)]
    pub worker_logs: Vec<WorkerLog>,
    /// Findings, the most important first.
    pub findings: Vec<Finding>,
    /// How many facts could not be recorded, for every reason; all 0 when nothing was missed.
    pub losses: BTreeMap<LossReason, u64>,
    /// Bytes that they stood for, where known; reasons without any are absent.
    #[serde(default)]
    pub lost_bytes: BTreeMap<LossReason, u64>,
    /// Captured output (`--capture`); absent where nothing was captured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capture: Option<Captured>,
}

/// The time that the trace covers.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct Window {
    /// RFC 3339, UTC: when every hook was attached.
    pub start: String,
    /// Length in seconds.
    pub seconds: f64,
}

/// One process of the target.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct Process {
    /// Pid in the initial pid namespace.
    pub pid: u32,
    /// Pid inside its innermost pid namespace; equal to `pid` outside containers.
    pub ns_pid: u32,
    /// Pid of its parent, 0 when unknown.
    pub ppid: u32,
    /// Name of its latest image (`comm`).
    pub comm: String,
    /// Arguments of its latest image; empty when they could not be read.
    pub argv: Arguments,
    /// Milliseconds from the window's start to its start; negative when it was there before.
    pub start_ms: f64,
    /// Milliseconds from the window's start to its end.
    pub end_ms: Option<f64>,
    /// How it ended; `null` while it runs.
    pub exit: Option<Exit>,
    /// Whether it was there before the hooks, so that earlier output is unknown.
    pub attached_late: bool,
    /// Whether it replaced its image (`execve`) while traced.
    pub executed: bool,
    /// Output through fds that were not of interest.
    pub elsewhere: Elsewhere,
    /// One row for each fd and object.
    pub fds: Vec<Fd>,
    /// What fd 0, 1 and 2 pointed to when it started its latest image, or when tracer attached: the
    /// id of each object.
    pub stdio: Vec<String>,
    /// What they pointed to at its end; empty while it runs.
    #[serde(default)]
    pub stdio_at_end: Vec<String>,
    /// Small facts: a terminal asked for, a failed connect, a failed exec, a replaced fd.
    pub facts: Vec<Fact>,
    /// Environment variables that change what programs print, those that are set; `null` when they
    /// could not be read.
    #[serde(default)]
    pub environment: Option<Variables>,
}

/// How a process ended: one of the two is set.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Exit {
    /// Exit code.
    pub code: Option<u32>,
    /// Signal number.
    pub signal: Option<u32>,
}

/// Bytes through fds that were not asked for.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
pub struct Elsewhere {
    /// Bytes written; `null` while the process runs, because the sum is handed over at its end.
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
    /// Bytes written, as the kernel counted them.
    pub bytes: u64,
    /// Calls that returned 0 or more.
    pub writes: u64,
    /// Failed calls by error class.
    pub errors: BTreeMap<String, u32>,
    /// Calls that wrote fewer bytes than asked for, but some.
    pub short: u32,
    /// Calls that wrote nothing and did not fail.
    pub zero: u32,
    /// Bytes refused with `EAGAIN`, summed over all refusals.
    pub refused_bytes: u64,
    /// Bytes in the last 67 to 134 ms before the latest write; a thread race can make it too small.
    pub last_moments_bytes: u64,
    /// Milliseconds from the window's start to the first call.
    pub first_write_ms: Option<f64>,
    /// Milliseconds from the window's start to the latest call.
    pub last_write_ms: Option<f64>,
    /// How it wrote: syscalls and io_uring.
    pub ways: Vec<String>,
}

/// A small fact about a process.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct Fact {
    /// `tty_asked connect_failed exec_failed fd_replaced fd_closed nonblock`.
    pub kind: String,
    /// Milliseconds from the window's start.
    pub at_ms: f64,
    /// The fd concerned, where there is one.
    pub fd: Option<i32>,
    /// The error's name (`ENOENT`), where the call failed.
    pub error: Option<String>,
    /// What it was about: an address, a path, an object.
    pub about: String,
}

/// An object that the target's output goes to or comes from.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct Object {
    /// Name within this report: `pipe:[88123]`, `/var/log/x`, `/dev/pts/3`, `socket:[5]`.
    pub id: String,
    /// As in [`Fd::kind`].
    pub kind: String,
    /// Path in its own mount namespace, or the socket's address; empty for a pipe.
    pub path: String,
    /// Bytes in a file at first sight; `null` for everything else.
    #[serde(default)]
    pub size: Option<u64>,
    /// Id of the socket at the other end; `null` when there is none on this machine.
    #[serde(default)]
    pub peer: Option<String>,
    /// Id of the other half of a pty or unix stream: what is written to this one is read there.
    #[serde(default)]
    pub joined: Option<String>,
    /// What became of a file: `same`, `replaced` (rotated) or `gone`.
    #[serde(default)]
    pub now: Option<String>,
    /// Bytes in the file when it was seen last.
    #[serde(default)]
    pub size_after: Option<u64>,
    /// Bytes that a pipe can hold.
    #[serde(default)]
    pub capacity: Option<u64>,
    /// How many readers away from the target its writers are.
    #[serde(default)]
    pub hop: u32,
    /// Bytes written while watched, by anybody.
    pub written: u64,
    /// Bytes read while watched, by anybody; at the other half, where there is one.
    pub read: u64,
    /// Bytes inside when it came under watch; `null` when that is not known.
    pub unread_before: Option<u64>,
    /// Bytes that nobody has read. `null` for objects without a reader's side (files, devices,
    /// terminals).
    pub unread: Option<u64>,
    /// Bytes in a pipe as the kernel had them when nothing moved any more; `null` when the pipe was
    /// gone or still in use.
    #[serde(default)]
    pub inside: Option<u64>,
    /// Bytes of a write that waits in the kernel for room: inside already, and in no row yet.
    #[serde(default)]
    pub in_flight: u64,
    /// Whether `unread_before + written + in_flight = read + unread`; `null` where that cannot be
    /// checked.
    pub balanced: Option<bool>,
    /// Who wrote, most bytes first.
    pub writers: Vec<Endpoint>,
    /// Who read, most bytes first.
    pub readers: Vec<Endpoint>,
    /// Who else holds it open, and for what.
    pub holders: Vec<Holder>,
    /// Who gave up a reading end, in order.
    #[serde(default)]
    pub closes: Vec<Close>,
}

/// A reading end that was given up.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct Close {
    /// Pid in the initial pid namespace.
    pub pid: u32,
    /// Its name.
    pub comm: String,
    /// Fd number.
    pub fd: i32,
    /// Milliseconds from the window's start.
    pub at_ms: f64,
    /// `close`, or `exit` when the process ended with it open.
    pub by: String,
}

/// One way that output took: each step's process reads what the step before it wrote.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct Chain {
    /// The command it begins with.
    pub subject_pid: u32,
    /// Its stream: 1 or 2.
    pub fd: i32,
    /// The steps.
    pub steps: Vec<Step>,
}

/// One process on the way.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct Step {
    /// Pid in the initial pid namespace.
    pub pid: u32,
    /// Its name.
    pub comm: String,
    /// Bytes that it took out of the object of the step before it; `null` in the first step.
    pub read: Option<u64>,
    /// Id of what it wrote to; `null` where it was seen writing nothing.
    pub object: Option<String>,
    /// Bytes that it wrote there.
    pub bytes: u64,
}

/// How well a manager's log could be read.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct WorkerLog {
    /// Its path, or `-` for standard input.
    pub path: String,
    /// Lines read.
    pub lines: u64,
    /// Lines that look like claims and could not be read.
    pub bad: u64,
    /// The first of those, shortened.
    pub first_bad: Option<String>,
}

/// What a manager's log says of one stream of one process, beside what the kernel counted.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct Claim {
    /// Pid in the initial pid namespace.
    pub pid: u32,
    /// Pid that the log names.
    pub ns_pid: u32,
    /// Container that the log names.
    pub container: Option<String>,
    /// `stdout` or `stderr`.
    pub stream: String,
    /// Bytes that the process wrote to it.
    pub written: u64,
    /// Bytes that were read from it.
    pub read: u64,
    /// Bytes handed out according to the log; `null` when it has no line about it.
    pub handed_out: Option<u64>,
}

/// A process at one end of an object.
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
    /// Whether output was lost or nothing was written: exit code 1.
    #[must_use]
    pub fn has_loss(&self) -> bool {
        self.findings.iter().any(|finding| match finding.rule {
            Rule::ExecFailed | Rule::Stuck => true,
            Rule::NeverWrote => finding.severity != Severity::Info,
            _ => finding.severity == Severity::Loss,
        })
    }
}
