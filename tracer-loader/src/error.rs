//! Errors between this process and the kernel's BPF subsystem.

use std::{error::Error, io, path::PathBuf};

use aya::EbpfError;

use crate::btf::BtfError;

/// Why a trace cannot be set up, or its maps cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LoaderError {
    /// The binary was built without the eBPF object, by plain `cargo build`.
    #[error("this binary was built without its eBPF object; build it with `cargo xtask build`")]
    NoObject,
    /// The kernel's types cannot be used.
    #[error(transparent)]
    Btf(#[from] BtfError),
    /// The kernel refused the object or one of its maps.
    #[error("the kernel refused tracer's eBPF object: {reason}")]
    Object {
        /// The error of the kernel or of aya.
        reason: String,
    },
    /// This process's clock differs from the kernel's by an unknown time.
    #[error(
        "tracer is in a time namespace whose offset it cannot read: start it from a process that is in \
         that namespace already, or in the initial one"
    )]
    TimeNamespace,
    /// The embedded object does not have the markers that the build script counted.
    #[error(
        "tracer's eBPF object is damaged ({reason}): build tracer again with `cargo xtask build`"
    )]
    Patch {
        /// What is wrong with the markers.
        reason: String,
    },
    /// The kernel has no memory for the maps.
    #[error(
        "the kernel has no memory for tracer's tables ({reason}): they take 16 MB by default; free some, or make \
         them smaller with --max-processes, --max-objects and --capture-buffer"
    )]
    NoMemory {
        /// The error of the kernel or of aya.
        reason: String,
    },
    /// The kernel refused a program.
    #[error("the kernel refused the program for {hook}: {reason}")]
    Program {
        /// Which hook.
        hook: &'static str,
        /// The kernel's error, with the last lines of the verifier's log.
        reason: String,
    },
    /// The hook that counts bytes is attached, and the kernel does not call it.
    #[error(
        "the kernel does not call tracer when a system call ends, although it let tracer attach there: nothing would \
         be counted. Try again, and report it with the output of `uname -r`"
    )]
    Silent,
    /// A field of a trace event is not at the offset that the programs read.
    #[error(
        "this kernel's event {event} has no {field} where it is known to be: try --hooks tp_btf, and \
         report it with the output of `uname -r`"
    )]
    EventField {
        /// The trace event.
        event: &'static str,
        /// Its field.
        field: &'static str,
    },
    /// The kernel refuses a program on the function of a system call.
    #[error(
        "this kernel does not let an fexit program be attached to {function} ({reason}): leave out --attach fexit"
    )]
    Fexit {
        /// The kernel's function.
        function: String,
        /// The error of the kernel or of aya.
        reason: String,
    },
    /// debugfs cannot be read.
    #[error("{reason}")]
    Debugfs {
        /// The kernel's error.
        reason: String,
    },
    /// tracefs is not mounted and cannot be mounted.
    #[error(
        "tracefs is not mounted, and cannot be for tracer alone ({reason}): run \
         `mount -t tracefs tracefs /sys/kernel/tracing`"
    )]
    Tracefs {
        /// The kernel's error.
        reason: String,
    },
    /// Programs and maps cannot be kept in bpffs.
    #[error(
        "cannot keep tracer's programs in {}: {reason}. Mount bpffs with `mount -t bpf bpf /sys/fs/bpf`, or leave out \
         --pinned", path.display()
    )]
    Pins {
        /// The folder.
        path: PathBuf,
        /// The system's error.
        reason: String,
    },
    /// No thread can be started.
    #[error(
        "cannot start a thread: {source}; raise the limit on processes (ulimit -u, or pids.max of the cgroup)"
    )]
    Thread {
        /// The system's error.
        source: std::io::Error,
    },
    /// A map could not be read or written.
    #[error("cannot {operation} the {map} map: {reason}")]
    Map {
        /// What was tried: `read`, `fill` …
        operation: &'static str,
        /// Which map.
        map: &'static str,
        /// The error of the kernel or of aya.
        reason: String,
    },
    /// A cgroup v1 controller that this kernel does not have.
    #[error("this kernel has no cgroup controller {enumerator}; name the cgroup by its v2 path")]
    NoController {
        /// As in the kernel's `enum cgroup_subsys_id`.
        enumerator: String,
    },
}

impl LoaderError {
    /// [`LoaderError::Map`] with this cause.
    pub(super) fn map(
        operation: &'static str,
        map: &'static str,
        cause: impl std::fmt::Display,
    ) -> Self {
        Self::Map { operation, map, reason: cause.to_string() }
    }
}

/// The error for an object that the kernel or aya refuses.
pub(super) fn refusal(error: &EbpfError) -> LoaderError {
    let first: &dyn Error = error;
    let causes = std::iter::successors(Some(first), |error| (*error).source());
    let mut systems = causes.filter_map(|cause| cause.downcast_ref::<io::Error>());
    let reason = reason(error);
    match systems.any(|error| error.kind() == io::ErrorKind::OutOfMemory) {
        true => LoaderError::NoMemory { reason },
        false => LoaderError::Object { reason },
    }
}

/// An error and its causes as one line. Of a verifier's log only the first line and the last lines are kept: the
/// reason is at its end.
pub(super) fn reason(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    // aya adds the verifier's log, also if the kernel did not ask its verifier.
    let text = text.strip_suffix(" Verifier output: ").unwrap_or(&text).trim_end_matches('.');
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let skip = lines.len().saturating_sub(VERIFIER_LINES);
    let head = lines.first().copied().unwrap_or_default();
    if skip == 0 {
        lines.join(" | ")
    } else {
        format!("{head} | … | {}", lines[skip..].join(" | "))
    }
}

/// Number of last lines that are kept of a verifier's log.
const VERIFIER_LINES: usize = 8;
