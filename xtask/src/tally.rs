//! Numbers of passed, failed and skipped tests, summed over test binaries.

use std::{
    fmt,
    io::{self, Write as _},
    ops::AddAssign,
    process::ExitCode,
};

use anyhow::{Context as _, Result};

/// Numbers of tests by result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Tests that ran and succeeded.
    pub(crate) passed: u64,
    /// Tests that ran and failed.
    pub(crate) failed: u64,
    /// Tests that were not run although no filter excluded them.
    pub(crate) skipped: u64,
}

impl Tally {
    /// Parses the last line of the standard test harness:
    /// `test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; …`.
    pub(crate) fn from_line(line: &str) -> Option<Self> {
        let counts = line.trim_end().strip_prefix("test result: ")?;
        let mut tally = Self::default();
        let words: Vec<_> = counts.split_whitespace().collect();
        for pair in words.windows(2) {
            let Ok(count) = pair[0].parse() else { continue };
            match pair[1].trim_end_matches(';') {
                "passed" => tally.passed = count,
                "failed" => tally.failed = count,
                "ignored" => tally.skipped = count,
                _ => {}
            }
        }
        Some(tally)
    }

    /// Prints the sum on a line of its own.
    pub(crate) fn print(self) -> Result<()> {
        writeln!(io::stdout(), "{self}").context("cannot write to standard output")
    }

    /// Success if no test failed.
    pub(crate) fn exit_code(self) -> ExitCode {
        if self.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        let Self { passed, failed, skipped } = other;
        self.passed += passed;
        self.failed += failed;
        self.skipped += skipped;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str = "test result: FAILED. 12 passed; 1 failed; 4 ignored; 0 measured; 9 filtered out; finished in 0.02s\n";
    const COLOURED: &str = "test result: \u{1b}[32mok\u{1b}[m. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out";

    #[test]
    fn a_result_line_is_read_with_and_without_colour() {
        let plain = Tally { passed: 12, failed: 1, skipped: 4 };
        assert_eq!(Tally::from_line(PLAIN), Some(plain));
        assert_eq!(Tally::from_line(COLOURED), Some(Tally { passed: 3, ..Tally::default() }));
    }

    #[test]
    fn other_lines_are_no_result() {
        assert_eq!(Tally::from_line("test tally::tests::x ... ok"), None);
        assert_eq!(Tally::from_line("   test result: ok. 3 passed"), None);
    }

    #[test]
    fn results_add_up_to_one_plain_line() {
        let mut sum = Tally::default();
        for line in [PLAIN, COLOURED] {
            sum += Tally::from_line(line).unwrap();
        }
        assert_eq!(sum.to_string(), "15 passed, 1 failed, 4 skipped");
        assert_eq!(sum.exit_code(), ExitCode::FAILURE);
    }
}
