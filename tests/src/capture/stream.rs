//! A captured stream: its bytes, its gaps, and the checks of its byte counts.

use std::{collections::BTreeMap, fs, ops::Range, path::Path};

use anyhow::{Context, Result, ensure};

use super::index::{Declared, Gap, Total, Write};
use crate::report::captured::CapturedStream;

/// The output of one process through one fd to one object.
#[derive(Debug)]
pub struct Stream {
    /// Pid of the writer.
    pub pid: u32,
    /// Name of the writer.
    pub comm: String,
    /// The fd.
    pub fd: i32,
    /// Name of its file.
    pub file: String,
    /// Content of the file.
    pub bytes: Vec<u8>,
    /// Bytes and gaps in order.
    pub parts: Vec<Part>,
    total: Option<Total>,
    /// Bytes appended to the file so far.
    offset: u64,
}

/// A piece of a stream.
#[derive(Clone, Debug)]
pub enum Part {
    /// The bytes of one write.
    Bytes(Write),
    /// Missing bytes.
    Missing(Gap),
}

impl Stream {
    pub(super) fn new(declared: Declared) -> Result<Self> {
        let Declared { process, comm, fd, object, file, .. } = declared;
        let (pid, start) =
            process.split_once('@').with_context(|| format!("process is {process}"))?;
        ensure!(start.parse::<u64>().is_ok() && object.contains(':'), "{process} {object}");
        let pid: u32 = pid.parse()?;
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        ensure!(file.chars().all(plain) && !file.starts_with('.'), "a file is called {file}");
        let end = match fd {
            1 => "stdout".to_owned(),
            2 => "stderr".to_owned(),
            fd => format!("fd{fd}"),
        };
        let name: String = comm.chars().map(|c| if plain(c) { c } else { '_' }).collect();
        ensure!(file.starts_with(&format!("{name}-{pid}.{end}")), "{file} of {comm} fd {fd}");
        let (bytes, parts) = (Vec::new(), Vec::new());
        Ok(Self { pid, comm, fd, file, bytes, parts, total: None, offset: 0 })
    }

    /// Appends a write; returns its index in `parts`.
    pub(super) fn append(&mut self, write: Write) -> Result<usize> {
        ensure!(self.total.is_none(), "a write after the end of {}", self.file);
        ensure!(
            write.offset == self.offset && write.length > 0,
            "not at {}: {write:?}",
            self.offset
        );
        self.offset += write.length;
        self.parts.push(Part::Bytes(write));
        Ok(self.parts.len() - 1)
    }

    pub(super) fn gap(&mut self, gap: Gap) -> Result<()> {
        ensure!(self.total.is_none(), "a gap after the end of {}", self.file);
        ensure!(gap.offset == self.offset && gap.length > 0, "not at {}: {gap:?}", self.offset);
        self.parts.push(Part::Missing(gap));
        Ok(())
    }

    /// Sets the byte counts, which must be consistent with the parts.
    pub(super) fn end(&mut self, total: Total) -> Result<()> {
        ensure!(self.total.is_none(), "{} ends twice", self.file);
        let Total { written, kept, cut, missing, .. } = total;
        let gaps: u64 = self.gaps().map(|gap| gap.length).sum();
        ensure!(written == kept + cut + missing, "the byte counts do not add up: {total:?}");
        ensure!(kept + cut == self.offset, "{} bytes were appended: {total:?}", self.offset);
        ensure!(missing == gaps, "{gaps} bytes are in gaps: {total:?}");
        self.total = Some(total);
        Ok(())
    }

