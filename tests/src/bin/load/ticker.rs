//! Writes bytes and records their times. The first byte that a tracer has counted shows how long it
//! took to attach.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Result, ensure};
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

use crate::stage::{self, Stage};

/// Time between two bytes, which is the resolution of the result.
const PACE: Duration = Duration::from_micros(200);

/// Time of each byte, in nanoseconds of the monotonic clock.
#[derive(Serialize)]
struct Ticks {
    ticks: Vec<u64>,
}

/// Writes from the gate until stdin ends.
pub(crate) fn run() -> Result<()> {
    let mut stage = Stage::new()?;
    stage.say_ready()?;
    ensure!(stage.wait_at_gate()?, "stdin ended before the gate was opened");
    let over = AtomicBool::new(false);
    let ticks = thread::scope(|scope| {
        scope.spawn(|| {
            while matches!(stage.wait_at_gate(), Ok(true)) {}
            over.store(true, Ordering::Relaxed);
        });
        tick_until(&over)
    })?;
    stage.publish(&Ticks { ticks })
}

fn tick_until(over: &AtomicBool) -> Result<Vec<u64>> {
    let mut ticks = Vec::new();
    while !over.load(Ordering::Relaxed) {
        stage::write_all(1, b"t")?;
        let now = clock_gettime(ClockId::Monotonic);
        ticks.push(now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs());
        thread::sleep(PACE);
    }
    Ok(ticks)
}
