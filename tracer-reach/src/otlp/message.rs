//! Messages of OpenTelemetry: values, resource, requests.

use opentelemetry_proto::tonic::{
    collector::{logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest},
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value},
    logs::v1::{LogRecord, ResourceLogs, ScopeLogs},
    metrics::v1::{Metric, ResourceMetrics, ScopeMetrics},
    resource::v1::Resource,
};

use crate::told::{LONGEST, cut};

/// The semantic conventions that names of attributes are from, as `opentelemetry-semantic-conventions` 0.33 has them.
const CONVENTIONS: &str = "https://opentelemetry.io/schemas/1.42.0";

fn any(value: Value) -> Option<AnyValue> {
    Some(AnyValue { value: Some(value) })
}

/// A text as a value, this many bytes at most.
pub(super) fn body(text: &str, most: usize) -> Option<AnyValue> {
    any(Value::StringValue(cut(text, most).to_owned()))
}

fn attribute(key: &str, value: Option<AnyValue>) -> KeyValue {
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

/// An attribute that is a text. A long one is cut.
pub(super) fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, body(value, LONGEST))
}

/// An attribute that is a list with one text.
pub(super) fn texts(key: &str, value: &str) -> KeyValue {
    let values = body(value, LONGEST).into_iter().collect();
    let list = opentelemetry_proto::tonic::common::v1::ArrayValue { values };
    attribute(key, any(Value::ArrayValue(list)))
}

/// An attribute that is a number.
pub(super) fn number(key: &str, value: u64) -> KeyValue {
    attribute(key, any(Value::IntValue(i64::try_from(value).unwrap_or(i64::MAX))))
}

/// An attribute that is true or false.
pub(super) fn flag(key: &str, value: bool) -> KeyValue {
    attribute(key, any(Value::BoolValue(value)))
}

/// Nanoseconds since 1970, of microseconds.
pub(super) fn nanos(us: i64) -> u64 {
    u64::try_from(us).unwrap_or_default().saturating_mul(1_000)
}

/// What all records and metrics have in common: this program on this machine.
#[derive(Debug)]
pub(super) struct Origin {
    resource: Resource,
    scope: InstrumentationScope,
}

impl Origin {
    pub(super) fn of_this_machine() -> Self {
        let (name, version) = ("tracer", env!("CARGO_PKG_VERSION"));
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let attributes = vec![
            text("service.name", name),
            text("service.version", version),
            text("host.name", &host),
        ];
        Self {
            resource: Resource { attributes, ..Resource::default() },
            scope: InstrumentationScope {
                name: name.to_owned(),
                version: version.to_owned(),
                ..InstrumentationScope::default()
            },
        }
    }

    pub(super) fn logs(&self, log_records: Vec<LogRecord>) -> ExportLogsServiceRequest {
        let scope_logs = vec![ScopeLogs {
            scope: Some(self.scope.clone()),
            log_records,
            schema_url: CONVENTIONS.to_owned(),
        }];
        let resource = Some(self.resource.clone());
        let schema_url = CONVENTIONS.to_owned();
        ExportLogsServiceRequest {
            resource_logs: vec![ResourceLogs { resource, scope_logs, schema_url }],
        }
    }

    pub(super) fn metrics(&self, metrics: Vec<Metric>) -> ExportMetricsServiceRequest {
        let scope_metrics = vec![ScopeMetrics {
            scope: Some(self.scope.clone()),
            metrics,
            schema_url: CONVENTIONS.to_owned(),
        }];
        let resource = Some(self.resource.clone());
        let schema_url = CONVENTIONS.to_owned();
        ExportMetricsServiceRequest {
            resource_metrics: vec![ResourceMetrics { resource, scope_metrics, schema_url }],
        }
    }
}
