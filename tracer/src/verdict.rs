//! The verdict: pure functions of a session.
//!
//! Each rule in [`rules`] looks at one subject (a command the operator cares about) and says what it
//! can prove. The order in which findings are told is decided here, once for all.

mod evidence;
mod rules;
mod subject;
mod words;

use crate::{
    report::{Confidence, Finding, Severity},
    session::{Flows, Session},
};

pub use self::subject::{Stream, Subject};

/// Findings of one rule about commands of one name that are told one by one; more are summed up.
const TOLD_ONE_BY_ONE: usize = 3;

/// What the rules look at.
pub struct Case<'a> {
    /// The recorded session.
    pub session: &'a Session,
    /// The books of every object.
    pub flows: &'a Flows,
    /// The commands in question.
    pub subjects: Vec<Subject<'a>>,
}

impl<'a> Case<'a> {
    /// Prepares a session for judgement.
    #[must_use]
    pub fn new(session: &'a Session, flows: &'a Flows) -> Self {
        Self { session, flows, subjects: subject::subjects(session) }
    }

    /// Whether everything about a subject was seen.
    fn confidence(&self, subject: &Subject<'_>) -> Confidence {
        if self.session.losses.is_empty() && !subject.process.attached_late {
            Confidence::Certain
        } else {
            Confidence::Unsure
        }
    }
}

/// Every finding, the one to read first at the front.
#[must_use]
pub fn judge(case: &Case<'_>) -> Vec<Finding> {
    let mut findings: Vec<Finding> = rules::GENERAL.iter().flat_map(|rule| rule(case)).collect();
    for subject in &case.subjects {
        let about: Vec<Finding> =
            rules::PER_SUBJECT.iter().flat_map(|rule| rule(case, subject)).collect();
        let about = without_weaker(about);
        if about.is_empty() {
            findings.push(rules::accounted::find(case, subject));
        }
        findings.extend(about);
    }
    if case.subjects.iter().any(|subject| subject.bytes() > 0) {
        quiet_helpers(&mut findings);
    }
    findings.sort_by_key(rank);
    fold_similar(findings)
}

/// The first sentence of a report.
#[must_use]
pub fn headline(findings: &[Finding]) -> String {
    findings.first().map_or_else(
        || "Nothing ran in the target while tracer watched it.".to_owned(),
        |finding| finding.message.clone(),
    )
}

/// Own blindness first, then losses, then what explains silence, then what went well; a failed start
/// explains everything that follows from it.
fn rank(finding: &Finding) -> (u8, Severity, u8) {
    let blindness = u8::from(finding.rule != "own_losses");
    let order = match finding.rule.as_str() {
        "exec_failed" => 0,
        "unread" => 1,
        "reader_gone" => 2,
        "refused" => 3,
        "other_stream" => 4,
        "elsewhere" if finding.severity == Severity::Info => 12,
        "elsewhere" => 5,
        "discarded" => 6,
        "never_wrote" if finding.severity == Severity::Info => 12,
        "never_wrote" => 7,
        "put_off" => 9,
        "daemon_unreachable" => 8,
        "delivered" => 10,
        _ => 11,
    };
    (blindness, finding.severity, order)
}

/// Where one command wrote, another one's silence is a fact and no alarm: a manager also runs `sleep`.
fn quiet_helpers(findings: &mut [Finding]) {
    for finding in findings.iter_mut().filter(|finding| finding.rule == "never_wrote") {
        finding.severity = Severity::Info;
    }
}

/// Drops findings that a stronger one about the same process already says.
fn without_weaker(mut findings: Vec<Finding>) -> Vec<Finding> {
    let has = |rule: &str| findings.iter().any(|finding| finding.rule == rule);
    let (never_started, elsewhere) = (has("exec_failed"), has("elsewhere"));
    findings.retain(|finding| match finding.rule.as_str() {
        "never_wrote" => !never_started && !elsewhere,
        "daemon_unreachable" => !never_started,
        _ => true,
    });
    findings
}

/// A thousand commands that did the same are told as three and a number.
fn fold_similar(findings: Vec<Finding>) -> Vec<Finding> {
    let mut told: std::collections::BTreeMap<(String, String), usize> = Default::default();
    let mut kept: Vec<Finding> = Vec::new();
    for finding in findings {
        let name = finding.evidence.get("comm").map(ToString::to_string).unwrap_or_default();
        let count = told.entry((finding.rule.clone(), name.clone())).or_default();
        *count += 1;
        if *count <= TOLD_ONE_BY_ONE || name.is_empty() {
            kept.push(finding);
            continue;
        }
        let last = kept.iter_mut().rev().find(|known| {
            known.rule == finding.rule
                && known.evidence.get("comm").map(ToString::to_string).unwrap_or_default() == name
        });
        if let Some(last) = last {
            last.evidence.insert("similar".into(), (*count - TOLD_ONE_BY_ONE).into());
        }
    }
    for finding in &mut kept {
        if let Some(similar) = finding.evidence.get("similar") {
            finding.message.push_str(&format!(" ({similar} more like this.)"));
        }
    }
    kept
}
