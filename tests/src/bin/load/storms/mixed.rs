//! A small version of every storm, for soak tests.

use std::{thread, time::Duration};

use anyhow::Result;

use super::{bomb, brief, busy, pipes, threads, untimed};
use crate::{
    measure::{Measured, Truth},
    stage::Request,
};

/// Duration of the busy storm.
const BUSY: Duration = Duration::from_secs(1);

/// Runs each storm once, then sleeps this many milliseconds.
pub(crate) fn run(request: &Request) -> Result<Measured> {
    let mut truth = Truth::default();
    truth += brief::storm(30)?;
    truth += bomb::storm(4)?;
    truth += pipes::storm(10, pipes::empty)?;
    truth += threads::storm(20)?;
    // fd 1 is still the pipe of the threads storm, which has no reader.
    crate::stage::dup_to(std::fs::OpenOptions::new().write(true).open("/dev/null")?, 1)?;
    truth += busy::storm(BUSY)?;
    thread::sleep(Duration::from_millis(request.calls));
    Ok(untimed(truth))
}
