//! How many bytes of a file are gone: as far as its size, the writes before and after each cut, and `O_APPEND` tell. The
//! kernel side tells who cut a file, when, and whether it was empty then, but not to which length.

use tracer_common::{
    ledger::{LedgerKey, LedgerRow, WINDOW_SHIFT},
    object::ObjectId,
};

use crate::{
    session::{CutKind, FactKind, GENERATIONS, O_APPEND, Object, may_be_after},
    verdict::{Case, case::Cut},
};

/// How many bytes that were written to a file are gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::verdict) struct Gone {
    /// This many are certainly gone.
    pub(in crate::verdict) least: u64,
    /// Not more than this many can be gone.
    pub(in crate::verdict) most: u64,
}

impl Gone {
    fn at_most(bytes: u64) -> Self {
        Self { least: 0, most: bytes }
    }

    /// The same, and what the kernel saw emptied, if that is more.
    fn or_emptied(self, emptied: Self) -> Self {
        if self.least >= emptied.least {
            return self;
        }
        Self { least: emptied.least, most: self.most.max(emptied.most) }
    }

    /// The same, and perhaps up to so many bytes more.
    fn or_up_to(self, bytes: u64) -> Self {
        Self { least: self.least, most: self.most.max(bytes) }
    }

    /// The same without bytes that a reader has.
    pub(super) fn without(self, saved: u64) -> Self {
        Self { least: self.least.saturating_sub(saved), most: self.most.saturating_sub(saved) }
    }
}

/// What is gone of what was written to a file that has a name.
pub(super) fn gone(case: &Case<'_>, object: &Object) -> Gone {
    let cuts = case.cuts_of.get(&object.id).map_or(&[][..], Vec::as_slice);
    let before = |cut: &Cut| written_before(case.writes_to(&object.id), cut.time_ns);
    let cut = cuts.last().map_or(0, |cut| before(cut).most);
    // The size of a file that the kernel makes up says nothing, and to empty it takes nothing away.
    if is_made_up(object) {
        return Gone::default();
    }
    let emptied = cuts.iter().rfind(|cut| cut.kind == CutKind::Emptied);
    let emptied = emptied.map_or_else(Gone::default, before);
    let changed = cuts.iter().rfind(|cut| changes_inside(cut));
    let changed = changed.map_or(0, |cut| before(cut).most);
    by_size(case, object, cuts, cut).or_emptied(emptied).or_up_to(changed)
}

/// How the latest cut took something from a file.
fn latest_kind(case: &Case<'_>, object: &ObjectId) -> CutKind {
    let latest = case.cuts_of.get(object).and_then(|cuts| cuts.last());
    latest.map_or(CutKind::default(), |cut| cut.kind)
}

