//! A manager's log (`--worker-log`) and a container engine's log: every byte string gives claims and bad lines, and
//! the same ones wherever it is cut.

use tracer_core::worker_log::{ClaimTally, DockerLogTally, Reader, Statement};

use crate::oracle::check_sentence;

/// Everything that a reader returns for a log.
#[derive(Debug, PartialEq)]
struct Outcome {
    statements: Vec<Statement>,
    lines: u64,
    bad: u64,
    first_bad: Option<String>,
}

/// Takes any bytes as a log. The first byte says where the log is cut.
pub fn check(input: &[u8]) {
    let Some((cut, log)) = input.split_first() else { return };
    let whole = statements(log, log.len());
    assert_eq!(statements(log, usize::from(*cut) + 1), whole, "where it is cut makes a difference");
    let line_feeds = log.iter().filter(|byte| **byte == b'\n').count() as u64;
    assert!(whole.lines <= line_feeds + 1, "{} lines", whole.lines);
    assert!(whole.statements.len() as u64 + whole.bad <= whole.lines, "{whole:?}");
    assert_eq!(whole.first_bad.is_some(), whole.bad > 0);
    whole.first_bad.iter().for_each(|line| check_sentence(line));
    let claimed = whole.statements.len();
    let mut tally = ClaimTally::default();
    tally.add(whole.statements, 0);
    assert!(tally.claims().len() <= claimed);
    engine(log, usize::from(*cut) + 1);
}

fn statements(log: &[u8], step: usize) -> Outcome {
    let mut reader = Reader::new();
    let mut statements: Vec<Statement> =
        log.chunks(step.max(1)).flat_map(|chunk| reader.feed(chunk)).collect();
    statements.extend(reader.finish());
    let (lines, bad) = (reader.lines(), reader.bad());
    Outcome { statements, lines, bad, first_bad: reader.first_bad().map(str::to_owned) }
}

/// Checks the sums of a log of docker's `json-file` driver.
fn engine(log: &[u8], step: usize) {
    let sums = |step: usize| {
        let mut tally = DockerLogTally::new();
        log.chunks(step.max(1)).for_each(|chunk| tally.feed(chunk));
        tally.finish();
        [tally.stdout_bytes(), tally.stderr_bytes(), tally.lines(), tally.bad()]
    };
    let [stdout, stderr, lines, bad] = sums(log.len());
    assert_eq!(sums(step), [stdout, stderr, lines, bad], "where it is cut makes a difference");
    assert!(bad <= lines);
    // A byte of the file gives at most one character, and a character has at most three bytes.
    assert!(stdout.saturating_add(stderr) <= 3 * log.len() as u64);
}