    pub(super) fn load(&mut self, directory: &Path) -> Result<()> {
        let Total { kept, .. } = self.total()?;
        let path = directory.join(&self.file);
        self.bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(_) if kept == 0 => Vec::new(),
            Err(error) => return Err(error).context(path.display().to_string()),
        };
        let length = self.bytes.len() as u64;
        ensure!(length == kept, "{} has {length} bytes, not {kept}", self.file);
        Ok(())
    }

    /// Its byte counts.
    pub fn total(&self) -> Result<Total> {
        self.total.with_context(|| format!("{} has no end", self.file))
    }

    /// Its gaps, in order.
    pub fn gaps(&self) -> impl Iterator<Item = &Gap> {
        self.parts.iter().filter_map(|part| match part {
            Part::Bytes(_) => None,
            Part::Missing(gap) => Some(gap),
        })
    }

    /// Bytes in gaps with this reason.
    pub fn missing_for(&self, reason: &str) -> u64 {
        self.gaps().filter(|gap| gap.reason == reason).map(|gap| gap.length).sum()
    }

    /// Checks that every gap has one of these reasons.
    pub fn only_misses(&self, reasons: &[&str]) -> Result<()> {
        let other = self.gaps().find(|gap| !reasons.contains(&gap.reason.as_str()));
        ensure!(other.is_none(), "{}: a gap with another reason: {other:?}", self.file);
        Ok(())
    }

    /// The bytes of a part, without those cut from the front of the file.
    pub(super) fn write(&self, part: usize) -> &[u8] {
        match self.parts.get(part) {
            Some(Part::Bytes(write)) => self.bytes.get(self.range(write)).unwrap_or_default(),
            _ => &[],
        }
    }

    /// The range of a write in the current file.
    fn range(&self, write: &Write) -> Range<usize> {
        let cut = self.total.map_or(0, |total| total.cut);
        let current = |offset: u64| offset.saturating_sub(cut) as usize;
        current(write.offset)..current(write.offset + write.length)
    }

    /// Checks that it has no gap and no cut.
    pub fn is_complete(&self) -> Result<()> {
        let total = self.total()?;
        let gaps: Vec<_> = self.gaps().collect();
        let is_whole = total.kept == total.written && gaps.is_empty();
        ensure!(is_whole, "{} is not complete: {total:?}, {gaps:?}", self.file);
        Ok(())
    }

    /// Compares the stream with all bytes that were written: every kept byte must have the right
    /// value at its position. Gaps and cut bytes are skipped.
    pub fn check_against(&self, truth: &[u8]) -> Result<()> {
        let total = self.total()?;
        ensure!(
            total.written == truth.len() as u64,
            "{} bytes were written: {total:?}",
            truth.len()
        );
        let mut position = 0;
        for part in &self.parts {
            position += match part {
                Part::Missing(gap) => gap.length as usize,
                Part::Bytes(write) => {
                    self.check_write(write, position, truth)?;
                    write.length as usize
                }
            };
        }
        ensure!(position == truth.len(), "{} of {} bytes are covered", position, truth.len());
        Ok(())
    }

    fn check_write(&self, write: &Write, position: usize, truth: &[u8]) -> Result<()> {
        let kept = self.bytes.get(self.range(write)).context("the file is too short")?;
        let end = position + write.length as usize;
        let expected = truth.get(end - kept.len()..end).context("it is longer than the truth")?;
        let Some(wrong) = kept.iter().zip(expected).position(|(a, b)| a != b) else {
            return Ok(());
        };
        let at = end - kept.len() + wrong;
        let [found, wanted] =
            [kept, expected].map(|bytes| &bytes[wrong..bytes.len().min(wrong + 16)]);
        let elsewhere = truth.windows(found.len()).position(|window| window == found);
        anyhow::bail!(
            "{}: byte {at} is {found:?} and not {wanted:?} (found at {elsewhere:?}); {write:?}",
            self.file
        )
    }

    /// Compares it with the report.
    pub(super) fn check_reported(&self, reported: &CapturedStream) -> Result<()> {
        let total = self.total()?;
        let counts = (reported.written, reported.kept, reported.cut, reported.missing);
        let own = (total.written, total.kept, total.cut, total.missing);
        ensure!(counts == own, "the index says {total:?}, the report {reported:?}");
        let writer = (reported.pid, reported.fd, &reported.comm);
        ensure!(writer == (self.pid, self.fd, &self.comm), "{reported:?}");
        let mut gaps: BTreeMap<(&str, Option<&str>), (u64, u64)> = BTreeMap::new();
        for gap in self.gaps() {
            let sum = gaps.entry((&gap.reason, gap.source.as_deref())).or_default();
            *sum = (sum.0 + gap.length, sum.1 + 1);
        }
        let reported_gaps: BTreeMap<_, _> = reported
            .gaps
            .iter()
            .map(|gap| ((gap.reason.as_str(), gap.source.as_deref()), (gap.bytes, gap.times)))
            .collect();
        ensure!(gaps == reported_gaps, "gaps in the index: {gaps:?}, reported: {reported_gaps:?}");
        Ok(())
    }
}
