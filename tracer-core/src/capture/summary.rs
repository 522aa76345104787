//! Sums of an index's lines; the same while the lines are written and when they are read again.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{
    Keep, Reason,
    index::{Declared, Line, Missing, Total},
};

/// A file grows at least this far beyond its limit before it is trimmed: each trim creates a file, and a tiny limit
/// must not create one for each write.
const SLACK: u64 = 64 << 10;

/// The length above which a file that keeps its last `limit` bytes is trimmed.
#[must_use]
pub fn trim_above(limit: u64) -> u64 {
    limit.saturating_add(limit.max(SLACK))
}

/// Sums of a capture.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// All streams, in the order of their first bytes.
    pub streams: Vec<StreamSummary>,
    /// Records of the ring that could not be decoded; their bytes are gaps.
    pub undecodable: u64,
    /// Whether lines of the index could not be written, so that the folder has less than this summary.
    pub is_index_incomplete: bool,
}

/// Sums of one stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamSummary {
    /// Its declaration.
    pub declared: Declared,
    /// Its totals; counted from its lines if its last line is missing.
    pub total: Total,
    /// Its gaps, one entry for each reason and source.
    pub gaps: Vec<GapSum>,
}

/// All gaps of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GapSum {
    /// Why the bytes are missing.
    pub reason: Reason,
    /// Sum of their bytes.
    pub bytes: u64,
    /// Number of gaps (lines of the index).
    pub times: u64,
    /// Where the bytes came from, for a copy within the kernel.
    pub source: Option<String>,
}

/// Maximal number of kinds of gaps in one stream; a program may copy from a thousand files.
const MAX_KINDS: usize = 16;

/// Adds up lines.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// The limit of a file that is trimmed.
    tail: Option<u64>,
    streams: BTreeMap<u32, StreamSummary>,
    ended: BTreeSet<u32>,
}

impl Tally {
    /// An empty tally. `limit` and `keep` are those of the first line of the index.
    #[must_use]
    pub fn new(limit: Option<u64>, keep: Keep) -> Self {
        let tail = limit.filter(|_| keep == Keep::Last);
        Self { tail, ..Self::default() }
    }

    /// Adds a line. Ignores lines of a stream that was not declared.
    pub fn add(&mut self, line: &Line) {
        match line {
            Line::Capture(_) => {}
            Line::Stream(declared) => self.declare(declared),
            Line::Write(write) => {
                let tail = self.tail;
                if let Some(total) = self.total(write.stream) {
                    total.written = total.written.saturating_add(write.length);
                    total.kept = total.kept.saturating_add(write.length);
                    // Computes the trim of the file, in case the last line is missing.
                    if let Some(tail) = tail.filter(|tail| total.kept > trim_above(*tail)) {
                        total.cut = total.cut.saturating_add(total.kept - tail);
                        total.kept = tail;
                    }
                }
            }
            Line::Gap(gap) => self.gap(gap),
            Line::End(end) => self.end(end),
        }
    }

    /// The streams, in the order of their numbers.
    #[must_use]
    pub fn finish(self) -> Vec<StreamSummary> {
        self.streams.into_values().collect()
    }

    /// Whether every stream has its last line, so that the capture was not cut.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.streams.keys().all(|stream| self.ended.contains(stream))
    }

    fn declare(&mut self, declared: &Declared) {
        let total = Total { stream: declared.stream, written: 0, kept: 0, cut: 0, missing: 0 };
        let stream = StreamSummary { declared: declared.clone(), total, gaps: Vec::new() };
        self.streams.entry(declared.stream).or_insert(stream);
    }

    fn end(&mut self, end: &Total) {
        let sum = end.kept.saturating_add(end.cut).saturating_add(end.missing);
        // A line that tracer did not write.
        if sum != end.written {
            return;
        }
        if let Some(total) = self.total(end.stream) {
            *total = *end;
            self.ended.insert(end.stream);
        }
    }

    fn total(&mut self, stream: u32) -> Option<&mut Total> {
        self.streams.get_mut(&stream).map(|stream| &mut stream.total)
    }

    fn gap(&mut self, gap: &Missing) {
        let Some(stream) = self.streams.get_mut(&gap.stream) else { return };
        stream.total.written = stream.total.written.saturating_add(gap.length);
        stream.total.missing = stream.total.missing.saturating_add(gap.length);
        stream.gap(gap);
    }
}

