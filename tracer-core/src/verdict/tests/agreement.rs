//! Outcomes and findings say the same, in all recorded sessions.

use std::{fs, path::PathBuf};

use crate::{
    recording,
    report::{Command, Report},
    verdict::{Finding, Outcome, Rule},
};

/// The outcomes of which a segment must have one, if a rule has a finding about a stream of a command. Empty for rules that
/// say nothing about where its bytes are.
fn outcomes_of(finding: &Finding) -> &'static [Outcome] {
    use Outcome::{
        Blocked, Cut, Device, Discarded, InFile, NeverWritten, NotSeen, Overwritten, Read, Refused,
        Removed, Unread,
    };
    match finding.rule {
        Rule::Stuck => &[Blocked],
        Rule::FileLost => &[Removed, Cut, Overwritten],
        Rule::Unread => &[Unread],
        Rule::ReaderGone | Rule::Refused => &[Refused],
        Rule::Discarded => &[Discarded],
        Rule::Delivered => &[Read, InFile, Device],
        Rule::NeverWrote => &[NeverWritten, NotSeen],
        Rule::ReadThenLost | Rule::ReadByOther => &[Read],
        _ => &[],
    }
}

fn reports() -> Vec<(PathBuf, Report)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/sessions");
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let sessions = files.filter(|path| path.extension().is_some_and(|end| end == "session"));
    sessions
        .map(|path| {
            let bytes = fs::read(&path).unwrap();
            let report = recording::read(bytes.as_slice(), 256 << 20).unwrap().report().0;
            (path, report)
        })
        .collect()
}

/// Whether a segment of a command has one of these outcomes. In a `NeverWrote` all of them.
fn agrees(command: &Command, finding: &Finding) -> bool {
    let expected = outcomes_of(finding);
    let mut outcomes =
        command.streams.iter().flat_map(|stream| &stream.segments).map(|segment| segment.outcome);
    if finding.rule == Rule::NeverWrote {
        return outcomes.all(|outcome| expected.contains(&outcome));
    }
    expected.is_empty() || outcomes.any(|outcome| expected.contains(&outcome))
}

#[test]
fn a_finding_about_a_command_and_its_outcomes_agree() {
    let mut compared = 0;
    for (path, report) in reports() {
        for finding in report.findings.iter().filter(|it| !outcomes_of(it).is_empty()) {
            let mut about = report.commands.iter().filter(|it| it.pid == finding.pid);
            let command = about.next().filter(|command| agrees(command, finding));
            assert!(command.is_some(), "{path:?}: {finding:#?}\n{:#?}", report.commands);
            compared += 1;
        }
    }
    assert!(compared > 20, "{compared}");
}

#[test]
fn delivered_output_has_no_outcome_of_a_loss() {
    for (path, report) in reports() {
        for finding in report.findings.iter().filter(|it| it.rule == Rule::Delivered) {
            let about = report.commands.iter().filter(|it| it.pid == finding.pid);
            let segments = about.flat_map(|it| &it.streams).flat_map(|it| &it.segments);
            let lossy: Vec<_> =
                segments.filter(|it| it.bytes > 0 && it.outcome < Outcome::NotSeen).collect();
            assert!(lossy.is_empty(), "{path:?}: {finding:#?}\n{lossy:#?}");
        }
    }
}
