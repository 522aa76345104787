//! The counts of a pipe or pair of sockets do not balance: tracer did not count some of its bytes.

use serde_json::{Map, Value, json};
use tracer_common::id::ProcessId;

use super::super::{Case, words};
use crate::{
    session::{Flow, LossReason, Object},
    text::{list, units},
    verdict::{Confidence, Finding, Rule, Severity},
};

pub(super) fn find(case: &Case<'_>) -> Vec<Finding> {
    case.session
        .objects
        .values()
        .filter(|object| object.hop == 0)
        .filter_map(|object| {
            let flow = case.flows.get(&object.id);
            if flow.balanced != Some(false) {
                return None;
            }
            let before = flow.before.unwrap_or(0);
            let left = flow.unread.unwrap_or(0);
            let supply = before + flow.written + flow.in_flight;
            let message = format!(
                "The counts of {} are incomplete: {} inside before + {} written is not {} read + {} \
                 unread; {} were not counted ({}).",
                words::object(case, &object.id),
                units::exact(before),
                units::exact(flow.written),
                units::exact(flow.read),
                units::exact(left),
                units::exact(supply.abs_diff(flow.read + left)),
                reasons(case, object)
            );
            let evidence = evidence(case, object, flow);
            Some(Finding {
                rule: Rule::Unbalanced,
                severity: Severity::Warning,
                confidence: Confidence::Certain,
                pid: 0,
                start_ns: 0,
                fd: None,
                message,
                advice: Some(
                    "Trace from before the first write: start the command with `tracer -- COMMAND`."
                        .into(),
                ),
                evidence,
            })
        })
        .collect()
}

fn evidence(case: &Case<'_>, object: &Object, flow: &Flow) -> Map<String, Value> {
    let mut evidence = Map::new();
    for (name, value) in [
        ("unread_before", flow.before.unwrap_or(0)),
        ("written", flow.written),
        ("in_flight", flow.in_flight),
        ("read", flow.read),
        ("unread", flow.unread.unwrap_or(0)),
    ] {
        evidence.insert(name.into(), json!(value));
    }
    evidence.insert("object".into(), json!(case.session.object_name(&object.id)));
    evidence
}

fn reasons(case: &Case<'_>, object: &Object) -> String {
    if object.taken_unseen > 0 {
        return "it was read before the first write that tracer saw had returned".to_owned();
    }
    if !case.has_losses() {
        return if was_in_use(case, object) {
            "it was in use when tracer attached".to_owned()
        } else {
            "tracer did not see how".to_owned()
        };
    }
    let of_trace = case.session.losses.keys().filter(|reason| !reason.is_of_object());
    list(of_trace.map(LossReason::name), ", ")
}

/// Whether a process that ran before the trace wrote to the object or read from it.
fn was_in_use(case: &Case<'_>, object: &Object) -> bool {
    let flow = case.flows.get(&object.id);
    let mut users = flow.writers.iter().chain(&flow.readers);
    let is_late = |process: &ProcessId| {
        // The command that tracer itself starts is older than the trace, but has not run before it.
        let known = case.session.processes.get(process);
        process.start_ns < case.session.start_ns
            && known.is_none_or(|known| !known.is_target || known.attached_late)
    };
    !case.session.was_created_here(&object.id) && users.any(|user| is_late(&user.process))
}
