//! Destinations of the report, and of the lines beside it.

use std::{
    fs::File,
    io::{self, IsTerminal as _, Write as _},
    path::PathBuf,
};

use rustix::termios::tcgetwinsize;
use tracer_core::report::Report;

use super::{AppError, stderr};
use crate::{
    render::{self, Format, Style, View},
    settings::{ColorChoice, ReportTo, Settings},
    sys::private_file,
};

/// Width in columns if no terminal is there.
const WIDTH: usize = 80;

/// Style of live lines; `None` without them.
pub(super) type LiveSink = Option<Style>;

/// The destination of the report, opened before anything is attached.
pub(super) struct Destination {
    place: Place,
    form: Form,
    style: Style,
    /// How many reports were written.
    written: usize,
}

/// What a report looks like.
#[derive(Clone, Debug)]
pub(super) struct Form {
    pub(super) format: Format,
    pub(super) view: View,
    pub(super) color: ColorChoice,
}

enum Place {
    Stdout,
    Stderr,
    File(File, PathBuf),
}

impl Destination {
    /// Opens the file of `-o` with mode 0600, but not through another user's link; or takes a standard stream.
    pub(super) fn open(output: &ReportTo, form: Form) -> Result<Self, AppError> {
        let (place, is_terminal, width) = match output {
            ReportTo::Stdout => {
                (Place::Stdout, io::stdout().is_terminal(), width_of(&io::stdout()))
            }
            ReportTo::Stderr => {
                (Place::Stderr, io::stderr().is_terminal(), width_of(&io::stderr()))
            }
            ReportTo::File(path) => {
                // The file keeps its content until there is a report.
                let file = private_file::open(path).map_err(|error| AppError::Output {
                    path: path.to_owned(),
                    source: error.into(),
                })?;
                (Place::File(file, path.to_owned()), false, WIDTH)
            }
        };
        let style = Style { color: wants_color(form.color, is_terminal), width };
        Ok(Self { place, form, style, written: 0 })
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

    /// Writes the report. A reader that closes a standard stream (`| head -1`) is no error.
    pub(super) fn write(&mut self, report: &Report) -> Result<(), AppError> {
        let is_first = self.written == 0;
        self.written += 1;
        let (result, path) = match &self.place {
            Place::File(file, path) => {
                if is_first {
                    // A device or pipe has no length to set.
                    let _ = file.set_len(0);
                }
                let result = self.put(report, is_first, file);
                return result.map_err(|source| AppError::Output { path: path.clone(), source });
            }
            Place::Stdout => (self.put(report, is_first, io::stdout().lock()), "standard output"),
            Place::Stderr => (self.put(report, is_first, stderr::Direct), "standard error"),
        };
        match result {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            result => result.map_err(|source| AppError::Output { path: path.into(), source }),
        }
    }

    /// Writes one report after another: human reports have an empty line between them, JSON documents nothing.
    fn put(&self, report: &Report, is_first: bool, out: impl io::Write) -> io::Result<()> {
        let Form { format, view, .. } = &self.form;
        let mut buffered = io::BufWriter::new(out);
        if !is_first && *format == Format::Human {
            writeln!(buffered)?;
        }
        render::write(report, *format, view, &self.style, &mut buffered)?;
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
