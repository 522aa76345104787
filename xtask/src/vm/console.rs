//! What a machine's console says about the tests that ran there.

use crate::tally::Tally;

/// The last line of a machine that came to its end; `init.sh` writes it.
pub(crate) const DONE: &str = "@@ done";

/// How a test says that it left something out; shown because of `--show-output`.
const SKIPPED: &str = "SKIPPED: ";

/// One program of tests on one kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ran {
    /// Its name.
    pub(crate) program: String,
    /// Name of each test, and whether it is good; `None` if it was left out.
    pub(crate) tests: Vec<(String, Option<bool>)>,
    /// Its own sum; what died before it could say one counts as a failure.
    pub(crate) tally: Tally,
    has_summed_up: bool,
    /// Parts of tests that this kernel offers nothing for, and why.
    pub(crate) skips: Vec<String>,
    /// Everything it said, if something failed.
    pub(crate) said: Vec<String>,
}

/// What a console says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Account {
    /// The kernel's own name.
    pub(crate) release: Option<String>,
    /// In the order in which they ran.
    pub(crate) programs: Vec<Ran>,
    /// Faults that the kernel found in itself.
    pub(crate) kernel_faults: Vec<String>,
}

/// Where in the console we are.
enum Part {
    Elsewhere,
    Program(Ran),
    KernelLog,
}

impl Account {
    /// Reads a console. A program that began and did not end failed.
    pub(crate) fn read(console: &[String]) -> Self {
        let mut account = Self::default();
        let mut part = Part::Elsewhere;
        for line in console {
            part = account.take(part, line);
        }
        account.close(part);
        account
    }

    fn take(&mut self, part: Part, line: &str) -> Part {
        let Some(marker) = line.strip_prefix("@@ ") else {
            return match part {
                Part::Program(mut ran) => {
                    ran.take(line);
                    Part::Program(ran)
                }
                Part::KernelLog => {
                    self.kernel_faults.push(line.to_owned());
                    Part::KernelLog
                }
                Part::Elsewhere => Part::Elsewhere,
            };
        };
        self.close(part);
        match marker.split_once(' ') {
            Some(("kernel", "log")) => Part::KernelLog,
            Some(("kernel", release)) => {
                self.release = Some(release.to_owned());
                Part::Elsewhere
            }
            Some(("begin", program)) => {
                Part::Program(Ran { program: program.to_owned(), ..Ran::default() })
            }
            _ => Part::Elsewhere,
        }
    }

    fn close(&mut self, part: Part) {
        let Part::Program(mut ran) = part else { return };
        if !ran.has_summed_up {
            ran.tally.failed += 1;
        }
        ran.tally.skipped += ran.skips.len() as u64;
        if ran.tally.failed == 0 {
            ran.said.clear();
        }
        self.programs.push(ran);
    }

    /// The sum of all programs; a fault of the kernel is a failure.
    pub(crate) fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for ran in &self.programs {
            tally += ran.tally;
        }
        tally.failed += u64::from(!self.kernel_faults.is_empty());
        tally
    }
}

impl Ran {
    fn take(&mut self, line: &str) {
        if let Some(tally) = Tally::from_line(line) {
            // Whoever runs tests within tests sums up twice; the last sum is the program's.
            self.tally = tally;
            self.has_summed_up = true;
        }
        self.tests.extend(test(line));
        if line.starts_with(SKIPPED) {
            self.skips.push(line.to_owned());
        }
        self.said.push(line.to_owned());
    }

    /// What it said of its failures; all of it, if it ended before it could.
    pub(crate) fn failures(&self) -> &[String] {
        let from = self.said.iter().position(|line| line == "failures:").unwrap_or(0);
        &self.said[from..]
    }
}

/// `test NAME ... ok`, `… FAILED`, `… ignored, REASON`.
fn test(line: &str) -> Option<(String, Option<bool>)> {
    let (name, outcome) = line.strip_prefix("test ")?.split_once(" ... ")?;
    let is_good = match outcome.split([',', ' ']).next()? {
        "ok" => Some(true),
        "FAILED" => Some(false),
        "ignored" => None,
        _ => return None,
    };
    Some((name.to_owned(), is_good))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Account {
        Account::read(&text.lines().map(str::to_owned).collect::<Vec<_>>())
    }

    const GOOD: &str = "[    0.1] Linux\n@@ kernel 6.1.0-50-cloud-amd64\n@@ begin trees\n\
        running 2 tests\ntest a_tree ... ok\ntest another ... ignored, needs docker\n\n\
        test result: ok. 1 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out\n\
        @@ end trees 0\n@@ kernel log\n@@ done";

    #[test]
    fn a_good_run_is_summed_up() {
        let account = read(GOOD);
        assert_eq!(account.release.as_deref(), Some("6.1.0-50-cloud-amd64"));
        assert_eq!(account.tally(), Tally { passed: 1, failed: 0, skipped: 1 });
        let tests = [("a_tree".to_owned(), Some(true)), ("another".to_owned(), None)];
        assert_eq!(account.programs[0].tests, tests);
        assert!(account.programs[0].said.is_empty() && account.kernel_faults.is_empty());
    }

    #[test]
    fn what_a_passing_test_left_out_is_counted() {
        let left_out = "@@ end trees 0";
        let account = read(&GOOD.replace(left_out, "SKIPPED: workload x: no y\n@@ end trees 0"));
        assert_eq!(account.programs[0].skips, ["SKIPPED: workload x: no y"]);
        assert_eq!(account.tally(), Tally { passed: 1, failed: 0, skipped: 2 });
    }

    #[test]
    fn a_program_without_a_wanted_test_did_not_fail() {
        let account = read("@@ begin errors\ntest result: ok. 0 passed; 0 failed\n@@ end errors 0");
        assert_eq!(account.tally(), Tally::default());
    }

    #[test]
    fn a_failing_program_keeps_what_it_said() {
        let account = read(
            "@@ begin errors\ntest a ... FAILED\n---- a stdout ----\nError: not 3 B\n\
            test result: FAILED. 0 passed; 1 failed; 0 ignored\n@@ end errors 101\n@@ done",
        );
        assert_eq!(account.tally().failed, 1);
        assert!(account.programs[0].said.contains(&"Error: not 3 B".to_owned()));
        assert_eq!(account.programs[0].tests, [("a".to_owned(), Some(false))]);
    }

    #[test]
    fn a_program_that_was_killed_or_took_the_machine_with_it_failed() {
        for end in ["@@ end errors 137\n@@ done", "Kernel panic - not syncing"] {
            let account = read(&format!("@@ begin errors\ntest a ... ok\n{end}"));
            assert_eq!(account.tally(), Tally { passed: 0, failed: 1, skipped: 0 });
        }
    }

    #[test]
    fn a_fault_of_the_kernel_is_a_failure_though_all_tests_pass() {
        let warned = GOOD.replace("@@ kernel log", "@@ kernel log\n[ 9.1] WARNING: CPU: 0 PID: 7");
        assert_eq!(read(&warned).tally(), Tally { passed: 1, failed: 1, skipped: 1 });
    }
}
