//! The accounts of all streams: takes chunks, writes files and index, and closes each account when the trace is over.

use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    io,
};

use tracer_common::{
    id::ProcessId,
    ledger::{LedgerKey, LedgerRow, WRITE},
};
use tracer_core::capture::{
    INDEX, Keep, Reason,
    account::{Account, Counted, Limits},
    chunk::{Chunk, Content},
    index::{Declared, Head, Line, Writer},
    summary::{Summary, Tally},
};

use super::{
    Options,
    budget::Budget,
    files::Files,
    folder::{Folder, FolderError},
    log::Log,
    names::{Names, Sources},
};

#[cfg(test)]
mod tests;

/// The state of a running capture.
pub(super) struct Accounts {
    limits: Limits,
    numbers: HashMap<LedgerKey, u32>,
    /// The first one is stream 1.
    streams: Vec<(LedgerKey, Account)>,
    comms: HashMap<ProcessId, String>,
    names: Names,
    sources: Sources,
    log: Log,
    /// `None` if nothing is stored.
    files: Option<Files>,
    budget: Budget,
    /// The index cannot be written now. So nothing may be written to a file either, because the index would not list
    /// it.
    is_stuck: bool,
    /// An error of the disk has been reported.
    is_reported: bool,
}

impl Accounts {
    /// Accounts without streams. Creates the index.
    pub(super) fn open(folder: Option<Folder>, options: Options) -> Result<Self, FolderError> {
        let store = match folder {
            Some(folder) => Some((folder.create_file(INDEX)?, folder)),
            None => None,
        };
        Ok(Self::new(store, options))
    }

    fn new(store: Option<(File, Folder)>, options: Options) -> Self {
        let Options { limit, keep, max, reserve } = options;
        let limits = if store.is_some() { Limits::new(limit, keep) } else { Limits::NONE };
        let (index, folder) = store.unzip();
        let mut log = Log::new(index.map(Writer::new), Tally::new(limit, keep));
        log.line(Line::Capture(Head::new(limit, keep)));
        let tail = limit.filter(|_| keep == Keep::Last);
        let mut accounts = Self {
            limits,
            numbers: HashMap::new(),
            streams: Vec::new(),
            comms: HashMap::new(),
            names: Names::default(),
            sources: Sources::default(),
            log,
            files: folder.map(|folder| Files::new(folder, tail)),
            budget: Budget::new(max, reserve),
            is_stuck: false,
            is_reported: false,
        };
        accounts.flush();
        accounts
    }

    /// Accounts for a chunk. Returns how many bytes before it found no room in the ring.
    pub(super) fn take(&mut self, chunk: &Chunk) -> u64 {
        self.make_room();
        let number = self.number(&chunk.key, &chunk.comm);
        let plan = self.stream(number).plan(chunk);
        self.miss(number, plan.lost, Reason::RingFull, chunk.time_ns, None);
        if !plan.bytes.is_empty() {
            self.store(number, chunk, &plan.bytes);
        }
        if let Some((length, reason)) = plan.missing {
            let source = self.source(chunk);
            self.miss(number, length, reason, chunk.time_ns, source);
        }
        self.count_lines();
        plan.lost
    }

    /// Gives everything to the system, so that it survives the end of tracer.
    pub(super) fn flush(&mut self) {
        let result = self.log.flush();
        self.count_lines();
        self.report(result);
    }

    /// Closes the accounts with the sums of the ledger. Calls `progress` after each stream.
    pub(super) fn finish(
        mut self,
        rows: Vec<(LedgerKey, LedgerRow)>,
        mut progress: impl FnMut(),
    ) -> Summary {
        let counted = counted(rows);
        for (key, counted) in &counted {
            if counted.bytes > 0 && !self.numbers.contains_key(key) {
                self.make_room();
                // A process may have no chunk at all.
                let comm = self.comms.get(&key.process).cloned().unwrap_or_default();
                self.number(key, &comm);
            }
        }
        for index in 0..self.streams.len() {
            self.make_room();
            let number = index as u32 + 1;
            let cut = self.cut_to_limit(number);
            let (key, stream) = &mut self.streams[index];
            let (gaps, total) = stream.finish(&counted.get(key).copied().unwrap_or_default(), cut);
            gaps.into_iter().for_each(|gap| self.log.line(Line::Gap(gap)));
            self.log.line(Line::End(total));
            progress();
        }
        let Self { log, files, is_reported, .. } = self;
        let (streams, result) = log.finish();
        let is_index_incomplete = result.is_err();
        report(result, files.as_ref(), is_reported);
        Summary { streams, undecodable: 0, is_index_incomplete }
    }

