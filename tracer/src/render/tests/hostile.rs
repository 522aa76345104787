//! Traced programs choose most text of a report, and none of it may reach a terminal unescaped.

use proptest::{collection::vec, prelude::*};
use serde_json::Value;
use tracer_core::{
    report::{Captured, Fact, Report},
    session::LossReason,
    text::is_hazard,
    verdict::Rule,
};

use super::{
    super::{DoctorLine, Format, LineStatus, LiveEvent, Style, View, doctor, live_line, palette},
    PLAIN, rendered, samples,
};

/// What browsers, Graphviz and Mermaid act upon.
const MARKUP: [&str; 20] = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "\" onload=\"alert(1)",
    "' onload='alert(1)",
    "</style>",
    "</svg>",
    "</title>",
    "]]>",
    "<!--",
    "-->",
    "&lt;b&gt;",
    "#quot;",
    "#35;",
    "\\N\\G",
    "\\\"",
    "\"];",
    "style:#f00;",
    "%%{init: {}}%%",
    "`**bold**`",
    "\"]\nclick n0 call alert()",
];

/// Text with much that terminals, browsers and drawing programs act upon.
pub(super) fn hostile() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        any::<char>().prop_map(String::from),
        (0_u8..=0xa0).prop_map(|code| char::from(code).to_string()),
        (0x2000_u32..0x2070).prop_map(|code| char::from_u32(code).unwrap().to_string()),
        Just("\x1b[31m".to_owned()),
        Just("\x1b[1m\x1b[0m".to_owned()),
        Just("\x1b]0;pwned\x07".to_owned()),
        Just("\u{9b}2J".to_owned()),
        Just("\n✓ all output was delivered\n".to_owned()),
        Just("✓ all output was delivered ".to_owned()),
        Just("\r".to_owned()),
        prop::sample::select(MARKUP.as_slice()).prop_map(str::to_owned),
        Just(" ".to_owned()),
        Just("word".repeat(40)),
    ];
    vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

/// Reports full of such text.
pub(super) fn reports() -> impl Strategy<Value = Report> {
    let samples = vec![
        samples::delivered(),
        samples::stderr_only(),
        samples::never_wrote(),
        samples::unread(),
        samples::tree(),
        samples::captured(),
    ];
    (prop::sample::select(samples), vec(hostile(), 1..30))
        .prop_map(|(report, words)| poisoned(report, &words))
}

/// Puts hostile text into every string of a report.
fn poisoned(mut report: Report, words: &[String]) -> Report {
    let mut words = words.iter().cycle().cloned();
    let mut next = || words.next().unwrap();
    report.schema = next();
    report.verdict = next();
    report.target.kind = next();
    report.target.name = next();
    report.window.start = next();
    for process in &mut report.processes {
        process.comm = next();
        process.argv = process.argv.iter().map(|_| next()).collect();
        process.stdio.iter_mut().for_each(|object| *object = next());
        process.facts =
            vec![Fact { kind: next(), at_ms: 1.0, fd: None, error: Some(next()), about: next() }];
        for row in &mut process.fds {
            row.errors.insert(next(), 1);
            row.ways = vec![next()];
        }
    }
    // Rows and objects need the same names, else no reader is shown.
    let (id, kinds) = (format!("/{}", next()), ["pipe", "socket"]);
    for row in report.processes.iter_mut().flat_map(|process| &mut process.fds) {
        row.object.clone_from(&id);
    }
    for (object, kind) in report.objects.iter_mut().zip(kinds) {
        (object.id, object.path, object.kind) = (id.clone(), next(), kind.to_owned());
        object.readers.iter_mut().for_each(|endpoint| endpoint.comm = next());
        object.writers.iter_mut().for_each(|endpoint| endpoint.comm = next());
        object.holders.iter_mut().for_each(|holder| holder.comm = next());
    }
    for command in &mut report.commands {
        (command.command, command.opening) = (next(), Some(next()));
        command.images.iter_mut().for_each(|image| image.command = next());
        let segments = command.streams.iter_mut().flat_map(|stream| &mut stream.segments);
        segments.for_each(|segment| segment.object = next());
    }
    for finding in &mut report.findings {
        (finding.message, finding.advice) = (next(), Some(next()));
        finding.evidence.insert(next(), Value::String(next()));
        finding.evidence.insert("object".to_owned(), Value::String(id.clone()));
    }
    report.losses.insert(LossReason::Other(next()), 1);
    if let Some(captured) = &mut report.capture {
        poison_capture(captured, &id, &mut next);
    }
    report
}

fn poison_capture(captured: &mut Captured, id: &str, next: &mut impl FnMut() -> String) {
    captured.directory = next();
    for stream in &mut captured.streams {
        (stream.comm, stream.file, stream.object) = (next(), next(), id.to_owned());
        stream.gaps.iter_mut().for_each(|gap| gap.source = Some(next()));
    }
    for (number, recovered) in captured.recovered.iter_mut().enumerate() {
        recovered.object = if number == 0 { next() } else { id.to_owned() };
        recovered.comms = vec![next()];
        recovered.text = next();
        recovered.file = (number == 1).then(&mut *next);
    }
}

