//! The log: `tracing` to standard error, quiet unless asked.

use tracing_subscriber::{EnvFilter, fmt};

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
    // A second call, as tests make, finds the log installed.
    let _ =
        fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false).try_init();
}
