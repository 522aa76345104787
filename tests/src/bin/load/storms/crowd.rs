//! Processes that live at the same time, for tables that are too small for them.

use anyhow::Result;

use super::{size, storm, wait_for_end, write};
use crate::{
    measure::{Measured, Truth},
    stage::{self, Request},
    tree::{self, Child},
};

/// So many children of one process; each writes to `/dev/null` once all are there.
pub(crate) fn play(request: &Request) -> Result<Measured> {
    let (read, hold) = stage::pipe()?;
    let mut truth = Truth::default();
    let mut children = Vec::new();
    // In an option, so that each child can close its own copy.
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
    Ok(storm(truth))
}
