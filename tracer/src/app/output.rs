//! Destinations of the report, and of the lines beside it.

use std::{
    cell::{Cell, RefCell},
    fs::File,
    io::{self, IsTerminal as _, Write as _},
    path::{Path, PathBuf},
    rc::Rc,
    time::Duration,
};

use rustix::{stdio::stdout, termios::tcgetwinsize};
use tracer_core::report::Report;

use super::{
    AppError,
    lines::{self, Lines},
    live::{Sinks, Stream},
    stderr,
};
use crate::{
    render::{self, Format, Style, View},
    settings::{ColorChoice, ReportTo, Settings},
    sys::user_file::{UserFile, UserPath},
};

/// Width in columns if no terminal is there.
const WIDTH: usize = 80;

/// The terminal of the process (`tty(4)`).
const TERMINAL: &str = "/dev/tty";

/// The destination of the report, opened before anything is attached.
pub(super) struct Destination {
    place: Place,
    form: Form,
    style: Style,
    /// How many reports were written.
    written: usize,
    /// Lines that come before the report.
    stream: Option<Rc<Stream>>,
}

/// What a report looks like.
#[derive(Clone, Debug)]
pub(super) struct Form {
    pub(super) format: Format,
    pub(super) view: View,
    pub(super) color: ColorChoice,
}

impl Form {
    /// The form of a trace's report.
    pub(super) fn of(settings: &Settings) -> Self {
        let Settings { format, view, color, .. } = settings;
        Self { format: *format, view: view.clone(), color: *color }
    }
}

enum Place {
    Stdout,
    Stderr,
    Terminal(File),
    File(Rc<RefCell<UserFile>>, PathBuf),
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
                // The file keeps its content until there is a report, or a line before it.
                let file = file.open(usize::MAX).map_err(|source| failed(&path, source))?;
                (Place::File(Rc::new(RefCell::new(file)), path), false, WIDTH)
            }
            (ReportTo::Stdout, None) => {
                (Place::Stdout, io::stdout().is_terminal(), width_of(&io::stdout()))
            }
            (ReportTo::Terminal, None) => {
                let path = Path::new(TERMINAL);
                let terminal = File::options().write(true).open(path);
                let terminal = terminal.map_err(|source| failed(path, source))?;
                let width = width_of(&terminal);
                (Place::Terminal(terminal), true, width)
            }
            (ReportTo::Stderr | ReportTo::File(_), None) => {
                (Place::Stderr, io::stderr().is_terminal(), width_of(&io::stderr()))
            }
        };
        let style = Style { color: wants_color(form.color, is_terminal), width };
        Ok(Self { place, form, style, written: 0, stream: None })
    }

    /// Where live lines go, if the settings want them: those for people, and with `--format ndjson` those that come
    /// before the report.
    pub(super) fn live(&mut self, settings: &Settings) -> Result<Sinks, AppError> {
        let terminal = io::stderr().is_terminal();
        let wanted = settings.live.unwrap_or(terminal && settings.format == Format::Human);
        let style = wanted.then(|| Style {
            color: wants_color(settings.color, terminal),
            width: width_of(&io::stderr()),
        });
        // A view shows more.
        if settings.format == Format::Ndjson && !settings.is_top {
            let stream = self.place.stream().map_err(|source| AppError::Runtime { source })?;
            self.stream = Some(Rc::new(stream));
        }
        Ok(Sinks { style, stream: self.stream.clone() })
    }

    /// Writes a report; into a file only a part of it. A reader that closes a standard stream (`| head -1`) is no error.
    pub(super) fn write(&mut self, report: &Report) -> Result<(), AppError> {
        let Form { format, view, .. } = &self.form;
        let is_first = self.written == 0;
        let stream = self.stream.take();
        let put = |out: &mut dyn io::Write| -> io::Result<()> {
            stream.iter().try_for_each(|stream| stream.finish())?;
            let mut buffered = io::BufWriter::new(out);
            // Human reports have an empty line between them, JSON documents nothing.
            if !is_first && *format == Format::Human {
                writeln!(buffered)?;
            }
            render::write(report, *format, view, &self.style, &mut buffered)?;
            buffered.flush()
        };
        self.written += 1;
        deliver(&mut self.place, put)
    }

    /// Writes something else than a report. A report that follows begins after an empty line.
    pub(super) fn print(
        &mut self,
        render: impl FnOnce(&Style, &mut dyn io::Write) -> io::Result<()>,
    ) -> Result<(), AppError> {
        self.written += 1;
        let style = &self.style;
        deliver(&mut self.place, |out| {
            let mut buffered = io::BufWriter::new(out);
            render(style, &mut buffered)?;
            buffered.flush()
        })
    }

    /// Writes a report to standard error, if its file failed. Other destinations have had it.
    pub(super) fn write_after_failure(&mut self, report: &Report) -> Result<(), AppError> {
        match &self.place {
            Place::File(..) => {
                (self.place, self.written) = (Place::Stderr, 0);
                self.write(report)
            }
            Place::Stdout | Place::Stderr | Place::Terminal(_) => Ok(()),
        }
    }

    /// Whether it is a file.
    pub(super) const fn is_file(&self) -> bool {
        matches!(self.place, Place::File(..))
    }

    /// Waits until a file is written, for as long as `waits` says.
    pub(super) fn close(&mut self, waits: impl FnMut(Duration) -> bool) -> Result<(), AppError> {
        let Place::File(file, path) = &self.place else { return Ok(()) };
        file.borrow_mut().finish(waits).map_err(|source| failed(path, source))
    }
}

impl Place {
    /// The destination of lines that come before a report.
    fn stream(&self) -> io::Result<Stream> {
        Ok(match self {
            Self::Stdout => Stream::Stdout(Lines::start(lines::Stream {
                name: "tracer-stdout",
                fd: stdout(),
                left_out: render::left_out_json,
            })?),
            Self::Stderr | Self::Terminal(_) => Stream::Stderr,
            Self::File(file, _) => {
                Stream::File { file: Rc::clone(file), left_out: Cell::default() }
            }
        })
    }
}

/// Writes to a place. A reader that closes a standard stream is no error.
fn deliver(
    place: &mut Place,
    put: impl FnOnce(&mut dyn io::Write) -> io::Result<()>,
) -> Result<(), AppError> {
    let (result, name) = match place {
        Place::File(file, path) => {
            return put(&mut Shared(file)).map_err(|source| failed(path, source));
        }
        Place::Stdout => (put(&mut stderr::Direct(stdout())), "standard output"),
        Place::Stderr => (put(&mut stderr::Direct(rustix::stdio::stderr())), "standard error"),
        Place::Terminal(terminal) => (put(terminal), "the terminal"),
    };
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.map_err(|source| failed(Path::new(name), source)),
    }
}

/// The file of a report, while lines may be written to it as well.
struct Shared<'a>(&'a RefCell<UserFile>);

impl io::Write for Shared<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.borrow_mut().flush()
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
