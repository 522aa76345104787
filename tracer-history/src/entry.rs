//! What is kept: commands, gaps, and the times in which tracer was attached.

use serde::{Deserialize, Serialize};

/// One judged command.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// When it began, in µs since 1970 (real time).
    pub began_us: i64,
    /// When it ended, or until when it is known, in µs since 1970 (real time).
    pub ended_us: i64,
    /// Whether it still ran at that time.
    pub is_interim: bool,
    /// Pid in the initial pid namespace.
    pub pid: u32,
    /// Pid in its innermost pid namespace.
    pub ns_pid: u32,
    /// Its name (`comm`).
    pub name: String,
    /// Its command line, redacted and cut before the entry is added.
    pub command: String,
    /// Exit code; `None` if a signal ended it, or if it still ran.
    pub exit_code: Option<u32>,
    /// Number of the signal that ended it.
    pub signal: Option<u32>,
    /// Where it ran.
    pub place: Place,
    /// Its standard streams.
    pub streams: Vec<Stream>,
    /// Name of the rule of the verdict, such as [`rule::UNREAD`](crate::rule::UNREAD).
    pub rule: String,
    /// Severity of the verdict, one of [`severity`](crate::severity).
    pub severity: String,
    /// How certain the verdict is, one of [`confidence`](crate::confidence).
    pub confidence: String,
    /// The verdict as a sentence.
    pub sentence: String,
    /// Whether output did not arrive.
    pub has_loss: bool,
    /// When its first process started, nanoseconds since boot: with `pid` it is the same in all entries of a command,
    /// whereas `began_us` follows the clock. It is not stored.
    #[serde(skip)]
    pub started_ns: u64,
    /// All findings, that of the verdict first. They are not stored.
    #[serde(skip)]
    pub findings: Vec<Finding>,
    /// The report as JSON (`tracer.report/1`), if there is something to tell. It is stored compressed.
    #[serde(skip)]
    pub report: Option<Vec<u8>>,
    /// The ends of streams that lost output, if the recorder keeps them. They are stored compressed.
    #[serde(skip)]
    pub tails: Vec<Tail>,
}

/// The end of a stream that lost output.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tail {
    /// Fd number.
    pub fd: i32,
    /// What was written to.
    pub object: String,
    /// Bytes that the command wrote to it.
    pub written: u64,
    /// How many bytes at its end were lost; `None` if that is not known.
    pub lost: Option<u64>,
    /// How many of its bytes are in the text.
    pub kept: u64,
    /// How many bytes are missing among them.
    pub missing: u64,
    /// Name of the reason why no more was kept.
    pub not_kept: Option<String>,
    /// The bytes, redacted before the entry is added. A line in brackets stands for bytes that are missing.
    pub text: Vec<u8>,
}

/// Where a command ran. Texts are as engines and users wrote them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Place {
    /// Path of its cgroup.
    pub cgroup: String,
    /// The engine of its container: `docker`, `podman`, `containerd`, `cri-o`, `systemd-machined`, `lxc`.
    pub engine: Option<String>,
    /// Id of the container.
    pub container_id: Option<String>,
    /// Name of the container; in a pod, its name within the pod.
    pub container: Option<String>,
    /// Its image.
    pub image: Option<String>,
    /// Kubernetes namespace of the pod.
    pub namespace: Option<String>,
    /// Name of the pod.
    pub pod: Option<String>,
    /// Unit of the system's manager, as it is in the path; of what a user's manager runs, `user@UID.service`.
    pub unit: Option<String>,
}

impl Place {
    /// Whether no further name will come: it is no container, or one whose name or pod is known. The sandbox of a pod has
    /// a pod and no name of its own.
    #[must_use]
    pub const fn is_named(&self) -> bool {
        self.container_id.is_none() || self.container.is_some() || self.pod.is_some()
    }

