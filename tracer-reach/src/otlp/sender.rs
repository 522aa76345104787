//! The thread that sends.

use std::{
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use opentelemetry_proto::tonic::collector::{
    logs::v1::ExportLogsServiceResponse, metrics::v1::ExportMetricsServiceResponse,
};
use prost::Message as _;

use super::{
    Shared,
    backoff::Backoff,
    client::{Client, Outcome, text_of},
    endpoint::Endpoint,
    message::Origin,
};

/// How fast it goes on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// How long a record waits for others.
    pub(super) linger: Duration,
    /// How long a request may take.
    pub(super) request: Duration,
    /// The first pause after a failure, and the longest.
    pub(super) pauses: (Duration, Duration),
    /// How long a batch is tried.
    pub(super) give_up: Duration,
    /// How often metrics are sent: if they changed, and if they did not.
    pub(super) metrics: (Duration, Duration),
    /// How often the log is told of failures.
    pub(super) warnings: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            linger: Duration::from_secs(1),
            request: Duration::from_secs(10),
            pauses: (Duration::from_secs(1), Duration::from_secs(30)),
            give_up: Duration::from_mins(15),
            metrics: (Duration::from_secs(10), Duration::from_mins(1)),
            warnings: Duration::from_mins(1),
        }
    }
}

/// A request that was not taken yet.
#[derive(Debug)]
struct Pending {
    body: Vec<u8>,
    since: Instant,
}

/// Sends batches of log records, and the metrics.
#[derive(Debug)]
pub(super) struct Sender {
    shared: Arc<Shared>,
    client: Client,
    origin: Origin,
    pace: Pace,
    logs_url: String,
    metrics_url: String,
    pending: Option<Pending>,
    of_logs: Backoff,
    of_metrics: Backoff,
    next_metrics: Instant,
    /// [`Totals::changes`](super::totals::Totals::changes) and drops that the collector knows, and since when.
    sent: Option<(u64, u64, Instant)>,
    next_warning: Instant,
    /// Drops that the log has told.
    told: u64,
}

impl Sender {
    pub(super) fn new(endpoint: &Endpoint, pace: Pace, shared: Arc<Shared>) -> Self {
        let backoff = || Backoff::new(pace.pauses.0, pace.pauses.1);
        let now = Instant::now();
        Self {
            shared,
            client: Client::new(),
            origin: Origin::of_this_machine(),
            pace,
            logs_url: endpoint.url("logs"),
            metrics_url: endpoint.url("metrics"),
            pending: None,
            of_logs: backoff(),
            of_metrics: backoff(),
            next_metrics: now + pace.linger,
            sent: None,
            next_warning: now,
            told: 0,
        }
    }

    /// Sends until the end has begun, and then what is left.
    pub(super) fn run(mut self) {
        loop {
            let now = Instant::now();
            let next = match &self.pending {
                Some(_) => self.of_logs.not_before().unwrap_or(now).min(self.next_metrics),
                None => self.next_metrics,
            };
            if let Some(until) = self.shared.queue.wait(next, self.pending.is_none()) {
                self.finish(until);
                return self.shared.queue.finished();
            }
            self.turn(Instant::now());
        }
    }

    fn turn(&mut self, now: Instant) {
        if self.take_batch(now) && self.of_logs.not_before().is_none_or(|at| at <= now) {
            self.send_logs(self.pace.request);
        }
        if self.next_metrics <= now {
            self.send_metrics(self.pace.request);
        }
        if self.shared.queue.dropped().total() > self.told {
            self.warn("the collector does not take all log records");
        }
    }

    /// Sends what is left, each once and only until this time.
    fn finish(&mut self, until: Instant) {
        let left = |most: Duration| until.saturating_duration_since(Instant::now()).min(most);
        let mut is_there = true;
        while is_there && !left(self.pace.request).is_zero() && self.take_batch(Instant::now()) {
            is_there = self.send_logs(left(self.pace.request));
        }
        if is_there && !left(self.pace.request).is_zero() {
            self.send_metrics(left(self.pace.request));
        }
    }

    /// Whether there is a batch to send.
    fn take_batch(&mut self, now: Instant) -> bool {
        if self.pending.is_none() {
            let batch = self.shared.queue.take();
            if !batch.is_empty() {
                let body = self.origin.logs(batch).encode_to_vec();
                self.pending = Some(Pending { body, since: now });
            }
        }
        self.pending.is_some()
    }

