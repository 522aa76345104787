//! The workload's own counts: one row per fd and object, appended to the truth file.

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

/// The counts of a process or a thread.
#[derive(Debug)]
pub(crate) struct Ledger {
    truth_file: OwnedFd,
    rows: Vec<FdTruth>,
}

impl Ledger {
    /// Opens the truth file with a high fd number, which no workload writes through.
    pub(crate) fn open() -> Result<Self> {
        let path = path_from_env()?;
        let file = OpenOptions::new().append(true).create(true).open(&path);
        let file = file.with_context(|| format!("cannot open {}", path.display()))?;
        Ok(Self { truth_file: sys::move_to_high_fd(file.into())?, rows: Vec::new() })
    }

    /// An empty ledger with the same truth file, for a thread or a new process.
    pub(crate) fn fresh(&self) -> Result<Self> {
        Ok(Self { truth_file: self.truth_file.try_clone()?, rows: Vec::new() })
    }

    /// Counts a call on `fd` for `requested` bytes; returns its outcome.
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

    /// Adds the counts of another thread of this process.
    pub(crate) fn absorb(&mut self, other: Self) {
        other.rows.into_iter().for_each(|row| self.add(row));
    }

    /// Writes `size` bytes by one `write`, which must not be short.
    pub(crate) fn write(&mut self, fd: RawFd, size: usize) -> Result<()> {
        let written = self.note(fd, size, sys::write(fd, &vec![b'x'; size]));
        ensure!(written == Ok(size), "write({fd}, {size}) returned {written:?}");
        Ok(())
    }

    /// Makes one `write`, which must fail with this errno.
    pub(crate) fn write_failing(&mut self, fd: RawFd, size: usize, errno: i32) -> Result<()> {
        let written = self.note(fd, size, sys::write(fd, &vec![b'x'; size]));
        ensure!(written == Err(errno), "write({fd}, {size}) returned {written:?}, not {errno}");
        Ok(())
    }

    /// Repeats `attempt(done, rest)` until `size` bytes are written; counts every call.
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
                Ok(0) => bail!("fd {fd} accepted none of {rest} bytes"),
                Ok(written) => done += written,
                Err(errno) => {
                    return Err(std::io::Error::from_raw_os_error(errno))
                        .with_context(|| format!("fd {fd}, {rest} bytes left"));
                }
            }
        }
        Ok(())
    }

    /// Appends the counts to the truth file under this process's pid, and clears them.
    pub(crate) fn publish(&mut self) -> Result<()> {
        let (pid, ns_pid) = (own_pid()?, std::process::id());
        let fds = std::mem::take(&mut self.rows);
        self.append(&Line::Process(ProcessTruth { pid, ns_pid, fds }))
    }

    /// Appends one row for a child that cannot do so itself.
    pub(crate) fn publish_row_for(&self, child: u32, row: FdTruth) -> Result<()> {
        self.append(&Line::Process(ProcessTruth { pid: child, ns_pid: child, fds: vec![row] }))
    }

    /// Appends the reason why the workload failed.
    pub(crate) fn publish_failure(&self, reason: &str) {
        // An error here cannot be reported; the exit code shows the failure too.
        let _ = self.append(&Line::Failure(reason.to_owned()));
    }

    /// Appends one line to the truth file.
    pub(crate) fn append(&self, line: &Line) -> Result<()> {
        let mut text = serde_json::to_string(line)?;
        text.push('\n');
        let written = sys::write(self.truth_file.as_raw_fd(), text.as_bytes());
        ensure!(written == Ok(text.len()), "the truth file accepted {written:?} of {}", text.len());
        Ok(())
    }
}
