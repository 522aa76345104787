//! Measures contenders in interleaved rounds (A B C A B C …), so that disturbances affect all of them alike.

pub(crate) mod contender;
pub(crate) mod count;
pub(crate) mod figures;
pub(crate) mod table;
pub(crate) mod workload;

use anyhow::Result;
use serde::Serialize;

use self::{
    contender::Contender,
    count::Difference,
    figures::Figures,
    workload::{Unit, Workload},
};
use super::load::{Load, Plan, Truth};
use crate::harness::fixture::Fixture;

/// The results of a workload.
#[derive(Debug, Serialize)]
pub(crate) struct Comparison {
    /// The workload's name.
    pub(crate) name: String,
    /// Description of a call.
    pub(crate) call: &'static str,
    /// Unit of the result.
    #[serde(skip)]
    pub(crate) unit: Unit,
    /// Bytes that a call transfers.
    pub(crate) bytes_per_call: f64,
    /// The contenders, in the order of the rounds.
    pub(crate) rows: Vec<Row>,
}

/// The results of a contender in a workload.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    /// The contender.
    #[serde(serialize_with = "by_name")]
    pub(crate) contender: Contender,
    /// Nanoseconds per call of each round.
    pub(crate) samples: Vec<f64>,
    /// Statistics of the samples.
    pub(crate) figures: Option<Figures>,
    /// Differences of its counts, summed over all rounds.
    pub(crate) count: Difference,
    /// The reason why it did not run, or stopped.
    pub(crate) absent: Option<String>,
}

fn by_name<S: serde::Serializer>(contender: &Contender, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(contender.name())
}

/// The result of a round.
pub(crate) struct Sample {
    pub(crate) ns: f64,
    pub(crate) bytes_per_call: f64,
    pub(crate) count: Difference,
}

/// The results of a loop's repetitions.
pub(crate) struct Repetitions {
    /// Nanoseconds per call in the fastest repetition.
    pub(crate) ns: f64,
    /// The loop's own counts, summed.
    pub(crate) truth: Truth,
    /// Bytes that a call transfers.
    pub(crate) bytes_per_call: f64,
}

impl Repetitions {
    /// Runs the loop `times` times.
    pub(crate) fn of(load: &mut Load, times: u32) -> Result<Self> {
        let mut results = Self { ns: f64::INFINITY, truth: Truth::default(), bytes_per_call: 0.0 };
        for _ in 0..times {
            let measured = load.measure()?;
            results.ns = results.ns.min(measured.ns_per_call());
            results.truth += measured.truth;
            results.bytes_per_call = measured.bytes as f64 / measured.calls.max(1) as f64;
        }
        Ok(results)
    }
}

/// Settings of a workload's run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule<'a> {
    /// Rounds of each contender.
    pub(crate) rounds: u32,
    /// Divides the number of calls.
    pub(crate) divisor: u64,
    /// The command that the loop `exec` starts.
    pub(crate) command: &'a [String],
}

impl Comparison {
    /// A comparison without rounds.
    pub(crate) fn empty(name: String, call: &'static str, unit: Unit) -> Self {
        let rows = Contender::ALL
            .iter()
            .map(|contender| Row {
                contender: *contender,
                samples: Vec::new(),
                figures: None,
                count: Difference::default(),
                absent: contender.absence(),
            })
            .collect();
        Self { name, call, unit, bytes_per_call: 0.0, rows }
    }

    /// Keeps only these contenders.
    pub(crate) fn among(mut self, contenders: &[Contender]) -> Self {
        self.rows.retain(|row| contenders.contains(&row.contender));
        self
    }

    /// Measures a workload.
    pub(crate) fn of(fixture: &Fixture, workload: &Workload, schedule: &Schedule<'_>) -> Self {
        let mut this = Self::empty(workload.name.to_owned(), workload.call, workload.unit);
        for _ in 0..schedule.rounds {
            this.round(|contender| sample(fixture, workload, schedule, contender));
        }
        this.compute_figures();
        this
    }

    /// Runs one round. A contender that fails is absent from the following rounds.
    pub(crate) fn round(&mut self, mut turn: impl FnMut(Contender) -> Result<Sample>) {
        for row in self.rows.iter_mut().filter(|row| row.absent.is_none()) {
            match turn(row.contender) {
                Ok(sample) => {
                    row.samples.push(sample.ns);
                    row.count.add(&sample.count);
                    self.bytes_per_call = sample.bytes_per_call;
                }
                Err(error) => row.absent = Some(format!("{error:#}")),
            }
        }
    }

    /// Computes the statistics after the last round.
    pub(crate) fn compute_figures(&mut self) {
        for row in &mut self.rows {
            row.figures = Figures::of(&row.samples);
        }
    }

    /// The row of a contender.
    pub(crate) fn row(&self, contender: Contender) -> Option<&Row> {
        self.rows.iter().find(|row| row.contender == contender)
    }

    /// The figures of a contender.
    pub(crate) fn figures(&self, contender: Contender) -> Option<&Figures> {
        self.row(contender)?.figures.as_ref()
    }

