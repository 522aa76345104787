//! Destinations of the report, and of the lines beside it.

use std::{
    io::{self, IsTerminal as _, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::{stdio::stdout, termios::tcgetwinsize};
use tracer_core::report::Report;

use super::{AppError, stderr};
use crate::{
    render::{self, Format, Style, View},
    settings::{ColorChoice, ReportTo, Settings},
    sys::user_file::{UserFile, UserPath},
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
    File(UserFile, PathBuf),
}

impl Destination {
    /// Opens the file of `-o` with mode 0600, but not through another user's link; or takes a standard stream.
    pub(super) fn open(
        output: &ReportTo,
        file: Option<UserPath>,
        form: Form,
    ) -> Result<Self, AppError> {
        let (place, is_terminal, width) = match (output, file) {
            (_, Some(file)) => {
                let path = file.path().to_owned();
                // The file keeps its content until there is a report.
                let file = file.open(usize::MAX).map_err(|source| failed(&path, source))?;
                (Place::File(file, path), false, WIDTH)
            }
            (ReportTo::Stdout, None) => {
                (Place::Stdout, io::stdout().is_terminal(), width_of(&io::stdout()))
            }
            (ReportTo::Stderr | ReportTo::File(_), None) => {
                (Place::Stderr, io::stderr().is_terminal(), width_of(&io::stderr()))
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

    /// Writes a report; into a file only a part of it. A reader that closes a standard stream (`| head -1`) is no error.
    pub(super) fn write(&mut self, report: &Report) -> Result<(), AppError> {
        let Form { format, view, .. } = &self.form;
        let is_first = self.written == 0;
        let put = |out: &mut dyn io::Write| -> io::Result<()> {
            let mut buffered = io::BufWriter::new(out);
            // Human reports have an empty line between them, JSON documents nothing.
            if !is_first && *format == Format::Human {
                writeln!(buffered)?;
            }
            render::write(report, *format, view, &self.style, &mut buffered)?;
            buffered.flush()
        };
        self.written += 1;
        let (result, name) = match &mut self.place {
            Place::File(file, path) => return put(file).map_err(|source| failed(path, source)),
            Place::Stdout => (put(&mut stderr::Direct(stdout())), "standard output"),
            Place::Stderr => (put(&mut stderr::Direct(rustix::stdio::stderr())), "standard error"),
        };
        match result {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            result => result.map_err(|source| failed(Path::new(name), source)),
        }
    }

    /// Waits until a file is written, for as long as `waits` says.
    ///
    /// After an error, the next report goes to standard error.
    pub(super) fn close(&mut self, waits: impl FnMut(Duration) -> bool) -> Result<(), AppError> {
        self.written = 0;
        match std::mem::replace(&mut self.place, Place::Stderr) {
            Place::File(file, path) => file.finish(waits).map_err(|source| failed(&path, source)),
            Place::Stdout | Place::Stderr => Ok(()),
        }
    }
}

fn failed(path: &Path, source: io::Error) -> AppError {
    AppError::Output { path: path.to_owned(), source }
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
