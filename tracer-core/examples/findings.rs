//! Prints the findings of a recording: `cargo run -p tracer-core --example findings -- tests/sessions/unread.session`.

use std::{
    env,
    error::Error,
    fs,
    io::{self, Write as _},
};

use tracer_core::{recording, text::escape};

/// Memory for the session and its report, in bytes.
const MEMORY: u64 = 256 << 20;

fn main() -> Result<(), Box<dyn Error>> {
    let path = env::args_os().nth(1).ok_or("usage: findings RECORDING")?;
    let bytes = fs::read(path)?;
    let recording = recording::read(bytes.as_slice(), MEMORY)?;
    let (report, _) = recording.report();
    let mut out = io::stdout().lock();
    for finding in &report.findings {
        // The traced program chose names in the message.
        writeln!(out, "{}: {}", finding.rule, escape(&finding.message))?;
    }
    Ok(())
}
