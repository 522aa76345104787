//! Reads the folder of a capture and checks its invariants, independently of tracer's own reader.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};

use crate::report::{FdRow, Report, captured::CapturedStream};

mod index;
mod run;
mod stream;

pub use self::{
    index::{Gap, Line, Total},
    run::{Captured, capture, capture_with},
    stream::{Part, Stream},
};

/// Files in the folder that are not streams.
const OWN_FILES: [&str; 2] = ["index", "session"];

/// The folder that `--capture` wrote.
#[derive(Debug)]
pub struct Capture {
    /// Its path.
    pub directory: PathBuf,
    /// Its streams, by the stream number in the index.
    pub streams: BTreeMap<u32, Stream>,
    /// Every write in index order: the stream number and the position in [`Stream::parts`].
    writes: Vec<(u32, usize)>,
}

impl Capture {
    /// Reads a folder. Fails if other users have access to it, if the index and the files disagree,
    /// or if the byte counts of a stream do not add up.
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

    /// Checks that only the owner has access, and that the folder has no other files.
    fn check_private(&self) -> Result<()> {
        let mode = |path: &Path| -> Result<u32> {
            Ok(fs::symlink_metadata(path)?.permissions().mode() & 0o7777)
        };
        let own = mode(&self.directory)?;
        ensure!(own == 0o700, "{} has mode {own:o}", self.directory.display());
        // A stream without kept bytes has no file.
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
            ensure!(expected.remove(name) || is_empty, "the index does not name the file {name}");
        }
        ensure!(expected.is_empty(), "files are missing: {expected:?}");
        Ok(())
    }

    /// The stream of this process and fd; fails unless there is exactly one.
    pub fn stream(&self, pid: u32, fd: i32) -> Result<&Stream> {
        let mut streams = self.streams_of(pid, fd);
        let found = streams.next().with_context(|| {
            format!("no stream of pid {pid} fd {fd}: {:#?}", self.files().collect::<Vec<_>>())
        })?;
        ensure!(streams.next().is_none(), "pid {pid} fd {fd} has several streams");
        Ok(found)
    }

    /// All streams of this process and fd.
    pub fn streams_of(&self, pid: u32, fd: i32) -> impl Iterator<Item = &Stream> {
        let is_its = move |stream: &&Stream| (stream.pid, stream.fd) == (pid, fd);
        self.streams.values().filter(is_its)
    }

    fn files(&self) -> impl Iterator<Item = &str> {
        self.streams.values().map(|stream| stream.file.as_str())
    }

    /// The bytes of the selected streams, in index order.
    pub fn replay(&self, select: impl Fn(&Stream) -> bool) -> Vec<u8> {
        let writes = self.writes(select);
        writes.flat_map(|(_, bytes)| bytes.iter().copied()).collect()
    }

    /// Each write to the selected streams, in index order.
    pub fn writes<'a>(
        &'a self,
        select: impl Fn(&Stream) -> bool + 'a,
    ) -> impl Iterator<Item = (&'a Stream, &'a [u8])> {
        self.writes.iter().filter_map(move |(number, place)| {
            let stream = self.streams.get(number).filter(|stream| select(stream))?;
            Some((stream, stream.write(*place)))
        })
    }

    /// The bytes that all processes wrote to one object of the report, in index order.
    pub fn written_to(&self, report: &Report, object: &str) -> Result<Vec<u8>> {
        let writes = self.writes_to(report, object)?;
        Ok(writes.flat_map(|(_, bytes)| bytes.iter().copied()).collect())
    }

    /// Whether the captured writes to one object can be merged into `bytes`, with the writes of
    /// each process in order. Concurrent writes of two processes can reach a pipe in one order and
    /// return in the other.
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

    /// Checks that the report has the byte counts of the index, and that its ledger agrees.
    pub fn check_report(&self, report: &Report) -> Result<()> {
        let reported = report.captured()?;
        ensure!(
            Path::new(&reported.directory) == self.directory,
            "captured in {}",
            reported.directory
        );
        let files: BTreeSet<&str> = reported.streams.iter().map(|it| it.file.as_str()).collect();
        let own: BTreeSet<&str> = self.files().collect();
        ensure!(files == own, "the report has {files:?}, the index has {own:?}");
        for stream in self.streams.values() {
            let found = reported.streams.iter().find(|it| it.file == stream.file);
            stream.check_reported(found.context("compared above")?)?;
        }
        reported.streams.iter().try_for_each(|stream| check_ledger(report, stream))
    }

    /// Checks that no stream has a gap.
    pub fn is_complete(&self) -> Result<()> {
        self.streams.values().try_for_each(Stream::is_complete)
    }
}

/// Checks the written bytes of a captured stream against the report's ledger.
fn check_ledger(report: &Report, stream: &CapturedStream) -> Result<()> {
    if report.processes.iter().all(|process| process.pid != stream.pid) {
        // A writer outside the target, such as the test harness on a shared stdout.
        let object =
            report.object(&stream.object).context("an object that is not in the report")?;
        let wrote = object.writers.iter().any(|writer| writer.pid == stream.pid);
        ensure!(wrote, "the report does not list the writer of {stream:?}");
        return Ok(());
    }
    let is_its = |row: &FdRow| row.object == stream.object && row.fd.unwrap_or(-1) == stream.fd;
    let rows = report.rows().filter(|(pid, row)| *pid == stream.pid && is_its(row));
    let counted: u64 = rows.map(|(_, row)| row.bytes).sum();
    ensure!(counted == stream.written, "the ledger counted {counted}: {stream:?}");
    Ok(())
}
