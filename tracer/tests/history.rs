//! `tracer history` and `tracer why` on a history that is there: what they print, and their exit codes.

#![allow(clippy::unwrap_used, reason = "everything here is a test")]

use std::{
    path::Path,
    process::{Command, Output},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tracer_history::{Entry, Gap, Limits, Place, Stream, Writer};

const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros().try_into().unwrap()
}

/// The report of the example in SCHEMA.md.
fn report() -> Vec<u8> {
    let page = include_str!("../../SCHEMA.md");
    let (_, after) = page.split_once("```json\n").unwrap();
    after.split_once("```").unwrap().0.as_bytes().to_vec()
}

fn entry(container: &str, minutes_ago: i64, has_loss: bool) -> Entry {
    let ended_us = now() - minutes_ago * MINUTE;
    let severity = if has_loss { "loss" } else { "info" };
    Entry {
        began_us: ended_us - SECOND,
        ended_us,
        pid: 4005,
        name: "report".into(),
        command: format!("report --of {container}"),
        exit_code: Some(0),
        place: Place {
            container: Some(container.into()),
            engine: Some("docker".into()),
            ..Place::default()
        },
        streams: vec![Stream { fd: 1, bytes: 312, outcome: "read".into(), ..Stream::default() }],
        rule: if has_loss { "unread" } else { "delivered" }.into(),
        severity: severity.into(),
        sentence: "report wrote 312 B".into(),
        has_loss,
        report: has_loss.then(report),
        ..Entry::default()
    }
}

/// Two hours: attached, then blind for ten minutes, then attached again.
fn history() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let writer = Writer::start(folder.path(), Limits::default()).unwrap();
    writer.attached("all", now() - 120 * MINUTE);
    writer.detached(now() - 60 * MINUTE, "SIGTERM");
    writer.attached("all", now() - 50 * MINUTE);
    writer.add(entry("fine", 100, false));
    writer.add(entry("bad", 90, true));
    writer.add(entry("fine", 20, false));
    let (from_us, until_us) = (now() - 30 * MINUTE, now() - 29 * MINUTE);
    writer.gap(Gap { from_us, until_us, reason: "ring_full".into(), ..Gap::default() });
    writer.alive(now());
    assert!(writer.close(Duration::from_secs(60)));
    folder
}

fn tracer(action: &str, folder: &Path, args: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tracer"));
    command.arg(action).arg("--history").arg(folder).args(args).env("TZ", "UTC");
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

#[test]
fn commands_and_gaps_are_listed_in_the_order_of_time() {
    let folder = history();
    let (code, list, _) = tracer("history", folder.path(), &[]);
    let what: Vec<_> = ["✓ fine", "✗ bad", "tracer was stopped", "ring_full", "✓ fine"].into();
    let lines: Vec<_> = list.lines().collect();
    assert_eq!((code, lines.len()), (0, what.len()), "{list}");
    for (line, what) in lines.iter().zip(what) {
        assert!(line.contains(what), "{line}: no {what}");
    }
    let (_, list, _) = tracer("history", folder.path(), &["--lost", "--until", "80m"]);
    assert_eq!(list.lines().count(), 1, "{list}");
    let (_, list, _) = tracer("history", folder.path(), &["--limit", "1"]);
    assert!(list.lines().count() == 1 && list.contains("fine"), "{list}");
}

#[test]
fn programs_get_one_object_on_each_line() {
    let folder = history();
    let (_, lines, _) = tracer("history", folder.path(), &["--format", "ndjson"]);
    let types: Vec<String> = lines
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .map(|line| line["type"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(types, ["entry", "entry", "gap", "gap", "entry"]);
}

#[test]
fn a_loss_is_answered_with_its_report_and_exit_code_1() {
    let folder = history();
    let verdict =
        serde_json::from_slice::<serde_json::Value>(&report()).unwrap()["verdict"].to_string();
    let first_word = verdict.trim_matches('"').split(' ').next().unwrap().to_owned();
    let (code, text, _) = tracer("why", folder.path(), &["--container", "bad"]);
    assert_eq!(code, 1, "{text}");
    assert!(text.lines().next().unwrap().contains("✗ bad"), "{text}");
    assert!(text.contains(&first_word) && text.lines().count() > 5, "{text}");
    let (code, json, _) = tracer("why", folder.path(), &["--container", "bad", "--format", "json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((code, &json["schema"]), (1, &"tracer.report/1".into()));
}

#[test]
fn a_command_whose_output_arrived_is_answered_with_exit_code_0() {
    let folder = history();
    let (code, text, _) = tracer("why", folder.path(), &["--container", "fine", "--at", "20m"]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("report wrote 312 B") && text.contains("tracer was attached"), "{text}");
    let html = &["--container", "fine", "--format", "html"];
    let (code, _, error) = tracer("why", folder.path(), html);
    assert_eq!((code, error.lines().count()), (2, 1), "{error}");
}

#[test]
fn what_was_not_seen_is_said_in_one_sentence() {
    let folder = history();
    for (at, sentence) in [
        ("5h", "The history begins at"),
        ("55m", "because it was stopped"),
        ("40m", "tracer was attached all that time"),
    ] {
        let (code, text, _) = tracer("why", folder.path(), &["--pid", "77", "--at", at]);
        let text = text.replace('\n', " ");
        assert!(code == 0 && text.contains(sentence), "{at}: {code} {text}");
    }
}

#[test]
fn without_a_history_there_is_one_sentence_and_exit_code_3() {
    let folder = tempfile::tempdir().unwrap();
    for folder in [folder.path().join("none"), folder.path().to_owned()] {
        let (code, _, error) = tracer("why", &folder, &["--pid", "1"]);
        assert_eq!((code, error.lines().count()), (3, 1), "{error}");
        assert!(error.contains("tracer daemon"), "{error}");
    }
    assert_eq!(tracer("why", folder.path(), &["--pid", "x"]).0, 2);
}
