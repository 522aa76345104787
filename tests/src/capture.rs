//! A capture's folder, read back and held to its own laws: the tests' reader, not the tracer's.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};

use crate::report::{Report, captured::CapturedStream};

mod index;
mod run;
mod stream;

pub use self::{
    index::{Gap, Line, Total},
    run::{Captured, capture, capture_with},
    stream::{Part, Stream},
};

/// Names in the folder that are no streams.
const OWN_FILES: [&str; 2] = ["index", "session"];

/// A folder of `--capture`.
#[derive(Debug)]
pub struct Capture {
    /// Where it is.
    pub directory: PathBuf,
    /// Its streams, by their numbers in the index.
    pub streams: BTreeMap<u32, Stream>,
    /// Every write in the order of the index: the stream, and which of its parts.
    writes: Vec<(u32, usize)>,
}

impl Capture {
    /// Reads a folder. An error when it is not private, when its index and its files do not fit
    /// each other, or when the books of a stream do not balance.
    pub fn load(directory: &Path) -> Result<Self> {
        let text = fs::read_to_string(directory.join("index"))?;
        let mut lines = text.lines();
        index::check_head(lines.next().context("the index is empty")?)?;
        let mut capture =
            Self { directory: directory.to_owned(), streams: BTreeMap::new(), writes: Vec::new() };
        for line in lines {
            let line = serde_json::from_str(line).with_context(|| format!("index line {line}"))?;
            capture.take(line).with_context(|| format!("in {}", directory.display()))?;
        }
        for stream in capture.streams.values_mut() {
            stream.load(directory)?;
        }
        capture.check_private()?;
        Ok(capture)
    }

    fn take(&mut self, line: Line) -> Result<()> {
        match line {
            Line::Stream(declared) => {
                let number = declared.stream;
                let is_new = self.streams.insert(number, Stream::new(declared)?).is_none();
                ensure!(is_new, "stream {number} begins twice");
            }
            Line::Write(write) => {
                let stream = self.stream_mut(write.stream)?;
                let number = write.stream;
                let place = stream.append(write)?;
                self.writes.push((number, place));
            }
            Line::Gap(gap) => self.stream_mut(gap.stream)?.gap(gap)?,
            Line::End(total) => self.stream_mut(total.stream)?.end(total)?,
            Line::Capture {} => bail!("a second first line"),
        }
        Ok(())
    }

    fn stream_mut(&mut self, number: u32) -> Result<&mut Stream> {
        self.streams.get_mut(&number).with_context(|| format!("stream {number} has not begun"))
    }

