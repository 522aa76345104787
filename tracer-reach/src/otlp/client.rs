//! One request to the collector, and what its answer means.

use std::time::Duration;

use jiff::Timestamp;
use ureq::{
    Agent,
    http::{Response, StatusCode, header::RETRY_AFTER},
};

use crate::told::cut;

/// The longest answer that is read, in bytes.
const LONGEST_ANSWER: u64 = 64 << 10;
/// The longest text of a collector that is passed on, in bytes.
const LONGEST_TEXT: usize = 200;

/// What became of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The collector took it. This is the body of its answer.
    Taken(Vec<u8>),
    /// It may be tried again, after the pause that the collector asked for.
    TryAgain { asked: Option<Duration>, why: String },
    /// It is not to be tried again.
    Refused(String),
}

/// Sends requests, one after another.
#[derive(Debug)]
pub(super) struct Client {
    agent: Agent,
}

impl Client {
    pub(super) fn new() -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            // A proxy on the way to a collector on this machine is a mistake of the environment.
            .proxy(None)
            .user_agent(concat!("tracer/", env!("CARGO_PKG_VERSION")))
            .max_response_header_size(16 << 10)
            .max_idle_connections(2)
            .max_idle_age(Duration::from_secs(15))
            .build();
        Self { agent: config.new_agent() }
    }

    /// Sends a message of protobuf. Takes no longer than `within`.
    pub(super) fn post(&self, url: &str, body: &[u8], within: Duration) -> Outcome {
        let request = self.agent.post(url).header("content-type", "application/x-protobuf");
        let request = request.config().timeout_global(Some(within)).build();
        let mut response = match request.send(body) {
            Ok(response) => response,
            Err(error) => return Outcome::TryAgain { asked: None, why: in_words(&error) },
        };
        let status = response.status();
        if status.is_success() {
            let body = response.body_mut().with_config().limit(LONGEST_ANSWER).read_to_vec();
            // It took the records, whatever the answer says.
            return Outcome::Taken(body.unwrap_or_default());
        }
        let why = format!("it answers {}", status.as_u16());
        if is_temporary(status) {
            return Outcome::TryAgain { asked: pause_asked(&response), why };
        }
        Outcome::Refused(why)
    }
}

/// Statuses after which a request may be repeated, of the specification of OTLP/HTTP 1.11 ("Retryable Response Codes").
fn is_temporary(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 502 | 503 | 504)
}

/// The header `Retry-After`: seconds, or a date (RFC 9110, 10.2.3).
fn pause_asked<T>(response: &Response<T>) -> Option<Duration> {
    let value = response.headers().get(RETRY_AFTER)?.to_str().ok()?;
    if let Ok(seconds) = value.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = jiff::fmt::rfc2822::parse(value).ok()?.timestamp();
    Duration::try_from(at.duration_since(Timestamp::now())).ok()
}

fn in_words(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Timeout(_) => "it does not answer in time".to_owned(),
        error => text_of(&error.to_string()),
    }
}

/// A text that is not tracer's, for one line of the log.
pub(super) fn text_of(text: &str) -> String {
    cut(text, LONGEST_TEXT).escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pause(value: &str) -> Option<Duration> {
        pause_asked(&Response::builder().header(RETRY_AFTER, value).body(()).unwrap())
    }

    #[test]
    fn a_pause_is_seconds_or_a_date() {
        assert_eq!(pause("120"), Some(Duration::from_secs(120)));
        let date = Timestamp::now().checked_add(jiff::SignedDuration::from_secs(60)).unwrap();

        let date = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&date);
        let asked = pause(&date.unwrap()).unwrap();
        assert!((50..=60).contains(&asked.as_secs()), "{asked:?}");
        for wrong in ["soon", "-1", "", "Wed, 21 Oct 2015 07:28:00 GMT"] {
            assert_eq!(pause(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn only_four_statuses_are_temporary() {
        let temporary: Vec<u16> =
            (100..600).filter(|it| is_temporary(StatusCode::from_u16(*it).unwrap())).collect();
        assert_eq!(temporary, [429, 502, 503, 504]);
    }
}
