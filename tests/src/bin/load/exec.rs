//! A loop of fork, exec and wait.

use std::{ffi::CString, io};

use anyhow::{Result, bail, ensure};

use crate::{
    measure::{self, Measured, Truth},
    stage::Request,
    tree,
};

/// Runs the request's command in each round; its stdout is `/dev/null`.
pub(crate) fn exec(request: &Request) -> Result<Measured> {
    ensure!(!request.command.is_empty(), "a command after -- is required");
    let words = request
        .command
        .iter()
        .map(|word| Ok(CString::new(word.as_str())?))
        .collect::<Result<Vec<_>>>()?;
    let mut table: Vec<_> = words.iter().map(|word| word.as_ptr()).collect();
    table.push(std::ptr::null());
    let calls = request.calls;
    let ns = measure::clock(calls, || {
        let child = tree::fork(|| {
            // SAFETY: the table ends in null and points into strings that outlive the call.
            unsafe { libc::execvp(table[0], table.as_ptr()) };
            bail!("cannot start {}: {}", request.command[0], io::Error::last_os_error())
        })?;
        child.wait()
    })?;
    let processes = calls + measure::warm_up(calls);
    Ok(Measured { calls, ns, bytes: 0, truth: Truth { processes, ..Truth::default() } })
}
