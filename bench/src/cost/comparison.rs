//! Interleaved rounds: A B C A B C …, so that what disturbs the machine disturbs all alike.

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
use crate::harness::place::Place;

/// All of one workload.
#[derive(Debug, Serialize)]
pub(crate) struct Comparison {
    /// The workload.
    pub(crate) name: String,
    /// What one call is.
    pub(crate) call: &'static str,
    /// How it reads best.
    #[serde(skip)]
    pub(crate) unit: Unit,
    /// Bytes that one call moves.
    pub(crate) bytes_per_call: f64,
    /// Every contender, in the order of the rounds.
    pub(crate) rows: Vec<Row>,
}

/// One contender in one workload.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    /// Who.
    #[serde(serialize_with = "by_name")]
    pub(crate) contender: Contender,
    /// Nanoseconds per call, one number for each round.
    pub(crate) samples: Vec<f64>,
    /// The same in short.
    pub(crate) figures: Option<Figures>,
    /// What it counted wrong, over all rounds.
    pub(crate) count: Difference,
    /// Why it did not take part, or no longer.
    pub(crate) absent: Option<String>,
}

fn by_name<S: serde::Serializer>(contender: &Contender, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(contender.name())
}

/// One measurement.
pub(crate) struct Sample {
    pub(crate) ns: f64,
    pub(crate) bytes_per_call: f64,
    pub(crate) count: Difference,
}

/// Several takes of one loop.
pub(crate) struct Takes {
    /// Nanoseconds per call of the fastest.
    pub(crate) ns: f64,
    /// What all of them did.
    pub(crate) truth: Truth,
    /// Bytes that one call moves.
    pub(crate) bytes_per_call: f64,
}

impl Takes {
    /// Measures so often.
    pub(crate) fn of(load: &mut Load, times: u32) -> Result<Self> {
        let mut takes = Self { ns: f64::INFINITY, truth: Truth::default(), bytes_per_call: 0.0 };
        for _ in 0..times {
            let measured = load.measure()?;
            takes.ns = takes.ns.min(measured.ns_per_call());
            takes.truth += measured.truth;
            takes.bytes_per_call = measured.bytes as f64 / measured.calls.max(1) as f64;
        }
        Ok(takes)
    }
}

/// How a workload is run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule<'a> {
    /// How often each contender has its turn.
    pub(crate) rounds: u32,
    /// Divides the calls.
    pub(crate) haste: u64,
    /// What the loop `exec` starts.
    pub(crate) command: &'a [String],
}

impl Comparison {
    /// Nobody has had a turn.
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

    /// Only these contenders.
    pub(crate) fn among(mut self, contenders: &[Contender]) -> Self {
        self.rows.retain(|row| contenders.contains(&row.contender));
        self
    }

    /// Runs a workload.
    pub(crate) fn of(place: &Place, workload: &Workload, schedule: &Schedule<'_>) -> Self {
        let mut this = Self::empty(workload.name.to_owned(), workload.call, workload.unit);
        for _ in 0..schedule.rounds {
            this.round(|contender| sample(place, workload, schedule, contender));
        }
        this.sum_up();
        this
    }

    /// One turn for each contender that is still there. Who fails is absent from then on.
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

    /// Works out the figures, when all rounds are over.
    pub(crate) fn sum_up(&mut self) {
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

    /// The time of a call under one contender, of that under another.
    pub(crate) fn time_ratio(&self, of: Contender, to: Contender) -> Option<f64> {
        figures::ratio(self.figures(of)?.best, self.figures(to)?.best)
    }

    /// What a contender adds to a call, in nanoseconds.
    pub(crate) fn added(&self, contender: Contender) -> Option<f64> {
        Some(self.figures(contender)?.added_to(self.figures(Contender::Native)?))
    }

    /// What one contender adds, measured by what another adds.
    pub(crate) fn added_ratio(&self, of: Contender, to: Contender) -> Option<f64> {
        figures::ratio(self.added(of)?, self.added(to)?)
    }

    /// Takes in a made-up measurement.
    #[cfg(test)]
    pub(crate) fn take(&mut self, contender: Contender, ns: f64, count: &Difference) {
        if let Some(row) = self.rows.iter_mut().find(|row| row.contender == contender) {
            row.samples.push(ns);
            row.count.add(count);
        }
        self.sum_up();
    }

    /// Notes that a contender could not take part.
    #[cfg(test)]
    pub(crate) fn miss(&mut self, contender: Contender, reason: String) {
        if let Some(row) = self.rows.iter_mut().find(|row| row.contender == contender) {
            row.absent = Some(reason);
        }
    }
}

fn sample(
    place: &Place,
    workload: &Workload,
    schedule: &Schedule<'_>,
    contender: Contender,
) -> Result<Sample> {
    let calls = workload.calls_at(contender.slowness() * schedule.haste).max(1);
    let plan =
        Plan { name: workload.work, calls, sleepers: 0, objects: 0, command: schedule.command };
    let mut load = Load::start(&place.load, &plan)?;
    let idle = if workload.innocent { Some(Load::start(&place.load, &plan)?) } else { None };
    let target = idle.as_ref().unwrap_or(&load).pid();
    let attached = contender.attach(place, target)?;
    let Takes { ns, mut truth, bytes_per_call } = Takes::of(&mut load, workload.takes())?;
    let mut lines = u64::from(workload.takes());
    if idle.is_some() {
        // Of an idle tree there is nothing to count.
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

    /// A comparison with these nanoseconds, one round each.
    pub(crate) fn comparison(name: &str, figures: &[(Contender, f64)]) -> Comparison {
        let mut this = Comparison::empty(name.to_owned(), "call", Unit::Nanoseconds);
        for row in &mut this.rows {
            row.absent = None;
        }
        for (contender, ns) in figures {
            this.take(*contender, *ns, &Difference { counted: true, ..Difference::default() });
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
    fn who_fails_is_absent_with_the_reason_and_the_others_go_on() {
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
        this.sum_up();
        let strace = this.row(Contender::Strace).unwrap();
        assert_eq!(strace.samples.len(), 1);
        assert_eq!(strace.absent.as_deref(), Some("ptrace is not allowed"));
        assert_eq!(this.figures(Contender::Native).unwrap().rounds, 3);
        // Interleaved: the first round is over before the second begins.
        assert!(turns.is_sorted_by_key(|(round, _)| *round));
        let all = Contender::ALL.len();
        assert_eq!(turns.len(), all + all + (all - 1));
    }
}
