//! Parses a machine's console: the results of tests, and faults of the kernel.

use crate::tally::Tally;

/// The prefix of a message that a test skipped a part; shown because of `--show-output`.
const SKIPPED: &str = "SKIPPED: ";

/// A run of a test program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ProgramRun {
    /// The program's name.
    pub(crate) program: String,
    /// The name of each test and whether it passed; `None` if it was ignored.
    pub(crate) tests: Vec<(String, Option<bool>)>,
    /// The program's sum. A program that ended without one counts as a failure.
    pub(crate) tally: Tally,
    has_tally: bool,
    /// Parts of tests that were skipped on this kernel, with the reason.
    pub(crate) skips: Vec<String>,
    /// The output, if something failed.
    pub(crate) output: Vec<String>,
}

/// A parsed console.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ConsoleLog {
    /// The kernel's release.
    pub(crate) release: Option<String>,
    /// Runs of test programs, in order.
    pub(crate) programs: Vec<ProgramRun>,
    /// Warnings and oopses in the kernel's log.
    pub(crate) kernel_faults: Vec<String>,
}

/// The section of the console that a line belongs to.
enum Section {
    Elsewhere,
    Program(ProgramRun),
    KernelLog,
}

impl ConsoleLog {
    /// Parses the lines of a console. A program that began and did not end counts as failed.
    pub(crate) fn read(console: &[String]) -> Self {
        let mut log = Self::default();
        let mut section = Section::Elsewhere;
        for line in console {
            section = log.take(section, line);
        }
        log.close(section);
        log
    }

    fn take(&mut self, section: Section, line: &str) -> Section {
        let Some(marker) = line.strip_prefix("@@ ") else {
            return match section {
                Section::Program(mut run) => {
                    run.take(line);
                    Section::Program(run)
                }
                Section::KernelLog => {
                    self.kernel_faults.push(line.to_owned());
                    Section::KernelLog
                }
                Section::Elsewhere => Section::Elsewhere,
            };
        };
        self.close(section);
        match marker.split_once(' ') {
            Some(("kernel", "log")) => Section::KernelLog,
            Some(("kernel", release)) => {
                self.release = Some(release.to_owned());
                Section::Elsewhere
            }
            Some(("begin", program)) => Section::Program(ProgramRun {
                program: program.to_owned(),
                ..ProgramRun::default()
            }),
            _ => Section::Elsewhere,
        }
    }

    fn close(&mut self, section: Section) {
        let Section::Program(mut run) = section else { return };
        if !run.has_tally {
            run.tally.failed += 1;
        }
        run.tally.skipped += run.skips.len() as u64;
        if run.tally.failed == 0 {
            run.output.clear();
        }
        self.programs.push(run);
    }

    /// The sum of all programs. Kernel faults count as one failure.
    pub(crate) fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for run in &self.programs {
            tally += run.tally;
        }
        tally.failed += u64::from(!self.kernel_faults.is_empty());
        tally
    }
}

impl ProgramRun {
    fn take(&mut self, line: &str) {
        if let Some(tally) = Tally::from_line(line) {
            // A test may run a test program, whose sum comes first; the last sum is the program's own.
            self.tally = tally;
            self.has_tally = true;
        }
        self.tests.extend(test(line));
        if line.starts_with(SKIPPED) {
            self.skips.push(line.to_owned());
        }
        self.output.push(line.to_owned());
    }

    /// The output from `failures:` on, or all of it if the program ended early.
    pub(crate) fn failures(&self) -> &[String] {
        let from = self.output.iter().position(|line| line == "failures:").unwrap_or(0);
        &self.output[from..]
    }
}

/// Parses `test NAME ... ok`, `… FAILED` and `… ignored, REASON`.
fn test(line: &str) -> Option<(String, Option<bool>)> {
    let (name, outcome) = line.strip_prefix("test ")?.split_once(" ... ")?;
    let passed = match outcome.split([',', ' ']).next()? {
        "ok" => Some(true),
        "FAILED" => Some(false),
        "ignored" => None,
        _ => return None,
    };
    Some((name.to_owned(), passed))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> ConsoleLog {
        ConsoleLog::read(&text.lines().map(str::to_owned).collect::<Vec<_>>())
    }

    const GOOD: &str = "[    0.1] Linux\n@@ kernel 6.1.0-50-cloud-amd64\n@@ begin trees\n\
        running 2 tests\ntest a_tree ... ok\ntest another ... ignored, needs docker\n\n\
        test result: ok. 1 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out\n\
        @@ end trees 0\n@@ kernel log\n@@ done";

    #[test]
    fn a_good_run_is_summed_up() {
        let log = read(GOOD);
        assert_eq!(log.release.as_deref(), Some("6.1.0-50-cloud-amd64"));
        assert_eq!(log.tally(), Tally { passed: 1, failed: 0, skipped: 1 });
        let tests = [("a_tree".to_owned(), Some(true)), ("another".to_owned(), None)];
        assert_eq!(log.programs[0].tests, tests);
        assert!(log.programs[0].output.is_empty() && log.kernel_faults.is_empty());
    }

    #[test]
    fn parts_that_a_passing_test_skipped_are_counted() {
        let end = "@@ end trees 0";
        let log = read(&GOOD.replace(end, "SKIPPED: workload x: no y\n@@ end trees 0"));
        assert_eq!(log.programs[0].skips, ["SKIPPED: workload x: no y"]);
        assert_eq!(log.tally(), Tally { passed: 1, failed: 0, skipped: 2 });
    }

    #[test]
    fn a_program_without_a_wanted_test_did_not_fail() {
        let log = read("@@ begin errors\ntest result: ok. 0 passed; 0 failed\n@@ end errors 0");
        assert_eq!(log.tally(), Tally::default());
    }

    #[test]
    fn a_failing_program_keeps_its_output() {
        let log = read(
            "@@ begin errors\ntest a ... FAILED\n---- a stdout ----\nError: not 3 B\n\
            test result: FAILED. 0 passed; 1 failed; 0 ignored\n@@ end errors 101\n@@ done",
        );
        assert_eq!(log.tally().failed, 1);
        assert!(log.programs[0].output.contains(&"Error: not 3 B".to_owned()));
        assert_eq!(log.programs[0].tests, [("a".to_owned(), Some(false))]);
    }

    #[test]
    fn a_program_that_was_killed_or_took_the_machine_with_it_failed() {
        for end in ["@@ end errors 137\n@@ done", "Kernel panic - not syncing"] {
            let log = read(&format!("@@ begin errors\ntest a ... ok\n{end}"));
            assert_eq!(log.tally(), Tally { passed: 0, failed: 1, skipped: 0 });
        }
    }

    #[test]
    fn a_fault_of_the_kernel_is_a_failure_though_all_tests_pass() {
        let warned = GOOD.replace("@@ kernel log", "@@ kernel log\n[ 9.1] WARNING: CPU: 0 PID: 7");
        assert_eq!(read(&warned).tally(), Tally { passed: 1, failed: 1, skipped: 1 });
    }
}
