//! Destinations of the report, and of the lines beside it.

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

/// Width in columns if no terminal is there.
const WIDTH: usize = 100;

/// Style of live lines; `None` without them.
pub(super) type LiveSink = Option<Style>;

/// The destination of the report, opened before anything is attached.
pub(super) struct Destination {
    file: Option<(File, PathBuf)>,
    style: Style,
    /// How many reports were written.
    written: usize,
}

impl Destination {
    /// Opens `-o FILE` with mode 0600, but not through another user's link; or takes standard output.
    pub(super) fn open(output: Option<&Path>, color: ColorChoice) -> Result<Self, AppError> {
        let file = match output {
            None => None,
            Some(path) => {
                // The file keeps its content until there is a report.
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

    /// Style of live lines, if the settings want them.
    pub(super) fn live(&self, settings: &Settings) -> LiveSink {
        let terminal = io::stderr().is_terminal();
        let wanted = settings.live.unwrap_or(terminal && settings.format == Format::Human);
        wanted.then(|| Style {
            color: wants_color(settings.color, terminal),
            width: width_of(&io::stderr()),
        })
    }

    /// Writes the report. A reader that closes standard output (`| head -1`) is no error.
    pub(super) fn write(&mut self, report: &Report, format: Format) -> Result<(), AppError> {
        let is_first = self.written == 0;
        self.written += 1;
        match &self.file {
            Some((file, path)) => {
                if is_first {
                    // A device or pipe has no length to set.
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

    /// Writes one report after another: human reports have an empty line between them, JSON documents nothing.
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

/// Whether output is coloured.
pub(super) fn wants_color(choice: ColorChoice, terminal: bool) -> bool {
    match choice {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => {
            terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        }
    }
}

/// Width of a terminal in columns.
pub(super) fn width_of(stream: &impl std::os::fd::AsFd) -> usize {
    tcgetwinsize(stream)
        .ok()
        .map(|size| usize::from(size.ws_col))
        .filter(|columns| *columns >= 40)
        .unwrap_or(WIDTH)
}
