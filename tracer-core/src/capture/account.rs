//! The account of one stream: which bytes of a chunk go into its file, and which are a gap.

use bytes::Bytes;

use super::{
    Keep, Reason,
    chunk::{Chunk, Content},
    index::{Missing, Total, Written},
};

/// Minimal size of a stream's lines in the index that is always allowed, in bytes.
const INDEX_BYTES: u64 = 64 << 20;

/// Limits of one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes that go into its file; bytes cut from the front of the file are not counted.
    accepted: u64,
    /// Bytes of its lines in the index.
    index: u64,
}

impl Limits {
    /// The limits of each stream for these options.
    #[must_use]
    pub fn new(limit: Option<u64>, keep: Keep) -> Self {
        match (limit, keep) {
            (Some(limit), Keep::First) => Self { accepted: limit, index: limit.max(INDEX_BYTES) },
            // Only the end is kept, so any number of earlier writes must be accepted.
            _ => Self::NONE,
        }
    }

    /// No limits.
    pub const NONE: Self = Self { accepted: u64::MAX, index: u64::MAX };
}

/// What to do with a chunk, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Bytes before it that found no room in the ring.
    pub lost: u64,
    /// Bytes for the file; may be empty.
    pub bytes: Bytes,
    /// Bytes missing after that.
    pub missing: Option<(u64, Reason)>,
}

/// Sums of the ledger for a stream at the end of the trace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Written bytes.
    pub bytes: u64,
    /// Of these, bytes that found no room in the ring.
    pub uncaptured: u64,
    /// Of these, bytes that arrived through the ring.
    pub captured: u64,
    /// Time of the last call, nanoseconds since boot.
    pub last_ns: u64,
}

/// The account of one stream: `written = kept + cut + missing`.
#[derive(Clone, Debug)]
pub struct Account {
    number: u32,
    limits: Limits,
    /// Bytes in the file so far.
    offset: u64,
    missing: u64,
    /// The largest [`Chunk::lost`] so far.
    lost: u64,
    indexed: u64,
    /// Gaps at `offset` that are not in the index yet, one for each reason.
    gaps: Vec<Missing>,
}

impl Account {
    /// An empty account.
    #[must_use]
    pub fn new(number: u32, limits: Limits) -> Self {
        Self { number, limits, offset: 0, missing: 0, lost: 0, indexed: 0, gaps: Vec::new() }
    }

    /// Decides which bytes of a chunk are kept. Counts only the bytes that the chunk reports as lost: how many bytes
    /// the disk takes is known after the write.
    pub fn plan(&mut self, chunk: &Chunk) -> Plan {
        let lost = chunk.lost.saturating_sub(self.lost);
        self.lost = self.lost.max(chunk.lost);
        let (bytes, missing) = match &chunk.content {
            Content::Bytes(bytes) => self.accept(bytes),
            Content::Missing { length, reason, .. } => (Bytes::new(), Some((*length, *reason))),
        };
        Plan { lost, bytes, missing: missing.filter(|(length, _)| *length > 0) }
    }

    fn accept(&self, bytes: &Bytes) -> (Bytes, Option<(u64, Reason)>) {
        let length = bytes.len() as u64;
        let taken = if self.is_index_full() {
            0
        } else {
            length.min(self.limits.accepted.saturating_sub(self.offset))
        };
        // `taken` is at most the length of a slice.
        (bytes.slice(..taken as usize), Some((length - taken, Reason::Limit)))
    }

    /// Counts bytes that were written to the file.
    pub fn wrote(&mut self, chunk: &Chunk, length: u64) -> Written {
        let offset = self.offset;
        self.offset = offset.saturating_add(length);
        Written {
            stream: self.number,
            offset,
            length,
            time_ns: chunk.time_ns,
            tid: chunk.tid,
            syscall: chunk.syscall.to_owned(),
        }
    }

    /// Counts missing bytes.
    pub fn misses(&mut self, length: u64, reason: Reason, time_ns: u64, source: Option<String>) {
        if length == 0 {
            return;
        }
        self.missing = self.missing.saturating_add(length);
        match self.gaps.iter_mut().find(|gap| gap.reason == reason) {
            Some(gap) => {
                gap.length = gap.length.saturating_add(length);
                // One line cannot name several sources.
                if gap.source != source {
                    gap.source = None;
                }
            }
            None => self.gaps.push(Missing {
                stream: self.number,
                offset: self.offset,
                length,
                time_ns,
                reason,
                source,
            }),
        }
    }

    /// The gaps to write to the index now. When the stream has used up its part of the index, they wait for the end
    /// and are merged, one for each reason.
    pub fn due(&mut self) -> Vec<Missing> {
        if self.is_index_full() { Vec::new() } else { std::mem::take(&mut self.gaps) }
    }

