//! One measured loop: the tests' program `load`, which waits at its gate until a tracer is attached.

use std::{io::Write as _, ops::AddAssign, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, de::DeserializeOwned};

use crate::harness::tool::Tool;

/// What a loop says about itself.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Measured {
    /// Calls that were measured.
    pub(crate) calls: u64,
    /// How long they took together.
    pub(crate) ns: u64,
    /// Bytes that they moved.
    pub(crate) bytes: u64,
    /// What a tracer must have counted.
    pub(crate) truth: Truth,
}

impl Measured {
    /// Nanoseconds for one call.
    pub(crate) fn ns_per_call(&self) -> f64 {
        self.ns as f64 / self.calls.max(1) as f64
    }
}

/// What the loop's whole tree did behind the gate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct Truth {
    /// Writes through fd 1.
    pub(crate) writes: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
    /// Processes that were started.
    pub(crate) processes: u64,
    /// Children that were there before.
    pub(crate) standing: u64,
}

impl AddAssign for Truth {
    fn add_assign(&mut self, other: Self) {
        let Self { writes, bytes, processes, standing } = other;
        self.writes += writes;
        self.bytes += bytes;
        self.processes += processes;
        // The same ones in each take.
        self.standing = standing;
    }
}

/// A loop to be started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan<'a> {
    /// The loop's name in `load`.
    pub(crate) name: &'a str,
    /// Calls to measure.
    pub(crate) calls: u64,
    /// Processes that sleep in its tree.
    pub(crate) sleepers: u32,
    /// Pipes that are open and written to.
    pub(crate) objects: u64,
    /// What the loop `exec` starts.
    pub(crate) command: &'a [String],
}

/// A loop that stands at its gate.
pub(crate) struct Load(Tool);

impl Load {
    /// Starts it and waits until everything is in place.
    pub(crate) fn start(program: &Path, plan: &Plan<'_>) -> Result<Self> {
        let mut command = Command::new(program);
        command
            .arg(plan.name)
            .arg(plan.calls.to_string())
            .arg(format!("sleepers={}", plan.sleepers))
            .arg(format!("objects={}", plan.objects));
        if !plan.command.is_empty() {
            command.arg("--").args(plan.command);
        }
        let mut tool = Tool::start("load", &mut command)?;
        tool.wait_for("ready")?;
        Ok(Self(tool))
    }

    /// The root of its tree.
    pub(crate) fn pid(&self) -> u32 {
        self.0.pid()
    }

    /// Opens the gate without waiting for an answer.
    pub(crate) fn open_gate(&mut self) -> Result<()> {
        self.0.input()?.write_all(b"g").context("cannot open the gate")
    }

    /// Measures once.
    pub(crate) fn measure(&mut self) -> Result<Measured> {
        // Where it has ended, the next wait says why.
        let _ = self.open_gate();
        let line = self.0.wait_for("{")?;
        serde_json::from_str(&line).with_context(|| format!("not a measurement: {line}"))
    }

    /// Ends its input, on which it ends; returns the last line that it says, if one is awaited.
    pub(crate) fn finish(self) -> Result<()> {
        let (status, said) = self.0.finish()?;
        ensure!(status.success(), "load failed: {}", said.join(" / "));
        Ok(())
    }

    /// The same, and reads the line with which it ends.
    pub(crate) fn finish_with<T: DeserializeOwned>(self) -> Result<T> {
        let (status, said) = self.0.finish()?;
        ensure!(status.success(), "load failed: {}", said.join(" / "));
        let line = said.last().context("load said nothing")?;
        serde_json::from_str(line).context("not what load should say")
    }
}
