//! The page: its policy, its size, what is on it, and that no traced program can add markup to it.

use std::collections::BTreeSet;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use proptest::prelude::*;
use regex::Regex;
use sha2::{Digest as _, Sha256};
use tracer_core::{
    report::{Command, Endpoint, Object, Process, Report},
    text::units,
};

use super::{
    super::{Format, View},
    PLAIN,
    hostile::{check_harmless, reports},
    rendered, samples,
};

/// All elements of a page.
const ELEMENTS: &str = "html head meta title style body header section footer h1 h2 p span code ul li details summary \
                        div table thead tbody tr th td pre svg g path polygon rect line text";

fn page(report: &Report) -> String {
    rendered(report, Format::Html, &View::default(), &PLAIN)
}

#[test]
fn the_policy_allows_the_style_sheet_and_nothing_else() {
    let page = page(&samples::unread());
    let (_, rest) = page.split_once("<style>").unwrap();
    let (style, _) = rest.split_once("</style>").unwrap();
    let hash = BASE64_STANDARD.encode(Sha256::digest(style));
    let policy = format!(
        "content=\"default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'\""
    );
    assert!(page.contains(&policy), "POLICY in html.rs needs 'sha256-{hash}'");
    for source in ["url(", "@import", "<script", "<link", "http://", "https://", "src="] {
        assert!(!page.contains(source), "{source}");
    }
}

#[test]
fn a_page_has_the_sentence_the_findings_and_all_numbers() {
    let report = samples::unread();
    let page = page(&report);
    assert!(page.contains("<header class=\"bad\"><h1><span class=\"mark\">✗</span> "), "{page}");
    for finding in &report.findings {
        assert!(page.contains(&format!("title=\"tracer explain {}\"", finding.rule)));
    }
    for row in report.processes.iter().flat_map(|process| &process.fds) {
        assert!(page.contains(&units::exact(row.bytes)), "{}", row.bytes);
    }
    for reason in report.losses.iter().filter(|(_, times)| **times > 0).map(|(reason, _)| reason) {
        assert!(page.contains(reason.name()));
    }
}

#[test]
fn captured_output_that_did_not_arrive_is_quoted() {
    let page = page(&samples::captured());
    assert!(page.contains("Captured output that did not arrive"));
    assert!(page.contains("<pre>"));
}

/// A report of this many commands, each with two pipes of its own and names as long and as bad as they can be.
fn crowd(commands: u32) -> Report {
    let mut report = samples::unread();
    let (process, object) = (report.processes[0].clone(), report.objects[0].clone());
    let command = report.commands.first().cloned();
    let name = "<&\"'>".repeat(900);
    for pid in 5_000..5_000 + commands {
        let id = format!("/{name}/{pid}");
        let mut one = Process {
            pid,
            ns_pid: pid,
            argv: [name.clone()].into_iter().collect(),
            ..process.clone()
        };
        one.executed = true;
        one.fds.iter_mut().for_each(|row| row.object.clone_from(&id));
        report.processes.push(one);
        let ends = [Endpoint { pid, comm: name.clone(), bytes: 1 }];
        let (writers, readers) = (ends.to_vec(), ends.to_vec());
        report.objects.push(Object {
            id,
            path: name.clone(),
            written: 7,
            writers,
            readers,
            ..object.clone()
        });
        report.commands.extend(command.clone().map(|command| Command {
            pid,
            command: name.clone(),
            ..command
        }));
    }
    report
}

#[test]
fn two_hundred_commands_are_less_than_a_megabyte() {
    let size = page(&crowd(200)).len();
    assert!(size < 1_000_000, "{size}");
}

#[test]
fn a_page_of_any_number_of_commands_is_bounded() {
    let text = page(&crowd(3_000));
    assert!(text.len() < 3_000_000, "{}", text.len());
    assert!(text.contains("more, which the JSON report has"));
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn no_name_adds_markup(report in reports()) {
        let text = page(&report);
        let (before, rest) = text.split_once("<style>").unwrap();
        let (style, after) = rest.split_once("</style>").unwrap();
        prop_assert!(!style.contains('<'));
        let text = format!("{before}{after}");
        let body = text.strip_prefix("<!DOCTYPE html>").unwrap();
        check_harmless(body.trim_end(), false)?;
        let tag = Regex::new(r#"^</?([a-z0-9]+)((?: [a-zA-Z0-9-]+(?:="[^"<>]*")?)*)>"#).unwrap();
        let attribute = Regex::new(r#" ([a-zA-Z0-9-]+)(?:="[^"]*")?"#).unwrap();
        let elements: BTreeSet<&str> = ELEMENTS.split_whitespace().collect();
        for piece in body.split('<').skip(1) {
            let found = tag.captures(&body[piece.as_ptr() as usize - body.as_ptr() as usize - 1..]);
            prop_assert!(found.is_some(), "<{piece}");
            let found = found.unwrap();
            prop_assert!(elements.contains(&found[1]), "<{piece}");
            for attribute in attribute.captures_iter(&found[2]) {
                prop_assert!(!attribute[1].starts_with("on"), "<{piece}");
            }
        }
    }
}
