//! tracer's report, as far as the benchmark reads it.

use std::{collections::BTreeMap, fs::File, io::BufReader, path::Path};

use anyhow::{Context as _, Result};
use serde::{Deserialize, de::DeserializeOwned};

use super::count::{Books, Counted};

/// A report.
#[derive(Deserialize)]
pub(crate) struct Report {
    processes: Vec<Process>,
    losses: BTreeMap<String, u64>,
    capture: Option<Capture>,
}

#[derive(Deserialize)]
struct Process {
    ppid: Option<u32>,
    fds: Vec<Fd>,
}

#[derive(Deserialize)]
struct Fd {
    fd: i32,
    bytes: u64,
    writes: u64,
}

#[derive(Deserialize)]
struct Capture {
    streams: Vec<Stream>,
}

#[derive(Deserialize)]
struct Stream {
    gaps: Vec<Gap>,
}

#[derive(Deserialize)]
struct Gap {
    reason: String,
    bytes: u64,
}

/// Reads a report, or as much of it as somebody wants to know.
pub(crate) fn read<R: DeserializeOwned>(path: &Path) -> Result<R> {
    let file = File::open(path).with_context(|| format!("no report at {}", path.display()))?;
    serde_json::from_reader(BufReader::new(file))
        .with_context(|| format!("{} is no report of tracer", path.display()))
}

impl Report {
    /// What went through fd 1 of any process, and how many children this process had.
    pub(crate) fn counted(&self, root: u32) -> Counted {
        let rows =
            || self.processes.iter().flat_map(|process| &process.fds).filter(|fd| fd.fd == 1);
        let gaps = self.capture.iter().flat_map(|capture| &capture.streams);
        let gaps = gaps.flat_map(|stream| &stream.gaps).filter(|gap| gap.reason != "limit");
        let children = self.processes.iter().filter(|process| process.ppid == Some(root));
        Counted::Tracer(Books {
            writes: rows().map(|row| row.writes).sum(),
            bytes: rows().map(|row| row.bytes).sum(),
            children: children.count() as u64,
            losses: self.losses.clone().into_iter().filter(|(_, events)| *events > 0).collect(),
            uncaptured: gaps.map(|gap| gap.bytes).sum(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::count::Losses;

    #[test]
    fn a_report_is_added_up() {
        let text = r#"{"schema":"tracer.report/1","losses":{"ring_full":2,"ledger_full":0},
            "processes":[{"pid":60,"ppid":1,"fds":[{"fd":1,"bytes":64,"writes":2},
            {"fd":2,"bytes":7,"writes":7}]},{"pid":61,"ppid":60,"fds":[{"fd":1,"bytes":1,"writes":1}]}],
            "capture":{"streams":[{"gaps":[{"reason":"limit","bytes":9},{"reason":"ring_full","bytes":4}]}]}}"#;
        let report: Report = serde_json::from_str(text).unwrap();
        let losses = Losses::from([("ring_full".to_owned(), 2)]);
        let books = Books { writes: 3, bytes: 65, children: 1, losses, uncaptured: 4 };
        assert_eq!(report.counted(60), Counted::Tracer(books));
    }
}
