//! How long `tracer why` takes in a large history.

use std::{
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use tempfile::TempDir;
use tracer_history::{Entry, Fate, Limits, Place, Stream, Writer};

use super::{Extent, Figure};
use crate::harness::fixture::Fixture;

/// Containers of the entries.
const CONTAINERS: i64 = 200;
/// 2024-11-18, 03:00:00 UTC, in microseconds.
const BEGIN: i64 = 1_731_898_800_000_000;
/// Time from one entry to the next, in microseconds: a day has 860,000.
const STEP: i64 = 100_000;
/// Entries that wait to be written. They are added in portions of this size.
const PORTION: i64 = 20_000;
/// Questions.
const QUESTIONS: i64 = 12;

pub(super) fn measure(fixture: &Fixture, extent: Extent) -> Result<Vec<Figure>> {
    let folder = TempDir::new()?;
    let entries = i64::try_from(extent.entries)?;
    fill(folder.path(), entries)?;
    let mut times = Vec::new();
    for question in 0..QUESTIONS {
        let index = entries * (2 * question + 1) / (2 * QUESTIONS);
        times.push(ask(fixture, folder.path(), index)?.as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    let of = |what: &str, time: f64| {
        Figure::of(
            format!("`why` over {} entries, the {what} of {QUESTIONS}", extent.entries),
            time,
            " ms",
        )
    };
    Ok(vec![
        of("slowest", times[times.len() - 1]).at_most(100.0),
        of("median", times[times.len() / 2]),
    ])
}

fn fill(folder: &Path, entries: i64) -> Result<()> {
    let limits = Limits {
        age: Duration::MAX,
        bytes: u64::MAX,
        queue_entries: usize::MAX,
        queue_bytes: usize::MAX,
        ..Limits::default()
    };
    for first in (0..entries).step_by(usize::try_from(PORTION)?) {
        let writer = Writer::start(folder, limits)?;
        (first..entries.min(first + PORTION)).for_each(|index| writer.add(entry(index)));
        ensure!(writer.close(Duration::from_secs(60)), "the history does not take entries");
    }
    Ok(())
}

/// The `index`th entry: a command whose output arrived.
fn entry(index: i64) -> Entry {
    let (pid, bytes) = (pid_of(index), 100 + index.unsigned_abs() * 7_919 % 100_000);
    let ended_us = BEGIN + index * STEP;
    let stream = |fd: i32, bytes: u64| Stream {
        fd,
        bytes,
        destination: format!("pipe:[{}]", 88_000 + index * 2 + i64::from(fd)),
        outcome: if bytes == 0 { "never_written" } else { "read" }.to_owned(),
        reader: (bytes > 0).then(|| "containerd-shim (pid 812)".to_owned()),
        fate: Some(Fate { delivered: bytes, ..Fate::default() }),
    };
    Entry {
        began_us: ended_us - 40_000,
        ended_us,
        pid,
        ns_pid: 7,
        name: "report".to_owned(),
        command: format!("/usr/local/bin/report --customer {} --format pdf", index % 5_000),
        exit_code: Some(0),
        place: place(index % CONTAINERS),
        streams: vec![stream(1, bytes), stream(2, 0)],
        rule: "delivered".to_owned(),
        severity: "info".to_owned(),
        confidence: "certain".to_owned(),
        sentence: format!(
            "report (pid {pid}) wrote {bytes} B to stdout, all read by containerd-shim (pid 812)"
        ),
        ..Entry::default()
    }
}

fn pid_of(index: i64) -> u32 {
    4_000 + u32::try_from(index % 4_000_000).unwrap_or_default()
}

fn place(number: i64) -> Place {
    let id = format!("{:016x}", number.wrapping_mul(0x1234_5678_9abc_def1)).repeat(4);
    Place {
        cgroup: format!("/system.slice/docker-{id}.scope"),
        engine: Some("docker".to_owned()),
        container_id: Some(id),
        container: Some(format!("report-{number}")),
        image: Some("registry.example/report:1.4".to_owned()),
        ..Place::default()
    }
}

/// Asks what ran in the container of an entry at its time.
fn ask(fixture: &Fixture, folder: &Path, index: i64) -> Result<Duration> {
    let at = Timestamp::from_microsecond(BEGIN + index * STEP)?.to_string();
    let mut why = Command::new(&fixture.tracer);
    why.args(["why", "--at", &at, "--container", &format!("report-{}", index % CONTAINERS)]);
    why.arg("--history").arg(folder).stdin(Stdio::null());
    let start = Instant::now();
    let answer = why.output().context("tracer cannot be started")?;
    let time = start.elapsed();
    let text = String::from_utf8_lossy(&answer.stdout);
    let is_answered = text.contains(&format!("(pid {})", pid_of(index)));
    ensure!(
        answer.status.success() && is_answered,
        "tracer why ended with {}: {text}",
        answer.status
    );
    Ok(time)
}
