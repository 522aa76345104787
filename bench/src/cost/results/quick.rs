//! Assertions of a quick run, which noise cannot break.

use super::Results;
use crate::cost::comparison::contender::Contender::{self, Bpftrace, Capture, Strace, Tracer};

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

#[cfg(test)]
mod tests {
    use tracer_common::loss::Reason;

    use super::*;
    use crate::cost::comparison::{Row, tests::comparison};

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
    fn a_missing_contender_is_no_failure() {
        let mut results = results(500.0);
        modify(&mut results, Strace, |row| row.figures = None);
        assert_eq!(failures(&results), Vec::<String>::new());
    }
}
