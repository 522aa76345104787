//! A process read output and did not pass it on: it was killed before it wrote, it could not reach the place where it
//! passes bytes on to, or it took what the next reader needed.

use serde_json::json;
use tracer_common::{ledger::READ, object::ObjectId};

use super::{
    super::{Case, evidence, words},
    daemon_unreachable::is_of_libraries,
};
use crate::{
    session::{FactKind, Kind, Process},
    text::{self, errno, signal, units},
    verdict::{Confidence, Finding, Rule, Severity},
};

pub(super) fn find(case: &Case<'_>) -> Vec<Finding> {
    let targets = case.session.processes.values();
    let ended = targets.filter(|process| process.is_target && process.end_ns.is_some());
    ended.filter_map(|process| of_process(case, process)).collect()
}

fn of_process(case: &Case<'_>, process: &Process) -> Option<Finding> {
    let (read, from, inputs) = read_of_targets(case, process)?;
    let passed_on = case.written_since(process, &inputs)?;
    let kept = read.checked_sub(passed_on).filter(|kept| *kept > 0)?;
    let (why, advice) = why(case, process, passed_on).or_else(|| starved(case, process))?;
    let what = match passed_on {
        0 => "passed on nothing".to_owned(),
        // It may also have written something else.
        bytes => format!(
            "wrote only {}, so at least {} were not passed on",
            units::exact(bytes),
            units::exact(kept)
        ),
    };
    let message = format!(
        "{} read {} from {from} and {what}: {why}.",
        words::called(process),
        units::exact(read)
    );
    // A filter passes on a part only, and a filter that a user ends may have found nothing.
    let is_filter = passed_on > 0 || process.was_ended_by_user();
    let severity = if is_filter { Severity::Warning } else { Severity::Loss };
    let mut finding = evidence::of_process(process, Rule::KeptBack, severity, message);
    let is_complete = !case.has_losses() && !process.attached_late && !is_filter;
    finding.confidence = if is_complete { Confidence::Certain } else { Confidence::Unsure };
    finding.advice = Some(advice.into());
    Some(evidence::with_all(finding, [("read", json!(read)), ("passed_on", json!(passed_on))]))
}

/// The bytes that a process read from other targets, the name of the writer of most of them, and the objects.
fn read_of_targets(case: &Case<'_>, process: &Process) -> Option<(u64, String, Vec<ObjectId>)> {
    let rows = case.session.rows_of(process.id, READ);
    let mut inputs: Vec<(u64, String, ObjectId)> = rows
        // What was read from a file is still there.
        .filter(|(key, row)| row.bytes > 0 && case.session.object_kind(&key.object).passes_on())
        .filter_map(|(key, row)| {
            let flow = case.flows.get(&case.session.peer(&key.object));
            let mut writers = flow.writers.iter().filter(|writer| writer.process != process.id);
            let writer = writers.find(|writer| writer.bytes > 0)?;
            let known = case.session.processes.get(&writer.process)?;
            // A terminal adds bytes to those that are written to it (`ONLCR`, termios(3)).
            let is_terminal = case.session.object_kind(&key.object) == Kind::Pty;
            let bytes = if is_terminal { row.bytes.min(flow.written) } else { row.bytes };
            Some((bytes, known.short_at(writer.last_ns), key.object))
        })
        .collect();
    inputs.sort_unstable();
    let (_, from, _) = inputs.last()?.clone();
    let objects = inputs.iter().map(|(_, _, object)| *object).collect();
    Some((inputs.iter().map(|(bytes, _, _)| bytes).sum(), from, objects))
}

/// A process that reads the same pipe next, as its input, and finds nothing any more: `{ head -1; sort; }`.
fn starved(case: &Case<'_>, process: &Process) -> Option<Why> {
    let mut inputs = case.session.rows_of(process.id, READ).filter(|(key, _)| key.fd == 0);
    let (input, row) = inputs.find(|(_, row)| row.bytes > 0)?;
    let readers = case.flows.get(&case.session.peer(&input.object)).readers.iter();
    let hungry = readers.filter(|reader| reader.bytes == 0 && reader.last_ns > row.last_ns);
    let mut others = hungry.filter_map(|reader| case.session.processes.get(&reader.process));
    let next = others.find(|next| is_next(process, next) && !drains(case, next))?;
    Some((format!("{}, which reads after it, got nothing", next.short()), ALL_OR_LESS))
}

/// Whether a shell starts a process after another one, or becomes it: some shells execute the last command of
/// `{ head -1; sort; }` in their own place.
fn is_next(process: &Process, next: &Process) -> bool {
    let took_over = || {
        let latest = next.latest_image();
        latest.executed && latest.since_ns > process.id.start_ns
    };
    next.executed && next.parent == process.parent || next.id == process.parent && took_over()
}

/// Whether a process reads only so that the writer can end: `{ grep -q x; cat >/dev/null; }`.
fn drains(case: &Case<'_>, process: &Process) -> bool {
    let stdout = process.stdio_object(1);
    stdout.is_some_and(|stdout| case.session.object_kind(&stdout) == Kind::Null)
}

/// Why it passed on nothing, or only a part. A process that ends by itself, such as `grep`, had nothing to say.
fn why(case: &Case<'_>, process: &Process, passed_on: u64) -> Option<Why> {
    let killed = process.killed_by().filter(|_| passed_on == 0 || !process.was_ended_by_user());
    if let Some(number) = killed.filter(|_| !reads_by_byte(case, process)) {
        return Some((format!("it was killed by {}", signal::named(number)), WHO_KILLED_IT));
    }
    let mut reads = case.session.rows_of(process.id, READ);
    if passed_on > 0 || !reads.any(|(key, row)| process.has_as_input(key) && row.bytes > 0) {
        return None;
    }
    let mut facts = process.facts.iter().rev();
    let failed =
        facts.find(|fact| fact.kind == FactKind::ConnectFailed && !is_of_libraries(&fact.about))?;
    let (error, place) = (errno::name(failed.errno), text::name(&failed.about));
    Some((format!("it could not connect to {place} ({error})"), START_IT))
}

/// Whether a process reads byte by byte, as a shell's `read` does: it has used each line before it reads the next one,
/// and keeps nothing in a buffer.
fn reads_by_byte(case: &Case<'_>, process: &Process) -> bool {
    let inputs = case.session.rows_of(process.id, READ).filter(|(_, row)| row.bytes > 0);
    let mut of_targets =
        inputs.filter(|(key, _)| case.session.object_kind(&key.object).passes_on());
    of_targets.all(|(_, row)| row.bytes <= row.calls)
}

/// Why a process kept bytes, and what to do.
type Why = (String, &'static str);

const WHO_KILLED_IT: &str = "Find out who killed it: bytes that it had read are gone with it.";
const START_IT: &str = "Start what listens there; until then its input is lost.";
const ALL_OR_LESS: &str =
    "Let it read no more than it needs (`sed -n 1p`, `read`), or give each reader all of it.";
