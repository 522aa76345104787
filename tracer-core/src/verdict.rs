//! The verdict: pure functions of a session.
//!
//! Each rule in [`rules`] looks at one subject (a command the operator cares about) and says what it
//! can prove. The order in which findings are told is decided here, once for all.

mod evidence;
mod finding;
mod rules;
mod subject;
#[cfg(test)]
mod tests;
mod words;

use std::collections::BTreeMap;

use tracer_common::{id::ProcessId, ledger::READ, object::ObjectId};

use crate::{
    event::{Asleep, HandedOut, Waiting},
    session::{Claimants, Close, Flows, Kind, Session},
};

pub use self::{
    finding::{Confidence, Finding, Rule, Severity},
    subject::{Stream, Subject},
};

/// `signal(7)`.
const SIGPIPE: u32 = 13;
/// A reader that took something this recently is at work.
const AT_WORK_NS: u64 = 500_000_000;
/// Closes of one pipe that are no further apart belong together.
const SAME_TIME_NS: u64 = 50_000_000;
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
    /// Commands inside of them whose output goes to the outer one: a manager under `tracer --`, a
    /// pipeline.
    pub inner: Vec<Subject<'a>>,
    /// What managers' logs say, with the process that each entry is about; others are left out.
    pub claims: Vec<(ProcessId, &'a HandedOut)>,
    /// The same by process.
    claims_about: BTreeMap<ProcessId, Vec<&'a HandedOut>>,
    /// Threads that sleep in a write, by the object that they write to.
    writers_asleep: BTreeMap<ObjectId, Vec<&'a Asleep>>,
    /// Whether a target runs a sandbox or virtual machine, into which this kernel does not see.
    has_guests: bool,
}

impl<'a> Case<'a> {
    /// Prepares a session for judgement.
    #[must_use]
    pub fn new(session: &'a Session, flows: &'a Flows) -> Self {
        let subjects = subject::subjects(session);
        let inner = subject::inner(session, &subjects);
        let mut targets = session.processes.values().filter(|process| process.is_target);
        let has_guests = targets.any(|process| rules::out_of_sight::guest(process).is_some());
        let claimants = Claimants::of(session);
        let claims: Vec<(ProcessId, &HandedOut)> = session
            .handed_out
            .iter()
            .filter_map(|said| Some((claimants.of_claim(said)?.id, said)))
            .collect();
        let mut claims_about: BTreeMap<ProcessId, Vec<&HandedOut>> = BTreeMap::new();
        for (process, said) in &claims {
            claims_about.entry(*process).or_default().push(said);
        }
        let mut writers_asleep: BTreeMap<ObjectId, Vec<&Asleep>> = BTreeMap::new();
        for asleep in session.asleep.iter().filter(|asleep| asleep.call == Waiting::Write) {
            if let Some(object) = asleep.object {
                writers_asleep.entry(object).or_default().push(asleep);
            }
        }
        Self { session, flows, subjects, inner, claims, claims_about, writers_asleep, has_guests }
    }

    /// Whether everything about a subject was seen.
    fn confidence(&self, subject: &Subject<'_>) -> Confidence {
        let balances = |stream: &&Stream| self.flows.get(&stream.object).balanced != Some(false);
        let is_complete = self.session.losses.is_empty()
            && !subject.process.attached_late
            && !self.has_guests
            && subject.streams().iter().all(balances);
        if is_complete { Confidence::Certain } else { Confidence::Unsure }
    }

    /// Whether a reader that took something out at this moment, if it ever did, is still at work.
    fn is_at_work(&self, last_ns: Option<u64>) -> bool {
        last_ns.is_some_and(|last| self.session.end_ns.saturating_sub(last) < AT_WORK_NS)
    }

    /// Whether a command's output goes into the next one of a pipeline.
    fn is_piped(&self, subject: &Subject<'_>) -> bool {
        let mut readers = subject.streams().into_iter().flat_map(|stream| {
            let far = self.session.far_end(&stream.object);
            let readers = &self.flows.get(&stream.object).readers;
            readers.iter().map(move |party| (party.process, far))
        });
        readers.any(|(reader, object)| {
            let known = self.session.processes.get(&reader).filter(|known| known.is_target);
            known.is_some_and(|known| known.stdio_object(0) == Some(object))
        })
    }

    /// Who gave up the last reading end: of two that did so at almost the same time, the one that had
    /// read. A shell holds the pipe of `yes | head` a moment longer than `head` does.
    fn closer(&self, object: &ObjectId) -> Option<&'a Close> {
        // Of a socket whose other end is not known, only this machine's end was seen closing.
        let is_one_ended =
            self.session.object_kind(object) == Kind::Socket && !self.session.is_joined(object);
        let last = self.session.last_closer(object).filter(|_| !is_one_ended)?;
        let has_read = |close: &&Close| {
            let mut rows = self.session.rows_of(close.process, READ);
            rows.any(|(key, row)| key.object == *object && row.bytes > 0)
        };
        let mut closes = self.session.closes(object).iter().rev();
        let reader = closes
            .find(has_read)
            .filter(|reader| last.time_ns.saturating_sub(reader.time_ns) < SAME_TIME_NS);
        Some(reader.unwrap_or(last))
    }

    /// Whether a process is the next command of a pipeline, which ended well, or because the one after
    /// it had enough (`yes | cat | head`): what it left unread, it did not want.
    fn is_beside(&self, subject: &Subject<'_>, process: ProcessId) -> bool {
        let Some(known) = self.session.processes.get(&process) else { return false };
        let stdin = known.stdio_object(0);
        let reads = subject.streams().iter().any(|stream| {
            !stream.object.is_none() && stdin == Some(self.session.far_end(&stream.object))
        });
        let had_enough = known.exit_code() == Some(0) || known.signal() == Some(SIGPIPE);
        known.is_target && had_enough && reads
    }
}

