//! tracer's JSON report, reduced to the members that are compared with what a program wrote.

use std::{collections::BTreeMap, fs::File, io::BufReader, path::Path};

use anyhow::{Context as _, Result};
use serde::Deserialize;
use tracer_core::{
    session::LossReason,
    verdict::{Confidence, Rule},
};

/// A report.
#[derive(Deserialize)]
pub(crate) struct Report {
    pub(crate) processes: Vec<Process>,
    pub(crate) objects: Vec<Object>,
    /// Most important first.
    pub(crate) findings: Vec<Finding>,
    losses: Losses,
    lost_bytes: Losses,
    /// Only with `--capture`.
    capture: Option<Capture>,
}

/// Events that tracer could not record, or their bytes, by reason.
pub(crate) type Losses = BTreeMap<LossReason, u64>;

/// A traced process.
#[derive(Deserialize)]
pub(crate) struct Process {
    pub(crate) ppid: Option<u32>,
    /// Number of its gVisor sandbox; 0 for none.
    #[serde(default)]
    sandbox: u32,
    fds: Vec<Fd>,
}

/// What a process wrote to one object through one fd.
#[derive(Deserialize)]
pub(crate) struct Fd {
    fd: i32,
    pub(crate) kind: String,
    pub(crate) object: String,
    pub(crate) bytes: u64,
    pub(crate) writes: u64,
}

/// An object on which bytes were counted.
#[derive(Deserialize)]
pub(crate) struct Object {
    /// Whether bytes written and bytes read agree; `None` where that cannot be known.
    pub(crate) balanced: Option<bool>,
}

/// A finding, without its text.
#[derive(Deserialize)]
pub(crate) struct Finding {
    pub(crate) rule: Rule,
    pub(crate) confidence: Confidence,
}

#[derive(Deserialize)]
struct Capture {
    streams: Vec<Stream>,
}

#[derive(Deserialize)]
struct Stream {
    gaps: Vec<Gap>,
}

#[derive(Deserialize)]
struct Gap {
    reason: String,
    bytes: u64,
}

/// Reads a report.
pub(crate) fn read(path: &Path) -> Result<Report> {
    let file = File::open(path).with_context(|| format!("no report at {}", path.display()))?;
    serde_json::from_reader(BufReader::new(file))
        .with_context(|| format!("{} is no report of tracer", path.display()))
}

impl Report {
    /// Leaves out all processes that are no guests of a gVisor sandbox.
    pub(crate) fn retain_guests(&mut self) {
        self.processes.retain(|process| process.sandbox > 0);
    }

    /// The reasons with at least one lost event.
    pub(crate) fn losses(&self) -> Losses {
        positive(&self.losses)
    }

    /// The reasons with at least one lost byte. Reasons that lose no bytes are absent.
    pub(crate) fn lost_bytes(&self) -> Losses {
        positive(&self.lost_bytes)
    }

    /// Bytes missing from the capture, except those beyond a limit of the user.
    pub(crate) fn uncaptured(&self) -> u64 {
        let streams = self.capture.iter().flat_map(|capture| &capture.streams);
        let gaps = streams.flat_map(|stream| &stream.gaps).filter(|gap| gap.reason != "limit");
        gaps.map(|gap| gap.bytes).sum()
    }
}

impl Process {
    /// What it wrote to stdout.
    pub(crate) fn stdout(&self) -> impl Iterator<Item = &Fd> {
        self.fds.iter().filter(|fd| fd.fd == 1)
    }
}

fn positive(counts: &Losses) -> Losses {
    let counts = counts.iter().filter(|(_, count)| **count > 0);
    counts.map(|(reason, count)| (reason.clone(), *count)).collect()
}
