//! Concurrent processes, to fill tracer's tables.

use anyhow::Result;

use super::{size, untimed, wait_for_end, write};
use crate::{
    measure::{Measured, Truth},
    stage::{self, Request},
    tree::{self, Child},
};

/// Runs this many children; each writes to `/dev/null` once all have started.
pub(crate) fn run(request: &Request) -> Result<Measured> {
    let (read, hold) = stage::pipe()?;
    let mut truth = Truth::default();
    let mut children = Vec::new();
    // An option, so that each child can close its copy.
    let mut hold = Some(hold);
    for number in 0..request.calls {
        truth += Truth::of_process(1, size(number));
        let child = tree::fork(|| {
            hold = None;
            wait_for_end(&read)?;
            write(size(number))
        });
        children.push(child?);
    }
    drop(hold);
    children.into_iter().try_for_each(Child::wait)?;
    Ok(untimed(truth))
}