    /// Whether it is the sandbox of a pod: the container that holds the pod's namespaces. It runs no program of a user.
    #[must_use]
    pub const fn is_sandbox(&self) -> bool {
        self.container_id.is_some() && self.container.is_none() && self.pod.is_some()
    }
}

/// One standard stream of a command.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stream {
    /// Fd number.
    pub fd: i32,
    /// Bytes written.
    pub bytes: u64,
    /// Where it led to.
    pub destination: String,
    /// What became of the bytes.
    pub outcome: String,
    /// The process that read most of them.
    pub reader: Option<String>,
    /// What became of the bytes in numbers; `None` in entries of versions that did not count that.
    pub fate: Option<Fate>,
}

/// What became of the bytes of a stream. `delivered`, `lost`, `discarded` and `unknown` add up to [`Stream::bytes`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fate {
    /// Bytes that a process read, that are in a file, or that a device took.
    pub delivered: u64,
    /// Bytes that no process can read any more, or that wait unread after the end of the command.
    pub lost: u64,
    /// Bytes that were written to `/dev/null`, or left to a reader that had enough.
    pub discarded: u64,
    /// Bytes of which it is not known what became of them.
    pub unknown: u64,
    /// Bytes that the kernel refused, and that were not written again. They are not among the bytes of the stream.
    pub refused: u64,
}

/// A finding in short: the report has it whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Finding {
    /// Name of its rule.
    pub rule: String,
    /// Its severity, one of [`severity`](crate::severity).
    pub severity: String,
}

/// A time in which something was not seen, or not kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// Its beginning, in µs since 1970.
    pub from_us: i64,
    /// Its end, in µs since 1970.
    pub until_us: i64,
    /// Why: one of [`reason`], or a reason of the program that added it.
    pub reason: String,
    /// How many commands or events were missed; 0 if unknown.
    pub events: u64,
    /// Bytes that these stood for; 0 if unknown.
    pub bytes: u64,
    /// The container that it is about; `None` if it is about all.
    pub container: Option<String>,
}

impl Gap {
    /// Whether it concerns a time span, both ends included.
    #[must_use]
    pub fn overlaps(&self, from_us: i64, until_us: i64) -> bool {
        self.from_us <= until_us && self.until_us >= from_us
    }
}

/// A time in which tracer was attached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coverage {
    /// Its beginning, in µs since 1970.
    pub from_us: i64,
    /// The latest time at which tracer is known to have been attached, in µs since 1970.
    pub until_us: i64,
    /// What it was attached to.
    pub scope: String,
    /// Why it ended; `None` if it goes on, or if tracer was killed.
    pub ended: Option<String>,
}

/// Reasons for gaps that the history itself knows.
pub mod reason {
    /// tracer did not run, and had not been stopped: it was killed, or the power went.
    pub const NOT_RUNNING: &str = "not_running";
    /// tracer had been stopped.
    pub const STOPPED: &str = "stopped";
    /// The programs of an earlier recorder stayed attached, and this version could not go on with them.
    pub const VERSION_CHANGED: &str = "version_changed";
    /// One recorder followed another, and went on. Containers that began and ended in between may be missing.
    pub const CONTAINERS_MISSED: &str = "containers_missed";
    /// Entries came faster than they could be written.
    pub const FULL: &str = "history_full";
    /// The disk was full.
    pub const DISK_FULL: &str = "disk_full";
    /// The history could not be written for another reason.
    pub const FAILED: &str = "history_failed";
    /// A file of the history was damaged.
    pub const DAMAGED: &str = "history_damaged";
    /// So many commands waited to be judged that their memory was twice the limit. They have no entries.
    pub const JOBS_FULL: &str = "jobs_full";
    /// Cgroups came faster than the recorder could look at them.
    pub const CGROUPS_MISSED: &str = "cgroups_missed";
    /// There were more cgroups than the recorder follows.
    pub const CGROUPS_FULL: &str = "cgroups_full";
}
