//! A month in fast forward for an always-on recorder: many jobs, some of which lose output. Its history must have each of
//! these losses, no other, and every byte; its memory and its tables in the kernel must not grow.

mod goal;
mod judge;

use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;
use tempfile::TempDir;

pub use self::goal::Goal;
use self::judge::Told;
use crate::{
    cgroup::ScratchCgroup,
    deadline::DEADLINE,
    jobs::{Account, Manager, Request},
    recorder::{Recorder, detach, require_bpffs},
    tables::{Entries, Tables},
};

/// The size of a storm.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Jobs in all.
    pub jobs: u64,
    /// Jobs each second; 0 is as many as possible.
    pub rate: u64,
    /// Each job of this number has a planted loss.
    pub loss_each: u64,
    /// How many parts the storm has. The first one warms the recorder up.
    pub parts: u64,
}

/// The result of a storm.
#[derive(Debug)]
pub struct Outcome {
    /// What the jobs did.
    pub account: Account,
    /// The goals, with what was measured.
    pub goals: Vec<Goal>,
    /// Processor time of the recorder for each job, in microseconds.
    pub cpu_us: f64,
    /// Bytes of the history.
    pub history: u64,
}

/// The recorder has nothing left to do if it needs less of a processor than this.
const IDLE: f64 = 0.05;
/// How long it must be idle. It looks at jobs a second after their end.
const IDLE_FOR: Duration = Duration::from_secs(2);
/// Limits that remove nothing from the history.
const KEEP_ALL: [&str; 4] = ["--max-history", "64GiB", "--keep", "365d"];

/// What a recorder occupies when it has nothing left to do.
#[derive(Clone, Debug)]
struct Sample {
    rss: u64,
    tables: Entries,
}

/// Runs a storm with this manager's program, and tells its progress to `say`.
pub fn run(manager: &Path, size: Size, say: impl Fn(&str)) -> Result<Outcome> {
    let (folder, cgroup) = (TempDir::new()?, ScratchCgroup::create("tracer-storm")?);
    let arguments = [&["--cgroup", cgroup.name()?], &KEEP_ALL[..]].concat();
    let recorder = Recorder::start(folder.path(), &arguments)?;
    let tables = Tables::of(recorder.pid())?;
    let mut manager = Manager::start(manager, cgroup.path())?;
    let (mut account, mut samples) = (Account::default(), Vec::new());
    let before = cpu_seconds(recorder.pid())?;
    for part in 1..=size.parts {
        let jobs = size.jobs * part / size.parts - size.jobs * (part - 1) / size.parts;
        let (rate, loss_each) = (size.rate, size.loss_each);
        account += manager.ask(Request::Mixed { jobs, rate, loss_each })?;
        settle(recorder.pid())?;
        let sample = Sample { rss: resident(recorder.pid())?, tables: tables.entries()? };
        say(&format!(
            "{} jobs in {:.0} s, the recorder has {:.1} MB",
            account.jobs,
            account.seconds,
            sample.rss as f64 / 1e6
        ));
        samples.push(sample);
    }
    let cpu = cpu_seconds(recorder.pid())? - before;
    account += manager.end()?;
    settle(recorder.pid())?;
    recorder.stop()?;
    let told = Told::read(folder.path())?;
    let (first, last) = (&samples[0], &samples[samples.len() - 1]);
    let mut goals = judge::all(&account, &told, folder.path())?;
    goals.extend(of_growth(first, last));
    let cpu_us = cpu * 1e6 / account.jobs.max(1) as f64;
    Ok(Outcome { account, goals, cpu_us, history: bytes_of(folder.path())? })
}

/// The same while recorders follow one another: each is ended by a signal after `lasts`, and the next one, which adopts
/// what it left, starts at once. Returns the goals, and how many recorders there were.
pub fn run_with_restarts(
    manager: &Path,
    size: Size,
    lasts: Duration,
    signal: Signal,
) -> Result<(Account, Vec<Goal>, u64)> {
    require_bpffs()?;
    let (folder, cgroup) = (TempDir::new()?, ScratchCgroup::create("tracer-pinned")?);
    let arguments = [&["--pinned", "--cgroup", cgroup.name()?], &KEEP_ALL[..]].concat();
    let mut recorder = Recorder::start(folder.path(), &arguments)?;
    let mut manager = Manager::start(manager, cgroup.path())?;
    let (jobs, rate, loss_each) = (size.jobs, size.rate, size.loss_each);
    let mut recorders = 1;
    let (account, recorder) = thread::scope(|scope| -> Result<_> {
        let asked = scope.spawn(|| -> Result<Account> {
            let mut account = manager.ask(Request::Mixed { jobs, rate, loss_each })?;
            account += manager.end()?;
            Ok(account)
        });
        while !asked.is_finished() {
            thread::sleep(lasts);
            recorder.end_by(signal)?;
            recorder = Recorder::start(folder.path(), &arguments)?;
            recorders += 1;
        }
        let account = asked.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        Ok((account, recorder))
    })?;
    settle(recorder.pid())?;
    recorder.stop()?;
    detach(folder.path(), &arguments)?;
    let told = Told::read(folder.path())?;
    Ok((account.clone(), judge::all(&account, &told, folder.path())?, recorders))
}

