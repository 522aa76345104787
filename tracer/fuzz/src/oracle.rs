//! What must hold for everything that tracer prints: text that does nothing to a terminal, and valid JSON.

use serde_json::Value;
use tracer::render::{self, Format, Style, View};
use tracer_core::{report::Report, text};

/// The widths that are tried, in columns.
const WIDTHS: [usize; 2] = [40, 120];

/// The most characters of a line of human text: a few parts of a line, each as long as two of the longest paths.
const LONGEST_LINE: usize = 5 * 8192;
/// The most lines of one screen.
const SCREEN: usize = 40;
/// The most characters of a finding's message.
const LONGEST_SENTENCE: usize = 4_000;

/// Checks a report in every form.
pub(crate) fn check_report(report: &Report) {
    let whole = View { all: true, ..View::default() };
    for width in WIDTHS {
        let text = written(report, Format::Human, &whole, width);
        harmless(&text);
        let longest = text.lines().map(|line| line.chars().count()).max().unwrap_or(0);
        assert!(longest <= LONGEST_LINE, "a line of {longest} characters");
        let screen = written(report, Format::Human, &View::default(), width);
        harmless(&screen);
        let lines = screen.lines().count();
        assert!(lines <= SCREEN, "a screen of {lines} lines: {screen}");
    }
    for finding in &report.findings {
        let length = finding.message.chars().count();
        assert!(length <= LONGEST_SENTENCE, "{length} characters: {}", finding.message);
    }
    let json = written(report, Format::Json, &whole, 0);
    harmless(&json);
    let value: Value = serde_json::from_str(&json).expect("the report is one JSON document");
    assert_eq!(value["schema"], tracer_core::report::SCHEMA);
    let lines = written(report, Format::Ndjson, &whole, 0);
    harmless(&lines);
    for line in lines.lines() {
        let value: Value = serde_json::from_str(line).expect("each line is one JSON document");
        assert!(value["type"].is_string(), "a line without a type: {line}");
    }
}

fn written(report: &Report, format: Format, view: &View, width: usize) -> String {
    let mut out = Vec::new();
    render::write(report, format, view, &Style { color: false, width }, &mut out)
        .expect("memory takes everything");
    String::from_utf8(out).expect("a report is UTF-8")
}

/// Checks a sentence about a failure, as `main` and the log print it.
pub(crate) fn check_sentence(sentence: &str) {
    let shown = text::escape(sentence);
    one_line(&shown);
}

/// Checks that text has one line, without anything that a terminal acts upon.
pub(crate) fn one_line(text: &str) {
    harmless(text);
    assert!(!text.contains('\n'), "more than one line: {text:?}");
}

/// Checks that text has nothing that a terminal acts upon, except line ends.
pub(crate) fn harmless(text: &str) {
    let hazard = text.chars().find(|character| *character != '\n' && is_hazard(*character));
    assert!(hazard.is_none(), "{hazard:?} in {text:?}");
}

/// Deliberately not tracer's own list: Unicode's controls, line separators, bidirectional controls and zero-width
/// characters.
fn is_hazard(character: char) -> bool {
    let bidirectional = ['\u{61c}', '\u{200e}', '\u{200f}'];
    character.is_control()
        || bidirectional.contains(&character)
        || ('\u{2028}'..='\u{202e}').contains(&character)
        || ('\u{2066}'..='\u{2069}').contains(&character)
        || ['\u{ad}', '\u{180e}', '\u{200b}', '\u{200c}', '\u{200d}', '\u{2060}', '\u{feff}']
            .contains(&character)
        || ('\u{e0000}'..='\u{e007f}').contains(&character)
}
