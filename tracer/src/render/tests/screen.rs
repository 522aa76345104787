//! One screen: whatever the tree, at most 40 lines of 80 columns.

use proptest::prelude::*;
use tracer_core::{
    report::{Endpoint, Exit, Process, Report},
    verdict::{Finding, Rule, Severity},
};

use super::{
    super::{Format, Grep, Style, View},
    PLAIN,
    golden::same,
    rendered,
    samples::{self, build},
};

/// Checks that a text is one screen of this width.
pub(super) fn check_size(text: &str, columns: usize) -> Result<(), TestCaseError> {
    let lines = text.lines().count();
    prop_assert!(lines <= 40, "{} lines:\n{}", lines, text);
    for line in text.lines() {
        let width = textwrap::core::display_width(line);
        prop_assert!(width <= columns, "{} columns: {}", width, line);
    }
    Ok(())
}

fn screen(report: &Report, view: &View) -> String {
    let text = rendered(report, Format::Human, view, &PLAIN);
    check_size(&text, 80).unwrap();
    text
}

/// The object of a compiler's stdout.
fn pipe_of(pid: u32) -> String {
    format!("pipe:[{}]", 88_000 + pid)
}

/// `make -j4` with 40 compilers, of which two lost their warnings.
fn make() -> Report {
    let mut report = build::all_well();
    report.target.name = "make -j4".into();
    for pid in 101..141 {
        let is_lost = pid == 117 || pid == 129;
        let compiler = build::compiler(pid, &pipe_of(pid), if is_lost { 120 } else { 48 });
        let mut object = build::pipe_between(&pipe_of(pid), &compiler, 100);
        if is_lost {
            (object.read, object.unread, object.readers) = (0, Some(120), Vec::new());
            report.findings.push(lost(&compiler));
        } else {
            report.findings.push(build::all_read(&compiler));
        }
        report.processes.push(compiler);
        report.objects.push(object);
        report.processes.push(build::silent_shell(pid + 200));
    }
    report.findings.sort_by_key(|finding| finding.severity);
    report.verdict.clone_from(&report.findings[0].message);
    report
}

fn lost(process: &Process) -> Finding {
    let who = format!("cc1 unit{}.c (pid {})", process.pid, process.pid);
    Finding {
        message: format!(
            "{who} wrote 120 B to stderr, and nobody read them: make (pid 100) closed the pipe \
             4 ms before {who} ended. It exited with 1."
        ),
        advice: Some("Make the reader read until the end of the data.".into()),
        fd: Some(2),
        ..samples::finding(Rule::Unread, Severity::Loss, process.pid)
    }
}

#[test]
fn a_build_with_two_losses_is_one_screen() {
    let text = screen(&make(), &View::default());
    same("make", &text, include_str!("../golden/make.txt"));
    assert!(text.contains("38 commands delivered everything"), "{text}");
}

#[test]
fn a_build_that_is_well_is_a_few_lines() {
    let mut report = make();
    report.findings.retain(|finding| finding.severity == Severity::Info);
    for process in &mut report.processes {
        process.exit = Some(Exit { code: Some(0), signal: None });
    }
    for object in &mut report.objects {
        (object.read, object.unread) = (object.written, Some(0));
        object.readers = vec![Endpoint { pid: 100, comm: "make".into(), bytes: object.written }];
    }
    report.verdict.clone_from(&report.findings[0].message);
    let text = screen(&report, &View::default());
    same("make_all_well", &text, include_str!("../golden/make_all_well.txt"));
    assert!(text.starts_with("✓ "), "{text}");
}

#[test]
fn filters_leave_what_they_name() {
    let only_loss = View { only_loss: true, ..View::default() };
    let text = screen(&make(), &only_loss);
    same("make_loss", &text, include_str!("../golden/make_loss.txt"));
    let mut stuck = make();
    for (rule, pid) in [(Rule::Stuck, 101), (Rule::Discarded, 102), (Rule::Unflushed, 103)] {
        stuck.findings.push(samples::finding(rule, Severity::Warning, pid));
    }
    let put_off = samples::finding(Rule::PutOff, Severity::Warning, 104);
    stuck.findings.push(put_off);
    let text = rendered(&stuck, Format::Human, &View { all: true, ..only_loss.clone() }, &PLAIN);
    for (rule, is_shown) in
        [("stuck", true), ("discarded", true), ("unflushed", true), ("put_off", false)]
    {
        assert_eq!(text.contains(&format!("[{rule}]")), is_shown, "{rule}: {text}");
    }
    let grep = View { grep: Some(Grep::new("unit12[01]").unwrap()), ..View::default() };
    let text = screen(&make(), &grep);
    same("make_grep", &text, include_str!("../golden/make_grep.txt"));
    let grep = View { grep: Some(Grep::new("nonsense").unwrap()), ..View::default() };
    assert!(screen(&make(), &grep).contains("\nno other finding and no process matches\n"));
}

#[test]
fn a_thousand_findings_are_one_screen() {
    let mut report = make();
    report.findings = report.findings.iter().cycle().take(1000).cloned().collect();
    let text = screen(&report, &View::default());
    assert!(text.contains(" more findings (--all shows everything)"), "{text}");
}

#[test]
fn a_path_that_is_longer_than_a_line_is_broken_and_not_cut() {
    let mut report = samples::unread();
    let path = format!("/var/log/{}/build.log", "directory/".repeat(12));
    report.verdict = format!("`backup` wrote 12 B to {path}, which was removed.");
    report.findings[0].message.clone_from(&report.verdict);
    let text = screen(&report, &View::default());
    let joined: String = text.lines().map(str::trim).collect();
    assert!(joined.contains(&path), "{text}");
}

#[test]
fn a_narrow_terminal_gets_narrow_lines() {
    let text = rendered(&make(), Format::Human, &View::default(), &Style { width: 50, ..PLAIN });
    check_size(&text, 50).unwrap();
}