impl StreamSummary {
    fn gap(&mut self, gap: &Missing) {
        let is_full = self.gaps.len() >= MAX_KINDS;
        let known = self
            .gaps
            .iter_mut()
            .find(|known| known.reason == gap.reason && (known.source == gap.source || is_full));
        match known {
            Some(known) => {
                known.bytes = known.bytes.saturating_add(gap.length);
                known.times += 1;
                if known.source != gap.source {
                    known.source = None;
                }
            }
            None => self.gaps.push(GapSum {
                reason: gap.reason,
                bytes: gap.length,
                times: 1,
                source: gap.source.clone().filter(|_| !is_full),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use tracer_common::{id::ProcessId, object::ObjectId};

    use super::{super::index::Written, *};

    fn tally(limit: Option<u64>, keep: Keep) -> Tally {
        let mut tally = Tally::new(limit, keep);
        tally.add(&Line::Stream(Declared {
            stream: 1,
            process: ProcessId::new(71, 5),
            comm: "docker".to_owned(),
            fd: 1,
            object: ObjectId { ino: 88, dev: 9, discriminator: 0 },
            file: "docker-71.stdout".to_owned(),
        }));
        tally
    }

    fn write(length: u64) -> Line {
        let syscall = "write".to_owned();
        Line::Write(Written { stream: 1, offset: 0, length, time_ns: 5, tid: 71, syscall })
    }

    fn gap(stream: u32, length: u64, source: &str) -> Line {
        let (reason, source) = (Reason::Copied, Some(source.to_owned()));
        Line::Gap(Missing { stream, offset: 0, length, time_ns: 5, reason, source })
    }

    #[test]
    fn an_index_that_was_cut_is_counted_from_its_lines() {
        let mut tally = tally(Some(100 << 10), Keep::Last);
        (0..3).for_each(|_| tally.add(&write(90 << 10)));
        tally.add(&gap(1, 7, "/a"));
        assert!(!tally.is_whole());
        let streams = tally.finish();
        let (kept, cut) = (100 << 10, 170 << 10);
        let total = Total { stream: 1, written: kept + cut + 7, kept, cut, missing: 7 };
        assert_eq!(streams[0].total, total);
    }

    #[test]
    fn a_last_line_that_does_not_add_up_is_ignored() {
        let mut tally = tally(None, Keep::First);
        tally.add(&write(5));
        let real = Total { stream: 1, written: 9, kept: 5, cut: 0, missing: 4 };
        tally.add(&Line::End(Total { written: u64::MAX, ..real }));
        assert!(!tally.is_whole());
        assert_eq!(tally.clone().finish()[0].total.written, 5);
        tally.add(&Line::End(real));
        assert!(tally.is_whole());
        assert_eq!(tally.finish()[0].total, real);
    }

    #[test]
    fn gaps_are_summed_by_reason_and_source() {
        let mut tally = tally(None, Keep::First);
        tally.add(&gap(1, 2, "/a"));
        tally.add(&gap(9, 2, "/of a stream that is not there"));
        tally.add(&gap(1, 3, "/a"));
        tally.add(&gap(1, 1, "/b"));
        let reason = Reason::Copied;
        let sum = |bytes, times, source: &str| {
            let source = Some(source.to_owned());
            GapSum { reason, bytes, times, source }
        };
        assert_eq!(tally.finish()[0].gaps, [sum(5, 2, "/a"), sum(1, 1, "/b")]);
    }

    #[test]
    fn many_sources_are_one_kind() {
        let mut tally = tally(None, Keep::First);
        (0..100).for_each(|number| tally.add(&gap(1, 1, &format!("/{number}"))));
        let gaps = &tally.finish()[0].gaps;
        assert_eq!(gaps.len(), MAX_KINDS);
        assert_eq!(gaps.iter().map(|gap| gap.bytes).sum::<u64>(), 100);
        assert_eq!(gaps.iter().map(|gap| gap.times).sum::<u64>(), 100);
        assert_eq!(gaps[0].source, None, "it stands for many");
    }
}