    /// The ratio of a call's times under two contenders.
    pub(crate) fn time_ratio(&self, of: Contender, to: Contender) -> Option<f64> {
        figures::ratio(self.figures(of)?.best, self.figures(to)?.best)
    }

    /// The time that a contender adds to a call, in nanoseconds.
    pub(crate) fn added(&self, contender: Contender) -> Option<f64> {
        Some(self.figures(contender)?.added_to(self.figures(Contender::Native)?))
    }

    /// The ratio of the times that two contenders add.
    pub(crate) fn added_ratio(&self, of: Contender, to: Contender) -> Option<f64> {
        figures::ratio(self.added(of)?, self.added(to)?)
    }

    /// Adds a fictitious measurement.
    #[cfg(test)]
    pub(crate) fn add_sample(&mut self, contender: Contender, ns: f64, count: &Difference) {
        if let Some(row) = self.rows.iter_mut().find(|row| row.contender == contender) {
            row.samples.push(ns);
            row.count.add(count);
        }
        self.compute_figures();
    }

    /// Marks a contender as absent.
    #[cfg(test)]
    pub(crate) fn mark_absent(&mut self, contender: Contender, reason: String) {
        if let Some(row) = self.rows.iter_mut().find(|row| row.contender == contender) {
            row.absent = Some(reason);
        }
    }
}

fn sample(
    fixture: &Fixture,
    workload: &Workload,
    schedule: &Schedule<'_>,
    contender: Contender,
) -> Result<Sample> {
    let calls = workload.calls_at(contender.slowness() * schedule.divisor).max(1);
    let plan = Plan { name: workload.work, calls, command: schedule.command, ..Plan::default() };
    let mut load = Load::start(&fixture.load, &plan)?;
    let idle = if workload.innocent { Some(Load::start(&fixture.load, &plan)?) } else { None };
    let target = idle.as_ref().unwrap_or(&load).pid();
    let attached = contender.attach(fixture, target)?;
    let Repetitions { ns, mut truth, bytes_per_call } =
        Repetitions::of(&mut load, workload.repetitions())?;
    let mut lines = u64::from(workload.repetitions());
    if idle.is_some() {
        // An idle tree writes nothing.
        (truth, lines) = (Truth::default(), 0);
    }
    let mut trees = idle.into_iter().chain([load]);
    if contender.ends_with_target() {
        trees.by_ref().try_for_each(Load::finish)?;
    }
    let counted = attached.finish(target)?;
    trees.try_for_each(Load::finish)?;
    let count = if workload.knows_its_writes() {
        Difference::between(&counted, &truth, lines)
    } else {
        Difference::of_losses(&counted)
    };
    Ok(Sample { ns, bytes_per_call, count })
}

#[cfg(test)]
pub(crate) mod tests {
    use anyhow::bail;

    use super::*;

    /// A comparison of one round with these nanoseconds.
    pub(crate) fn comparison(name: &str, figures: &[(Contender, f64)]) -> Comparison {
        let mut this = Comparison::empty(name.to_owned(), "call", Unit::Nanoseconds);
        for row in &mut this.rows {
            row.absent = None;
        }
        for (contender, ns) in figures {
            this.add_sample(
                *contender,
                *ns,
                &Difference { counted: true, ..Difference::default() },
            );
        }
        this
    }

    #[test]
    fn ratios_are_of_what_is_added_to_native() {
        let this = comparison(
            "write32",
            &[(Contender::Native, 100.0), (Contender::Floor, 200.0), (Contender::Tracer, 350.0)],
        );
        assert_eq!(this.added(Contender::Tracer), Some(250.0));
        assert_eq!(this.added_ratio(Contender::Tracer, Contender::Floor), Some(2.5));
        assert_eq!(this.time_ratio(Contender::Tracer, Contender::Floor), Some(1.75));
        assert_eq!(this.added_ratio(Contender::Tracer, Contender::Bpftrace), None);
        assert_eq!(this.added_ratio(Contender::Tracer, Contender::Native), None);
    }

    #[test]
    fn a_contender_that_fails_is_absent_with_the_reason_and_the_others_continue() {
        let mut this = Comparison::empty("x".into(), "call", Unit::Nanoseconds);
        this.rows.iter_mut().for_each(|row| row.absent = None);
        let mut turns = Vec::new();
        for round in 0..3 {
            this.round(|contender| {
                turns.push((round, contender));
                if contender == Contender::Strace && round == 1 {
                    bail!("ptrace is not allowed")
                }
                Ok(Sample { ns: 5.0, bytes_per_call: 0.0, count: Difference::default() })
            });
        }
        this.compute_figures();
        let strace = this.row(Contender::Strace).unwrap();
        assert_eq!(strace.samples.len(), 1);
        assert_eq!(strace.absent.as_deref(), Some("ptrace is not allowed"));
        assert_eq!(this.figures(Contender::Native).unwrap().rounds, 3);
        // Interleaved: the second round begins after the first.
        assert!(turns.is_sorted_by_key(|(round, _)| *round));
        let all = Contender::ALL.len();
        assert_eq!(turns.len(), all + all + (all - 1));
    }
}