/// Every finding, the one to read first at the front.
#[must_use]
pub fn judge(case: &Case<'_>) -> Vec<Finding> {
    let mut findings: Vec<Finding> = rules::GENERAL.iter().flat_map(|rule| rule(case)).collect();
    for subject in &case.subjects {
        let about: Vec<Finding> =
            rules::PER_SUBJECT.iter().flat_map(|rule| rule(case, subject)).collect();
        let about = without_weaker(about, case.has_guests);
        if about.is_empty() {
            findings.push(rules::accounted::find(case, subject));
        }
        findings.extend(about.into_iter().map(|finding| with_doubt(case, subject, finding)));
    }
    for inner in &case.inner {
        let about = rules::PER_INNER.iter().flat_map(|rule| rule(case, inner)).collect();
        let about = without_weaker(about, case.has_guests);
        let worth_telling = |finding: &Finding| {
            finding.severity != Severity::Info
                || finding.rule == Rule::Delivered && !case.is_piped(inner)
        };
        let told = about.into_iter().filter(worth_telling);
        findings.extend(told.map(|finding| with_doubt(case, inner, finding)));
    }
    if case.subjects.iter().chain(&case.inner).any(|subject| subject.bytes() > 0) {
        quiet_helpers(&mut findings);
    }
    findings.sort_by_key(rank);
    fold_similar(findings)
}

/// Rules whose sentence says what was not seen, or that it cannot be told.
const SAY_IT_THEMSELVES: [Rule; 2] = [Rule::NeverWrote, Rule::PutOff];

/// Says "unsure", and why, before a strong claim that does not rest on complete counts.
fn with_doubt(case: &Case<'_>, subject: &Subject<'_>, mut finding: Finding) -> Finding {
    let says_it = SAY_IT_THEMSELVES.contains(&finding.rule);
    if finding.confidence == Confidence::Certain || finding.severity == Severity::Info || says_it {
        return finding;
    }
    let why = if !case.session.losses.is_empty() {
        "tracer missed something"
    } else if case.has_guests {
        "a part of it is out of sight"
    } else if subject.process.attached_late {
        "it ran before tracer attached"
    } else {
        "the books of its output do not balance"
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
fn rank(finding: &Finding) -> (bool, Severity, Rule) {
    let is_info = finding.severity == Severity::Info;
    let is_blind =
        !is_info && matches!(finding.rule, Rule::OwnLosses | Rule::OutOfSight | Rule::Unbalanced);
    let is_aside = is_info
        && matches!(
            finding.rule,
            Rule::NeverWrote | Rule::Elsewhere | Rule::PutOff | Rule::ReadByOther
        );
    (!is_blind, finding.severity, if is_aside { LAST } else { finding.rule })
}

/// The last rule in the order of reports; asides rank with it.
const LAST: Rule = Rule::NoTerminal;

/// Where one command wrote, another one's silence is a fact and no alarm: a manager also runs `sleep`.
fn quiet_helpers(findings: &mut [Finding]) {
    for finding in findings.iter_mut().filter(|finding| finding.rule == Rule::NeverWrote) {
        finding.severity = Severity::Info;
    }
}

/// Drops findings that a stronger one about the same command already says.
fn without_weaker(mut findings: Vec<Finding>, has_guests: bool) -> Vec<Finding> {
    let has = |rule: Rule| findings.iter().any(|finding| finding.rule == rule);
    let (never_started, elsewhere, stuck) =
        (has(Rule::ExecFailed), has(Rule::Elsewhere), has(Rule::Stuck));
    // What the reader did not live to read is the same loss that EPIPE tells of.
    let (gone, lost) = (has(Rule::ReaderGone), has(Rule::ReadThenLost));
    findings.retain(|finding| match finding.rule {
        Rule::NeverWrote => !never_started && !elsewhere && !stuck && !has_guests,
        Rule::DaemonUnreachable => !never_started,
        Rule::Unread => !stuck && !gone,
        Rule::Delivered => !lost,
        _ => true,
    });
    findings
}

/// A thousand commands that did the same are told as three and a number.
fn fold_similar(findings: Vec<Finding>) -> Vec<Finding> {
    // How many of a rule and a name there were, and where the latest of them that is told stands.
    let mut told: BTreeMap<(Rule, String), (usize, usize)> = BTreeMap::new();
    let mut kept: Vec<Finding> = Vec::new();
    for finding in findings {
        let name = finding.evidence.get("comm").map(ToString::to_string).unwrap_or_default();
        let is_named = !name.is_empty();
        let (count, latest) = told.entry((finding.rule, name)).or_default();
        *count += 1;
        if *count <= TOLD_ONE_BY_ONE || !is_named {
            *latest = kept.len();
            kept.push(finding);
        } else if let Some(latest) = kept.get_mut(*latest) {
            latest.evidence.insert("similar".into(), (*count - TOLD_ONE_BY_ONE).into());
        }
    }
    for finding in &mut kept {
        if let Some(similar) = finding.evidence.get("similar") {
            finding.message.push_str(&format!(" ({similar} more like this.)"));
        }
    }
    kept
}
