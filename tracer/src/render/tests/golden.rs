//! Whole texts, compared byte by byte with files.

use tracer_core::report::{Process, Report, WorkerLog};

use super::{
    super::{DoctorLine, Format, LineStatus, Style, View, doctor, live_line},
    PLAIN, rendered, samples, whole,
};

/// Compares with `golden/NAME.txt`, and shows the whole text if it differs.
pub(super) fn same(name: &str, text: &str, golden: &str) {
    assert!(text == golden, "golden/{name}.txt differs from what was rendered:\n{text}");
}

/// One screen.
fn human(report: &Report) -> String {
    rendered(report, Format::Human, &View::default(), &PLAIN)
}

/// The report of `--all`.
fn all(report: &Report) -> String {
    rendered(report, Format::Human, &whole(), &PLAIN)
}

#[test]
fn delivered_output_names_the_reader() {
    same("delivered", &human(&samples::delivered()), include_str!("../golden/delivered.txt"));
}

#[test]
fn output_on_stderr_only_shows_stdout_as_silent() {
    same("stderr_only", &human(&samples::stderr_only()), include_str!("../golden/stderr_only.txt"));
}

#[test]
fn a_process_that_never_wrote_shows_where_it_could_have() {
    same("never_wrote", &human(&samples::never_wrote()), include_str!("../golden/never_wrote.txt"));
}

#[test]
fn a_number_of_unread_bytes_that_no_look_proves_is_computed() {
    let mut report = samples::unread();
    let said = |report: &Report| all(report).contains("unread 65,536 B (64.0 KiB) (computed)");
    assert!(!said(&report));
    for object in &mut report.objects {
        (object.balanced, object.inside) = (None, None);
    }
    assert!(said(&report), "{}", all(&report));
    for object in &mut report.objects {
        object.inside = object.unread;
    }
    assert!(!said(&report));
}

#[test]
fn unread_bytes_and_own_losses_are_spelled_out() {
    same("unread", &human(&samples::unread()), include_str!("../golden/unread.txt"));
    same("unread_all", &all(&samples::unread()), include_str!("../golden/unread_all.txt"));
}

#[test]
fn captured_output_that_did_not_arrive_is_quoted() {
    same("captured", &human(&samples::captured()), include_str!("../golden/captured.txt"));
    same("captured_all", &all(&samples::captured()), include_str!("../golden/captured_all.txt"));
}

#[test]
fn shells_that_only_start_others_are_folded() {
    same("tree", &human(&samples::tree()), include_str!("../golden/tree.txt"));
    same("tree_all", &all(&samples::tree()), include_str!("../golden/tree_all.txt"));
}

#[test]
fn a_narrow_page_wraps_between_parts() {
    let style = Style { width: 60, ..PLAIN };
    let text = rendered(&samples::unread(), Format::Human, &whole(), &style);
    same("unread_narrow", &text, include_str!("../golden/unread_narrow.txt"));
}

#[test]
fn colour_changes_nothing_but_colour() {
    for report in [samples::delivered(), samples::unread(), samples::tree(), samples::captured()] {
        for view in [View::default(), whole()] {
            let style = Style { color: true, ..PLAIN };
            let colored = rendered(&report, Format::Human, &view, &style);
            assert!(colored.contains(" \x1b[1m"), "the verdict is bold");
            let plain = rendered(&report, Format::Human, &view, &PLAIN);
            assert_eq!(anstream::adapter::strip_str(&colored).to_string(), plain);
        }
    }
}

#[test]
fn a_first_finding_that_the_verdict_does_not_contain_is_not_swallowed() {
    let mut report = samples::never_wrote();
    report.verdict = "No output was lost.".into();
    assert!(human(&report).contains("! `sleep 60` (pid 71) wrote nothing"));
}

#[test]
fn a_reader_that_got_nothing_is_no_reader() {
    let mut report = samples::stderr_only();
    report.objects[1].readers[0].bytes = 0;
    report.objects[1].read = 0;
    let text = human(&report);
    assert!(text.contains("→ pipe:[88124], read by nobody"), "{text}");
    let text = all(&report);
    assert!(text.contains("→ pipe:[88124] read by nobody"), "{text}");
    assert!(text.contains("written 122 B · read 0 B · unread"), "{text}");
}

#[test]
fn a_crowd_is_whole_with_all_and_counted_without() {
    let mut report = samples::tree();
    let writer = report.processes[3].clone();
    let silent = report.processes[5].clone();
    report.processes.extend((1000..1200).map(|pid| Process { pid, ns_pid: pid, ..writer.clone() }));
    report.processes.extend((2000..2100).map(|pid| Process { pid, ns_pid: pid, ..silent.clone() }));
    let text = all(&report);
    assert!(text.contains("\n… and 96 processes that wrote nothing: sh (61), sh (63), "), "{text}");
    assert_eq!(text.matches(" · exit ").count(), 222);
    let text = human(&report);
    assert!(text.contains("201 commands delivered everything, 104 wrote nothing"), "{text}");
}

#[test]
fn a_log_in_which_no_line_was_understood_is_told() {
    let mut report = samples::delivered();
    let log = WorkerLog { path: "w.log".into(), lines: 12, bad: 0, first_bad: None, unread: 0 };
    report.worker_logs = vec![log];
    let words = "worker log w.log: 12 lines read, none of them about output of a traced process";
    for text in [human(&report), all(&report)] {
        assert!(text.replace("\n  ", " ").contains(words), "{text}");
    }
}

#[test]
fn each_live_event_is_one_line() {
    let events = samples::live::events();
    let lines: Vec<String> = events.iter().map(|event| live_line(event, &PLAIN)).collect();
    same("live", &(lines.join("\n") + "\n"), include_str!("../golden/live.txt"));
    let json: Vec<u8> = events.iter().flat_map(|event| event.json().unwrap()).collect();
    let json = String::from_utf8(json).unwrap();
    same("live_ndjson", &json, include_str!("../golden/live_ndjson.txt"));
}

#[test]
fn doctor_aligns_what_it_found_and_indents_cures() {
    let line = |ok, name: &str, found: &str, cure: Option<&str>| DoctorLine {
        ok,
        name: name.into(),
        found: found.into(),
        cure: cure.map(str::to_owned),
    };
    let lines = [
        line(LineStatus::Ok, "root", "effective capabilities: all", None),
        line(
            LineStatus::Warn,
            "io_uring",
            "this kernel's tracepoints do not tell which file a request is about, so writes by \
             io_uring are not counted",
            Some("Use Linux 6.1 or later where programs write by io_uring."),
        ),
        line(LineStatus::Fail, "btf", "no /sys/kernel/btf/vmlinux", Some("Name a file.")),
    ];
    let mut out = Vec::new();
    doctor(&lines, &PLAIN, &mut out).unwrap();
    same("doctor", &String::from_utf8(out).unwrap(), include_str!("../golden/doctor.txt"));
}