    /// Sends the batch. Whether it is done with.
    fn send_logs(&mut self, within: Duration) -> bool {
        let Some(pending) = &self.pending else { return true };
        let queue = &self.shared.queue;
        let outcome = self.client.post(&self.logs_url, &pending.body, within);
        match outcome {
            Outcome::Taken(answer) => {
                let (rejected, why) = rejected_records(&answer);
                queue.settle(|dropped, sent| dropped.refused += rejected.min(sent));
                if let Some(why) = why {
                    self.warn(&format!("the collector answers: {why}"));
                }
            }
            Outcome::Refused(why) => {
                queue.settle(|dropped, sent| dropped.refused += sent);
                self.warn(&format!("{} refuses log records: {why}", self.logs_url));
            }
            Outcome::TryAgain { asked, why } => {
                let now = Instant::now();
                self.of_logs.failed(now, asked);
                if now - pending.since < self.pace.give_up {
                    self.warn(&format!(
                        "{} cannot be told: {why}; it is tried again",
                        self.logs_url
                    ));
                    return false;
                }
                queue.settle(|dropped, sent| dropped.gave_up += sent);
                self.pending = None;
                return false;
            }
        }
        self.pending = None;
        self.of_logs.reset();
        true
    }

    /// Sends the metrics if they changed, or if they were not sent for long.
    fn send_metrics(&mut self, within: Duration) {
        let (often, seldom) = self.pace.metrics;
        let dropped = self.shared.queue.dropped();
        let (changes, metrics) = {
            let totals = self.shared.totals.lock().unwrap_or_else(PoisonError::into_inner);
            (totals.changes(), totals.metrics(Timestamp::now().as_microsecond(), dropped))
        };
        let now = Instant::now();
        self.next_metrics = now + often;
        let is_known = |(of_totals, of_drops, at): (u64, u64, Instant)| {
            (of_totals, of_drops) == (changes, dropped.total()) && now - at < seldom
        };
        if self.sent.is_some_and(is_known) {
            return;
        }
        let body = self.origin.metrics(metrics).encode_to_vec();
        let problem = match self.client.post(&self.metrics_url, &body, within) {
            Outcome::Taken(answer) => {
                self.sent = Some((changes, dropped.total(), now));
                self.of_metrics.reset();
                rejected_metrics(&answer)
            }
            Outcome::Refused(why) => {
                self.sent = Some((changes, dropped.total(), now));
                Some(format!("it refuses metrics: {why}"))
            }
            Outcome::TryAgain { asked, why } => {
                self.of_metrics.failed(Instant::now(), asked);
                let not_before = self.of_metrics.not_before();
                self.next_metrics =
                    not_before.map_or(self.next_metrics, |at| at.max(self.next_metrics));
                Some(format!("it cannot be told: {why}"))
            }
        };
        if let Some(problem) = problem {
            self.warn(&format!("{}: {problem}", self.metrics_url));
        }
    }

    /// Writes a line to the log with all drops, unless there was one a short time ago.
    fn warn(&mut self, text: &str) {
        let now = Instant::now();
        if now < self.next_warning {
            return;
        }
        self.next_warning = now + self.pace.warnings;
        let dropped = self.shared.queue.dropped();
        self.told = dropped.total();
        let reasons = dropped.by_reason().into_iter().filter(|(_, sum)| *sum > 0);
        let reasons: Vec<_> = reasons.map(|(name, sum)| format!("{name} {sum}")).collect();
        let drops = (!reasons.is_empty()).then(|| format!("; dropped: {}", reasons.join(", ")));
        tracing::warn!("OpenTelemetry: {text}{}", drops.unwrap_or_default());
    }
}

/// How many records the collector took and then rejected, and why. A text alone is a warning.
fn rejected_records(answer: &[u8]) -> (u64, Option<String>) {
    let partial = ExportLogsServiceResponse::decode(answer).ok().and_then(|it| it.partial_success);
    let Some(partial) = partial else { return (0, None) };
    let rejected = u64::try_from(partial.rejected_log_records).unwrap_or_default();
    (rejected, said(rejected, &partial.error_message))
}

/// What the collector says about metrics that it rejected.
fn rejected_metrics(answer: &[u8]) -> Option<String> {
    let partial = ExportMetricsServiceResponse::decode(answer).ok()?.partial_success?;
    said(u64::try_from(partial.rejected_data_points).unwrap_or_default(), &partial.error_message)
}

fn said(rejected: u64, message: &str) -> Option<String> {
    let message = text_of(message);
    (rejected > 0 || !message.is_empty()).then(|| format!("{rejected} rejected; {message}"))
}