    /// Nobody but the owner may read any of it, and nothing is left over.
    fn check_private(&self) -> Result<()> {
        let mode = |path: &Path| -> Result<u32> {
            Ok(fs::symlink_metadata(path)?.permissions().mode() & 0o7777)
        };
        let own = mode(&self.directory)?;
        ensure!(own == 0o700, "{} has mode {own:o}", self.directory.display());
        // A stream of which nothing was kept has no file.
        let filled = self.streams.values().filter(|stream| !stream.bytes.is_empty());
        let mut expected: BTreeSet<_> = filled.map(|stream| stream.file.as_str()).collect();
        expected.extend(OWN_FILES);
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            let mode = mode(&entry.path())?;
            ensure!(mode == 0o600, "{} has mode {mode:o}", entry.path().display());
            let name = entry.file_name();
            let name = name.to_str().context("a name is not UTF-8")?;
            let is_empty = entry.metadata()?.len() == 0;
            ensure!(expected.remove(name) || is_empty, "nobody told of the file {name}");
        }
        ensure!(expected.is_empty(), "files are missing: {expected:?}");
        Ok(())
    }

    /// The one stream of this process and fd.
    pub fn stream(&self, pid: u32, fd: i32) -> Result<&Stream> {
        let mut streams = self.streams_of(pid, fd);
        let found = streams.next().with_context(|| {
            format!("no stream of pid {pid} fd {fd}: {:#?}", self.titles().collect::<Vec<_>>())
        })?;
        ensure!(streams.next().is_none(), "pid {pid} fd {fd} has several streams");
        Ok(found)
    }

    /// All streams of this process and fd.
    pub fn streams_of(&self, pid: u32, fd: i32) -> impl Iterator<Item = &Stream> {
        let is_its = move |stream: &&Stream| (stream.pid, stream.fd) == (pid, fd);
        self.streams.values().filter(is_its)
    }

    fn titles(&self) -> impl Iterator<Item = &str> {
        self.streams.values().map(|stream| stream.file.as_str())
    }

    /// The bytes of these streams in the order of the index, as they were written.
    pub fn replay(&self, of: impl Fn(&Stream) -> bool) -> Vec<u8> {
        let writes = self.writes(of);
        writes.flat_map(|(_, bytes)| bytes.iter().copied()).collect()
    }

    /// Each write of these streams in the order of the index.
    pub fn writes<'a>(
        &'a self,
        of: impl Fn(&Stream) -> bool + 'a,
    ) -> impl Iterator<Item = (&'a Stream, &'a [u8])> {
        self.writes.iter().filter_map(move |(number, place)| {
            let stream = self.streams.get(number).filter(|stream| of(stream))?;
            Some((stream, stream.write(*place)))
        })
    }

    /// What all processes together wrote to one object of the report, in the order of the index.
    pub fn written_to(&self, report: &Report, object: &str) -> Result<Vec<u8>> {
        let writes = self.writes_to(report, object)?;
        Ok(writes.flat_map(|(_, bytes)| bytes.iter().copied()).collect())
    }

    /// Whether what all processes wrote to one object gives these bytes, each process in its order. Of two that write
    /// at the same moment either may be first in a pipe, and either may return first.
    pub fn is_merged_to(&self, report: &Report, object: &str, bytes: &[u8]) -> Result<bool> {
        let mut waiting: BTreeMap<&str, VecDeque<&[u8]>> = BTreeMap::new();
        for (stream, write) in self.writes_to(report, object)? {
            waiting.entry(&stream.file).or_default().push_back(write);
        }
        let mut rest = bytes;
        let fits = |writes: &VecDeque<&[u8]>, rest: &[u8]| {
            writes.front().is_some_and(|write| rest.starts_with(write))
        };
        while let Some(next) = waiting.values_mut().find(|writes| fits(writes, rest)) {
            rest = &rest[next.pop_front().map_or(0, <[u8]>::len)..];
        }
        Ok(rest.is_empty() && waiting.values().all(VecDeque::is_empty))
    }

    fn writes_to<'a>(
        &'a self,
        report: &'a Report,
        object: &'a str,
    ) -> Result<impl Iterator<Item = (&'a Stream, &'a [u8])>> {
        let streams = &report.captured()?.streams;
        let is_its = move |file: &str| {
            streams.iter().any(|stream| stream.file == file && stream.object == object)
        };
        Ok(self.writes(move |stream| is_its(&stream.file)))
    }

    /// The report tells the same books, and those agree with its ledger, whatever was captured.
    pub fn check_report(&self, report: &Report) -> Result<()> {
        let told = report.captured()?;
        ensure!(Path::new(&told.directory) == self.directory, "captured in {}", told.directory);
        let files: BTreeSet<&str> = told.streams.iter().map(|told| told.file.as_str()).collect();
        let own: BTreeSet<&str> = self.titles().collect();
        ensure!(files == own, "the report tells of {files:?}, the index of {own:?}");
        for stream in self.streams.values() {
            let told = told.streams.iter().find(|told| told.file == stream.file);
            stream.check_told(told.context("told above")?)?;
        }
        told.streams.iter().try_for_each(|told| check_ledger(report, told))
    }

    /// Nothing is missing anywhere.
    pub fn is_complete(&self) -> Result<()> {
        self.streams.values().try_for_each(Stream::is_complete)
    }
}

/// What a stream says was written is what the ledger counted.
fn check_ledger(report: &Report, told: &CapturedStream) -> Result<()> {
    if report.processes.iter().all(|process| process.pid != told.pid) {
        // A stranger on the same pipe: the test harness's own dots, where its stdout is one.
        let object = report.object(&told.object).context("an object that is not in the report")?;
        let wrote = object.writers.iter().any(|party| party.pid == told.pid);
        ensure!(wrote, "nobody knows who wrote {told:?}");
        return Ok(());
    }
    let is_its =
        |row: &crate::report::FdRow| row.object == told.object && row.fd.unwrap_or(-1) == told.fd;
    let rows = report.rows().filter(|(pid, row)| *pid == told.pid && is_its(row));
    let counted: u64 = rows.map(|(_, row)| row.bytes).sum();
    ensure!(counted == told.written, "the ledger counted {counted}: {told:?}");
    Ok(())
}
