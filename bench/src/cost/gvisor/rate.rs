//! How many messages a second tracer takes from a sandbox: more and more writers, each as fast as it can.

use serde::Serialize;

use super::{Work, compared};
use crate::{
    cost::comparison::{Comparison, contender::Contender},
    harness::{
        fixture::Fixture,
        table::{Table, whole},
    },
};

/// Numbers of writers.
const STEPS: [u32; 6] = [1, 2, 4, 8, 16, 64];
/// Writes of all writers together in a repetition.
const CALLS: u64 = 20_000;
const REPETITIONS: u32 = 3;
/// A sandbox tells the beginning and the end of a `write`.
const MESSAGES_PER_WRITE: f64 = 2.0;
/// Limit of rounds.
const MOST_ROUNDS: u32 = 3;

/// A number of writers at the same time.
#[derive(Debug, Serialize)]
pub(crate) struct Step {
    /// The number.
    pub(crate) writers: u32,
    /// The time from the start of all writers to the end of the last, divided by the number of writes.
    pub(crate) write32: Comparison,
}

impl Step {
    /// Writes per second of the fastest round.
    fn writes(&self, contender: Contender) -> Option<f64> {
        Some(1e9 / self.write32.figures(contender)?.best)
    }

    /// Whether tracer counted everything, in all rounds.
    fn is_exact(&self) -> bool {
        let row = self.write32.row(Contender::Tracer);
        row.is_some_and(|row| row.absent.is_none() && row.count.counted && row.count.is_exact())
    }
}

/// Measures all steps.
pub(super) fn measure(fixture: &Fixture, config: &serde_json::Value, rounds: u32) -> Vec<Step> {
    let step = |writers| {
        let work = Work {
            name: "gvisor-writers",
            work: "writers",
            calls: CALLS,
            call: "the same by several guests at once",
            writers,
            repetitions: REPETITIONS,
        };
        Step { writers, write32: compared(fixture, config, &work, rounds.min(MOST_ROUNDS)) }
    };
    STEPS.into_iter().map(step).collect()
}

/// The table, in Markdown.
pub(super) fn table(steps: &[Step]) -> String {
    let mut table = Table::new(&[
        "writers",
        "writes/s, no session",
        "discarded",
        "tracer",
        "messages/s to tracer",
        "count, discarded",
        "count, tracer",
    ]);
    for step in steps {
        let shown = |rate: Option<f64>| rate.map_or("–".to_owned(), |rate| whole(rate as u64));
        let mut row = vec![whole(step.writers.into())];
        row.extend(super::CONTENDERS.map(|contender| shown(step.writes(contender))));
        let messages = step.writes(Contender::Tracer).map(|rate| rate * MESSAGES_PER_WRITE);
        row.push(shown(messages));
        for contender in [Contender::Floor, Contender::Tracer] {
            let known = step.write32.row(contender);
            row.push(match known.and_then(|known| known.absent.as_ref()) {
                Some(reason) => format!("absent: {reason}"),
                None => known.map(|known| known.count.to_string()).unwrap_or_default(),
            });
        }
        table.add(row);
    }
    table.render()
}

/// The highest rate without a dropped message.
pub(super) fn sentence(steps: &[Step]) -> String {
    let exact = steps.iter().filter(|step| step.is_exact());
    let rates = exact.filter_map(|step| Some((step.writes(Contender::Tracer)?, step.writers)));
    let most = rates.max_by(|(a, _), (b, _)| a.total_cmp(b));
    let lossy = steps.iter().find(|step| !step.is_exact());
    let most = most.map_or("no step was exact".to_owned(), |(rate, writers)| {
        let messages = whole((rate * MESSAGES_PER_WRITE) as u64);
        format!("most without a loss: {messages} messages/s, of {} writers", whole(writers.into()))
    });
    let first = lossy.map_or("no step had a loss".to_owned(), |step| {
        format!("first loss: with {} writers", whole(step.writers.into()))
    });
    format!("* {most}; {first}")
}

#[cfg(test)]
mod tests {
    use tracer_common::loss::Reason;

    use super::*;
    use crate::cost::comparison::{count::Difference, tests::comparison};

    fn step(writers: u32, ns: f64, lost: u64) -> Step {
        let mut write32 = comparison("gvisor-writers", &[(Contender::Native, 10_000.0)]);
        let losses = (lost > 0).then_some((Reason::RingFull.into(), lost)).into_iter().collect();
        let count = Difference { counted: true, losses, ..Difference::default() };
        write32.add_sample(Contender::Tracer, ns, &count);
        Step { writers, write32 }
    }

    #[test]
    fn the_highest_rate_is_that_of_a_step_without_a_loss() {
        let steps = [step(1, 50_000.0, 0), step(2, 25_000.0, 0), step(4, 20_000.0, 7)];
        assert_eq!(
            sentence(&steps),
            "* most without a loss: 80,000 messages/s, of 2 writers; first loss: with 4 writers"
        );
        assert_eq!(
            sentence(&steps[..1]),
            "* most without a loss: 40,000 messages/s, of 1 writers; no step had a loss"
        );
        let text = table(&steps);
        assert!(text.contains("| 50,000 |") && text.contains("says ring_full: 7"), "{text}");
    }
}
