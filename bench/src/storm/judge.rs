//! Compares tracer's account with the storm's.

use tracer_common::loss::Reason;
use tracer_core::{
    session::LossReason,
    verdict::{Confidence, Rule},
};

use super::{
    accounts::{Counted, Histogram, Truth},
    plan::Expect,
};
use crate::harness::table::whole;

/// Describes how the accounts agree; `Err` describes a difference that `expect` does not allow.
pub(super) fn judge(expect: Expect, truth: &Truth, counted: &Counted) -> Result<String, String> {
    match expect {
        Expect::Exact => judge_exact(truth, counted),
        Expect::Processes => judge_processes(truth, counted),
        Expect::Rows => judge_rows(truth, counted),
    }
}

fn judge_exact(truth: &Truth, counted: &Counted) -> Result<String, String> {
    ensure(counted.losses.is_empty(), || format!("tracer lost {:?}", counted.losses))?;
    let Truth { each, .. } = &counted.truth;
    ensure(*truth == counted.truth, || {
        let wrong = truth.each.iter().find(|(bytes, number)| each.get(bytes) != Some(number));
        format!("{}, first difference {wrong:?}", differences(truth, &counted.truth))
    })?;
    ensure(counted.unbalanced == 0, || format!("{} pipes do not balance", counted.unbalanced))?;
    let is_doubted = counted.findings.iter().any(|(rule, _)| *rule == Rule::OwnLosses);
    ensure(!is_doubted, || "tracer doubts its own count, and lost nothing".to_owned())?;
    Ok("exact".to_owned())
}

/// Missing processes must be as many as the full table refused. The others must be exact.
fn judge_processes(truth: &Truth, counted: &Counted) -> Result<String, String> {
    let missing = truth.processes.saturating_sub(counted.truth.processes);
    ensure_only(counted, &[Reason::ProcessesFull])?;
    let reported = counted.losses.get(&Reason::ProcessesFull.into()).copied().unwrap_or(0);
    ensure(missing > 0 && reported == missing, || {
        format!("{missing} processes are missing, processes_full says {reported}")
    })?;
    ensure(is_part_of(&counted.truth.each, &truth.each), || {
        "a process that was followed is not exact".to_owned()
    })?;
    let writers = |each: &Histogram| each.values().sum::<u64>();
    let missing_writers = writers(&truth.each) - writers(&counted.truth.each);
    ensure(missing_writers == missing, || {
        format!("{missing} processes are missing, and {missing_writers} have no bytes")
    })?;
    ensure_unsure(counted)?;
    Ok(format!("{} processes missing, all counted as lost", whole(missing)))
}

/// Missing bytes and writes must be as many as found no row.
fn judge_rows(truth: &Truth, counted: &Counted) -> Result<String, String> {
    ensure_only(counted, &[Reason::LedgerFull, Reason::ObjectsFull])?;
    ensure(truth.processes == counted.truth.processes, || differences(truth, &counted.truth))?;
    let [calls, bytes] = [&counted.losses, &counted.lost_bytes]
        .map(|counts| counts.get(&Reason::LedgerFull.into()).copied().unwrap_or(0));
    let missing_calls = truth.writes.saturating_sub(counted.truth.writes);
    let missing_bytes = truth.bytes.saturating_sub(counted.truth.bytes);
    ensure(missing_bytes > 0 && (calls, bytes) == (missing_calls, missing_bytes), || {
        format!(
            "{missing_bytes} B of {missing_calls} calls are missing, ledger_full says {bytes} B of {calls}"
        )
    })?;
    ensure_unsure(counted)?;
    Ok(format!(
        "{} B of {} calls missing, all counted as lost",
        whole(missing_bytes),
        whole(missing_calls)
    ))
}

fn ensure(is: bool, why: impl FnOnce() -> String) -> Result<(), String> {
    if is { Ok(()) } else { Err(why()) }
}

fn ensure_only(counted: &Counted, reasons: &[Reason]) -> Result<(), String> {
    let is_expected = |reason: &LossReason| reasons.iter().any(|it| *reason == (*it).into());
    let other = counted.losses.keys().find(|reason| !is_expected(reason));
    ensure(other.is_none(), || format!("tracer also lost {other:?}: {:?}", counted.losses))
}

