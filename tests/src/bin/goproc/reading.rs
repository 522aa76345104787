//! Strategies for reading the two pipes, most of them faulty.

use std::{os::fd::OwnedFd, thread, time::Duration};

use anyhow::Result;
use rustix::{
    event::{PollFd, PollFlags, poll},
    io::retry_on_intr,
};

use crate::{child::Child, stream::READ_SIZE};

/// Reads both streams to the end, including the output of descendants. Like the real manager, it has
/// no time limit.
pub(crate) fn to_the_end(child: &mut Child) -> Result<()> {
    pump(child, |child| {
        child.has_ended() && child.stdout.end().is_none() && child.stderr.end().is_none()
    })?;
    child.close()
}

/// Reads `bytes` of stdout, waits until the command ends, and closes without reading the rest.
pub(crate) fn close_at_exit(child: &mut Child, bytes: usize) -> Result<()> {
    child.stdout.read_exactly(bytes)?;
    child.wait()?;
    child.close()
}

/// Closes after `bytes` of stdout while the command runs. With 0, closes when its first process ends,
/// although descendants can still write.
pub(crate) fn close_early(child: &mut Child, bytes: usize) -> Result<()> {
    if bytes > 0 {
        child.stdout.read_exactly(bytes)?;
        child.close()?;
        return child.wait();
    }
    pump(child, Child::has_ended)?;
    for stream in [&mut child.stdout, &mut child.stderr] {
        while stream.unread()? > 0 {
            stream.read_some(READ_SIZE)?;
        }
    }
    child.close()
}

/// Reads stdout to the end, then stderr. A command that fills stderr first blocks forever.
pub(crate) fn stdout_then_stderr(child: &mut Child) -> Result<()> {
    child.stdout.read_to_end()?;
    child.stderr.read_to_end()?;
    child.wait()?;
    child.close()
}

/// Reads everything, but only after the command has ended.
pub(crate) fn after_exit(child: &mut Child) -> Result<()> {
    child.wait()?;
    child.stdout.read_to_end()?;
    child.stderr.read_to_end()?;
    child.close()
}

/// Kills the command when `bytes` are unread in stdout, and closes without reading them.
pub(crate) fn kill_and_close(child: &mut Child, bytes: usize) -> Result<()> {
    while child.stdout.unread()? < bytes as u64 {
        thread::sleep(Duration::from_millis(1));
    }
    child.kill()?;
    child.wait()?;
    child.close()
}

/// Reads both streams and waits for the command until `done` is true.
fn pump(child: &mut Child, done: impl Fn(&Child) -> bool) -> Result<()> {
    let watch = child.watch()?;
    while !done(child) {
        let [out, err, ended] = ready(child, &watch)?;
        if out {
            child.stdout.read_some(READ_SIZE)?;
        }
        if err {
            child.stderr.read_some(READ_SIZE)?;
        }
        if ended {
            child.wait()?;
        }
    }
    Ok(())
}

/// Waits for an event of stdout, stderr or the command's pidfd, in this order.
fn ready(child: &Child, watch: &OwnedFd) -> Result<[bool; 3]> {
    let ended = (!child.has_ended()).then_some(watch);
    let ends = [child.stdout.end(), child.stderr.end(), ended];
    let polled = ends.iter().flatten().map(|end| PollFd::new(*end, PollFlags::IN));
    let mut polled: Vec<_> = polled.collect();
    retry_on_intr(|| poll(&mut polled, None))?;
    let mut events = polled.iter().map(|end| !end.revents().is_empty());
    Ok(ends.map(|end| end.is_some() && events.next().unwrap_or(false)))
}
