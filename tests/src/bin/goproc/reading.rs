//! Ways to empty two pipes, most of them wrong.

use std::{os::fd::OwnedFd, thread, time::Duration};

use anyhow::Result;
use rustix::{
    event::{PollFd, PollFlags, poll},
    io::retry_on_intr,
};

use crate::{child::Child, stream::READING};

/// Reads both streams to their ends, whoever still writes: as the real manager does, which has
/// no delay after which it would give up.
pub(crate) fn to_the_end(child: &mut Child) -> Result<()> {
    pump(child, |child| {
        child.has_ended() && child.stdout.end().is_none() && child.stderr.end().is_none()
    })?;
    child.close()
}

/// Reads `bytes` of stdout, waits for the end of the command, and closes with the rest inside.
pub(crate) fn close_at_exit(child: &mut Child, bytes: usize) -> Result<()> {
    child.stdout.read_exactly(bytes)?;
    child.wait()?;
    child.close()
}

/// Closes after `bytes` of stdout while the command runs; with 0, at the end of its first
/// process, whatever its descendants still have to say.
pub(crate) fn close_early(child: &mut Child, bytes: usize) -> Result<()> {
    if bytes > 0 {
        child.stdout.read_exactly(bytes)?;
        child.close()?;
        return child.wait();
    }
    pump(child, Child::has_ended)?;
    for stream in [&mut child.stdout, &mut child.stderr] {
        while stream.waiting()? > 0 {
            stream.read_some(READING)?;
        }
    }
    child.close()
}

/// stdout to its end, then stderr: a command that fills stderr first is never done.
pub(crate) fn one_after_the_other(child: &mut Child) -> Result<()> {
    child.stdout.read_to_end()?;
    child.stderr.read_to_end()?;
    child.wait()?;
    child.close()
}

/// Nothing before the end of the command, then everything.
pub(crate) fn after_exit(child: &mut Child) -> Result<()> {
    child.wait()?;
    child.stdout.read_to_end()?;
    child.stderr.read_to_end()?;
    child.close()
}

/// Kills the command once `bytes` wait in stdout, and closes without a last look.
pub(crate) fn kill_and_close(child: &mut Child, bytes: usize) -> Result<()> {
    while child.stdout.waiting()? < bytes as u64 {
        thread::sleep(Duration::from_millis(1));
    }
    child.kill()?;
    child.wait()?;
    child.close()
}

/// Reads whatever comes on both streams, and notes the end of the command, until `done`.
fn pump(child: &mut Child, done: impl Fn(&Child) -> bool) -> Result<()> {
    let watch = child.watch()?;
    while !done(child) {
        let [out, err, ended] = ready(child, &watch)?;
        if out {
            child.stdout.read_some(READING)?;
        }
        if err {
            child.stderr.read_some(READING)?;
        }
        if ended {
            child.wait()?;
        }
    }
    Ok(())
}

/// Waits for stdout, stderr or the end of the command, as far as they are still to come.
fn ready(child: &Child, watch: &OwnedFd) -> Result<[bool; 3]> {
    let ended = (!child.has_ended()).then_some(watch);
    let ends = [child.stdout.end(), child.stderr.end(), ended];
    let polled = ends.iter().flatten().map(|end| PollFd::new(*end, PollFlags::IN));
    let mut polled: Vec<_> = polled.collect();
    retry_on_intr(|| poll(&mut polled, None))?;
    let mut events = polled.iter().map(|end| !end.revents().is_empty());
    Ok(ends.map(|end| end.is_some() && events.next().unwrap_or(false)))
}
