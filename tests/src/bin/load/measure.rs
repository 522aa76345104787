//! A loop's measurement and its counts of its own output.

use std::{collections::BTreeMap, ops::AddAssign, time::Instant};

use anyhow::Result;
use serde::Serialize;

/// The result line of a loop.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Measured {
    /// Measured calls, round trips or processes.
    pub(crate) calls: u64,
    /// Their total time on the monotonic clock, in nanoseconds.
    pub(crate) ns: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
    /// Counts of the process tree since the gate, including the warm-up.
    pub(crate) truth: Truth,
}

/// What a tracer of the process tree must count.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Truth {
    /// Writes through fd 1 that the kernel accepted.
    pub(crate) writes: u64,
    /// Bytes of these writes.
    pub(crate) bytes: u64,
    /// Processes that were started after the gate.
    pub(crate) processes: u64,
    /// Children that were started before the gate.
    pub(crate) standing: u64,
    /// Pipes that were used as fd 1.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) pipes: u64,
    /// For storms: number of processes, by the bytes that each wrote to fd 1.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) each: BTreeMap<u64, u64>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Truth {
    /// Counts of one process with these writes and this total of bytes.
    pub(crate) fn of_process(writes: u64, bytes: u64) -> Self {
        let each = BTreeMap::from([(bytes, 1)]);
        Self { writes, bytes, processes: 1, each, ..Self::default() }
    }

    /// Counts of one process that only reads.
    pub(crate) fn of_reader() -> Self {
        Self { processes: 1, ..Self::default() }
    }
}

impl AddAssign for Truth {
    fn add_assign(&mut self, other: Self) {
        let Self { writes, bytes, processes, standing, pipes, each } = other;
        self.writes += writes;
        self.bytes += bytes;
        self.processes += processes;
        self.standing += standing;
        self.pipes += pipes;
        for (bytes, processes) in each {
            *self.each.entry(bytes).or_default() += processes;
        }
    }
}

/// Number of calls before the measurement. They warm caches and make the object known to tracer.
pub(crate) fn warm_up(calls: u64) -> u64 {
    calls / 10 + 1
}

/// Repeats a call, after a warm-up; returns the time of the measured calls in nanoseconds.
pub(crate) fn clock(calls: u64, mut call: impl FnMut() -> Result<()>) -> Result<u64> {
    for _ in 0..warm_up(calls) {
        call()?;
    }
    let start = Instant::now();
    for _ in 0..calls {
        call()?;
    }
    Ok(u64::try_from(start.elapsed().as_nanos())?)
}

/// [`clock`] for calls that each write this many bytes to fd 1.
pub(crate) fn clock_writes(
    calls: u64,
    bytes: u64,
    call: impl FnMut() -> Result<()>,
) -> Result<Measured> {
    let ns = clock(calls, call)?;
    let writes = calls + warm_up(calls);
    let truth = Truth { writes, bytes: writes * bytes, ..Truth::default() };
    Ok(Measured { calls, ns, bytes: calls * bytes, truth })
}