    /// The number of a stream. Declares a new stream.
    fn number(&mut self, key: &LedgerKey, comm: &str) -> u32 {
        if let Some(number) = self.numbers.get(key) {
            return *number;
        }
        let number = self.streams.len() as u32 + 1;
        self.numbers.insert(*key, number);
        self.streams.push((*key, Account::new(number, self.limits)));
        self.comms.entry(key.process).or_insert_with(|| comm.to_owned());
        let file = self.names.name(comm, key);
        if let Some(files) = &mut self.files {
            files.declare(number, &file);
        }
        self.log.line(Line::Stream(Declared {
            stream: number,
            process: key.process,
            comm: comm.to_owned(),
            fd: key.fd,
            object: key.object,
            file,
        }));
        number
    }

    fn stream(&mut self, number: u32) -> &mut Account {
        &mut self.streams[number as usize - 1].1
    }

    fn store(&mut self, number: u32, chunk: &Chunk, bytes: &[u8]) {
        let length = bytes.len() as u64;
        let (allowed, refused) = match &self.files {
            Some(files) if !self.is_stuck => self.budget.allows(length, || files.folder().disk()),
            _ => (length, None),
        };
        let (taken, result) = match &mut self.files {
            None => (allowed, Ok(())),
            Some(_) if self.is_stuck || allowed == 0 => (0, Ok(())),
            // `allowed` is at most the length of a slice.
            Some(files) => files.append(number, &bytes[..allowed as usize]),
        };
        self.report(result);
        if taken > 0 {
            self.budget.take(taken);
            // Gaps before these bytes come before them.
            self.put_gaps(number);
            let line = self.stream(number).wrote(chunk, taken);
            self.log.line(Line::Write(line));
        }
        self.miss(number, allowed - taken, Reason::DiskError, chunk.time_ns, None);
        if let Some(reason) = refused {
            self.miss(number, length - allowed, reason, chunk.time_ns, None);
        }
        if self.files.as_ref().is_some_and(|files| files.is_too_long(number)) {
            self.trim(number);
        }
    }

    fn miss(&mut self, number: u32, length: u64, reason: Reason, ns: u64, source: Option<String>) {
        self.stream(number).misses(length, reason, ns, source);
        self.release(number);
    }

    /// Writes the gaps that are due, if they can be written. In a full capture they wait for the next bytes that are
    /// stored, or for the end, and are merged until then.
    fn release(&mut self, number: u32) {
        if !self.is_stuck && !self.budget.is_full() {
            self.put_gaps(number);
        }
    }

    fn put_gaps(&mut self, number: u32) {
        let due = self.stream(number).due();
        due.into_iter().for_each(|gap| self.log.line(Line::Gap(gap)));
    }

    /// Trims a file, after the index is written: a killed run then leaves an index that lists every byte that was
    /// cut.
    fn trim(&mut self, number: u32) {
        let result = self.log.flush();
        if result.is_ok()
            && let Some(files) = &mut self.files
        {
            let before = files.cut(number);
            let result = files.trim(number);
            self.budget.give_back(files.cut(number) - before);
            return self.report(result);
        }
        self.report(result);
    }

    fn cut_to_limit(&mut self, number: u32) -> u64 {
        let Some(files) = &mut self.files else { return 0 };
        let result = files.trim(number);
        let cut = files.cut(number);
        self.report(result);
        cut
    }

    fn make_room(&mut self) {
        let result = self.log.make_room();
        self.is_stuck = result.is_err();
        self.report(result);
    }

    fn count_lines(&mut self) {
        for (number, bytes) in self.log.written() {
            self.budget.take(bytes);
            self.streams[number as usize - 1].1.indexed(bytes);
        }
    }

    fn source(&mut self, chunk: &Chunk) -> Option<String> {
        let Content::Missing { source: Some(source), .. } = &chunk.content else { return None };
        Some(self.sources.name(chunk.process().tgid, source))
    }

    fn report(&mut self, result: io::Result<()>) {
        self.is_reported |= report(result, self.files.as_ref(), self.is_reported);
    }
}

/// Reports the first error of the disk. Returns whether there was one.
fn report(result: io::Result<()>, files: Option<&Files>, is_reported: bool) -> bool {
    let (Err(error), Some(files)) = (result, files) else { return false };
    if !is_reported {
        tracing::warn!(
            "cannot write to the capture {}: {error}; the trace goes on, and what cannot be \
             written becomes gaps",
            files.folder().path().display()
        );
    }
    true
}

/// The sums of each stream in the ledger. Rows with the same key are added up.
fn counted(rows: Vec<(LedgerKey, LedgerRow)>) -> BTreeMap<LedgerKey, Counted> {
    let mut all: BTreeMap<LedgerKey, Counted> = BTreeMap::new();
    for (key, row) in rows.into_iter().filter(|(key, _)| key.direction == WRITE) {
        let counted = all.entry(key).or_default();
        counted.bytes = counted.bytes.saturating_add(row.bytes);
        counted.uncaptured = counted.uncaptured.saturating_add(row.uncaptured);
        counted.last_ns = counted.last_ns.max(row.last_ns);
        counted.captured = counted.captured.saturating_add(row.captured);
    }
    all
}
