//! Compares tracer's report with a workload's own counts and lists every difference.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    os::unix::process::ExitStatusExt,
};

use anyhow::{Context, Result, ensure};

use crate::{
    report::{Exit, Report},
    scenario::{Together, Traced, identities_of, trace_together},
    tracer::Outcome,
    truth::{FdTruth, ProcessTruth, Truth},
    workload::Finished,
};

/// How rows of the report and of the workload are matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MatchBy {
    /// Process, fd number and object.
    Fd,
    /// Process and object, for requests without an fd number.
    Object,
}

/// The counts that must be equal on both sides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Sums {
    bytes: u64,
    calls: u64,
    zero: u64,
    errors: BTreeMap<String, u64>,
}

impl Sums {
    fn add(&mut self, bytes: u64, calls: u64, zero: u64, errors: &BTreeMap<String, u64>) {
        self.bytes += bytes;
        self.calls += calls;
        self.zero += zero;
        for (class, count) in errors.iter().filter(|(_, count)| **count > 0) {
            *self.errors.entry(class.clone()).or_default() += count;
        }
    }

    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Process, fd (`None` if matched by object), object (empty if its name is not comparable).
type Key = (u32, Option<i32>, String);

/// Checks a traced workload: its counts match the bytes that arrived, the report matches its counts,
/// tracer lost nothing, the exit status is correct, and the pipes balance.
pub fn exact(traced: &Traced) -> Result<()> {
    exact_by(traced, MatchBy::Fd)
}

/// [`exact`] with this way to match rows.
pub fn exact_by(traced: &Traced, by: MatchBy) -> Result<()> {
    let workload = (traced.words.as_str(), &traced.workload);
    all_exact(&[workload], &traced.tracer, &traced.report, by)
}

/// Traces one path with every identity and checks [`exact_together`].
pub fn every_identity(name: &str, by: MatchBy) -> Result<()> {
    let workloads = identities_of(name)?;
    if workloads.is_empty() {
        return Ok(());
    }
    exact_together(&trace_together(&workloads)?, by)
}

/// [`exact`] for several workloads in one trace.
pub fn exact_together(together: &Together, by: MatchBy) -> Result<()> {
    let workloads: Vec<_> =
        together.workloads.iter().map(|(words, finished)| (words.as_str(), finished)).collect();
    all_exact(&workloads, &together.tracer, &together.report, by)
}

fn all_exact(
    workloads: &[(&str, &Finished)],
    tracer: &Outcome,
    report: &Report,
    by: MatchBy,
) -> Result<()> {
    let mut truth = Truth::default();
    let mut pids = String::new();
    let mut ran = Vec::new();
    for (words, workload) in workloads {
        if let Some(reason) = &workload.skipped {
            eprintln!("SKIPPED: workload {words}: {reason}");
            continue;
        }
        workload.check_arrival().with_context(|| format!("workload {words}"))?;
        truth.processes.extend(workload.truth.processes.clone());
        write!(pids, "{words} is pid {}, ", workload.pid)?;
        ran.push(*workload);
    }
    if ran.is_empty() {
        return Ok(());
    }
    rows_agree(report, &truth, by)
        .and_then(|()| pipes_balance(report, &truth))
        .and_then(|()| no_losses(report))
        .and_then(|()| ran.iter().try_for_each(|workload| exit_agrees(workload, report)))
        .with_context(|| {
            let losses = report.losses();
            format!("{pids}traced; losses: {losses:?}; stderr of tracer: {}", tracer.stderr)
        })
}

/// Checks that the report has exactly the active rows of the truth, with equal counts.
pub fn rows_agree(report: &Report, truth: &Truth, by: MatchBy) -> Result<()> {
    let (counted, reported) = (truth_sums(truth, by), report_sums(report, by));
    let mut text = String::new();
    let has_written = |process: &&ProcessTruth| process.fds.iter().any(FdTruth::is_active);
    for process in truth.processes.values().filter(has_written) {
        if report.of_pid(process.pid).next().is_none() {
            writeln!(text, "  pid {}: not in the report", process.pid)?;
        }
    }
    let nothing = Sums::default();
    for key in counted.keys().chain(reported.keys()).collect::<BTreeSet<_>>() {
        let [counted, reported] =
            [&counted, &reported].map(|side| side.get(key).unwrap_or(&nothing));
        if counted != reported {
            writeln!(text, "  {}: {}", describe_key(key), describe(counted, reported))?;
        }
    }
    ensure!(text.is_empty(), "the report differs from what the workload counted:\n{text}");
    Ok(())
}

/// Checks the reported exit status of the workload's first process.
fn exit_agrees(workload: &Finished, report: &Report) -> Result<()> {
    let Finished { pid, status, .. } = *workload;
    report.check_exit(pid, Exit { code: status.code(), signal: status.signal() })
}

/// Checks that tracer reports no loss of its own.
pub fn no_losses(report: &Report) -> Result<()> {
    let losses = report.losses();
    ensure!(losses.is_empty(), "tracer lost events: {losses:?}: {:#?}", report.findings);
    Ok(())
}

/// Checks a report about io_uring on an old kernel: its use is the only loss and the first finding.
pub fn uring_loss_is_reported(report: &Report) -> Result<()> {
    let reasons: Vec<_> = report.losses().into_iter().map(|(reason, _)| reason).collect();
    ensure!(reasons == ["uring_not_covered"], "{reasons:?}");
    report.headline("own_losses").map(drop)
}

/// Checks every pipe that the workload wrote to: it is listed, its written bytes match the
/// workload's count, and it balances.
pub fn pipes_balance(report: &Report, truth: &Truth) -> Result<()> {
    let objects: BTreeSet<_> = truth
        .rows()
        .filter_map(|(_, row)| row.object.as_deref())
        .filter(|object| object.starts_with("pipe:"))
        .collect();
    for id in objects {
        let counted = truth.written_to(id);
        let Some(object) = report.object(id) else {
            ensure!(counted == 0, "{id}: {counted} bytes were written, and it is not listed");
            continue;
        };
        let written = object.written;
        ensure!(
            written.unwrap_or(0) == counted,
            "{id}: the workload wrote {counted} bytes, the report says {written:?}"
        );
        ensure!(object.balanced != Some(false), "{id} does not balance: {object:?}");
    }
    Ok(())
}

fn truth_sums(truth: &Truth, by: MatchBy) -> BTreeMap<Key, Sums> {
    let mut sums = BTreeMap::<Key, Sums>::new();
    for (pid, row) in truth.rows().filter(|(_, row)| row.is_active()) {
        let object = row.object.as_deref().unwrap_or_default();
        let entry = sums.entry(key(pid, Some(row.fd), object, by)).or_default();
        entry.add(row.bytes, row.calls, row.zero, &row.errors);
    }
    sums
}

fn report_sums(report: &Report, by: MatchBy) -> BTreeMap<Key, Sums> {
    let mut sums = BTreeMap::<Key, Sums>::new();
    for (pid, row) in report.rows() {
        let mut own = Sums::default();
        own.add(row.bytes, row.writes, row.zero, &row.errors);
        if !own.is_empty() {
            let entry = sums.entry(key(pid, row.fd, &row.object, by)).or_default();
            entry.add(row.bytes, row.writes, row.zero, &row.errors);
        }
    }
    sums
}

fn key(pid: u32, fd: Option<i32>, object: &str, by: MatchBy) -> Key {
    // Only names like `pipe:[…]` and `socket:[…]` are the same on both sides: the report may
    // shorten a path, and a closed fd has no object.
    let object = if object.ends_with(']') { object } else { "" };
    match by {
        MatchBy::Fd => (pid, fd, object.to_owned()),
        MatchBy::Object => (pid, None, object.to_owned()),
    }
}

fn describe_key((pid, fd, object): &Key) -> String {
    let fd = fd.map_or(String::new(), |fd| format!(" fd {fd}"));
    let object = if object.is_empty() { String::new() } else { format!(" {object}") };
    format!("pid {pid}{fd}{object}")
}

fn describe(counted: &Sums, reported: &Sums) -> String {
    let mut parts = Vec::new();
    let numbers = [
        ("bytes", counted.bytes, reported.bytes),
        ("calls", counted.calls, reported.calls),
        ("zero-byte calls", counted.zero, reported.zero),
    ];
    for (name, counted, reported) in numbers {
        if counted != reported {
            parts.push(format!("{name} {counted} counted, {reported} reported"));
        }
    }
    if counted.errors != reported.errors {
        parts.push(format!("errors {:?} counted, {:?} reported", counted.errors, reported.errors));
    }
    parts.join("; ")
}

/// Checks that the output of `seq 1 1000` is told as lost and unread, and that tracer missed nothing.
pub fn loss_of_seq(report: &Report) -> Result<()> {
    no_losses(report)?;
    let lost = report.finding("unread")?;
    ensure!(lost.severity == "loss" && lost.message.contains("3,893"), "{lost:#?}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn truth(bytes: u64) -> Truth {
        let mut row = FdTruth::new(1, Some("pipe:[5]".to_owned()));
        row.bytes = bytes;
        row.calls = 1;
        let process = ProcessTruth { pid: 7, ns_pid: 7, fds: vec![row] };
        Truth { processes: [(7, process)].into(), ..Truth::default() }
    }

    fn report(rows: &str) -> Report {
        let text = format!(
            r#"{{"schema":"tracer.report/1","processes":[{{"pid":7,"exit":null,"fds":[{rows}]}}]}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    const ROW: &str = r#"{"fd":1,"object":"pipe:[5]","kind":"pipe","bytes":10,"writes":1}"#;

    #[test]
    fn equal_counts_agree_and_empty_rows_are_ignored() {
        let idle = r#"{"fd":2,"object":"pipe:[6]","kind":"pipe","bytes":0,"writes":0}"#;
        rows_agree(&report(&format!("{ROW},{idle}")), &truth(10), MatchBy::Fd).unwrap();
    }

    #[test]
    fn a_missing_byte_is_reported_with_its_row() {
        let error = rows_agree(&report(ROW), &truth(11), MatchBy::Fd).unwrap_err().to_string();
        assert!(error.contains("pid 7 fd 1 pipe:[5]: bytes 11 counted, 10 reported"), "{error}");
    }

    #[test]
    fn unwritten_bytes_and_missing_processes_are_differences() {
        let extra = r#"{"fd":2,"object":"pipe:[6]","kind":"pipe","bytes":1,"writes":1}"#;
        let both = report(&format!("{ROW},{extra}"));
        assert!(rows_agree(&both, &truth(10), MatchBy::Fd).is_err());
        let mut more = truth(10);
        let mut other = truth(3).processes.remove(&7).unwrap();
        other.pid = 8;
        more.processes.insert(8, other);
        let error = rows_agree(&report(ROW), &more, MatchBy::Fd).unwrap_err().to_string();
        assert!(error.contains("pid 8: not in the report"), "{error}");
    }

    #[test]
    fn a_row_without_fd_matches_by_object() {
        let row = r#"{"fd":null,"object":"pipe:[5]","kind":"pipe","bytes":10,"writes":1}"#;
        assert!(rows_agree(&report(row), &truth(10), MatchBy::Fd).is_err());
        rows_agree(&report(row), &truth(10), MatchBy::Object).unwrap();
    }
}
