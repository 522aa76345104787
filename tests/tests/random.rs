//! Random sequences of calls: on every object that fd 1 or 2 led to, the report has what the workload wrote and read.
//!
//! Each run prints its seed if it fails. `TRACER_RANDOM_SEED` repeats one seed; `TRACER_RANDOM_SECONDS` sets how long
//! new seeds are tried.

use std::{
    env,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context, Result, ensure};
use tracer_tests::{
    report::Report,
    scenario::trace,
    stdio::Kind,
    truth::{ObjectTruth, Truth},
    workload::Workload,
};

/// Calls of one run.
const STEPS: u64 = 400;
/// How long new seeds are tried.
const SECONDS: u64 = 15;

/// The reason for a doubt about `sendmmsg` and `recvmmsg` while io_uring's workers share the memory of the process.
const CHANGEABLE: &str = "memory_changed";

fn from_env(name: &str) -> Option<u64> {
    env::var(name).ok()?.parse().ok()
}

#[test]
#[ignore = "needs root"]
fn random_calls_are_counted_on_every_object() -> Result<()> {
    if let Some(seed) = from_env("TRACER_RANDOM_SEED") {
        return run(seed);
    }
    let limit = Duration::from_secs(from_env("TRACER_RANDOM_SECONDS").unwrap_or(SECONDS));
    let (start, first) = (Instant::now(), SystemTime::UNIX_EPOCH.elapsed()?.as_secs());
    for seed in first.. {
        run(seed).with_context(|| format!("TRACER_RANDOM_SEED={seed}"))?;
        if start.elapsed() > limit {
            return Ok(());
        }
    }
    Ok(())
}

fn run(seed: u64) -> Result<()> {
    let workload =
        Workload::new("random").arg(&seed.to_string()).arg(&STEPS.to_string()).on(Kind::File);
    let traced = trace(&workload)?;
    let (report, truth) = (&traced.report, &traced.workload.truth);
    ensure!(!truth.objects.is_empty(), "the workload counted no object");
    let differences = truth.objects.iter().enumerate().filter_map(|(at, known)| {
        let earlier = truth.objects[..at].iter().filter(|other| other.object == known.object);
        difference(report, truth, known, earlier.count())
    });
    let wrong: Vec<String> = differences.collect();
    ensure!(wrong.is_empty(), "{} objects:\n{}", wrong.len(), wrong.join("\n"));
    let losses: Vec<_> =
        report.losses().into_iter().filter(|(reason, _)| reason != CHANGEABLE).collect();
    ensure!(losses.is_empty(), "tracer lost events: {losses:?}");
    let never_run: u64 = truth.rows().filter_map(|(_, row)| row.errors.get("NOT_RUN")).sum();
    let reported: u64 = report.rows().filter_map(|(_, row)| row.errors.get("NOT_RUN")).sum();
    ensure!(never_run == reported, "{never_run} calls never ran, {reported} are reported");
    Ok(())
}

/// What the report says otherwise about an object. Terminals that had the same number one after the other are numbered
/// in the report in this order, in which they are also in the truth.
fn difference(
    report: &Report,
    truth: &Truth,
    known: &ObjectTruth,
    earlier: usize,
) -> Option<String> {
    let count = truth.objects.iter().filter(|other| other.object == known.object).count();
    let (first, last) = (format!("{} (inode ", known.object), format!(", no. {})", earlier + 1));
    let is_named = |id: &str| match count {
        1 => id == known.object,
        _ => id.starts_with(&first) && id.ends_with(&last),
    };
    let found: Vec<_> = report.objects.iter().filter(|object| is_named(&object.id)).collect();
    let [object] = found.as_slice() else { return Some(format!("{known:?}, reported {found:?}")) };
    // tracer does not know which socket reads what goes into a TCP connection.
    let has_reader = known.unread.is_some() && (object.kind != "socket" || object.joined.is_some());
    let is_exact = object.written == Some(known.written)
        && (!has_reader || object.read == Some(known.read))
        && object.balanced != Some(false)
        && object.doubts.iter().all(|doubt| doubt == CHANGEABLE)
        && (object.unread.is_none() || object.unread == known.unread);
    (!is_exact).then(|| format!("{known:?}, reported {object:?}"))
}
