//! The table of results and its sum.

use std::{
    env, fmt,
    io::{self, Write as _},
    process::ExitCode,
};

use anyhow::{Context as _, Result};

use super::{
    case::Case,
    judge::{self, Grade},
    runner::Outcome,
};

/// The width of lines when standard output is no terminal.
const WIDTH: usize = 160;

/// Prints rows and counts them.
pub(crate) struct Table {
    name: usize,
    kind: usize,
    width: usize,
    sum: Sum,
}

/// Numbers of cases by result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sum {
    right: usize,
    weak: usize,
    wrong: usize,
    skipped: usize,
}

impl Table {
    /// A table with columns wide enough for these cases.
    pub(crate) fn of(cases: &[Case]) -> Self {
        let name = cases.iter().map(|case| case.name.len()).max().unwrap_or(0);
        let kind = cases.iter().map(|case| case.description.kind.len()).max().unwrap_or(0);
        Self { name, kind, width: width(), sum: Sum::default() }
    }

    /// Prints a case, with what was expected if the answer is not right.
    pub(crate) fn print(&mut self, case: &Case, outcome: &Outcome) -> Result<()> {
        let (word, sentence) = match outcome {
            Outcome::Skipped(program) => ("skip", format!("{program} is missing")),
            Outcome::Judged(answer) => (answer.judgement.grade.word(), answer.sentence.clone()),
        };
        let (name, kind) = (&case.name, &case.description.kind);
        let head = format!("{name:0$}  {kind:1$}  {word:5}  ", self.name, self.kind);
        self.line(&(head + &sentence))?;
        self.sum.add(outcome);
        match outcome {
            Outcome::Judged(answer) if answer.judgement.grade != Grade::Right => {
                let expected = judge::expectation(&case.description.truth);
                self.line(&format!("     expected: {expected}  but: {}", answer.judgement.why))
            }
            _ => Ok(()),
        }
    }

    /// Prints the sum and returns it.
    pub(crate) fn finish(self) -> Result<Sum> {
        writeln!(io::stdout(), "{}", self.sum).context("cannot write to standard output")?;
        Ok(self.sum)
    }

    fn line(&self, text: &str) -> Result<()> {
        writeln!(io::stdout(), "{}", cut(text, self.width))
            .context("cannot write to standard output")
    }
}

impl Sum {
    fn add(&mut self, outcome: &Outcome) {
        let count = match outcome {
            Outcome::Skipped(_) => &mut self.skipped,
            Outcome::Judged(answer) => match answer.judgement.grade {
                Grade::Right => &mut self.right,
                Grade::Weak => &mut self.weak,
                Grade::Wrong => &mut self.wrong,
            },
        };
        *count += 1;
    }

    /// Failure if a case is wrong, or more than one in twenty is weak.
    pub(crate) fn exit_code(self) -> ExitCode {
        if self.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    fn is_good(self) -> bool {
        self.wrong == 0 && self.weak * 20 <= self.right + self.weak
    }
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { right, weak, wrong, skipped } = *self;
        let cases = right + weak + wrong + skipped;
        write!(f, "{cases} cases: {right} right, {weak} weak, {wrong} wrong, {skipped} skipped")
    }
}

/// The first characters of a line, with a mark where it was cut.
fn cut(line: &str, width: usize) -> String {
    if line.chars().count() <= width {
        return line.to_owned();
    }
    let mut text: String = line.chars().take(width.saturating_sub(1)).collect();
    text.push('…');
    text
}

/// The width of the terminal, or what `COLUMNS` says.
fn width() -> usize {
    let columns = env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let terminal = || rustix::termios::tcgetwinsize(io::stdout()).ok();
    columns.or_else(|| Some(terminal()?.ws_col.into())).filter(|width| *width > 0).unwrap_or(WIDTH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_is_one_line() {
        let sum = Sum { right: 150, weak: 4, wrong: 0, skipped: 8 };
        assert_eq!(sum.to_string(), "162 cases: 150 right, 4 weak, 0 wrong, 8 skipped");
    }

    #[test]
    fn one_weak_case_in_twenty_is_good_and_one_in_nineteen_is_not() {
        let sum = Sum { right: 19, weak: 1, ..Sum::default() };
        assert!(sum.is_good());
        assert!(!Sum { right: 18, ..sum }.is_good());
        assert!(!Sum { wrong: 1, ..sum }.is_good());
        assert!(!Sum { right: 18, skipped: 100, ..sum }.is_good());
    }

    #[test]
    fn long_lines_are_cut_between_characters() {
        assert_eq!(cut("✓✓✓", 3), "✓✓✓");
        assert_eq!(cut("✓✓✓✓", 3), "✓✓…");
    }
}
