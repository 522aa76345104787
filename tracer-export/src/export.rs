//! From a history to the files.

use std::{
    io,
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use tracer_history::{Filter, HistoryError, Latest, Reader, reason};

use crate::{
    ndjson::Ndjson,
    options::{Format, Options},
    output::Output,
    parquet_file::ParquetFile,
    rows::{self, GAPS, STREAMS},
    table::{Column, Sink},
};

/// Why there is no export.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExportError {
    /// The history cannot be read.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// A destination cannot be written.
    #[error("cannot write the export to {}: {source}", name.display())]
    Output {
        /// The file.
        name: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A terminal cannot show it.
    #[error("Parquet is not for a terminal: name a file with -o FILE, or use --format ndjson")]
    Terminal,
}

/// What an export was.
pub(crate) struct Exported {
    /// Whether a part of the history could not be read.
    pub(crate) is_damaged: bool,
}

/// Exports a history.
pub(crate) fn export(options: &Options) -> Result<Exported, ExportError> {
    let reader = Reader::open(&options.history)?;
    let mut streams = Table::open(options, options.output.as_deref(), &STREAMS)?;
    let gaps =
        options.gaps.as_deref().map(|path| Table::open(options, Some(path), &GAPS)).transpose()?;
    let written = write_streams(&reader, options, &mut *streams.sink, &streams.node);
    match written.and_then(|()| streams.finish()) {
        // A reader of lines (`| head`) has read enough. A part of a Parquet file is no Parquet file.
        Err(error)
            if error.kind() == io::ErrorKind::BrokenPipe
                && options.output.is_none()
                && options.format == Format::Ndjson => {}
        done => done.map_err(|source| failed(options.output.as_deref(), source))?,
    }
    let (since_us, until_us) = span(options);
    let found = reader.gaps(since_us, until_us);
    let is_damaged = found.iter().any(|gap| gap.reason == reason::DAMAGED);
    if let Some(mut gaps) = gaps {
        let written =
            found.iter().try_for_each(|gap| gaps.sink.row(&rows::of_gap(&gaps.node, gap)));
        let done = written.and_then(|()| gaps.finish());
        done.map_err(|source| failed(options.gaps.as_deref(), source))?;
    }
    Ok(Exported { is_damaged })
}

/// The time span, in µs since 1970.
fn span(options: &Options) -> (i64, i64) {
    (options.since_us.unwrap_or(0), options.until_us.unwrap_or(i64::MAX))
}

/// Writes a row for each stream of each command. Of a job with interim entries only the latest counts, because each
/// repeats the totals since its beginning.
fn write_streams(
    reader: &Reader,
    options: &Options,
    sink: &mut dyn Sink,
    node: &str,
) -> io::Result<()> {
    let (since_us, until_us) = span(options);
    let latest = Latest::of(reader, since_us, until_us);
    let filter = Filter {
        since_us: Some(since_us),
        until_us: Some(until_us),
        lost: options.lost,
        ..Filter::default()
    };
    let mut written = Ok(());
    reader.for_each(&filter, |entry| {
        if latest.is(&entry) {
            written = rows::of_entry(node, &entry, |row| sink.row(row));
        }
        if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    written
}

/// A table that is written.
struct Table {
    output: Output,
    sink: Box<dyn Sink>,
    node: String,
}

impl Table {
    fn open(
        options: &Options,
        path: Option<&Path>,
        columns: &'static [Column],
    ) -> Result<Self, ExportError> {
        let node = options
            .node
            .clone()
            .unwrap_or_else(|| rustix::system::uname().nodename().to_string_lossy().into_owned());
        let opened = path.map_or_else(Output::stdout, Output::file);
        let output = opened.map_err(|source| failed(path, source))?;
        if options.format == Format::Parquet && output.is_terminal() {
            return Err(ExportError::Terminal);
        }
        let sink = || -> io::Result<Box<dyn Sink>> {
            let file = output.writer()?;
            Ok(match options.format {
                Format::Parquet => Box::new(ParquetFile::new(columns, &node, file)?),
                Format::Ndjson => Box::new(Ndjson::new(columns, file)),
            })
        };
        let sink = sink().map_err(|source| failed(path, source))?;
        Ok(Self { output, sink, node })
    }

    fn finish(self) -> io::Result<()> {
        self.sink.finish()?;
        self.output.keep()
    }
}

fn failed(path: Option<&Path>, source: io::Error) -> ExportError {
    let name = path.map_or_else(|| "standard output".into(), Path::to_owned);
    ExportError::Output { name, source }
}
