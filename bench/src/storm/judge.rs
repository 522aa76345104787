//! Holds tracer's count against the storm's own.

use super::{
    accounts::{Counted, Each, Truth},
    plan::Expect,
};
use crate::harness::table::whole;

/// Says what is wrong, if anything is; else in words how the two sides agree.
pub(super) fn judge(expect: Expect, truth: &Truth, counted: &Counted) -> Result<String, String> {
    match expect {
        Expect::Exact => exact(truth, counted),
        Expect::Processes => processes(truth, counted),
        Expect::Rows => rows(truth, counted),
    }
}

fn exact(truth: &Truth, counted: &Counted) -> Result<String, String> {
    ensure(counted.losses.is_empty(), || format!("tracer lost {:?}", counted.losses))?;
    let Truth { each, .. } = &counted.truth;
    ensure(*truth == counted.truth, || {
        let wrong = truth.each.iter().find(|(bytes, number)| each.get(bytes) != Some(number));
        format!("{}, first difference {wrong:?}", differences(truth, &counted.truth))
    })?;
    ensure(counted.unbalanced == 0, || format!("{} pipes do not balance", counted.unbalanced))?;
    let doubts = counted.findings.iter().any(|(rule, _)| rule == "own_losses");
    ensure(!doubts, || "tracer doubts its own count, and lost nothing".to_owned())?;
    Ok("exact".to_owned())
}

/// Each process that is not there was refused by the table, and counted; whoever is there is exact.
fn processes(truth: &Truth, counted: &Counted) -> Result<String, String> {
    let missing = truth.processes.saturating_sub(counted.truth.processes);
    only(counted, &["processes_full"])?;
    let said = counted.losses.get("processes_full").copied().unwrap_or(0);
    ensure(missing > 0 && said == missing, || {
        format!("{missing} processes are missing, processes_full says {said}")
    })?;
    ensure(is_part_of(&counted.truth.each, &truth.each), || {
        "a process that was followed is not exact".to_owned()
    })?;
    let writers = |each: &Each| each.values().sum::<u64>();
    let missing_writers = writers(&truth.each) - writers(&counted.truth.each);
    ensure(missing_writers == missing, || {
        format!("{missing} processes are missing, and {missing_writers} have no bytes")
    })?;
    unsure(counted)?;
    Ok(format!("{} processes missing, as many as counted as lost", whole(missing)))
}

/// Each byte that is not there found no row, and was counted.
fn rows(truth: &Truth, counted: &Counted) -> Result<String, String> {
    only(counted, &["ledger_full", "objects_full"])?;
    ensure(truth.processes == counted.truth.processes, || differences(truth, &counted.truth))?;
    let [calls, bytes] = [&counted.losses, &counted.lost_bytes]
        .map(|counts| counts.get("ledger_full").copied().unwrap_or(0));
    let missing_calls = truth.writes.saturating_sub(counted.truth.writes);
    let missing_bytes = truth.bytes.saturating_sub(counted.truth.bytes);
    ensure(missing_bytes > 0 && (calls, bytes) == (missing_calls, missing_bytes), || {
        format!(
            "{missing_bytes} B of {missing_calls} calls are missing, ledger_full says {bytes} B of {calls}"
        )
    })?;
    unsure(counted)?;
    Ok(format!(
        "{} B of {} calls missing, as many as counted as lost",
        whole(missing_bytes),
        whole(missing_calls)
    ))
}

fn ensure(is: bool, why: impl FnOnce() -> String) -> Result<(), String> {
    if is { Ok(()) } else { Err(why()) }
}

fn only(counted: &Counted, reasons: &[&str]) -> Result<(), String> {
    let other = counted.losses.keys().find(|reason| !reasons.contains(&reason.as_str()));
    ensure(other.is_none(), || format!("tracer also lost {other:?}: {:?}", counted.losses))
}

