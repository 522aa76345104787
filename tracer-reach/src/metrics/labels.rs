//! The labels of the metrics.

use prometheus_client::encoding::EncodeLabelSet;

use super::{
    table::Labels,
    workload::{OTHER, Where},
};

/// Labels of counts of bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
pub(super) struct OfStream {
    pub(super) namespace: String,
    pub(super) workload: String,
    pub(super) container: String,
    pub(super) stream: &'static str,
}

/// Labels of counts of lost bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
pub(super) struct OfLoss {
    pub(super) namespace: String,
    pub(super) workload: String,
    pub(super) container: String,
    pub(super) stream: &'static str,
    pub(super) rule: &'static str,
}

/// Labels of counts of findings.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
pub(super) struct OfFinding {
    pub(super) namespace: String,
    pub(super) workload: String,
    pub(super) container: String,
    pub(super) rule: String,
    pub(super) severity: String,
}

/// Labels of counts of ended commands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
pub(super) struct OfCommand {
    pub(super) namespace: String,
    pub(super) workload: String,
    pub(super) container: String,
    pub(super) result: &'static str,
}

/// Labels of a place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
pub(super) struct OfPlace {
    pub(super) namespace: String,
    pub(super) workload: String,
    pub(super) container: String,
}

/// Labels of counts of what the recorder has missed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
pub(super) struct OfReason {
    pub(super) reason: String,
}

/// What `tracer_build_info` says.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct OfBuild {
    pub(super) version: String,
}

/// Implements [`Labels`] for labels that have a place.
macro_rules! placed {
    ($($labels:ident),*) => {$(
        impl Labels for $labels {
            fn folded(&self) -> Self {
                let Where { namespace, workload, container } = Where::other();
                Self { namespace, workload, container, ..self.clone() }
            }
        }

        impl $labels {
            /// Whether it is about this place.
            pub(super) fn is_of(&self, place: &Where) -> bool {
                self.workload == place.workload
                    && self.container == place.container
                    && self.namespace == place.namespace
            }
        }
    )*};
}

placed!(OfStream, OfLoss, OfFinding, OfCommand);

impl Labels for OfPlace {
    fn folded(&self) -> Self {
        Self::of(&Where::other())
    }
}

impl OfPlace {
    pub(super) fn of(place: &Where) -> Self {
        let Where { namespace, workload, container } = place.clone();
        Self { namespace, workload, container }
    }

    /// Whether it is this place.
    pub(super) fn is_of(&self, place: &Where) -> bool {
        *self == Self::of(place)
    }
}

impl Labels for OfReason {
    fn folded(&self) -> Self {
        Self { reason: OTHER.to_owned() }
    }
}

impl OfStream {
    pub(super) fn of(place: &Where, stream: &'static str) -> Self {
        let Where { namespace, workload, container } = place.clone();
        Self { namespace, workload, container, stream }
    }
}

impl OfLoss {
    pub(super) fn of(place: &Where, stream: &'static str, rule: &'static str) -> Self {
        let Where { namespace, workload, container } = place.clone();
        Self { namespace, workload, container, stream, rule }
    }
}

impl OfFinding {
    pub(super) fn of(place: &Where, finding: &tracer_history::Finding) -> Self {
        let Where { namespace, workload, container } = place.clone();
        let tracer_history::Finding { rule, severity } = finding.clone();
        Self { namespace, workload, container, rule, severity }
    }
}

impl OfCommand {
    pub(super) fn of(place: &Where, result: &'static str) -> Self {
        let Where { namespace, workload, container } = place.clone();
        Self { namespace, workload, container, result }
    }
}
