//! What can go wrong between this process and the kernel's BPF subsystem.

use std::{error::Error, io};

use aya::EbpfError;

use crate::btf::BtfError;

/// Why a trace could not be set up or read.
#[derive(Debug, thiserror::Error)]
pub enum LoaderError {
    /// The binary was built by plain `cargo build`.
    #[error("this binary was built without its eBPF object; build it with `cargo xtask build`")]
    NoObject,
    /// The kernel's types are unusable.
    #[error(transparent)]
    Btf(#[from] BtfError),
    /// The kernel refused the object or one of its maps.
    #[error("the kernel refused tracer's eBPF object: {reason}")]
    Object {
        /// The kernel's or aya's words.
        reason: String,
    },
    /// The embedded object is not as the build script has seen it.
    #[error(
        "tracer's eBPF object is damaged ({reason}): build tracer again with `cargo xtask build`"
    )]
    Patch {
        /// What is wrong with its markers.
        reason: String,
    },
    /// There is no memory for the maps.
    #[error(
        "the kernel has no memory for tracer's tables ({reason}): they take 16 MB by default; free some, or make \
         them smaller with --max-processes, --max-objects and --capture-buffer"
    )]
    NoMemory {
        /// The kernel's or aya's words.
        reason: String,
    },
    /// The kernel refused a program.
    #[error("the kernel refused the program for {hook}: {reason}")]
    Program {
        /// Which hook.
        hook: &'static str,
        /// The kernel's words, with the verifier's last lines.
        reason: String,
    },
    /// The hook that counts bytes is attached, and is not called.
    #[error(
        "the kernel does not call tracer when a system call ends, although it let tracer attach there: nothing would \
         be counted. Try again, and report it with the output of `uname -r`"
    )]
    Silent,
    /// A trace event has its fields elsewhere.
    #[error(
        "this kernel's event {event} has no {field} where it is known to be: try --hooks tp_btf, and \
         report it with the output of `uname -r`"
    )]
    EventField {
        /// The event.
        event: &'static str,
        /// Its field.
        field: &'static str,
    },
    /// Trace events are out of reach.
    #[error(
        "tracefs is not mounted, and cannot be for tracer alone ({reason}): run \
         `mount -t tracefs tracefs /sys/kernel/tracing`"
    )]
    Tracefs {
        /// The kernel's words.
        reason: String,
    },
    /// A map could not be read or written.
    #[error("cannot {operation} the {map} map: {reason}")]
    Map {
        /// What was tried.
        operation: &'static str,
        /// Which map.
        map: &'static str,
        /// The kernel's words.
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
    /// A map error out of any displayable cause.
    pub(super) fn map(
        operation: &'static str,
        map: &'static str,
        cause: impl std::fmt::Display,
    ) -> Self {
        Self::Map { operation, map, reason: cause.to_string() }
    }
}

/// What the kernel, or aya, has against the object.
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

/// The sentence and the cause of an error in one line; the verifier's log is cut to its end, where
/// the reason stands.
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
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let skip = lines.len().saturating_sub(VERIFIER_LINES);
    let head = lines.first().copied().unwrap_or_default();
    if skip == 0 {
        lines.join(" | ")
    } else {
        format!("{head} | … | {}", lines[skip..].join(" | "))
    }
}

/// Lines kept of a verifier log.
const VERIFIER_LINES: usize = 8;
