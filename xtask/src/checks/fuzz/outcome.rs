//! Reads a fuzzer's log.

use std::{fmt, fs, path::Path, process::ExitStatus};

use anyhow::{Context as _, Result};

/// Lines of the log that are shown after a failure.
const SHOWN: usize = 30;

/// The result of a fuzzer's run.
#[derive(Debug)]
pub(super) struct Outcome {
    name: String,
    runs: u64,
    peak_mib: u64,
    /// The end of the log, if an input failed.
    found: Option<String>,
}

impl Outcome {
    /// Reads the log of a fuzzer that has ended.
    ///
    /// # Errors
    ///
    /// The log cannot be read.
    pub(super) fn of(name: &str, status: &ExitStatus, log: &Path) -> Result<Self> {
        let text = fs::read(log).with_context(|| format!("cannot read {}", log.display()))?;
        // The log may show an input, which may be any bytes.
        Ok(Self::parse(name, status.success(), &String::from_utf8_lossy(&text)))
    }

    fn parse(name: &str, success: bool, log: &str) -> Self {
        let number = |of: &str| {
            let line = log.lines().find_map(|line| line.strip_prefix("stat::")?.strip_prefix(of));
            line.and_then(|rest| rest.trim_start_matches(':').trim().parse().ok()).unwrap_or(0)
        };
        let lines: Vec<&str> = log.lines().collect();
        let end = lines.len().saturating_sub(SHOWN);
        Self {
            name: name.to_owned(),
            runs: number("number_of_executed_units"),
            peak_mib: number("peak_rss_mb"),
            found: (!success).then(|| lines[end..].join("\n")),
        }
    }

    /// Whether no input failed.
    pub(super) fn is_clean(&self) -> bool {
        self.found.is_none()
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, runs, peak_mib, found } = self;
        match found {
            None => write!(f, "{name}: {runs} inputs, {peak_mib} MiB at most, nothing found"),
            Some(end) => write!(f, "{name}: found something; the end of its log:\n{end}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str =
        "#5 DONE\nstat::number_of_executed_units: 1234\nstat::peak_rss_mb:       51\n";

    #[test]
    fn runs_and_memory_are_read_from_the_log() {
        let outcome = Outcome::parse("session", true, LOG);
        assert!(outcome.is_clean());
        assert_eq!(outcome.to_string(), "session: 1234 inputs, 51 MiB at most, nothing found");
    }

    #[test]
    fn what_was_found_is_shown() {
        let outcome = Outcome::parse("session", false, "thread panicked\nTest unit written to x\n");
        assert!(!outcome.is_clean());
        assert!(outcome.to_string().ends_with("Test unit written to x"), "{outcome}");
    }
}
