//! What a loop measured, and what it knows about its own output.

use std::{collections::BTreeMap, ops::AddAssign, time::Instant};

use anyhow::Result;
use serde::Serialize;

/// The line that a loop prints.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Measured {
    /// Calls, round trips or processes that were measured.
    pub(crate) calls: u64,
    /// Nanoseconds of the monotonic clock that they took together.
    pub(crate) ns: u64,
    /// Bytes that they moved.
    pub(crate) bytes: u64,
    /// All of the tree's life behind the gate, warm-up included.
    pub(crate) truth: Truth,
}

/// What a tracer of the tree must have counted.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Truth {
    /// Writes through fd 1 that the kernel accepted.
    pub(crate) writes: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
    /// Processes that were started behind the gate.
    pub(crate) processes: u64,
    /// Children that were there before.
    pub(crate) standing: u64,
    /// Pipes that went on fd 1, each an object of its own.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) pipes: u64,
    /// Of storms: how many processes put so many bytes through fd 1, by bytes.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) each: BTreeMap<u64, u64>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Truth {
    /// A process that made so many writes of so many bytes together.
    pub(crate) fn of_process(writes: u64, bytes: u64) -> Self {
        let each = BTreeMap::from([(bytes, 1)]);
        Self { writes, bytes, processes: 1, each, ..Self::default() }
    }

    /// One that only reads.
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

/// Calls before the clock starts: caches are warm and a tracer has seen the object.
pub(crate) fn warm_up(calls: u64) -> u64 {
    calls / 10 + 1
}

/// Makes one call so often, after a warm-up, and says how long the measured ones took.
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

/// The same for calls that each write so many bytes through fd 1.
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