/// The table of read ends (ARCHITECTURE.md). An end that a process with several threads has closed, as the manager of the
/// jobs, is taken out with the next one or by a full sweep.
const READ_ENDS: &str = "READ_ENDS";
/// How many such ends there may be: few for each thread, however many jobs there were.
const LATE_ENDS: u64 = 64;

fn of_growth(first: &Sample, last: &Sample) -> Vec<Goal> {
    let growth = last.rss as f64 / first.rss.max(1) as f64;
    let grown = last.tables.iter().filter(|(name, entries)| {
        let late = if **name == READ_ENDS { LATE_ENDS } else { 0 };
        first.tables.get(*name).map(|before| before + late) < Some(**entries)
    });
    let grown: Vec<String> =
        grown.map(|(name, entries)| format!("{name} {} → {entries}", first.tables[name])).collect();
    let megabytes = last.rss as f64 / 1e6;
    vec![
        Goal::new("memory after the whole, relative to the first part", "≤ 1.01 ×", growth <= 1.01)
            .measured(format!("{growth:.3} × ({:.1} MB before)", first.rss as f64 / 1e6)),
        Goal::new("memory after the whole", "≤ 64 MB", last.rss <= 64_000_000)
            .measured(format!("{megabytes:.1} MB")),
        Goal::new("entries of the kernel's tables", "as after the first part", grown.is_empty())
            .measured(if grown.is_empty() {
                "as after the first part".to_owned()
            } else {
                grown.join(", ")
            }),
    ]
}

/// Waits until the recorder has nothing left to do.
pub fn settle(pid: u32) -> Result<()> {
    let (begin, mut since) = (Instant::now(), Instant::now());
    let (mut at, mut cpu) = (Instant::now(), cpu_seconds(pid)?);
    while since.elapsed() < IDLE_FOR {
        // Readers may take a minute to read what a job has written.
        ensure!(
            begin.elapsed() < *DEADLINE * 10,
            "the recorder is busy after {:?}",
            begin.elapsed()
        );
        thread::sleep(Duration::from_millis(500));
        let now = cpu_seconds(pid)?;
        if (now - cpu) / at.elapsed().as_secs_f64() > IDLE {
            since = Instant::now();
        }
        (at, cpu) = (Instant::now(), now);
    }
    Ok(())
}

/// Resident memory of a process, in bytes.
pub fn resident(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
}

/// Processor time of a process, in seconds: `utime` and `stime` (`proc_pid_stat(5)`).
pub fn cpu_seconds(pid: u32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, rest) = stat.rsplit_once(')').context("no name in a stat file")?;
    let times = rest.split_whitespace().skip(11).take(2).map(str::parse::<u64>);
    let ticks: u64 = times.sum::<Result<_, _>>()?;
    Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// Bytes of the files in a folder.
pub fn bytes_of(folder: &Path) -> Result<u64> {
    let sizes = fs::read_dir(folder)?.map(|file| Ok(file?.metadata()?.len()));
    sizes.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(rss: u64, objects: u64) -> Sample {
        Sample { rss, tables: Entries::from([("OBJECTS", objects), ("FILES", 9)]) }
    }

    fn reached(first: &Sample, last: &Sample) -> Vec<bool> {
        of_growth(first, last).iter().map(|goal| goal.is_reached).collect()
    }

    #[test]
    fn growth_of_memory_or_of_one_table_is_noticed() {
        let first = sample(40_000_000, 5);
        assert_eq!(reached(&first, &first), [true, true, true]);
        assert_eq!(reached(&first, &sample(41_000_000, 5)), [false, true, true]);
        assert_eq!(reached(&first, &sample(65_000_000, 5)), [false, false, true]);
        assert_eq!(reached(&first, &sample(39_000_000, 6)), [true, true, false]);
    }

    #[test]
    fn own_figures_are_read() {
        let own = std::process::id();
        assert!(resident(own).unwrap() > 100_000);
        assert!(cpu_seconds(own).unwrap() >= 0.0);
    }
}