    /// Counts a line of this stream in the index.
    pub fn indexed(&mut self, bytes: u64) {
        self.indexed = self.indexed.saturating_add(bytes);
    }

    /// Closes the account: the remaining gaps, and the sums. `cut`: bytes that were cut from the front of the file.
    pub fn finish(&mut self, counted: &Counted, cut: u64) -> (Vec<Missing>, Total) {
        let seen = self.offset.saturating_add(self.missing);
        let rest = counted.bytes.saturating_sub(seen);
        let lost = counted.uncaptured.saturating_sub(self.lost).min(rest);
        self.misses(lost, Reason::RingFull, counted.last_ns, None);
        self.misses(rest - lost, self.reason_of_rest(counted), counted.last_ns, None);
        let total = Total {
            stream: self.number,
            written: self.offset.saturating_add(self.missing),
            kept: self.offset.saturating_sub(cut),
            cut: cut.min(self.offset),
            missing: self.missing,
        };
        (std::mem::take(&mut self.gaps), total)
    }

    fn reason_of_rest(&self, counted: &Counted) -> Reason {
        // The kernel side stops at the limit too, even if its records were lost.
        if self.offset.max(counted.captured) >= self.limits.accepted || self.is_index_full() {
            Reason::Limit
        } else {
            Reason::Unexplained
        }
    }

