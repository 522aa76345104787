//! A file that was emptied under a writer that does not append: it begins with a hole.

use tracer_common::{ledger::READ, object::ObjectId};

use super::{
    gone::{Gone, appends, written_before},
    writes_to,
};
use crate::{
    session::Object,
    text::units,
    verdict::{Case, case::Cut},
};

/// How long the hole at the beginning of a file is, if there is one: the latest cut left it empty, a writer went on where
/// it was, and so the file is as long as if nothing had been cut.
pub(super) fn hole(case: &Case<'_>, object: &Object) -> Option<Gone> {
    let cut = case.cuts_of.get(&object.id)?.last().filter(|cut| cut.is_emptied)?;
    let before = written_before(case, &object.id, cut.time_ns);
    let goes_on = writes_to(case, &object.id).any(|(_, row)| row.last_ns > cut.time_ns);
    let size = object.size_after.filter(|_| object.is_found())?;
    let all = object.size.saturating_add(case.flows.get(&object.id).written);
    let has_hole =
        before.least > 0 && before.most > 0 && goes_on && size == all && !appends(case, &object.id);
    has_hole.then(|| copied(case, &object.id, cut, before).unwrap_or(before))
}

/// What the latest reader before a cut had read, which is what was in the file if it made a copy: `cp`, `logrotate`.
fn copied(case: &Case<'_>, object: &ObjectId, cut: &Cut, before: Gone) -> Option<Gone> {
    let readers = case.flows.get(object).readers.iter();
    let rows = readers.flat_map(|reader| case.session.rows_of(reader.process, READ));
    let latest = rows
        .filter(|(key, row)| key.object == *object && row.bytes > 0 && row.last_ns <= cut.time_ns)
        .max_by_key(|(_, row)| row.last_ns);
    let bytes = latest.map(|(_, row)| row.bytes)?;
    (before.least..=before.most).contains(&bytes).then_some(Gone { least: bytes, most: bytes })
}

/// How the file begins now, and who cut it.
pub(super) fn describe(case: &Case<'_>, object: &ObjectId, hole: Gone) -> String {
    let bytes = match hole.least == hole.most {
        true => units::exact(hole.most),
        false => format!("up to {}", units::exact(hole.most)),
    };
    let by = case.cuts.get(object).map_or_else(String::new, |(time_ns, process)| {
        format!(
            ": {} cut the file after a copy, and its writer does not append",
            process.short_at(*time_ns)
        )
    });
    format!("which begins with a hole of {bytes} now{by}")
}
