//! The manager: starts jobs in batches, reads what they write, and keeps their account.

use std::{
    fs::File,
    io::{self, BufRead as _, Read as _, Write as _},
    os::fd::AsFd as _,
    path::Path,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    pipe::{PipeFlags, pipe_with},
};
use tracer_tests::jobs::{Account, Request};

use crate::{
    planted::plant,
    spawn::{Spawner, Started, Streams, Work, pipe, read_all},
};

/// Jobs at a time.
const BATCH: u64 = 8;
/// One of this many mixed jobs is a program of its own.
const PROGRAM_EACH: u64 = 20;
/// One of this many mixed jobs writes for a while, in pieces of 4 KiB.
const SLOW_EACH: u64 = 1_000;
const SLOW_PIECES: u64 = 64;
/// Services, which write some bytes now and then.
const SERVICES: usize = 4;
const SERVICE_BYTES: u64 = 40;

/// Answers requests until stdin ends.
pub(super) fn run(cgroup: &Path) -> Result<()> {
    let requests = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut answers = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    let mut manager = Manager {
        spawner: Spawner::new(cgroup)?,
        number: 0,
        planted: 0,
        running: Vec::new(),
        services: Vec::new(),
    };
    for line in io::BufReader::new(requests).lines() {
        let start = Instant::now();
        let mut account = match serde_json::from_str(&line?)? {
            Request::Mixed { jobs, rate, loss_each } => manager.mixed(jobs, rate, loss_each)?,
            Request::Plain { jobs, rate } => manager.plain(jobs, rate)?,
            Request::End => manager.end()?,
        };
        account.seconds = start.elapsed().as_secs_f64();
        let mut answer = serde_json::to_vec(&account)?;
        answer.push(b'\n');
        answers.write_all(&answer)?;
    }
    Ok(())
}

/// A job that runs for a while, and the pipes that it writes to.
struct Running {
    started: Started,
    out: File,
    err: File,
    written: u64,
}

struct Manager {
    spawner: Spawner,
    /// Jobs so far.
    number: u64,
    /// Losses so far.
    planted: u64,
    running: Vec<Running>,
    /// Each with the pipe that makes it write.
    services: Vec<(Running, File)>,
}

/// Keeps a rate.
struct Pace {
    begin: Instant,
    rate: u64,
}

impl Pace {
    fn new(rate: u64) -> Self {
        Self { begin: Instant::now(), rate }
    }

    /// Sleeps until the job with this number is to be started.
    fn wait(&self, number: u64) {
        if let Some(due) = (number * 1_000_000).checked_div(self.rate) {
            sleep(Duration::from_micros(due).saturating_sub(self.begin.elapsed()));
        }
    }
}

impl Manager {
    fn mixed(&mut self, jobs: u64, rate: u64, loss_each: u64) -> Result<Account> {
        let (mut account, pace) = (Account::default(), Pace::new(rate));
        while self.services.len() < SERVICES {
            let service = self.start_service()?;
            self.services.push(service);
            account.jobs += 1;
            account.executed += 1;
        }
        let mut done = 0;
        while done < jobs {
            let mut batch = Vec::new();
            for _ in 0..BATCH.min(jobs - done) {
                self.number += 1;
                done += 1;
                if loss_each > 0 && self.number.is_multiple_of(loss_each) {
                    plant(&self.spawner, self.planted, &mut account)?;
                    self.planted += 1;
                } else if self.number % SLOW_EACH == SLOW_EACH / 2 {
                    let slow = self.start_slow()?;
                    self.running.push(slow);
                } else {
                    batch.push(self.start_short(self.number.is_multiple_of(PROGRAM_EACH))?);
                }
            }
            batch.into_iter().try_for_each(|short| short.end(&mut account))?;
            self.pump(&mut account)?;
            pace.wait(done);
        }
        self.poke_services()?;
        while !self.running.is_empty() {
            sleep(Duration::from_millis(5));
            self.pump(&mut account)?;
        }
        Ok(account)
    }

    fn plain(&mut self, jobs: u64, rate: u64) -> Result<Account> {
        let (mut account, pace) = (Account::default(), Pace::new(rate));
        for done in 0..jobs {
            self.number += 1;
            self.start_short(true)?.end(&mut account)?;
            pace.wait(done + 1);
        }
        Ok(account)
    }