    fn is_index_full(&self) -> bool {
        self.indexed > self.limits.index
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A chunk of bytes.
    pub(in crate::capture) fn bytes(content: &'static [u8], lost: u64) -> Chunk {
        chunk(Content::Bytes(Bytes::from_static(content)), lost)
    }

    pub(in crate::capture) fn chunk(content: Content, lost: u64) -> Chunk {
        Chunk {
            time_ns: 5,
            key: Default::default(),
            tid: 71,
            comm: "docker".to_owned(),
            syscall: "write",
            lost,
            content,
        }
    }

    fn reasons(gaps: &[Missing]) -> Vec<(u64, Reason)> {
        gaps.iter().map(|gap| (gap.length, gap.reason)).collect()
    }

    #[test]
    fn the_first_bytes_are_kept_and_the_rest_is_a_gap() {
        let mut account = Account::new(1, Limits::new(Some(4), Keep::First));
        let plan = account.plan(&bytes(b"abcdef", 0));
        assert_eq!((&plan.bytes[..], plan.missing), (&b"abcd"[..], Some((2, Reason::Limit))));
        account.wrote(&bytes(b"abcdef", 0), 4);
        account.misses(2, Reason::Limit, 5, None);
        let (gaps, total) = account.finish(&Counted { bytes: 9, ..Counted::default() }, 0);
        assert_eq!(reasons(&gaps), [(5, Reason::Limit)]);
        assert_eq!((total.written, total.kept, total.missing), (9, 4, 5));
    }

    #[test]
    fn only_an_increase_of_the_lost_bytes_counts() {
        let mut account = Account::new(1, Limits::new(None, Keep::First));
        let lost = [10, 3, 10, 12].map(|lost| account.plan(&bytes(b"a", lost)).lost);
        assert_eq!(lost, [10, 0, 0, 2]);
    }

    #[test]
    fn bytes_still_missing_at_the_end_have_a_reason() {
        let counted = Counted { bytes: 100, uncaptured: 30, captured: 3, last_ns: 9 };
        let sent = Counted { captured: 10, ..counted };
        for (counted, rest) in [(counted, Reason::Unexplained), (sent, Reason::Limit)] {
            let mut account = Account::new(1, Limits::new(Some(10), Keep::First));
            let plan = account.plan(&bytes(b"abc", 20));
            account.misses(plan.lost, Reason::RingFull, 5, None);
            assert_eq!(reasons(&account.due()), [(20, Reason::RingFull)]);
            account.wrote(&bytes(b"abc", 20), 3);
            let (gaps, total) = account.finish(&counted, 1);
            assert_eq!(reasons(&gaps), [(10, Reason::RingFull), (67, rest)]);
            assert_eq!(
                total,
                Total { stream: 1, written: 100, kept: 2, cut: 1, missing: 97 },
                "the last line"
            );
        }
    }

    #[test]
    fn after_too_many_lines_a_stream_is_one_gap() {
        let mut account = Account::new(1, Limits::new(Some(100), Keep::First));
        account.indexed(INDEX_BYTES);
        assert_eq!(account.plan(&bytes(b"ab", 0)).bytes.len(), 2);
        account.indexed(1);
        for _ in 0..3 {
            assert_eq!(account.plan(&bytes(b"ab", 0)).missing, Some((2, Reason::Limit)));
            account.misses(2, Reason::Limit, 5, None);
            assert_eq!(account.due(), []);
        }
        let (gaps, _) = account.finish(&Counted { bytes: 7, ..Counted::default() }, 0);
        assert_eq!(reasons(&gaps), [(7, Reason::Limit)]);
    }

    #[test]
    fn the_last_bytes_are_taken_however_many_lines_they_need() {
        let mut account = Account::new(1, Limits::new(Some(1), Keep::Last));
        account.indexed(u64::MAX - 1);
        assert_eq!(account.plan(&bytes(b"ab", 0)).bytes.len(), 2);
    }

    #[test]
    fn a_source_is_named_only_where_there_is_one() {
        let mut account = Account::new(1, Limits::NONE);
        let source = |name: &str| Some(name.to_owned());
        account.misses(1, Reason::Copied, 5, source("/a"));
        account.misses(1, Reason::Copied, 5, source("/a"));
        assert_eq!(account.due()[0].source, source("/a"));
        account.misses(1, Reason::Copied, 5, source("/a"));
        account.misses(1, Reason::Copied, 5, source("/b"));
        assert_eq!(account.due()[0].source, None);
    }

    /// A chunk, the number of accepted bytes that the disk takes, and the size of the chunk's line in the index.
    fn step() -> impl Strategy<Value = (Chunk, u64, u64)> {
        let content = prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..40)
                .prop_map(|bytes| Content::Bytes(Bytes::from(bytes))),
            (0u64..50).prop_map(|length| Content::Missing {
                length,
                reason: Reason::Copied,
                source: None
            }),
        ];
        let line = prop_oneof![9 => Just(100u64), 1 => Just(INDEX_BYTES)];
        (content, 0u64..60, 0u64..45, line)
            .prop_map(|(content, lost, taken, line)| (chunk(content, lost), taken, line))
    }

    /// Applies the steps; returns all lines and the expected count.
    fn play(
        account: &mut Account,
        steps: &[(Chunk, u64, u64)],
    ) -> (Vec<Written>, Vec<Missing>, u64) {
        let (mut writes, mut gaps) = (Vec::new(), Vec::new());
        let (mut counted, mut lost) = (0, 0);
        for (chunk, taken, line) in steps {
            let plan = account.plan(chunk);
            account.misses(plan.lost, Reason::RingFull, 5, None);
            let length = plan.bytes.len() as u64;
            let taken = length.min(*taken);
            gaps.extend(account.due());
            if taken > 0 {
                writes.push(account.wrote(chunk, taken));
            }
            account.misses(length - taken, Reason::DiskError, 5, None);
            let (missing, reason) = plan.missing.unwrap_or_default();
            account.misses(missing, reason, 5, None);
            gaps.extend(account.due());
            account.indexed(*line);
            counted += chunk.length() + chunk.lost.saturating_sub(lost);
            lost = lost.max(chunk.lost);
        }
        (writes, gaps, counted)
    }

    proptest! {
        #[test]
        fn every_account_balances(
            steps in proptest::collection::vec(step(), 0..30),
            limit in proptest::option::of(0u64..200),
            last in any::<bool>(),
            (more, uncaptured) in (0u64..100, 0u64..200),
            captured in 0u64..200,
        ) {
            let keep = if last { Keep::Last } else { Keep::First };
            let mut account = Account::new(1, Limits::new(limit, keep));
            let (writes, mut gaps, seen) = play(&mut account, &steps);
            let counted = Counted { bytes: seen + more, uncaptured, captured, last_ns: 9 };
            let appended: u64 = writes.iter().map(|write| write.length).sum();
            let cut = limit.filter(|_| last).map_or(0, |limit| appended.saturating_sub(limit));
            let (trailing, total) = account.finish(&counted, cut);
            gaps.extend(trailing);
            prop_assert_eq!(total.written, counted.bytes);
            prop_assert_eq!(total.written, total.kept + total.cut + total.missing);
            prop_assert_eq!(total.missing, gaps.iter().map(|gap| gap.length).sum::<u64>());
            prop_assert_eq!(total.kept + total.cut, appended);
            let mut at = 0;
            for write in &writes {
                prop_assert_eq!(write.offset, at);
                at += write.length;
            }
            let starts: Vec<u64> = writes.iter().map(|write| write.offset).chain([at]).collect();
            prop_assert!(gaps.iter().all(|gap| starts.contains(&gap.offset)));
            prop_assert!(gaps.windows(2).all(|pair| pair[0].offset <= pair[1].offset));
            if let Some(limit) = limit {
                prop_assert!(last || total.kept <= limit);
            }
        }
    }
}
