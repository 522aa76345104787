//! Jobs whose output does not arrive, or seems so: what the manager does to each.

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
};

use anyhow::{Context as _, Result};
use rustix::pipe::{PipeFlags, pipe_with};
use tracer_tests::jobs::{Account, KINDS, Kind, Planted};

use crate::spawn::{Spawner, Started, Streams, Work, pipe, read_all};

/// Starts the `number`th of them, waits for its end and adds what it did.
pub(super) fn plant(spawner: &Spawner, number: u64, account: &mut Account) -> Result<()> {
    let kind = KINDS[usize::try_from(number % KINDS.len() as u64)?];
    let case = Case { spawner, kind, number };
    let (started, stdout, stderr) = case.run().with_context(|| kind.name)?;
    account.jobs += 1;
    account.executed += 1;
    account.stdout += stdout;
    account.stderr += stderr;
    let ended_us = jiff::Timestamp::now().as_microsecond();
    account.planted.push(Planted { kind: kind.name.to_owned(), pid: started, ended_us });
    Ok(())
}

struct Case<'a> {
    spawner: &'a Spawner,
    kind: Kind,
    number: u64,
}

/// Its pid, and the bytes of stdout and stderr that the kernel took.
type Done = (u32, u64, u64);

impl Case<'_> {
    fn run(&self) -> Result<Done> {
        match self.kind.name {
            "job-unread" => self.unread(),
            "job-gone" => self.reader_gone("two", &["100", "0", "50"]),
            "job-sigpipe" => self.reader_gone("two-dies", &["100", "50"]),
            "job-full" => self.to_device("/dev/full", &["write", "70", "0"], 0),
            "job-null" => self.to_device("/dev/null", &["write", "60", "0"], 60),
            "job-eagain" => self.read_whole(&["hurry", "100000"]),
            "job-stderr" => self.read_whole(&["complain", "30"]),
            "job-closed" => self.read_whole(&["closed", "20"]),
            "job-killed" => self.read_whole(&["killed"]),
            "job-late" => self.read_whole(&["late", "12", "5"]),
            "job-removed" => self.in_file(|file, path| {
                drop(file);
                Ok(fs::remove_file(path)?)
            }),
            "job-cut" => self.in_file(|file, _| Ok(file.set_len(0)?)),
            other => anyhow::bail!("no kind {other}"),
        }
    }

    fn start(&self, arguments: &[&str], streams: Streams) -> Result<Started> {
        self.spawner.start(&Work::Program(self.kind.name, arguments), streams)
    }

    /// Reads a part, and closes when the job has ended.
    fn unread(&self) -> Result<Done> {
        let ((mut out, stdout), (err, stderr)) = (pipe()?, pipe()?);
        let streams = Streams { stdout: Some(stdout), stderr: Some(stderr), stdin: None };
        let started = self.start(&["write", "3000", "0"], streams)?;
        out.read_exact(&mut [0; 1000])?;
        let pid = started.pid();
        started.succeeds()?;
        drop(out);
        read_all(&err)?;
        Ok((pid, 3_000, 0))
    }

    /// Reads all that there is, and closes before the job goes on.
    fn reader_gone(&self, what: &str, sizes: &[&str]) -> Result<Done> {
        let ((mut out, stdout), (err, stderr)) = (pipe()?, pipe()?);
        let (stdin, mut go) = gate()?;
        let streams =
            Streams { stdin: Some(stdin.into()), stdout: Some(stdout), stderr: Some(stderr) };
        let started = self.start(&[&[what], sizes].concat(), streams)?;
        out.read_exact(&mut [0; 100])?;
        drop(out);
        go.write_all(b"g")?;
        let pid = started.pid();
        started.wait()?;
        read_all(&err)?;
        Ok((pid, 100, 0))
    }

    fn to_device(&self, path: &str, arguments: &[&str], taken: u64) -> Result<Done> {
        let (err, stderr) = pipe()?;
        let stdout = File::options().write(true).open(path)?.into();
        let streams = Streams { stdout: Some(stdout), stderr: Some(stderr), stdin: None };
        let started = self.start(arguments, streams)?;
        let pid = started.pid();
        started.wait()?;
        read_all(&err)?;
        Ok((pid, taken, 0))
    }

    /// The job does something to itself.
    fn read_whole(&self, arguments: &[&str]) -> Result<Done> {
        let ((out, stdout), (err, stderr)) = (pipe()?, pipe()?);
        let streams = Streams { stdout: Some(stdout), stderr: Some(stderr), stdin: None };
        let started = self.start(arguments, streams)?;
        let pid = started.pid();
        // One that does not fit must not be emptied while it writes.
        let out_bytes = if self.kind.name == "job-eagain" {
            started.wait()?;
            read_all(&out)?
        } else {
            let read = read_all(&out)?;
            started.wait()?;
            read
        };
        Ok((pid, out_bytes, read_all(&err)?))
    }

    /// The job writes to a file, to which something happens before it ends.
    fn in_file(&self, harm: impl FnOnce(File, &std::path::Path) -> Result<()>) -> Result<Done> {
        let (mut err, stderr) = pipe()?;
        let (stdin, mut go) = gate()?;
        let path = self.spawner.folder().join(format!("{}.log", self.number));
        let file = File::create(&path)?;
        let streams = Streams {
            stdin: Some(stdin.into()),
            stdout: Some(file.try_clone()?.into()),
            stderr: Some(stderr),
        };
        let started = self.start(&["two", "80", "1", "0"], streams)?;
        err.read_exact(&mut [0])?;
        harm(file, &path)?;
        go.write_all(b"g")?;
        let pid = started.pid();
        started.succeeds()?;
        read_all(&err)?;
        Ok((pid, 80, 1))
    }
}

/// A pipe on which a job waits: its end, and that of the manager.
fn gate() -> Result<(File, File)> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC).context("cannot make a pipe")?;
    Ok((read.into(), write.into()))
}