/// Fails on anything except text, line ends and, with colour, tracer's own styles.
pub(super) fn check_harmless(text: &str, color: bool) -> Result<(), TestCaseError> {
    let mut rest = text.to_owned();
    if color {
        for ink in [palette::STRONG, palette::FAINT, palette::BAD, palette::ODD, palette::GOOD] {
            rest = rest.replace(&ink.render().to_string(), "");
        }
        rest = rest.replace(&palette::STRONG.render_reset().to_string(), "");
    }
    let hazard = rest.chars().find(|&character| is_hazard(character) && character != '\n');
    prop_assert!(hazard.is_none(), "{:?} in {:?}", hazard, text);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig {
        // A report is large, and an unoptimised build slow. `PROPTEST_CASES` still has an effect.
        cases: ProptestConfig::default().cases.div_ceil(4),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn human_text_is_harmless(
        report in reports(), all: bool, color: bool, width in 0_usize..200,
    ) {
        let view = View { all, ..View::default() };
        let text = rendered(&report, Format::Human, &view, &Style { color, width });
        check_harmless(&text, color)?;
        let forged = text.lines().skip(1).any(|line| line.starts_with("✓ all output"));
        prop_assert!(!forged, "quoted text poses as a line of its own:\n{}", text);
    }

    #[test]
    fn one_screen_is_one_screen(report in reports(), findings in 0_usize..100, width in 0_usize..200) {
        let mut report = report;
        report.findings = report.findings.iter().cycle().take(findings).cloned().collect();
        let text = rendered(&report, Format::Human, &View::default(), &Style { width, ..PLAIN });
        super::screen::check_size(&text, 80)?;
    }

    #[test]
    fn json_is_harmless_and_loses_nothing(report in reports()) {
        let text = rendered(&report, Format::Json, &View::default(), &PLAIN);
        check_harmless(&text, false)?;
        prop_assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
    }

    #[test]
    fn every_ndjson_line_is_an_object_with_type_and_schema(report in reports()) {
        let text = rendered(&report, Format::Ndjson, &View::default(), &PLAIN);
        check_harmless(&text, false)?;
        let lines: Vec<Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        prop_assert_eq!(
            lines.len(),
            1 + report.processes.len() + report.objects.len() + report.commands.len()
                + report.findings.len()
                + report.losses.len()
                + report.capture.iter().map(|captured| {
                    1 + captured.streams.len() + captured.recovered.len()
                }).sum::<usize>()
        );
        prop_assert_eq!(&lines[0]["type"], "report");
        for line in &lines {
            prop_assert!(line["type"].is_string());
            prop_assert_eq!(line["schema"].as_str(), Some(report.schema.as_str()));
        }
    }

    #[test]
    fn a_live_line_is_one_harmless_line(
        command in hostile(), object in hostile(), error in hostile(), color: bool,
    ) {
        let (at_ms, pid, fd) = (12.0, 71, 1);
        let events = [
            LiveEvent::Started { at_ms, pid, command: command.clone(), ppid: 60 },
            LiveEvent::FirstWrite {
                at_ms, pid, command: command.clone(), fd, object: object.clone(), bytes: 1,
            },
            LiveEvent::WriteFailed {
                at_ms, pid, command: command.clone(), fd, object: object.clone(),
                error: error.clone(),
            },
            LiveEvent::EarlyFinding {
                at_ms, rule: Rule::Stuck, pid, command: command.clone(), fd,
                object: object.clone(), message: error,
            },
            LiveEvent::FirstRead { at_ms, pid, command: command.clone(), object, bytes: 1 },
            LiveEvent::Ended {
                at_ms, pid, command, exit: None, bytes_stdout: 1, bytes_stderr: 1,
            },
        ];
        for event in &events {
            let line = live_line(event, &Style { color, width: 100 });
            check_harmless(&line, color)?;
            prop_assert!(!line.contains('\n'));
            let json = String::from_utf8(event.json().unwrap()).unwrap();
            let value: Value = serde_json::from_str(&json).unwrap();
            prop_assert!(value["type"].is_string() && json.ends_with('\n'));
            prop_assert!(!json.trim_end_matches('\n').contains(is_hazard));
        }
    }

    #[test]
    fn doctor_lines_are_harmless(
        name in hostile(), found in hostile(), cure in hostile(), color: bool,
    ) {
        let line = DoctorLine { ok: LineStatus::Fail, name, found, cure: Some(cure) };
        let mut out = Vec::new();
        doctor(&[line], &Style { color, width: 80 }, &mut out).unwrap();
        check_harmless(&String::from_utf8(out).unwrap(), color)?;
    }
}

#[test]
fn human_text_has_no_endless_line() {
    for long in ["word ".repeat(4_000), "x".repeat(20_000), "\n".repeat(20_000)] {
        let mut report = poisoned(samples::unread(), &[long]);
        report.findings = report.findings.iter().cycle().take(200).cloned().collect();
        let text = rendered(&report, Format::Human, &super::whole(), &PLAIN);
        let longest = text.lines().map(str::len).max().unwrap();
        assert!(longest < 50_000, "a line of {longest} bytes");
    }
}
