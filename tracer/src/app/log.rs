//! The log: `tracing` to standard error. Quiet by default, and escaped whatever it quotes.

use std::{fmt::Debug, io::IsTerminal as _};

use tracer_core::text::escape;
use tracing_subscriber::{
    EnvFilter,
    field::{MakeExt as _, RecordFields},
    fmt::{
        self,
        format::{FormatFields, Writer, debug_fn},
    },
};

use super::{output::wants_color, stderr};
use crate::settings::ColorChoice;

/// Installs the log. `verbosity` is -1 for quiet, else the number of `-v`; `RUST_LOG` wins.
pub fn init(verbosity: i8) {
    let level = match verbosity {
        ..0 => "error",
        0 => "warn",
        1 => "info",
        2 => "debug",
        _ => "trace",
    };
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new(format!("off,tracer={level}")));
    // In tests the log may be installed already.
    let _ = fmt::fmt()
        .with_env_filter(filter)
        .with_writer(|| stderr::Log)
        .with_target(false)
        .with_ansi(wants_color(ColorChoice::Auto, std::io::stderr().is_terminal()))
        .fmt_fields(Harmless)
        .try_init();
}

/// Escapes what a terminal would act upon. Messages and values quote file names, lines of files, and names that a
/// traced program chose.
struct Harmless;

impl<'writer> FormatFields<'writer> for Harmless {
    fn format_fields<R: RecordFields>(
        &self,
        writer: Writer<'writer>,
        fields: R,
    ) -> std::fmt::Result {
        let one = |writer: &mut Writer<'_>, field: &tracing::field::Field, value: &dyn Debug| {
            let text = format!("{value:?}");
            match field.name() {
                "message" => write!(writer, "{}", escape(&text)),
                name => write!(writer, "{name}={}", escape(&text)),
            }
        };
        debug_fn(one).delimited(" ").format_fields(writer, fields)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_a_message_quotes_does_nothing_to_a_terminal() {
        let kept = Kept::default();
        let writer = kept.clone();
        let log = fmt::fmt()
            .with_ansi(false)
            .fmt_fields(Harmless)
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(log, || {
            let name = "a\x1b[2J\u{202e}\nb";
            tracing::warn!(path = %name, line = 3, "cannot read {name}");
        });
        let said = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
        assert!(said.contains("cannot read a\\x1b[2J\\u{202e}\\nb"), "{said}");
        assert!(said.contains(" line=3"), "{said}");
        let harmless = said.trim_end_matches('\n');
        assert!(!harmless.contains(['\x1b', '\u{202e}', '\n']), "{said:?}");
    }
}
