//! Runs the measured loops of the tests' program `load`, which waits for a byte on stdin (its gate) before each
//! repetition.

use std::{io::Write as _, ops::AddAssign, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, de::DeserializeOwned};

use crate::harness::tool::Tool;

/// The loop's output after a repetition.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Measured {
    /// Measured calls.
    pub(crate) calls: u64,
    /// Their total time, in nanoseconds.
    pub(crate) ns: u64,
    /// Bytes that they transferred.
    pub(crate) bytes: u64,
    /// The counts that a tracer must agree with.
    pub(crate) truth: Truth,
}

impl Measured {
    /// Nanoseconds per call.
    pub(crate) fn ns_per_call(&self) -> f64 {
        self.ns as f64 / self.calls.max(1) as f64
    }
}

/// What the loop's process tree did in a repetition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct Truth {
    /// Writes to stdout.
    pub(crate) writes: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
    /// Started processes.
    pub(crate) processes: u64,
    /// Children that existed before.
    pub(crate) standing: u64,
}

impl AddAssign for Truth {
    fn add_assign(&mut self, other: Self) {
        let Self { writes, bytes, processes, standing } = other;
        self.writes += writes;
        self.bytes += bytes;
        self.processes += processes;
        // The same children in each repetition.
        self.standing = standing;
    }
}

/// The arguments of a loop.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Plan<'a> {
    /// The loop's name in `load`; several with commas between them take turns.
    pub(crate) name: &'a str,
    /// Calls of a repetition.
    pub(crate) calls: u64,
    /// Sleeping processes in its tree.
    pub(crate) sleepers: u32,
    /// Open pipes that it has written to.
    pub(crate) objects: u64,
    /// Writing processes of the loop `writers`.
    pub(crate) writers: u32,
    /// The command that the loop `exec` starts.
    pub(crate) command: &'a [String],
}

/// A started loop.
pub(crate) struct Load(Tool);

impl Load {
    /// Starts a loop and waits until it is at its gate.
    pub(crate) fn start(program: &Path, plan: &Plan<'_>) -> Result<Self> {
        Self::start_by(Command::new(program), plan)
    }

    /// The same with a command that ends with the program `load`.
    pub(crate) fn start_by(mut command: Command, plan: &Plan<'_>) -> Result<Self> {
        command
            .arg(plan.name)
            .arg(plan.calls.to_string())
            .arg(format!("sleepers={}", plan.sleepers))
            .arg(format!("objects={}", plan.objects))
            .arg(format!("writers={}", plan.writers));
        if !plan.command.is_empty() {
            command.arg("--").args(plan.command);
        }
        let mut tool = Tool::start("load", &mut command)?;
        tool.wait_for("ready")?;
        Ok(Self(tool))
    }

    /// The pid of the root of its tree.
    pub(crate) fn pid(&self) -> u32 {
        self.0.pid()
    }

    /// Starts a repetition without waiting for its end.
    pub(crate) fn open_gate(&mut self) -> Result<()> {
        self.0.input()?.write_all(b"g").context("cannot open the gate")
    }

    /// Runs a repetition.
    pub(crate) fn measure(&mut self) -> Result<Measured> {
        // If this fails, the loop has ended, and the error of `wait_for` tells why.
        let _ = self.open_gate();
        let line = self.0.wait_for("{")?;
        serde_json::from_str(&line).with_context(|| format!("not a measurement: {line}"))
    }

    /// Closes its stdin, which ends it, and waits for its end.
    pub(crate) fn finish(self) -> Result<()> {
        self.finish_with_code(&[0])
    }

    /// Like [`Self::finish`]; one of these exit codes is expected.
    pub(crate) fn finish_with_code(self, expected: &[i32]) -> Result<()> {
        let (status, output) = self.0.finish()?;
        let is_expected = status.code().is_some_and(|code| expected.contains(&code));
        ensure!(is_expected, "load failed ({status}): {}", output.join(" / "));
        Ok(())
    }

    /// Like [`Self::finish`], and parses its last line.
    pub(crate) fn finish_with<T: DeserializeOwned>(self) -> Result<T> {
        let (status, output) = self.0.finish()?;
        ensure!(status.success(), "load failed: {}", output.join(" / "));
        let line = output.last().context("load said nothing")?;
        serde_json::from_str(line).context("not what load should say")
    }
}
