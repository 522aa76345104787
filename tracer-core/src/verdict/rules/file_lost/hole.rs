//! A file that was emptied under a writer that does not append: it begins with a hole.

use tracer_common::{ledger::READ, object::ObjectId};

use super::gone::{Gone, appends, written_before};
use crate::{
    session::{CutKind, Object},
    text::units,
    verdict::{Case, case::Cut},
};

/// How long the hole at the beginning of a file is, if there is one: the latest cut left it empty, a writer went on where
/// it was, and so the file is as long as if nothing had been cut.
pub(super) fn hole(case: &Case<'_>, object: &Object) -> Option<Gone> {
    let cut = case.cuts_of.get(&object.id)?.last().filter(|cut| cut.kind == CutKind::Emptied)?;
    let size = object.size_after.filter(|size| *size > 0 && object.is_found())?;
    let all = object.size.saturating_add(case.flows.get(&object.id).written);
    if size != all || appends(case, &object.id) {
        return None;
    }
    let written = written_before(case.writes_to(&object.id), cut.time_ns);
    let with_size = |bytes: u64| bytes.saturating_add(object.size);
    let before = Gone { least: with_size(written.least), most: with_size(written.most) };
    let exact = copied(case, &object.id, cut)
        .filter(|bytes| *bytes > object.size && (before.least..=before.most).contains(bytes));
    let exact = exact.map(|bytes| Gone { least: bytes, most: bytes });
    exact.or_else(|| (written.least.min(written.most) > 0).then_some(before))
}

/// What the latest reader before a cut had read, which is what was in the file if it read to the end, as for a copy: `cp`,
/// `logrotate`.
fn copied(case: &Case<'_>, object: &ObjectId, cut: &Cut) -> Option<u64> {
    let readers = case.flows.get(object).readers.iter();
    let rows = readers.flat_map(|reader| case.session.rows_on(reader.process, *object, READ));
    let latest = rows
        .filter(|(_, row)| row.bytes > 0 && row.last_ns <= cut.time_ns)
        .max_by_key(|(_, row)| row.last_ns);
    latest.filter(|(_, row)| row.zero > 0).map(|(_, row)| row.bytes)
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
