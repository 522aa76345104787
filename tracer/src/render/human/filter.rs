//! `--only-loss` and `--grep`: a report with only some of its findings and processes.

use std::collections::HashSet;

use tracer_core::{
    report::{Captured, Object, Process, Report},
    verdict::Finding,
};

use crate::render::{View, command::command_line};

/// What a report says of which nothing is left.
pub(super) const NOTHING: &str = "no other finding and no process matches";

/// Whether a filter left nothing.
pub(super) fn is_empty(report: &Report, view: &View) -> bool {
    view.is_filter() && report.findings.is_empty() && report.processes.is_empty()
}

/// The report with what the view asks for. The verdict stays: it is about the whole run.
pub(super) fn select(report: &Report, view: &View) -> Report {
    let named: HashSet<u32> = match &view.grep {
        Some(grep) => {
            let matches = report
                .processes
                .iter()
                .filter(|process| grep.matches(&command_line(&process.argv, &process.comm)));
            matches.map(|process| process.pid).collect()
        }
        None => HashSet::new(),
    };
    let findings: Vec<Finding> =
        report.findings.iter().filter(|finding| wants(view, finding, &named)).cloned().collect();
    let mut pids: HashSet<u32> = findings.iter().map(|finding| finding.pid).collect();
    if !view.only_loss {
        pids.extend(&named);
    }
    let processes: Vec<Process> =
        report.processes.iter().filter(|process| pids.contains(&process.pid)).cloned().collect();
    Report {
        schema: report.schema.clone(),
        verdict: report.verdict.clone(),
        target: report.target.clone(),
        window: report.window.clone(),
        summed_up: Vec::new(),
        commands: Vec::new(),
        more_commands: 0,
        objects: objects_of(report, &processes),
        hops: only(&report.hops, |chain| pids.contains(&chain.subject_pid)),
        claims: only(&report.claims, |claim| pids.contains(&claim.pid)),
        worker_logs: report.worker_logs.clone(),
        sandboxes: report.sandboxes.clone(),
        losses: report.losses.clone(),
        lost_bytes: report.lost_bytes.clone(),
        capture: report.capture.as_ref().map(|captured| captured_of(captured, &pids)),
        tails: report.tails.clone(),
        more_tails: report.more_tails,
        findings,
        processes,
    }
}

fn only<T: Clone>(items: &[T], is_wanted: impl Fn(&T) -> bool) -> Vec<T> {
    items.iter().filter(|item| is_wanted(item)).cloned().collect()
}

/// Whether a finding is shown. With `--only-loss` those for which the exit code is 1: what is stuck, discarded or never
/// flushed did not arrive either. `named` has the processes whose command line matches.
fn wants(view: &View, finding: &Finding, named: &HashSet<u32>) -> bool {
    let matches = view.grep.as_ref().is_none_or(|grep| {
        let advice = finding.advice.as_deref().unwrap_or_default();
        grep.matches(&finding.message) || grep.matches(advice) || named.contains(&finding.pid)
    });
    matches && (!view.only_loss || finding.is_loss())
}

/// The objects that these processes wrote to or had as stdout and stderr.
fn objects_of(report: &Report, processes: &[Process]) -> Vec<Object> {
    let written = processes.iter().flat_map(|process| process.fds.iter().map(|row| &row.object));
    let stdio = processes.iter().flat_map(|process| process.stdio.iter().skip(1));
    let ids: HashSet<&str> = written.chain(stdio).map(String::as_str).collect();
    only(&report.objects, |object| ids.contains(object.id.as_str()))
}

fn captured_of(captured: &Captured, pids: &HashSet<u32>) -> Captured {
    Captured {
        streams: only(&captured.streams, |stream| pids.contains(&stream.pid)),
        recovered: only(&captured.recovered, |recovered| {
            recovered.pids.iter().any(|pid| pids.contains(pid))
        }),
        directory: captured.directory.clone(),
        ..*captured
    }
}