/// The loss must be the first finding, and findings that depend on the counts must be `unsure`.
fn ensure_unsure(counted: &Counted) -> Result<(), String> {
    let first = counted.findings.first().map(|(rule, _)| *rule);
    ensure(first == Some(Rule::OwnLosses), || format!("the headline is {first:?}"))?;
    let is_about_losses = |rule: Rule| matches!(rule, Rule::OwnLosses | Rule::Unbalanced);
    let certain = counted
        .findings
        .iter()
        .find(|(rule, confidence)| !is_about_losses(*rule) && *confidence == Confidence::Certain);
    ensure(certain.is_none(), || format!("{certain:?} is said with confidence"))
}

fn is_part_of(part: &Histogram, whole: &Histogram) -> bool {
    part.iter().all(|(bytes, processes)| whole.get(bytes).is_some_and(|all| all >= processes))
}

fn differences(truth: &Truth, counted: &Truth) -> String {
    let pairs = [
        ("processes", truth.processes, counted.processes),
        ("writes", truth.writes, counted.writes),
        ("bytes", truth.bytes, counted.bytes),
        ("pipes", truth.pipes, counted.pipes),
    ];
    let different = pairs.iter().filter(|(_, truth, counted)| truth != counted);
    let words = different.map(|(name, truth, counted)| format!("{counted} {name} of {truth}"));
    format!("counted {}", words.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn truth() -> Truth {
        let each = Histogram::from([(10, 2), (20, 1)]);
        Truth { processes: 3, writes: 3, bytes: 40, pipes: 1, each }
    }

    fn counted() -> Counted {
        let findings = vec![(Rule::Delivered, Confidence::Certain)];
        Counted { truth: truth(), findings, ..Counted::default() }
    }

    fn lossy(reason: Reason, events: u64, bytes: u64) -> Counted {
        let of = |count| BTreeMap::from([(reason.into(), count)]);
        let findings =
            vec![(Rule::OwnLosses, Confidence::Certain), (Rule::Delivered, Confidence::Unsure)];
        Counted { losses: of(events), lost_bytes: of(bytes), findings, ..counted() }
    }

    #[test]
    fn equal_accounts_are_exact_and_each_difference_is_not() {
        assert_eq!(judge(Expect::Exact, &truth(), &counted()).unwrap(), "exact");
        let each = Histogram::from([(10, 1), (20, 2)]);
        for wrong in [
            Counted { truth: Truth { bytes: 39, ..truth() }, ..counted() },
            Counted { truth: Truth { processes: 2, ..truth() }, ..counted() },
            Counted { truth: Truth { each, ..truth() }, ..counted() },
            Counted { unbalanced: 1, ..counted() },
            lossy(Reason::RingFull, 1, 0),
        ] {
            judge(Expect::Exact, &truth(), &wrong).unwrap_err();
        }
    }

    #[test]
    fn missing_processes_must_be_counted_one_by_one() {
        let each = Histogram::from([(10, 1), (20, 1)]);
        let less = Truth { processes: 2, writes: 2, bytes: 30, each, ..truth() };
        let with =
            |events| Counted { truth: less.clone(), ..lossy(Reason::ProcessesFull, events, 0) };
        judge(Expect::Processes, &truth(), &with(1)).unwrap();
        judge(Expect::Processes, &truth(), &with(2)).unwrap_err();
        judge(Expect::Processes, &truth(), &lossy(Reason::ProcessesFull, 0, 0)).unwrap_err();
        let mut sure = with(1);
        sure.findings[1].1 = Confidence::Certain;
        judge(Expect::Processes, &truth(), &sure).unwrap_err();
        let mut quiet = with(1);
        quiet.findings.remove(0);
        judge(Expect::Processes, &truth(), &quiet).unwrap_err();
    }

    #[test]
    fn missing_bytes_must_be_counted_one_by_one() {
        let less = Truth { writes: 2, bytes: 30, ..truth() };
        let with = |events, bytes| Counted {
            truth: less.clone(),
            ..lossy(Reason::LedgerFull, events, bytes)
        };
        judge(Expect::Rows, &truth(), &with(1, 10)).unwrap();
        judge(Expect::Rows, &truth(), &with(1, 9)).unwrap_err();
        judge(Expect::Rows, &truth(), &with(2, 10)).unwrap_err();
    }
}