    /// Ends the services.
    fn end(&mut self) -> Result<Account> {
        let mut account = Account::default();
        for (service, go) in std::mem::take(&mut self.services) {
            drop(go);
            account.stdout += service.written + read_all(&service.out)?;
            account.stderr += read_all(&service.err)?;
            service.started.succeeds()?;
        }
        Ok(account)
    }

    fn start_short(&self, is_program: bool) -> Result<Short> {
        let stdout = 1 + self.number * 7_919 % 500;
        let stderr = if self.number.is_multiple_of(3) { 11 } else { 0 };
        let ((out, out_end), (err, err_end)) = (pipe()?, pipe()?);
        let streams = Streams { stdin: None, stdout: Some(out_end), stderr: Some(err_end) };
        let started = if is_program {
            let words = [&stdout.to_string(), &stderr.to_string()];
            self.spawner
                .start(&Work::Program("job-short", &["write", words[0], words[1]]), streams)?
        } else {
            let (stdout, stderr) = (usize::try_from(stdout)?, usize::try_from(stderr)?);
            self.spawner.start(&Work::Write(stdout, stderr), streams)?
        };
        Ok(Short { is_program, started, out, err, expected: (stdout, stderr) })
    }

    fn start_slow(&self) -> Result<Running> {
        let ((out, out_end), (err, err_end)) = (pipe()?, pipe()?);
        let streams = Streams { stdin: None, stdout: Some(out_end), stderr: Some(err_end) };
        let pieces = SLOW_PIECES.to_string();
        let work = Work::Program("job-slow", &["slow", &pieces]);
        let started = self.spawner.start(&work, streams)?;
        Ok(Running { started, out, err, written: 0 })
    }

    fn start_service(&self) -> Result<(Running, File)> {
        let ((out, out_end), (err, err_end)) = (pipe()?, pipe()?);
        let (stdin, go) = pipe_with(PipeFlags::CLOEXEC)?;
        let streams = Streams { stdin: Some(stdin), stdout: Some(out_end), stderr: Some(err_end) };
        let bytes = SERVICE_BYTES.to_string();
        let work = Work::Program("job-service", &["steady", &bytes]);
        let started = self.spawner.start(&work, streams)?;
        Ok((Running { started, out, err, written: 0 }, go.into()))
    }

    /// Has each service write, and reads that.
    fn poke_services(&mut self) -> Result<()> {
        for (service, go) in &mut self.services {
            go.write_all(b"g")?;
            let mut buffer = [0; SERVICE_BYTES as usize];
            service.out.read_exact(&mut buffer)?;
            service.written += SERVICE_BYTES;
        }
        Ok(())
    }

    /// Reads what slow jobs have written, without waiting for more.
    fn pump(&mut self, account: &mut Account) -> Result<()> {
        for mut slow in std::mem::take(&mut self.running) {
            let mut buffer = [0; 65_536];
            let mut ends = [PollFd::new(&slow.out, PollFlags::IN)];
            let now = Timespec { tv_sec: 0, tv_nsec: 0 };
            if poll(&mut ends, Some(&now))? == 0 {
                self.running.push(slow);
                continue;
            }
            match slow.out.read(&mut buffer)? {
                0 => {
                    ensure!(slow.written == SLOW_PIECES * 4_096, "a slow job wrote too little");
                    account.jobs += 1;
                    account.executed += 1;
                    account.stdout += slow.written;
                    account.stderr += read_all(&slow.err)?;
                    slow.started.succeeds()?;
                }
                read => {
                    slow.written += read as u64;
                    self.running.push(slow);
                }
            }
        }
        Ok(())
    }
}

/// A short job.
struct Short {
    is_program: bool,
    started: Started,
    out: File,
    err: File,
    /// The bytes of both streams.
    expected: (u64, u64),
}

impl Short {
    /// Reads what it writes, and waits for its end.
    fn end(self, account: &mut Account) -> Result<()> {
        let read = (read_all(&self.out)?, read_all(&self.err)?);
        ensure!(read == self.expected, "{read:?} instead of {:?} arrived", self.expected);
        self.started.succeeds()?;
        account.jobs += 1;
        account.executed += u64::from(self.is_program);
        account.stdout += read.0;
        account.stderr += read.1;
        Ok(())
    }
}
