//! The workload's own books: one row per fd and object, appended to the truth file.

use std::{
    fs::OpenOptions,
    os::fd::{AsRawFd, OwnedFd, RawFd},
};

use anyhow::{Context, Result, bail, ensure};
use tracer_tests::{
    procfs::{object_of, own_pid},
    truth::{FdTruth, Line, ProcessTruth, path_from_env},
};

use crate::sys::{self, Outcome};

/// The books of one process.
#[derive(Debug)]
pub(crate) struct Ledger {
    journal: OwnedFd,
    rows: Vec<FdTruth>,
}

impl Ledger {
    /// Opens the truth file, under a number that is out of the way of fd 1 and fd 2.
    pub(crate) fn open() -> Result<Self> {
        let path = path_from_env()?;
        let file = OpenOptions::new().append(true).create(true).open(&path);
        let file = file.with_context(|| format!("cannot open {}", path.display()))?;
        Ok(Self { journal: sys::out_of_the_way(file.into())?, rows: Vec::new() })
    }

    /// Empty books on the same truth file, for a thread or a new process.
    pub(crate) fn fresh(&self) -> Result<Self> {
        Ok(Self { journal: self.journal.try_clone()?, rows: Vec::new() })
    }

    /// Books one call on `fd` that offered `requested` bytes, and hands its outcome back.
    pub(crate) fn note(&mut self, fd: RawFd, requested: usize, outcome: Outcome) -> Outcome {
        let object = object_of(fd);
        let found = self.rows.iter().position(|row| row.fd == fd && row.object == object);
        let index = found.unwrap_or_else(|| {
            self.rows.push(FdTruth::new(fd, object));
            self.rows.len() - 1
        });
        self.rows[index].note(requested, outcome);
        outcome
    }

    fn add(&mut self, row: FdTruth) {
        match self.rows.iter_mut().find(|own| own.fd == row.fd && own.object == row.object) {
            Some(own) => own.add(&row),
            None => self.rows.push(row),
        }
    }

    /// Takes over everything another thread of this process counted.
    pub(crate) fn absorb(&mut self, other: Self) {
        other.rows.into_iter().for_each(|row| self.add(row));
    }

    /// One plain `write` of `size` bytes that must be taken whole.
    pub(crate) fn write(&mut self, fd: RawFd, size: usize) -> Result<()> {
        let written = self.note(fd, size, sys::write(fd, &vec![b'x'; size]));
        ensure!(written == Ok(size), "write({fd}, {size}) returned {written:?}");
        Ok(())
    }

    /// One plain `write` that must fail with this errno.
    pub(crate) fn write_failing(&mut self, fd: RawFd, size: usize, errno: i32) -> Result<()> {
        let written = self.note(fd, size, sys::write(fd, &vec![b'x'; size]));
        ensure!(written == Err(errno), "write({fd}, {size}) returned {written:?}, not {errno}");
        Ok(())
    }

    /// Repeats `attempt(done, rest)` until `size` bytes went through `fd`, booking every call.
    pub(crate) fn transfer(
        &mut self,
        fd: RawFd,
        size: usize,
        mut attempt: impl FnMut(usize, usize) -> Outcome,
    ) -> Result<()> {
        let mut done = 0;
        while done < size {
            let rest = size - done;
            match self.note(fd, rest, attempt(done, rest)) {
                Ok(0) => bail!("fd {fd} took nothing of {rest} bytes"),
                Ok(taken) => done += taken,
                Err(errno) => {
                    return Err(std::io::Error::from_raw_os_error(errno))
                        .with_context(|| format!("fd {fd}, {rest} bytes to go"));
                }
            }
        }
        Ok(())
    }

    /// Appends what was counted so far as this process's, and starts again from nothing.
    pub(crate) fn publish(&mut self) -> Result<()> {
        let (pid, ns_pid) = (own_pid()?, std::process::id());
        let fds = std::mem::take(&mut self.rows);
        self.append(&Line::Process(ProcessTruth { pid, ns_pid, fds }))
    }

    /// Appends one row in the name of a child that cannot do so itself.
    pub(crate) fn publish_row_for(&self, child: u32, row: FdTruth) -> Result<()> {
        self.append(&Line::Process(ProcessTruth { pid: child, ns_pid: child, fds: vec![row] }))
    }

    /// Appends that the workload failed.
    pub(crate) fn publish_failure(&self, reason: &str) {
        // Nowhere is left to report a failure of this; the exit code says it as well.
        let _ = self.append(&Line::Failure(reason.to_owned()));
    }

    fn append(&self, line: &Line) -> Result<()> {
        let mut text = serde_json::to_string(line)?;
        text.push('\n');
        let written = sys::write(self.journal.as_raw_fd(), text.as_bytes());
        ensure!(written == Ok(text.len()), "the truth file took {written:?} of {}", text.len());
        Ok(())
    }
}
