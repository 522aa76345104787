//! Where the report goes, and the lines beside it.

use std::{
    fs::File,
    io::{self, IsTerminal as _, Write as _},
    path::{Path, PathBuf},
};

use rustix::termios::tcgetwinsize;
use tracer_core::report::Report;

use super::AppError;
use crate::{
    render::{self, Format, Style},
    settings::{ColorChoice, Settings},
    sys::private_file,
};

/// Columns when there is no terminal to ask.
const WIDTH: usize = 100;

/// Where live lines go; `None` when they are not wanted.
pub(super) type LiveSink = Option<Style>;

/// The report's destination, opened before anything is attached.
pub(super) struct Destination {
    file: Option<(File, PathBuf)>,
    style: Style,
    /// Reports written so far.
    written: usize,
}

impl Destination {
    /// Opens `-o FILE` (mode 0600, never where somebody else leads) or takes standard output.
    pub(super) fn open(output: Option<&Path>, color: ColorChoice) -> Result<Self, AppError> {
        let file = match output {
            None => None,
            Some(path) => {
                // What the file holds stays until there is a report.
                let file = private_file::open(path).map_err(|error| AppError::Output {
                    path: path.to_owned(),
                    source: error.into(),
                })?;
                Some((file, path.to_owned()))
            }
        };
        let color = wants_color(color, file.is_none() && io::stdout().is_terminal());
        let width = if file.is_none() { width_of(&io::stdout()) } else { WIDTH };
        Ok(Self { file, style: Style { color, width }, written: 0 })
    }

    /// How live lines look, when they are wanted.
    pub(super) fn live(&self, settings: &Settings) -> LiveSink {
        let terminal = io::stderr().is_terminal();
        let wanted = settings.live.unwrap_or(terminal && settings.format == Format::Human);
        wanted.then(|| Style {
            color: wants_color(settings.color, terminal),
            width: width_of(&io::stderr()),
        })
    }

    /// Writes the report. A reader that closed standard output (`| head -1`) has had enough: that is
    /// no error.
    pub(super) fn write(&mut self, report: &Report, format: Format) -> Result<(), AppError> {
        let is_first = self.written == 0;
        self.written += 1;
        match &self.file {
            Some((file, path)) => {
                if is_first {
                    // Devices and pipes have no length to set.
                    let _ = file.set_len(0);
                }
                self.put(report, format, is_first, file)
                    .map_err(|source| AppError::Output { path: path.clone(), source })
            }
            None => match self.put(report, format, is_first, io::stdout().lock()) {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
                result => result.map_err(|source| AppError::Output {
                    path: PathBuf::from("standard output"),
                    source,
                }),
            },
        }
    }

    /// One report behind another: JSON needs nothing between two documents, people an empty line.
    fn put(
        &self,
        report: &Report,
        format: Format,
        is_first: bool,
        out: impl io::Write,
    ) -> io::Result<()> {
        let mut buffered = io::BufWriter::new(out);
        if !is_first && format == Format::Human {
            writeln!(buffered)?;
        }
        render::write(report, format, &self.style, &mut buffered)?;
        buffered.flush()
    }
}

/// A line on standard error; a closed standard error silences it.
pub(super) fn say(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Whether to colour.
pub(super) fn wants_color(choice: ColorChoice, terminal: bool) -> bool {
    match choice {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => {
            terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        }
    }
}

/// Columns of a terminal.
pub(super) fn width_of(stream: &impl std::os::fd::AsFd) -> usize {
    tcgetwinsize(stream)
        .ok()
        .map(|size| usize::from(size.ws_col))
        .filter(|columns| *columns >= 40)
        .unwrap_or(WIDTH)
}
