//! A fork bomb of bounded size.

use anyhow::{Result, ensure};

use super::{size, untimed, write};
use crate::{
    measure::{Measured, Truth},
    stage::Request,
    tree::{self, Child},
};

/// Maximum number of generations.
const MOST: u64 = 16;

/// Runs this many generations. Each process writes, forks two children and waits for them.
pub(crate) fn run(request: &Request) -> Result<Measured> {
    storm(request.calls).map(untimed)
}

pub(super) fn storm(generations: u64) -> Result<Truth> {
    ensure!((1..=MOST).contains(&generations), "{generations} generations, not 1 to {MOST}");
    let end = 1 << generations;
    let mut truth = Truth::of_reader();
    truth.pipes = 1;
    (1..end).for_each(|number| truth += Truth::of_process(1, size(number)));
    let reader = super::stdout_into_reader(truth.bytes)?;
    tree::fork(|| explode(1, end))?.wait()?;
    reader.wait()?;
    Ok(truth)
}

/// Numbered as in a binary heap: the children of `n` are `2n` and `2n + 1`.
fn explode(number: u64, end: u64) -> Result<()> {
    write(size(number))?;
    let children = [2 * number, 2 * number + 1].into_iter().filter(|child| *child < end);
    let children =
        children.map(|child| tree::fork(|| explode(child, end))).collect::<Result<Vec<_>>>()?;
    children.into_iter().try_for_each(Child::wait)
}
