//! The verdict: pure functions of a session.
//!
//! Each rule in [`rules`] looks at one subject (a command that the user asked about) and reports what it can prove.
//! This module decides the order of findings.

mod case;
mod commands;
mod copies;
mod evidence;
mod fate;
mod finding;
mod inner;
mod outcome;
mod relay;
mod rows;
mod rules;
mod segments;
mod share;
mod subject;
#[cfg(test)]
mod tests;
mod words;
mod writes;

use std::collections::{BTreeMap, BTreeSet};

pub(crate) use self::commands::commands_by;
pub use self::{
    case::Case,
    commands::{Command, Part, commands},
    fate::Fate,
    finding::{Confidence, Finding, Rule, Severity},
    outcome::Outcome,
    segments::{RedirectedBy, Segment},
    share::{Bytes, Share},
    subject::{Scope, Stream, Subject},
};

/// Number of findings of one rule about commands of one name that are shown; further ones are counted.
const SHOWN_PER_GROUP: usize = 3;

/// All findings, the most important first.
#[must_use]
pub fn judge(case: &Case<'_>) -> Vec<Finding> {
    group_similar(judge_each(case))
}

/// The same, each by itself: of a thousand similar ones all.
#[must_use]
pub fn judge_each(case: &Case<'_>) -> Vec<Finding> {
    let general = rules::GENERAL.iter().flat_map(|rule| rule(case));
    let mut findings: Vec<(bool, Finding)> = general.map(|finding| (false, finding)).collect();
    for subject in &case.subjects {
        let about: Vec<Finding> =
            rules::PER_SUBJECT.iter().flat_map(|rule| rule(case, subject)).collect();
        let about = without_weaker(about, case.has_guests);
        if about.is_empty() && !rules::file_lost::tells_all(case, subject) {
            findings.push((false, rules::accounted::find(case, subject)));
        }
        let about = about.into_iter().map(|finding| with_doubt(case, subject, finding));
        findings.extend(about.map(|finding| (false, finding)));
    }
    for inner in &case.inner {
        let about = rules::PER_INNER.iter().flat_map(|rule| rule(case, inner)).collect();
        let about = without_weaker(about, case.has_guests);
        let worth_telling = |finding: &Finding| {
            // The outer command reads what an inner one says on stderr.
            finding.severity != Severity::Info && finding.rule != Rule::OtherStream
                || finding.rule == Rule::Delivered
                    && inner.scope != Scope::Redirected
                    && !case.is_piped(inner)
        };
        let shown = about.into_iter().filter(worth_telling);
        findings.extend(shown.map(|finding| (true, with_doubt(case, inner, finding))));
    }
    // What happens inside the only command is no excuse for it, if it failed.
    let has_failed = matches!(case.subjects.as_slice(), [only] if only.process.has_failed());
    let wrote = |subjects: &[Subject<'_>]| subjects.iter().any(|subject| subject.bytes() > 0);
    let is_helper = wrote(&case.subjects) || !has_failed && wrote(&case.inner);
    let explains = |(_, finding): &(bool, Finding)| {
        EXPLAIN_SILENCE.contains(&finding.rule) && finding.severity != Severity::Info
    };
    if is_helper || findings.iter().any(explains) {
        downgrade_silent_helpers(&mut findings);
    }
    findings.sort_by_key(rank);
    findings.into_iter().map(|(_, finding)| finding).collect()
}

/// Rules whose message already states what is unknown.
const STATE_THEIR_DOUBT: [Rule; 2] = [Rule::NeverWrote, Rule::PutOff];

/// Rules that say why a command wrote nothing, or why another one did not.
const EXPLAIN_SILENCE: [Rule; 6] = [
    Rule::ExecFailed,
    Rule::Stuck,
    Rule::BlockedOpen,
    Rule::Stopped,
    Rule::KeptBack,
    Rule::Unflushed,
];

/// Puts "Unsure, because …" in front of a strong claim that does not rest on complete counts.
fn with_doubt(case: &Case<'_>, subject: &Subject<'_>, mut finding: Finding) -> Finding {
    // A file that may have lost bytes is a warning.
    let is_perhaps = finding.rule == Rule::FileLost && finding.severity == Severity::Warning;
    let says_it = is_perhaps || STATE_THEIR_DOUBT.contains(&finding.rule);
    if finding.confidence == Confidence::Certain || finding.severity == Severity::Info || says_it {
        return finding;
    }
    let why = if case.has_losses() {
        "tracer missed something"
    } else if case.has_guests {
        "a part of it is out of sight"
    } else if subject.process.attached_late {
        "it ran before tracer attached"
    } else if let Some(doubt) = case.doubts(subject).next() {
        words::doubt(doubt)
    } else {
        "the counts of its output are incomplete"
    };
    finding.message = format!("Unsure, because {why}: {}", finding.message);
    finding.evidence.insert("unsure".to_owned(), why.into());
    finding
}

/// The first sentence of a report.
#[must_use]
pub fn headline(findings: &[Finding]) -> String {
    findings.first().map_or_else(
        || "Nothing ran in the target while tracer watched it.".to_owned(),
        |finding| finding.message.clone(),
    )
}

/// The sort key of a finding: what tracer did not see comes first, then losses, then what explains silence, then what
/// went well. A failed start explains everything that follows from it.
fn rank((is_inner, finding): &(bool, Finding)) -> (bool, Severity, bool, Rule) {
    let is_info = finding.severity == Severity::Info;
    let is_blind =
        !is_info && matches!(finding.rule, Rule::OwnLosses | Rule::OutOfSight | Rule::Unbalanced);
    let is_aside = is_info
        && match finding.rule {
            Rule::OutOfSight
            | Rule::NeverWrote
            | Rule::PutOff
            | Rule::ReadByOther
            | Rule::Unflushed
            | Rule::Discarded => true,
            Rule::Elsewhere => finding.evidence.get("only").is_none_or(|only| only == false),
            _ => false,
        };
    let is_below = is_info && (*is_inner || is_aside);
    (!is_blind, finding.severity, is_below, if is_aside { LAST } else { finding.rule })
}

/// The last rule in the order of reports; asides rank with it.
const LAST: Rule = Rule::HeldBack;

/// Where one command wrote, the silence of another is no warning: a manager also runs `sleep`.
fn downgrade_silent_helpers(findings: &mut [(bool, Finding)]) {
    for (_, finding) in findings.iter_mut().filter(|(_, found)| found.rule == Rule::NeverWrote) {
        finding.severity = Severity::Info;
    }
}

/// Drops findings that a stronger one about the same command includes.
fn without_weaker(mut findings: Vec<Finding>, has_guests: bool) -> Vec<Finding> {
    let has = |rule: Rule| findings.iter().any(|finding| finding.rule == rule);
    let (never_started, elsewhere, stuck) =
        (has(Rule::ExecFailed), has(Rule::Elsewhere), has(Rule::Stuck));
    // Bytes that were left unread when the reader ended are the same loss as the EPIPE.
    let (gone, lost) = (has(Rule::ReaderGone), has(Rule::ReadThenLost));
    let is_lossy = findings.iter().any(|finding| finding.severity == Severity::Loss);
    findings.retain(|finding| match finding.rule {
        Rule::NeverWrote => !never_started && !elsewhere && !stuck && !has_guests && !is_lossy,
        Rule::DaemonUnreachable => !never_started,
        Rule::Unread => !stuck && !gone,
        Rule::Delivered => !lost && !is_lossy,
        _ => true,
    });
    findings
}

/// What a finding has as evidence that stands for further ones: their number.
pub const SIMILAR: &str = "similar";
/// The number of commands that lost output and that only findings which are not shown are about.
pub(crate) const SIMILAR_COMMANDS: &str = "similar_commands";

/// The findings of one rule about commands of one name.
#[derive(Default)]
struct Group {
    count: usize,
    /// Index of the latest one that is shown.
    latest: usize,
    /// Commands that lost output by those that are not shown.
    losing: BTreeSet<(u32, u64)>,
}

impl Group {
    fn is_cut(&self) -> bool {
        self.count > SHOWN_PER_GROUP
    }
}

/// Shows a thousand similar commands as three and a number.
fn group_similar(findings: Vec<Finding>) -> Vec<Finding> {
    let mut groups: BTreeMap<(Rule, String), Group> = BTreeMap::new();
    let mut kept: Vec<Finding> = Vec::new();
    for finding in findings {
        let name = finding.evidence.get("comm").map(ToString::to_string).unwrap_or_default();
        let is_named = !name.is_empty();
        let group = groups.entry((finding.rule, name)).or_default();
        group.count += 1;
        if !group.is_cut() || !is_named {
            group.latest = kept.len();
            kept.push(finding);
        } else {
            group.losing.extend(finding.loser());
        }
    }
    let mut counted: BTreeSet<_> = kept.iter().filter_map(Finding::loser).collect();
    let cut = groups.iter().filter(|((_, name), group)| !name.is_empty() && group.is_cut());
    for (_, group) in cut {
        let Some(latest) = kept.get_mut(group.latest) else { continue };
        let further = group.losing.iter().filter(|command| counted.insert(**command)).count();
        latest.evidence.insert(SIMILAR.into(), (group.count - SHOWN_PER_GROUP).into());
        latest.evidence.insert(SIMILAR_COMMANDS.into(), further.into());
    }
    for finding in &mut kept {
        if let Some(similar) = finding.evidence.get(SIMILAR) {
            finding.message.push_str(&format!(" ({similar} more like this.)"));
        }
    }
    kept
}
