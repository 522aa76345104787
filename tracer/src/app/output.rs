//! Where the report goes, and the lines beside it.

use std::{
    fs::{File, OpenOptions, Permissions},
    io::{self, IsTerminal as _, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::PathBuf,
};

use rustix::{fs::OFlags, termios::tcgetwinsize};

use super::{AppError, collect::LiveSink};
use crate::{
    render::{self, Format, Style},
    report::Report,
    settings::{ColorChoice, Settings},
};

/// Columns when there is no terminal to ask.
const WIDTH: usize = 100;

/// The report's destination, opened before anything is attached.
pub(super) struct Destination {
    file: Option<(File, PathBuf)>,
    style: Style,
}

impl Destination {
    /// Opens `-o FILE` (mode 0600, never through a symbolic link) or takes standard output.
    pub(super) fn open(settings: &Settings) -> Result<Self, AppError> {
        let file = match &settings.output {
            None => None,
            Some(path) => {
                let refused = |source| AppError::Output { path: path.clone(), source };
                // NONBLOCK: a FIFO without a reader refuses at once instead of hanging. What the
                // file holds stays until there is a report.
                let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
                let file = OpenOptions::new()
                    .write(true)
                    .create(true)
                    .truncate(false)
                    .mode(0o600)
                    .custom_flags(flags.bits().cast_signed())
                    .open(path)
                    .map_err(refused)?;
                if file.metadata().map_err(refused)?.is_file() {
                    file.set_permissions(Permissions::from_mode(0o600)).map_err(refused)?;
                }
                Some((file, path.clone()))
            }
        };
        let color = wants_color(settings.color, file.is_none() && io::stdout().is_terminal());
        let width = if file.is_none() { width_of(&io::stdout()) } else { WIDTH };
        Ok(Self { file, style: Style { color, width } })
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
    pub(super) fn write(self, report: &Report, format: Format) -> Result<(), AppError> {
        match self.file {
            Some((file, path)) => {
                // Devices and pipes have no length to set.
                let _ = file.set_len(0);
                let mut buffered = io::BufWriter::new(file);
                render::write(report, format, &self.style, &mut buffered)
                    .and_then(|()| buffered.flush())
                    .map_err(|source| AppError::Output { path, source })
            }
            None => {
                let mut buffered = io::BufWriter::new(io::stdout().lock());
                match render::write(report, format, &self.style, &mut buffered)
                    .and_then(|()| buffered.flush())
                {
                    Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
                    result => result.map_err(|source| AppError::Output {
                        path: PathBuf::from("standard output"),
                        source,
                    }),
                }
            }
        }
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