/// What the process did to the file that cut it.
pub(super) fn what_was_done(case: &Case<'_>, object: &ObjectId) -> &'static str {
    match latest_kind(case, object) {
        CutKind::Inside => "took bytes out of the file, or zeroed them (`fallocate`)",
        CutKind::Often => "cut the file again and again",
        CutKind::Shortened | CutKind::Emptied => "cut the file",
    }
}

/// What of that is not known.
pub(super) fn what_is_unseen(case: &Case<'_>, object: &ObjectId) -> &'static str {
    match latest_kind(case, object) {
        CutKind::Inside => "how many",
        CutKind::Often => "each time",
        CutKind::Shortened | CutKind::Emptied => "to which length",
    }
}

/// Whether a cut took something from a file that its size does not show.
fn changes_inside(cut: &Cut) -> bool {
    matches!(cut.kind, CutKind::Inside | CutKind::Often)
}

/// What its size tells. `cut`: not more had been written before the latest cut.
fn by_size(case: &Case<'_>, object: &Object, cuts: &[Cut], cut: u64) -> Gone {
    let Some(size) = object.size_after.filter(|_| object.is_found()) else {
        return Gone::at_most(cut);
    };
    let account = Account::of(case, object, size);
    let is_before = |cut: &Cut| written_before(case.writes_to(&object.id), cut.time_ns).most == 0;
    match cuts.get(cuts.partition_point(is_before)) {
        None => account.too_short(),
        Some(_) if appends(case, &object.id) => account.appended(cut, cuts.len()),
        Some(first) => {
            let goes_on = case.writes_to(&object.id).any(|(_, row)| row.last_ns > first.time_ns);
            // An earlier cut of a file that a recorder knows for long may be forgotten.
            let is_only = cuts.len() == 1 && !case.session.is_part;
            account.cut(cut, goes_on && !(is_only && account.is_longer()))
        }
    }
}

/// The sums that tell what is missing in a file.
struct Account {
    /// Size when the file came under watch.
    before: u64,
    /// Bytes written to it since.
    written: u64,
    /// The same when its size was asked for: what was written later may be in it or not.
    asked: u64,
    /// The size that was found.
    size: u64,
}

impl Account {
    fn of(case: &Case<'_>, object: &Object, size: u64) -> Self {
        let written = case.flows.get(&object.id).written;
        let asked = object.written_when_asked.unwrap_or(written).min(written);
        Self { before: object.size, written, asked, size }
    }

    /// Of a file that no process cut after a write: it is too short for what was written.
    fn too_short(&self) -> Gone {
        let missing = self.asked.saturating_sub(self.size);
        let has_later = missing > 0 && self.asked < self.written;
        Gone { least: missing, most: if has_later { self.written } else { missing } }
    }

    /// Of a file to which all writers append: nothing is overwritten, and after a cut they go on where it ends. Not more
    /// than `cut` bytes had been written before the latest cut.
    fn appended(&self, cut: u64, cuts: usize) -> Gone {
        let missing = |written: u64| {
            let all = self.before.saturating_add(written);
            all.saturating_sub(self.size).min(cut)
        };
        // One of several made it longer, so that the others may have taken more.
        if cuts > 1 && self.is_longer() {
            return Gone::at_most(cut);
        }
        Gone { least: missing(self.asked), most: missing(self.written) }
    }

    /// Of another file that was cut. `has_hole`: a writer that does not append may have gone on behind a hole, so that the
    /// size does not show what is gone.
    fn cut(&self, cut: u64, has_hole: bool) -> Gone {
        let too_short = self.too_short();
        let end = self.before.saturating_add(self.written);
        let most = if has_hole { cut } else { cut.min(end.saturating_sub(self.size)) };
        Gone { most: too_short.most.max(most), ..too_short }
    }

    /// Whether it is longer than all that can have been written into it: `truncate -s +1M`.
    fn is_longer(&self) -> bool {
        self.size > self.before.saturating_add(self.written)
    }
}

fn is_made_up(object: &Object) -> bool {
    let is_in = |folder| object.path.starts_with(folder);
    ["/proc/", "/sys/", "/dev/"].into_iter().any(is_in) && !is_in("/dev/shm/")
}

/// Bytes that were written before a time, at least and at most.
pub(super) fn written_before<'r>(
    rows: impl Iterator<Item = (&'r LedgerKey, &'r LedgerRow)>,
    time_ns: u64,
) -> Gone {
    let began = rows.filter(|(_, row)| row.first_ns <= time_ns);
    began.fold(Gone::default(), |sum, (_, row)| {
        let (least, most) = row_before(row, time_ns);
        Gone { least: sum.least.saturating_add(least), most: sum.most.saturating_add(most) }
    })
}

/// The same for a row, which began before the time. Of one that ended after it, only windows are known, and that its first
/// call came before and its last call after.
fn row_before(row: &LedgerRow, time_ns: u64) -> (u64, u64) {
    let window = time_ns >> WINDOW_SHIFT;
    let before_both = row.before_window.saturating_sub(row.previous_window_bytes);
    if !may_be_after(row, time_ns) {
        (row.bytes, row.bytes)
    } else if row.last_ns <= time_ns {
        (row.before_window.max(u64::from(row.zero == 0)), row.bytes)
    } else if window >= row.window {
        (row.before_window, row.bytes.saturating_sub(1))
    } else if window + 1 == row.window {
        (before_both, row.before_window)
    } else {
        (u64::from(row.zero == 0), before_both)
    }
}

/// Whether all that was written to a file went through a standard stream that was opened with `O_APPEND`. That a process
/// takes the flag away later (`F_SETFL`) is not seen.
pub(super) fn appends(case: &Case<'_>, object: &ObjectId) -> bool {
    case.writes_to(object).all(|(key, _)| is_appending(case, key))
}

fn is_appending(case: &Case<'_>, key: &LedgerKey) -> bool {
    let Some(process) = case.session.processes.get(&key.process) else { return false };
    let state = usize::try_from(key.fd).ok().and_then(|fd| process.stdio.as_ref()?.get(fd));
    let is_replaced = || {
        let line = case.session.line_of(process).take(GENERATIONS);
        let mut facts = line.flat_map(|known| &known.facts);
        facts.any(|fact| {
            fact.kind == FactKind::FdReplaced
                && fact.fd == Some(key.fd)
                && fact.object == Some(key.object)
        })
    };
    state.is_some_and(|state| state.object == key.object && state.flags & O_APPEND != 0)
        && !is_replaced()
}
