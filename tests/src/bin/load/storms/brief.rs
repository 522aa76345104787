//! Short-lived processes.

use std::collections::VecDeque;

use anyhow::Result;

use super::{size, untimed, write};
use crate::{
    measure::{Measured, Truth},
    stage::Request,
    tree::{self, Child},
};

/// Maximum number of concurrent processes.
const AT_ONCE: usize = 50;

/// Runs this many processes; each writes once to the same pipe.
pub(crate) fn run(request: &Request) -> Result<Measured> {
    storm(request.calls).map(untimed)
}

pub(super) fn storm(processes: u64) -> Result<Truth> {
    let mut truth = Truth::of_reader();
    truth.pipes = 1;
    (0..processes).for_each(|number| truth += Truth::of_process(1, size(number)));
    let reader = super::stdout_into_reader(truth.bytes)?;
    let mut alive = VecDeque::new();
    for number in 0..processes {
        if alive.len() == AT_ONCE {
            alive.pop_front().map_or(Ok(()), Child::wait)?;
        }
        alive.push_back(tree::fork(|| write(size(number)))?);
    }
    alive.into_iter().try_for_each(Child::wait)?;
    reader.wait()?;
    Ok(truth)
}
