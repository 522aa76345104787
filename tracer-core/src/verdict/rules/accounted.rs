//! The fallback: only the numbers, if no other rule applies.

use std::collections::BTreeMap;

use tracer_common::object::ObjectId;

use super::super::{Case, Subject, evidence, words};
use crate::{
    text::{list, units},
    verdict::{Finding, Rule, Severity},
};

/// Not in the list of rules: called only if none of them found anything.
pub(in crate::verdict) fn find(case: &Case<'_>, subject: &Subject<'_>) -> Finding {
    let parts: Vec<String> = subject
        .streams()
        .iter()
        .map(|stream| {
            if stream.row.bytes == 0 {
                return format!("nothing to {}", stream.name());
            }
            let fate = words::fate(case, stream);
            format!("{} to {}, {fate}", units::exact(stream.row.bytes), stream.name())
        })
        .collect();
    let mut sums: BTreeMap<ObjectId, u64> = BTreeMap::new();
    for (object, bytes) in subject.all_redirected() {
        let sum = sums.entry(*object).or_default();
        *sum = sum.saturating_add(*bytes);
    }
    let elsewhere: Vec<String> = sums
        .iter()
        .map(|(object, bytes)| {
            format!("{} to {}", units::exact(*bytes), words::object(case, object))
        })
        .collect();
    let elsewhere = match elsewhere.is_empty() {
        true => String::new(),
        false => format!(", {}", list(elsewhere, ", ")),
    };
    let message = format!(
        "{} wrote {}{}.{}",
        words::who(subject),
        parts.join(" and "),
        elsewhere,
        words::ending(subject)
    );
    evidence::finding(case, subject, Rule::Accounted, Severity::Info, message)
}
