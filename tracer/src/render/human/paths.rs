//! The paths of the output from process to process, and what managers' logs say about it.

use std::{collections::HashSet, io};

use anstyle::Style as Ink;
use tracer_core::{
    report::{Chain, Claim, Report, Step, WorkerLog},
    text::units::{bytes, count},
};

use super::only_in_json;
use crate::render::{
    command::short_name,
    palette::{FAINT, ODD, PLAIN},
    text::{Page, Text},
};

/// How many paths get a line, and how many claims.
const MOST_PATHS: usize = 20;

/// Writes the paths with more than one step, then the claims.
pub(super) fn write(page: &mut Page<'_>, report: &Report) -> io::Result<()> {
    let ways = ways(report);
    if !ways.is_empty() {
        page.section()?;
    }
    write_ways(page, report, &ways)?;
    if !report.worker_logs.is_empty() {
        page.section()?;
    }
    report.claims.iter().take(MOST_PATHS).try_for_each(|claim| page.line(&claimed(claim)))?;
    let more = report.claims.len().saturating_sub(MOST_PATHS) as u64;
    if more > 0 {
        page.line(&Text::styled(FAINT, &only_in_json(more, "claim")))?;
    }
    logs(page, report)
}

/// Writes the paths of one command.
pub(super) fn write_of(page: &mut Page<'_>, report: &Report, pid: u32) -> io::Result<()> {
    let ways: Vec<&Chain> =
        ways(report).into_iter().filter(|chain| chain.subject_pid == pid).collect();
    write_ways(page, report, &ways)
}

/// The paths with more than one step.
fn ways(report: &Report) -> Vec<&Chain> {
    let chains = report.hops.iter().filter(|chain| is_relayed(chain));
    chains.filter(|chain| !report.hops.iter().any(|other| ends(other, chain))).collect()
}

fn write_ways(page: &mut Page<'_>, report: &Report, ways: &[&Chain]) -> io::Result<()> {
    let mut marked = HashSet::new();
    ways.iter().take(MOST_PATHS).try_for_each(|chain| {
        let lead = Text::plain(&name(chain.steps.first(), chain.subject_pid));
        let column = 4;
        page.parts(lead.and(PLAIN, " "), column, " ", stages(report, chain, &mut marked))
    })
}

/// Writes how well the managers' logs could be read.
pub(super) fn logs(page: &mut Page<'_>, report: &Report) -> io::Result<()> {
    let is_mute = report.claims.iter().all(|claim| claim.handed_out.is_none());
    report.worker_logs.iter().try_for_each(|log| {
        let (words, ink) = quality(log, is_mute);
        page.words(Text::default(), 2, ink, &words)
    })
}

/// `worker log a.log: 12 lines read, 1 of them not understood, the first: …`
fn quality(log: &WorkerLog, is_mute: bool) -> (String, Ink) {
    let mut words = format!("worker log {}: {} read", log.path, count(log.lines, "line"));
    let is_mute = is_mute && log.lines > 0;
    if is_mute {
        words.push_str(
            ", none of them about output of a traced process: is this the manager's log?",
        );
    }
    if let Some(first) = &log.first_bad {
        words.push_str(&format!(", {} of them not understood, the first: {first}", log.bad));
    }
    (words, if is_mute || log.first_bad.is_some() { ODD } else { PLAIN })
}

/// Whether a reader wrote something itself. A reader that did not is in the objects' accounts already.
fn is_relayed(chain: &Chain) -> bool {
    chain.steps.iter().skip(1).any(|step| step.object.is_some())
}

/// Whether a longer path ends with this one. This one is then shown already.
fn ends(longer: &Chain, chain: &Chain) -> bool {
    let place = |step: &Step| (step.pid, step.object.clone());
    longer.steps.len() > chain.steps.len()
        && longer
            .steps
            .iter()
            .rev()
            .map(place)
            .zip(chain.steps.iter().rev().map(place))
            .all(|(one, other)| one == other)
}

fn name(step: Option<&Step>, pid: u32) -> String {
    step.map_or_else(|| pid.to_string(), |step| short_name(&step.comm, step.pid))
}

/// `──122 B──▶ pipe:[9]`, `──122 B──▶ manager (60)` …; `marked` has what a line above has marked.
fn stages(report: &Report, chain: &Chain, marked: &mut HashSet<(u32, Option<u64>)>) -> Vec<Text> {
    let mut stages = Vec::new();
    let mut input = None;
    for step in &chain.steps {
        let is_filter = input.is_some_and(|input| filters(report, step.pid, input));
        input = step.object.as_deref();
        if let Some(read) = step.read {
            stages.push(arrow(read, &short_name(&step.comm, step.pid)));
        }
        let Some(object) = &step.object else { continue };
        stages.push(arrow(step.bytes, object));
        // Only the most likely output, which is the first one. The others carry something else.
        let Some(read) = step.read else { continue };
        if marked.insert((step.pid, step.read)) && step.bytes < read && !is_filter {
            let fewer = format!("⚠ {} fewer than it read", bytes(read - step.bytes));
            stages.push(Text::styled(ODD, &fewer));
        }
    }
    stages
}

/// Whether an object is the stdin of a process of the target: the next command of a pipeline, whose output may be
/// anything.
fn filters(report: &Report, pid: u32, object: &str) -> bool {
    let mut processes = report.processes.iter().filter(|process| process.pid == pid);
    processes.any(|process| process.stdio.first().is_some_and(|stdin| stdin == object))
}

fn arrow(amount: u64, to: &str) -> Text {
    Text::plain(&format!("──{}──▶ {to}", bytes(amount)))
}

/// `pid 71 (9 inside) stdout  written 12 B · read 12 B · handed out 0 B according to the log`
fn claimed(claim: &Claim) -> Text {
    let who = match claim.pid {
        pid if pid == claim.ns_pid => format!("pid {pid}"),
        pid => format!("pid {pid} ({} in its container)", claim.ns_pid),
    };
    let counts = format!("written {} · read {} · ", bytes(claim.written), bytes(claim.read));
    let handed = match claim.handed_out {
        Some(handed) => format!("handed out {} according to the log", bytes(handed)),
        None => "no line about it in the log".to_owned(),
    };
    let is_odd = claim.handed_out != Some(claim.read);
    Text::plain(&format!("{who} {}  {counts}", claim.stream))
        .and(if is_odd { ODD } else { PLAIN }, &handed)
}
