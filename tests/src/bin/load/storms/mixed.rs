//! A bit of every storm, and a rest: what a soak repeats.

use std::{thread, time::Duration};

use anyhow::Result;

use super::{bomb, brief, busy, pipes, storm, threads};
use crate::{
    measure::{Measured, Truth},
    stage::Request,
};

/// How long the CPUs are kept busy in each pass.
const BUSY: Duration = Duration::from_secs(1);

/// One pass, and then a rest of so many milliseconds.
pub(crate) fn play(request: &Request) -> Result<Measured> {
    let mut truth = Truth::default();
    truth += brief::of(30)?;
    truth += bomb::of(4)?;
    truth += pipes::read(10)?;
    truth += threads::of(20)?;
    // The pipe of the threads is still there, and the busy ones write to what fd 1 is.
    crate::stage::put(std::fs::OpenOptions::new().write(true).open("/dev/null")?, 1)?;
    truth += busy::of(BUSY)?;
    thread::sleep(Duration::from_millis(request.calls));
    Ok(storm(truth))
}
