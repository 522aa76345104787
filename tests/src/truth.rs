//! A workload's own counts of its output: the sums of what its system calls returned.
//!
//! A truth file has one JSON object per line. Each process appends its lines by one `write` each,
//! when it ends or before an exec. No process has to collect the counts, so they survive exec, and
//! daemons that outlive their parents. The lines of one process add up.

use std::{
    collections::BTreeMap,
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

/// Environment variable with the path of the truth file.
pub const TRUTH_ENV: &str = "WORKLOAD_TRUTH";

/// What one process wrote to one object through one fd.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FdTruth {
    /// The fd number.
    pub fd: i32,
    /// Name of the object in `/proc/self/fd`; `None` for a closed fd.
    pub object: Option<String>,
    /// Bytes that the kernel accepted.
    pub bytes: u64,
    /// Calls that returned 0 or more.
    pub calls: u64,
    /// Calls that failed, by class of errno.
    #[serde(default)]
    pub errors: BTreeMap<String, u64>,
    /// Bytes of calls that failed with `EAGAIN`.
    #[serde(default)]
    pub refused: u64,
    /// Successful calls that wrote fewer bytes than requested, but not 0.
    #[serde(default)]
    pub short: u64,
    /// Calls that returned 0.
    #[serde(default)]
    pub zero: u64,
}

impl FdTruth {
    /// An empty row.
    pub fn new(fd: i32, object: Option<String>) -> Self {
        Self { fd, object, ..Self::default() }
    }

    /// Adds a call for `requested` bytes.
    pub fn note(&mut self, requested: usize, outcome: Result<usize, i32>) {
        match outcome {
            Ok(0) => {
                self.calls += 1;
                self.zero += 1;
            }
            Ok(written) => {
                self.calls += 1;
                self.bytes += written as u64;
                self.short += u64::from(written < requested);
            }
            Err(errno) => {
                *self.errors.entry(error_class(errno).to_owned()).or_default() += 1;
                if errno == libc::EAGAIN {
                    self.refused += requested as u64;
                }
            }
        }
    }

    /// Whether there was any call.
    pub fn is_active(&self) -> bool {
        self.calls > 0 || !self.errors.is_empty()
    }

    /// Adds the counts of another row of the same fd and object.
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

/// Not an errno: the kernel never ran the call.
pub const NOT_RUN: i32 = 4096;

/// The class under which tracer counts an errno.
pub fn error_class(errno: i32) -> &'static str {
    match errno {
        libc::EPIPE => "EPIPE",
        libc::EAGAIN => "EAGAIN",
        libc::EBADF => "EBADF",
        libc::ENOSPC => "ENOSPC",
        libc::EIO => "EIO",
        libc::EINTR => "EINTR",
        NOT_RUN => "NOT_RUN",
        _ => "OTHER",
    }
}

/// One line of a truth file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// Counts of a process, or of a part of its life.
    Process(ProcessTruth),
    /// Both sides of an object, at its end.
    Object(ObjectTruth),
    /// The reason why the workload failed.
    Failure(String),
}

/// What all processes of a workload together wrote to an object and read from it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectTruth {
    /// Its name in `/proc/self/fd`, from the writing end.
    pub object: String,
    /// Bytes written.
    pub written: u64,
    /// Bytes read.
    pub read: u64,
    /// Bytes that were inside when its last fd was closed; `None` without a reading end.
    pub unread: Option<u64>,
}

/// The counts of one process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessTruth {
    /// Its pid in the namespace of the `/proc` mount.
    pub pid: u32,
    /// Its pid in its own namespace.
    pub ns_pid: u32,
    /// Its rows, one for each fd and object.
    pub fds: Vec<FdTruth>,
}

/// The counts of a whole run.
#[derive(Clone, Debug, Default)]
pub struct Truth {
    /// Every process that wrote a line, by pid.
    pub processes: BTreeMap<u32, ProcessTruth>,
    /// Objects of which the workload counted both sides.
    pub objects: Vec<ObjectTruth>,
}

/// The fd that reads a truth file, or the next free one.
const READING: i32 = 900;

impl Truth {
    /// Reads a truth file. Complete only when all processes of the workload have ended.
    pub fn load(path: &Path) -> Result<Self> {
        let open = File::open(path);
        let open =
            open.with_context(|| format!("the workload left no truth file {}", path.display()))?;
        // A trace may count this read: on the same fd whenever it takes place.
        let mut fixed = File::from(rustix::io::fcntl_dupfd_cloexec(&open, READING)?);
        drop(open);
        let mut text = String::new();
        fixed.read_to_string(&mut text)?;
        let mut truth = Self::default();
        for text in text.lines() {
            match serde_json::from_str(text)
                .with_context(|| format!("line in {}: {text}", path.display()))?
            {
                Line::Process(part) => truth.merge(part),
                Line::Object(object) => truth.objects.push(object),
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

    /// Bytes that all processes together wrote to one object.
    pub fn written_to(&self, object: &str) -> u64 {
        self.rows()
            .filter(|(_, row)| row.object.as_deref() == Some(object))
            .map(|(_, row)| row.bytes)
            .sum()
    }

    /// Bytes that all processes together wrote to all objects.
    pub fn total(&self) -> u64 {
        self.rows().map(|(_, row)| row.bytes).sum()
    }
}

/// The path in [`TRUTH_ENV`].
pub fn path_from_env() -> Result<PathBuf> {
    std::env::var_os(TRUTH_ENV)
        .map(PathBuf::from)
        .with_context(|| format!("set {TRUTH_ENV} to the path of the truth file"))
}
