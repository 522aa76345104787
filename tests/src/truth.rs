//! What a workload knows about its own output: the sums of what its system calls returned.
//!
//! A workload's truth file holds one JSON object a line, each appended by one `write` when a
//! process is done (or is about to exec). So the truth survives exec, daemons that outlive
//! their parents and thousands of processes, and needs nobody to collect it.
//! Lines of one process add up.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

/// Names the file a workload appends its truth to.
pub const TRUTH_ENV: &str = "WORKLOAD_TRUTH";

/// What one process did to one object through one fd.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FdTruth {
    /// The number that was written through.
    pub fd: i32,
    /// What the number stood for, as `/proc/self/fd` words it; absent when it was closed.
    pub object: Option<String>,
    /// Sum of the bytes the kernel accepted.
    pub bytes: u64,
    /// Calls that returned 0 or more.
    pub calls: u64,
    /// Calls that failed, by class of errno.
    #[serde(default)]
    pub errors: BTreeMap<String, u64>,
    /// Bytes of calls that failed with `EAGAIN`.
    #[serde(default)]
    pub refused: u64,
    /// Calls that took some bytes, but fewer than were offered.
    #[serde(default)]
    pub short: u64,
    /// Calls that offered and took nothing.
    #[serde(default)]
    pub zero: u64,
}

impl FdTruth {
    /// An empty row.
    pub fn new(fd: i32, object: Option<String>) -> Self {
        Self { fd, object, ..Self::default() }
    }

    /// Books one call that offered `requested` bytes.
    pub fn note(&mut self, requested: usize, outcome: Result<usize, i32>) {
        match outcome {
            Ok(0) => {
                self.calls += 1;
                self.zero += 1;
            }
            Ok(taken) => {
                self.calls += 1;
                self.bytes += taken as u64;
                self.short += u64::from(taken < requested);
            }
            Err(errno) => {
                *self.errors.entry(error_class(errno).to_owned()).or_default() += 1;
                if errno == libc::EAGAIN {
                    self.refused += requested as u64;
                }
            }
        }
    }

    /// Whether anything at all was tried through this fd.
    pub fn is_active(&self) -> bool {
        self.calls > 0 || !self.errors.is_empty()
    }

    /// Adds another row of the same fd and object.
    pub fn add(&mut self, other: &Self) {
        self.bytes += other.bytes;
        self.calls += other.calls;
        self.refused += other.refused;
        self.short += other.short;
        self.zero += other.zero;
        for (class, count) in &other.errors {
            *self.errors.entry(class.clone()).or_default() += count;
        }
    }
}

/// The class the tracer counts an errno under.
pub fn error_class(errno: i32) -> &'static str {
    match errno {
        libc::EPIPE => "EPIPE",
        libc::EAGAIN => "EAGAIN",
        libc::EBADF => "EBADF",
        libc::ENOSPC => "ENOSPC",
        libc::EIO => "EIO",
        libc::EINTR => "EINTR",
        _ => "OTHER",
    }
}

/// One line of a truth file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// A process, or one part of its life.
    Process(ProcessTruth),
    /// The workload could not do what it was asked to do.
    Failure(String),
}

/// Everything one process counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessTruth {
    /// Its pid in the pid namespace of `/proc`.
    pub pid: u32,
    /// Its pid in its own pid namespace.
    pub ns_pid: u32,
    /// What it wrote through which fd.
    pub fds: Vec<FdTruth>,
}

/// The truth of a whole run, by pid.
#[derive(Clone, Debug, Default)]
pub struct Truth {
    /// Every process that wrote a line.
    pub processes: BTreeMap<u32, ProcessTruth>,
}

impl Truth {
    /// Reads a truth file; call it when no process of the workload is left.
    pub fn load(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path)
            .with_context(|| format!("the workload left no truth at {}", path.display()))?;
        let mut truth = Self::default();
        for text in text.lines() {
            match serde_json::from_str(text)
                .with_context(|| format!("line of {}: {text}", path.display()))?
            {
                Line::Process(part) => truth.merge(part),
                Line::Failure(reason) => bail!("the workload failed: {reason}"),
            }
        }
        if truth.processes.is_empty() {
            bail!("the workload wrote no truth to {}", path.display());
        }
        Ok(truth)
    }

    fn merge(&mut self, part: ProcessTruth) {
        let whole = self.processes.entry(part.pid).or_insert_with(|| ProcessTruth {
            pid: part.pid,
            ns_pid: part.ns_pid,
            fds: Vec::new(),
        });
        for row in part.fds {
            match whole.fds.iter_mut().find(|own| own.fd == row.fd && own.object == row.object) {
                Some(own) => own.add(&row),
                None => whole.fds.push(row),
            }
        }
    }

    /// Every row with its pid.
    pub fn rows(&self) -> impl Iterator<Item = (u32, &FdTruth)> {
        self.processes.values().flat_map(|process| process.fds.iter().map(|row| (process.pid, row)))
    }

    /// Bytes that all processes together put into one object.
    pub fn written_to(&self, object: &str) -> u64 {
        self.rows()
            .filter(|(_, row)| row.object.as_deref() == Some(object))
            .map(|(_, row)| row.bytes)
            .sum()
    }

    /// Bytes that all processes together wrote, whatever the object.
    pub fn total(&self) -> u64 {
        self.rows().map(|(_, row)| row.bytes).sum()
    }
}

/// The truth file the environment names.
pub fn path_from_env() -> Result<PathBuf> {
    std::env::var_os(TRUTH_ENV)
        .map(PathBuf::from)
        .with_context(|| format!("set {TRUTH_ENV} to the file the workload shall write down"))
}
