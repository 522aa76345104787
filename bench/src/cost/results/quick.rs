//! Assertions of a quick run, which noise cannot break.

use super::Results;
use crate::cost::{
    comparison::contender::Contender::{self, Bpftrace, Capture, Strace, Tracer},
    gvisor::Gvisor,
};

/// The smallest accepted ratio of strace's added time to tracer's. The measured ratio is fifteen times larger.
const STRACE: f64 = 10.0;

/// Descriptions of the failed assertions.
pub(crate) fn failures(results: &Results) -> Vec<String> {
    let mut failures = Vec::new();
    for workload in &results.workloads {
        for contender in [Tracer, Capture] {
            let Some(row) = workload.row(contender) else { continue };
            let (name, contender) = (&workload.name, contender.name());
            if let Some(reason) = &row.absent {
                failures.push(format!("{name}: {contender} did not run: {reason}"));
            } else if !row.count.counted {
                failures.push(format!("{name}: {contender} counted nothing"));
            } else if !row.count.is_exact() {
                failures.push(format!("{name}: {contender} is not exact: {}", row.count));
            }
        }
    }
    failures.extend(results.gvisor.iter().flat_map(of_gvisor));
    let mut at_least = |base: Contender, times: f64| {
        let ratio = results.comparison("write32").and_then(|of| of.added_ratio(base, Tracer));
        if ratio.is_some_and(|ratio| ratio < times) {
            failures.push(format!(
                "write32: {} adds only {:.1} × what tracer adds, and must add {times} ×",
                base.name(),
                ratio.unwrap_or_default()
            ));
        }
    };
    at_least(Strace, STRACE);
    at_least(Bpftrace, 1.0);
    failures
}

/// gVisor drops messages where other programs use all processors, and says so. Nothing may be missing without a word.
fn of_gvisor(results: &Gvisor) -> Vec<String> {
    let rows = results.costs.iter().filter_map(|cost| cost.row(Tracer));
    let absent = rows.filter_map(|row| row.absent.as_ref());
    let mut failures: Vec<_> =
        absent.map(|why| format!("gvisor: tracer did not run: {why}")).collect();
    if let Some(untold) = results.untold().filter(|untold| *untold > 0.0) {
        failures.push(format!("gvisor: tracer missed {untold} writes and did not say so"));
    }
    failures
}

#[cfg(test)]
mod tests {
    use tracer_common::loss::Reason;

    use super::*;
    use crate::cost::comparison::{Row, count::Difference, tests::comparison};

    fn results(tracer: f64) -> Results {
        let figures = [
            (Contender::Native, 300.0),
            (Tracer, tracer),
            (Capture, tracer * 2.0),
            (Bpftrace, 1300.0),
            (Strace, 60_300.0),
        ];
        Results { workloads: vec![comparison("write32", &figures)], ..Results::default() }
    }

    fn modify(results: &mut Results, contender: Contender, how: impl Fn(&mut Row)) {
        let rows = &mut results.workloads[0].rows;
        how(rows.iter_mut().find(|row| row.contender == contender).unwrap());
    }

    #[test]
    fn a_good_run_has_no_failure() {
        assert_eq!(failures(&results(500.0)), Vec::<String>::new());
    }

    #[test]
    fn one_missing_write_one_loss_or_no_tracer_fails() {
        for how in [0, 1, 2, 3] {
            let mut results = results(500.0);
            modify(&mut results, Tracer, |row| match how {
                0 => row.count.missing = 1,
                1 => row.count.losses = [(Reason::RingFull.into(), 1)].into(),
                2 => row.absent = Some("gone".into()),
                _ => row.count.counted = false,
            });
            assert_eq!(failures(&results).len(), 1, "{how}");
        }
    }

    #[test]
    fn a_tracer_slower_than_bpftrace_or_than_a_tenth_of_strace_fails() {
        assert_eq!(failures(&results(1299.0)), Vec::<String>::new());
        assert_eq!(failures(&results(1301.0)).len(), 1);
        assert_eq!(failures(&results(6400.0)).len(), 2);
    }

    #[test]
    fn writes_of_guests_may_be_missing_only_with_a_word() {
        let gvisor = |missing, has_loss: bool| {
            let mut cost = comparison("gvisor-write32", &[(Contender::Native, 30_000.0)]);
            let losses = has_loss.then_some((Reason::RingFull.into(), 1)).into_iter().collect();
            let count = Difference { counted: true, missing, losses, ..Difference::default() };
            cost.add_sample(Tracer, 60_000.0, &count);
            Gvisor { costs: vec![cost], ..Gvisor::default() }
        };
        for (missing, has_loss, count) in [(0, false, 0), (1, true, 0), (1, false, 1)] {
            let gvisor = Some(gvisor(missing, has_loss));
            let results = Results { gvisor, ..results(500.0) };
            assert_eq!(failures(&results).len(), count, "{missing} {has_loss}");
        }
        let absent = Gvisor { absent: Some("runsc is not installed".into()), ..Gvisor::default() };
        let results = Results { gvisor: Some(absent), ..results(500.0) };
        assert_eq!(failures(&results), Vec::<String>::new());
    }

    #[test]
    fn a_missing_contender_is_no_failure() {
        let mut results = results(500.0);
        modify(&mut results, Strace, |row| row.figures = None);
        assert_eq!(failures(&results), Vec::<String>::new());
    }
}
