//! The result of a boot, as a line, as a list of failures, and as a row of a table.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, Result};

use super::{console::ConsoleLog, plan::Restriction};
use crate::tally::Tally;

/// One boot.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    /// The kernel's release, from the name of its package.
    pub(crate) release: String,
    /// The restriction of this boot.
    pub(crate) restriction: Restriction,
    /// The parsed console.
    pub(crate) console: ConsoleLog,
    /// From power-on to power-off.
    pub(crate) time: Duration,
    /// Whether the first process reached its end.
    pub(crate) is_complete: bool,
}

impl Outcome {
    /// The sum of all tests. A machine that did not reach its end counts as one more failure.
    pub(crate) fn tally(&self) -> Tally {
        let mut tally = self.console.tally();
        tally.failed += u64::from(!self.is_complete);
        tally
    }

    /// Prints the output of failures, then one line. `log` is the path of the console's copy.
    pub(crate) fn print(&self, log: &Path) -> Result<()> {
        let mut text = String::new();
        self.failures(&mut text, log);
        // Writing to a string never fails.
        let _ = writeln!(
            text,
            "{} {}: {} in {} s",
            self.release,
            self.restriction.words(),
            self.tally(),
            self.time.as_secs()
        );
        io::stdout().write_all(text.as_bytes()).context("cannot write to standard output")
    }

    fn failures(&self, text: &mut String, log: &Path) {
        for run in self.console.programs.iter().filter(|run| run.tally.failed > 0) {
            let _ = writeln!(text, "== {} on {}", run.program, self.release);
            for line in run.failures() {
                let _ = writeln!(text, "{line}");
            }
        }
        for skip in self.console.programs.iter().flat_map(|run| &run.skips) {
            let _ = writeln!(text, "{}: {skip}", self.release);
        }
        for fault in &self.console.kernel_faults {
            let _ = writeln!(text, "{}: the kernel says: {fault}", self.release);
        }
        if !self.is_complete {
            let _ = writeln!(
                text,
                "{}: the machine did not come to its end; its console is {}",
                self.release,
                log.display()
            );
        }
    }

    fn row(&self) -> String {
        let tally = self.tally();
        let programs: Vec<_> = self
            .console
            .programs
            .iter()
            .map(|run| format!("{} {}", run.program, run.tests.len()))
            .collect();
        let result = match tally {
            Tally { failed: 0, passed, skipped: 0 } if passed > 0 => format!("all {passed} pass"),
            Tally { .. } => format!("**{tally}**"),
        };
        let (release, restriction) = (&self.release, self.restriction.words());
        format!("| {release} | {restriction} | {} | {result} |", programs.join(", "))
    }
}

/// The table with this outcome. Rows of `old` for other boots stay.
pub(crate) fn table(old: &str, outcome: &Outcome) -> String {
    let new = outcome.row();
    let is_replaced = |row: &&str| boot_of(&new) == boot_of(row);
    let is_row = |line: &&str| line.starts_with("| ") && !HEADER.starts_with(line);
    let kept = old.lines().filter(is_row).filter(|row| !is_replaced(row)).map(str::to_owned);
    let mut rows: Vec<_> = kept.chain([new.clone()]).collect();
    rows.sort_by(|a, b| release_order(a).cmp(&release_order(b)));
    format!("{HEADER}{}\n", rows.join("\n"))
}

const HEADER: &str = "| kernel | booted | tests | result |\n|---|---|---|---|\n";

/// The first two cells: kernel and restriction.
fn boot_of(row: &str) -> Vec<&str> {
    row.split('|').skip(1).take(2).map(str::trim).collect()
}

/// The sort key of a row: the numbers of the kernel's release, then the release itself, which ends with the
/// architecture.
fn release_order(row: &str) -> (Vec<u32>, &str) {
    let release = boot_of(row).first().copied().unwrap_or_default();
    let words = release.split(|c: char| !c.is_ascii_digit());
    (words.map_while(|word| word.parse().ok()).collect(), release)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(console: &str, is_complete: bool) -> Outcome {
        let lines: Vec<_> = console.lines().map(str::to_owned).collect();
        Outcome {
            release: "6.1.0-50-cloud-amd64".into(),
            restriction: Restriction::None,
            console: ConsoleLog::read(&lines),
            time: Duration::from_secs(9),
            is_complete,
        }
    }

    const GOOD: &str = "@@ begin trees\ntest a ... ok\ntest b ... ok\ntest result: ok. 2 passed; 0 failed\n\
        @@ end trees 0\n@@ done";

    #[test]
    fn a_good_kernel_is_one_row() {
        assert_eq!(
            table("", &outcome(GOOD, true)),
            "| kernel | booted | tests | result |\n|---|---|---|---|\n\
             | 6.1.0-50-cloud-amd64 | as it is | trees 2 | all 2 pass |\n"
        );
    }

    #[test]
    fn a_row_is_replaced_and_others_stay_in_the_order_of_their_kernels() {
        let old = "No run.\n| kernel | booted | tests | result |\n|---|---|---|---|\n\
            | 6.1.0-50-cloud-amd64 | as it is | old | old |\n| 6.12.1-b | as it is | x | kept |\n\
            | 6.12.1-a | as it is | x | kept |\n| 6.12.1-b | made | x | kept |\n\
            | 5.10.0-46 | as it is | x | kept |\n";
        assert_eq!(
            table(old, &outcome(GOOD, true)).lines().skip(2).collect::<Vec<_>>(),
            [
                "| 5.10.0-46 | as it is | x | kept |",
                "| 6.1.0-50-cloud-amd64 | as it is | trees 2 | all 2 pass |",
                "| 6.12.1-a | as it is | x | kept |",
                "| 6.12.1-b | as it is | x | kept |",
                "| 6.12.1-b | made | x | kept |",
            ]
        );
    }

    #[test]
    fn a_machine_that_hangs_is_no_success() {
        let outcome = outcome(GOOD, false);
        assert_eq!(outcome.tally(), Tally { passed: 2, failed: 1, skipped: 0 });
        assert!(outcome.row().ends_with("| **2 passed, 1 failed, 0 skipped** |"));
        let mut text = String::new();
        outcome.failures(&mut text, Path::new("/t/6.1.log"));
        assert!(text.contains("did not come to its end; its console is /t/6.1.log"), "{text}");
    }
}