/// The loss is the headline, and nothing that rests on the counts is certain.
fn unsure(counted: &Counted) -> Result<(), String> {
    let first = counted.findings.first().map(|(rule, _)| rule.as_str());
    ensure(first == Some("own_losses"), || format!("the headline is {first:?}"))?;
    let is_about_blindness = |rule: &str| ["own_losses", "unbalanced"].contains(&rule);
    let certain = counted
        .findings
        .iter()
        .find(|(rule, confidence)| !is_about_blindness(rule) && confidence != "unsure");
    ensure(certain.is_none(), || format!("{certain:?} is said with confidence"))
}

fn is_part_of(part: &Each, whole: &Each) -> bool {
    part.iter().all(|(bytes, processes)| whole.get(bytes).is_some_and(|all| all >= processes))
}

fn differences(truth: &Truth, counted: &Truth) -> String {
    let pairs = [
        ("processes", truth.processes, counted.processes),
        ("writes", truth.writes, counted.writes),
        ("bytes", truth.bytes, counted.bytes),
        ("pipes", truth.pipes, counted.pipes),
    ];
    let differ = pairs.iter().filter(|(_, truth, counted)| truth != counted);
    let words = differ.map(|(name, truth, counted)| format!("{counted} {name} of {truth}"));
    format!("counted {}", words.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn truth() -> Truth {
        let each = Each::from([(10, 2), (20, 1)]);
        Truth { processes: 3, writes: 3, bytes: 40, pipes: 1, each }
    }

    fn counted() -> Counted {
        let findings = vec![("delivered".to_owned(), "certain".to_owned())];
        Counted { truth: truth(), findings, ..Counted::default() }
    }

    fn lossy(reason: &str, events: u64, bytes: u64) -> Counted {
        let of = |count| BTreeMap::from([(reason.to_owned(), count)]);
        let finding = |rule: &str, confidence: &str| (rule.to_owned(), confidence.to_owned());
        let findings = vec![finding("own_losses", "certain"), finding("delivered", "unsure")];
        Counted { losses: of(events), lost_bytes: of(bytes), findings, ..counted() }
    }

    #[test]
    fn equal_accounts_are_exact_and_each_difference_is_not() {
        assert_eq!(judge(Expect::Exact, &truth(), &counted()).unwrap(), "exact");
        let each = Each::from([(10, 1), (20, 2)]);
        for wrong in [
            Counted { truth: Truth { bytes: 39, ..truth() }, ..counted() },
            Counted { truth: Truth { processes: 2, ..truth() }, ..counted() },
            Counted { truth: Truth { each, ..truth() }, ..counted() },
            Counted { unbalanced: 1, ..counted() },
            lossy("ring_full", 1, 0),
        ] {
            judge(Expect::Exact, &truth(), &wrong).unwrap_err();
        }
    }

    #[test]
    fn missing_processes_must_be_counted_one_by_one() {
        let each = Each::from([(10, 1), (20, 1)]);
        let less = Truth { processes: 2, writes: 2, bytes: 30, each, ..truth() };
        let with = |events| Counted { truth: less.clone(), ..lossy("processes_full", events, 0) };
        judge(Expect::Processes, &truth(), &with(1)).unwrap();
        judge(Expect::Processes, &truth(), &with(2)).unwrap_err();
        judge(Expect::Processes, &truth(), &lossy("processes_full", 0, 0)).unwrap_err();
        let mut sure = with(1);
        sure.findings[1].1 = "certain".to_owned();
        judge(Expect::Processes, &truth(), &sure).unwrap_err();
        let mut quiet = with(1);
        quiet.findings.remove(0);
        judge(Expect::Processes, &truth(), &quiet).unwrap_err();
    }

    #[test]
    fn missing_bytes_must_be_counted_one_by_one() {
        let less = Truth { writes: 2, bytes: 30, ..truth() };
        let with =
            |events, bytes| Counted { truth: less.clone(), ..lossy("ledger_full", events, bytes) };
        judge(Expect::Rows, &truth(), &with(1, 10)).unwrap();
        judge(Expect::Rows, &truth(), &with(1, 9)).unwrap_err();
        judge(Expect::Rows, &truth(), &with(2, 10)).unwrap_err();
    }
}
