//! Which commands the list shows, and in which order.

use std::{
    cmp::{Ordering, Reverse},
    collections::{BTreeMap, BTreeSet},
};

use tracer_common::id::ProcessId;
use tracer_core::{
    snapshot::{Row, Snapshot},
    verdict::Severity,
};

use super::{Rates, State};

/// One line of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::top) struct Line {
    /// Index in [`Snapshot::rows`].
    pub(in crate::top) row: usize,
    /// Number of commands above it in the tree.
    pub(in crate::top) depth: usize,
}

/// A column to sort by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Column {
    /// The stuck first, then the lost, then those that run.
    #[default]
    Trouble,
    /// Most bytes first.
    Written,
    /// Most bytes per second first.
    Rate,
    /// In the order of their start.
    Start,
}

/// An order of the list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::top) struct Sort {
    column: Column,
    is_reversed: bool,
}

impl Sort {
    pub(super) const TROUBLE: Self = Self::by(Column::Trouble);
    pub(super) const WRITTEN: Self = Self::by(Column::Written);
    pub(super) const RATE: Self = Self::by(Column::Rate);
    pub(super) const START: Self = Self::by(Column::Start);
    const ALL: [Self; 4] = [Self::TROUBLE, Self::WRITTEN, Self::RATE, Self::START];

    const fn by(column: Column) -> Self {
        Self { column, is_reversed: false }
    }

    pub(super) fn after(self) -> Self {
        Self::ALL[(self.column as usize + 1) % Self::ALL.len()]
    }

    pub(super) fn before(self) -> Self {
        Self::ALL[(self.column as usize + Self::ALL.len() - 1) % Self::ALL.len()]
    }

    pub(super) const fn reversed(self) -> Self {
        Self { is_reversed: !self.is_reversed, ..self }
    }

    /// Its name.
    pub(in crate::top) const fn name(self) -> &'static str {
        match (self.column, self.is_reversed) {
            (Column::Trouble, false) => "trouble",
            (Column::Trouble, true) => "trouble, reversed",
            (Column::Written, false) => "bytes written",
            (Column::Written, true) => "bytes written, reversed",
            (Column::Rate, false) => "rate",
            (Column::Rate, true) => "rate, reversed",
            (Column::Start, false) => "start",
            (Column::Start, true) => "start, reversed",
        }
    }
}

/// Whether a command lost output or is stuck.
pub(super) fn is_in_trouble(row: &Row) -> bool {
    row.is_stuck || row.severity != Severity::Info
}

/// The value that a line is sorted by, the smallest first.
#[derive(Clone, Copy, Debug)]
struct Rank {
    trouble: (bool, Severity, Reverse<u64>, bool),
    value: f64,
    id: ProcessId,
}

impl Rank {
    fn of(row: &Row, sort: Sort, rates: &Rates) -> Self {
        let sum = |field: fn(&tracer_core::verdict::Bytes) -> u64| -> u64 {
            row.streams.iter().map(field).fold(0, u64::saturating_add)
        };
        let trouble = match sort.column {
            Column::Trouble => {
                let has_ended = row.command.exit.is_some();
                (!row.is_stuck, row.severity, Reverse(sum(|bytes| bytes.lost)), has_ended)
            }
            _ => (true, Severity::Info, Reverse(0), false),
        };
        let value = match sort.column {
            Column::Written => -(sum(|bytes| bytes.written) as f64),
            Column::Rate => -rates.of(&row.id).iter().sum::<f64>(),
            Column::Trouble | Column::Start => 0.0,
        };
        Self { trouble, value, id: row.id }
    }

    fn compare(&self, other: &Self) -> Ordering {
        let value = self.value.total_cmp(&other.value);
        self.trouble.cmp(&other.trouble).then(value).then(self.id.cmp(&other.id))
    }
}

/// The lines of the list.
pub(super) fn lines(snapshot: &Snapshot, rates: &Rates, state: &State) -> Vec<Line> {
    let places: BTreeMap<ProcessId, usize> =
        snapshot.rows.iter().enumerate().map(|(place, row)| (row.id, place)).collect();
    let parent = |place: usize| {
        let above = snapshot.rows.get(place)?.above?;
        // What started it started before, so it comes first. A forged recording may say otherwise.
        places.get(&above).copied().filter(|above| *above < place)
    };
    let ranks = snapshot.rows.iter().map(|row| Rank::of(row, state.sort, rates)).collect();
    let shown = shown(snapshot, state, |place| parent(place).filter(|_| !state.is_flat));
    let order = Order { ranks, is_reversed: state.sort.is_reversed };
    if state.is_flat {
        let mut rows: Vec<usize> = shown.into_iter().collect();
        rows.sort_by(|a, b| order.compare(*a, *b));
        return rows.into_iter().map(|row| Line { row, depth: 0 }).collect();
    }
    tree(&shown, order, parent)
}

/// The order of rows, by their index.
struct Order {
    ranks: Vec<Rank>,
    is_reversed: bool,
}

impl Order {
    fn compare(&self, a: usize, b: usize) -> Ordering {
        let order = match (self.ranks.get(a), self.ranks.get(b)) {
            (Some(a), Some(b)) => a.compare(b),
            _ => Ordering::Equal,
        };
        if self.is_reversed { order.reverse() } else { order }
    }

    /// Gives a row the rank of a row below it, if that is smaller.
    fn lift(&mut self, above: usize, below: usize) {
        if let Some(own) = self.ranks.get(below).copied()
            && let Some(known) = self.ranks.get_mut(above)
            && own.compare(known).is_lt()
        {
            *known = Rank { id: known.id, ..own };
        }
    }
}

/// The rows as a tree. A command stands where the first of those below it would stand.
fn tree(
    shown: &BTreeSet<usize>,
    mut order: Order,
    parent: impl Fn(usize) -> Option<usize>,
) -> Vec<Line> {
    let mut below: BTreeMap<Option<usize>, Vec<usize>> = BTreeMap::new();
    for place in shown.iter().rev().copied() {
        let above = parent(place);
        below.entry(above).or_default().push(place);
        if let Some(above) = above {
            order.lift(above, place);
        }
    }
    for places in below.values_mut() {
        places.sort_by(|a, b| order.compare(*a, *b));
    }
    let mut lines = Vec::with_capacity(shown.len());
    let roots = below.get(&None).into_iter().flatten().rev();
    let mut open: Vec<Line> = roots.map(|row| Line { row: *row, depth: 0 }).collect();
    while let Some(line) = open.pop() {
        lines.push(line);
        let children = below.get(&Some(line.row)).into_iter().flatten().rev();
        open.extend(children.map(|row| Line { row: *row, depth: line.depth + 1 }));
    }
    lines
}

/// The rows that are wanted, and those above them.
fn shown(
    snapshot: &Snapshot,
    state: &State,
    parent: impl Fn(usize) -> Option<usize>,
) -> BTreeSet<usize> {
    let filter = state.filter.to_lowercase();
    let matches = |row: &Row| {
        filter.is_empty()
            || row.command.pid.to_string() == filter
            || row.command.command.to_lowercase().contains(&filter)
            || row.place.as_ref().is_some_and(|place| place.to_lowercase().contains(&filter))
    };
    let mut shown = BTreeSet::new();
    for (place, row) in snapshot.rows.iter().enumerate() {
        let is_done = row.command.exit.is_some() && !is_in_trouble(row);
        if !matches(row) || state.hides_done && is_done {
            continue;
        }
        let mut next = Some(place);
        while let Some(place) = next.filter(|place| shown.insert(*place)) {
            next = parent(place);
        }
    }
    shown
}
