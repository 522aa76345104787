//! What the findings say about processes and objects: how bad it is, and how many bytes are lost where.

use std::collections::HashMap;

use serde_json::Value;
use tracer_core::{
    report::{Object, Report},
    verdict::{Confidence, Finding, Rule, Severity},
};

use super::Mark;

/// How many losses get a node.
const MOST: usize = 8;

/// A place in the flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Place<'a> {
    /// A process, by its pid.
    Process(u32),
    /// An object, by its id.
    Object(&'a str),
}

/// Bytes that did not arrive.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Loss<'a> {
    /// Where they were last.
    pub(super) place: Place<'a>,
    /// How many; 0 if this is not known.
    pub(super) bytes: u64,
    /// What became of them: `never read`.
    pub(super) words: &'static str,
    /// Whether the finding is unsure.
    pub(super) is_unsure: bool,
}

/// What the findings say.
#[derive(Debug, Default)]
pub(super) struct Marks<'a> {
    marks: HashMap<Place<'a>, Mark>,
    /// The losses with a node.
    pub(super) losses: Vec<Loss<'a>>,
    /// The processes of losses, warnings and the first finding: the most important first.
    pub(super) subjects: Vec<u32>,
}

impl<'a> Marks<'a> {
    /// Reads the findings of a report.
    pub(super) fn of(report: &'a Report, objects: &HashMap<&str, &Object>) -> Self {
        let mut marks = Self::default();
        let refused = refused(report);
        for (index, finding) in report.findings.iter().enumerate() {
            let mark = match finding.severity {
                Severity::Loss => Mark::Bad,
                Severity::Warning => Mark::Odd,
                Severity::Info if index == 0 => Mark::Fine,
                Severity::Info => continue,
            };
            if finding.pid != 0 {
                marks.set(Place::Process(finding.pid), mark);
                marks.subjects.push(finding.pid);
            }
            let object = finding.evidence.get("object").and_then(Value::as_str);
            if let Some(object) = object {
                marks.set(Place::Object(object), mark);
            }
            if mark == Mark::Bad {
                marks.add(finding, object, objects, &refused);
            }
        }
        marks
    }

    /// How bad a place is.
    pub(super) fn mark(&self, place: Place<'_>) -> Mark {
        self.marks.get(&place).copied().unwrap_or_default()
    }

    fn set(&mut self, place: Place<'a>, mark: Mark) {
        let known = self.marks.entry(place).or_default();
        *known = mark.max(*known);
    }

    /// Adds the losses of a finding, but no place twice: two writers can share what is left in one pipe.
    fn add(
        &mut self,
        finding: &'a Finding,
        object: Option<&'a str>,
        objects: &HashMap<&str, &Object>,
        refused: &HashMap<u32, u64>,
    ) {
        let known = object.and_then(|object| objects.get(object).copied());
        let refused = refused.get(&finding.pid).copied().unwrap_or(0);
        let found = parts(finding, object, known, refused);
        let is_unsure = finding.confidence == Confidence::Unsure;
        let is_only = found.len() == 1;
        for (place, bytes, words) in found {
            let is_known =
                self.losses.iter().any(|loss| loss.place == place && loss.words == words);
            if !is_known && (bytes > 0 || is_only) && self.losses.len() < MOST {
                self.losses.push(Loss { place, bytes, words, is_unsure });
            }
        }
    }
}

/// What a finding of a loss says is lost: where, how many bytes, and how. `refused`: bytes that were refused to its
/// command.
fn parts<'a>(
    finding: &Finding,
    object: Option<&'a str>,
    known: Option<&Object>,
    refused: u64,
) -> Vec<(Place<'a>, u64, &'static str)> {
    let number = |name: &str| finding.evidence.get(name).and_then(Value::as_u64).unwrap_or(0);
    let process = Place::Process(finding.pid);
    let inside = object.map_or(process, Place::Object);
    let unread = known.and_then(|object| object.unread).unwrap_or_else(|| number("unread"));
    let refused = refused.max(number("refused_bytes"));
    match finding.rule {
        Rule::Unread => vec![(inside, unread, "lost: never read")],
        Rule::ReaderGone => vec![
            (inside, unread, "lost: never read"),
            (process, refused, "lost: refused, no reader"),
        ],
        Rule::FileLost => vec![(inside, number("lost"), file_lost(finding))],
        Rule::Refused => vec![(process, refused, "lost: refused")],
        Rule::KeptBack => {
            let kept = number("read").saturating_sub(number("passed_on"));
            vec![(process, kept, "lost: read and not passed on")]
        }
        Rule::ReadThenLost => {
            vec![(
                only_reader(known).unwrap_or(inside),
                number("lost"),
                "lost: read, and not in the log",
            )]
        }
        _ => vec![(inside, 0, "lost")],
    }
}

/// The process that read all that was read from an object.
fn only_reader<'a>(object: Option<&Object>) -> Option<Place<'a>> {
    let mut readers = object?.readers.iter().filter(|reader| reader.bytes > 0);
    let reader = readers.next().filter(|_| readers.next().is_none())?;
    Some(Place::Process(reader.pid))
}

fn file_lost(finding: &Finding) -> &'static str {
    match finding.evidence.get("loss").and_then(Value::as_str) {
        Some("removed") => "lost: the file was removed",
        _ => "lost: overwritten or cut",
    }
}

/// Bytes that were refused to each command and not written again.
fn refused(report: &Report) -> HashMap<u32, u64> {
    let mut refused = HashMap::new();
    for command in &report.commands {
        let segments = command.streams.iter().flat_map(|stream| &stream.segments);
        let sum = segments.fold(0_u64, |sum, one| sum.saturating_add(one.refused_bytes));
        if sum > 0 {
            refused.insert(command.pid, sum);
        }
    }
    refused
}
