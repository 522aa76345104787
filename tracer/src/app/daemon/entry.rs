//! From a job to its entry in the history.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use tracer_common::{id::ProcessId, ledger::WRITE};
use tracer_core::{
    report::{self, Report, lost_streams},
    session::{Job, Process, Session, Target, prepares},
    text::{redact::Redact, shorten},
    verdict::{self, Case, Confidence, Finding, Rule, SIMILAR, Severity, judge_each},
};
use tracer_history::{Entry, Place, Stream, Tail, confidence, severity};

use super::{streams::streams, tails::JobTails};
use crate::{app::guests::real_minus_boot_ns, settings::DaemonSettings};

/// The longest command line in the history, in characters.
const LONGEST_COMMAND: usize = 1_024;
/// Signals with which another process ends a program (signal(7)): `SIGHUP`, `SIGINT`, `SIGKILL`, `SIGTERM`.
const ENDED_BY_ANOTHER: [u32; 4] = [1, 2, 9, 15];
/// The longest sentence, in characters. The report has it whole.
const LONGEST_SENTENCE: usize = 1_024;

/// Real time for time since boot.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    real_minus_boot_ns: i64,
}

impl Clock {
    /// The real time as it is set now.
    pub(super) fn now() -> Self {
        Self { real_minus_boot_ns: real_minus_boot_ns() }
    }

    /// Microseconds since 1970, of nanoseconds since boot.
    pub(super) fn us(&self, boot_ns: u64) -> i64 {
        let boot_ns = i64::try_from(boot_ns).unwrap_or(i64::MAX);
        self.real_minus_boot_ns.saturating_add(boot_ns) / 1_000
    }
}

/// Makes entries.
pub(super) struct EntryMaker {
    redact: Option<Redact>,
    /// When the recorder was attached, nanoseconds since boot.
    attached_ns: u64,
}

impl EntryMaker {
    pub(super) fn new(settings: &DaemonSettings, attached_ns: u64) -> Self {
        Self { redact: settings.redact.clone(), attached_ns }
    }

    /// When the recorder was attached, nanoseconds since boot.
    pub(super) const fn attached_ns(&self) -> u64 {
        self.attached_ns
    }

    /// When the record of a job begins, nanoseconds since boot.
    pub(super) fn began_ns(&self, root: ProcessId) -> u64 {
        root.start_ns.max(self.attached_ns)
    }

    /// The entry of a job; `None` for one of which nothing can be said, because its first process is not known. The part
    /// starts when the job began. `tails` has the ends of streams.
    pub(super) fn entry(
        &self,
        job: &Job,
        part: &Session,
        place: Place,
        tails: &JobTails,
    ) -> Option<Entry> {
        let clock = Clock::now();
        let root = part.processes.get(&job.root).filter(|root| is_command(root, job, part))?;
        let (name, command) = (root.comm.clone(), self.redacted(&root.command()));
        let (exit_code, signal, ns_pid) = (root.exit_code(), root.signal(), root.ns_pid);
        let target = Target {
            kind: "recorder".to_owned(),
            name: command.clone(),
            pids: vec![job.root.tgid],
            doubt: None,
        };
        let began_us = clock.us(part.start_ns);
        let start = Timestamp::from_microsecond(began_us).unwrap_or_default();
        let case = Case::new(part);
        let findings = verdict::judge(&case);
        let (tails, more_tails) = self.tails_of(&case, &findings, tails);
        let finding = findings.first()?;
        let is_aside =
            part.processes.get(&job.root).is_some_and(|root| is_aside(finding.rule, job, root));
        let severity = if is_aside { Severity::Info } else { finding.severity };
        let has_loss = findings.iter().any(is_lost);
        let is_odd = findings.iter().any(|finding| finding.severity != Severity::Info);
        // Of output that arrived no report is kept: its first finding says all.
        let report = is_odd.then(|| {
            let report = report::of_case(&case, findings.clone(), target, start, &[1, 2]);
            Report { more_tails, ..report }
        });
        let sentence = report.as_ref().map(|report| report.verdict.clone());
        let sentence = sentence.unwrap_or_else(|| verdict::headline(&findings));
        Some(Entry {
            began_us,
            ended_us: clock.us(part.end_ns),
            is_interim: job.ended_ns.is_none(),
            pid: job.root.tgid,
            ns_pid,
            name: self.redacted_name(&name),
            command,
            exit_code,
            signal,
            place,
            streams: streams(&case, job).into_iter().map(|it| self.redacted_stream(it)).collect(),
            rule: word(&finding.rule),
            severity: severity_word(severity).to_owned(),
            confidence: confidence_word(finding.confidence).to_owned(),
            sentence: shorten(&self.redacted(&sentence), LONGEST_SENTENCE),
            has_loss,
            started_ns: job.root.start_ns,
            findings: findings.iter().map(in_short).collect(),
            tails,
            report: report.filter(|_| !is_aside).map(|report| self.stored(&report)),
        })
    }

    /// The ends of the streams that lost output, and how many more there are.
    fn tails_of(
        &self,
        case: &Case<'_>,
        findings: &[Finding],
        tails: &JobTails,
    ) -> (Vec<Tail>, u64) {
        let is_grouped = findings.iter().any(|it| it.evidence.contains_key(SIMILAR));
        let each = (is_grouped && tails.are_kept()).then(|| judge_each(case));
        let of_tails = |finding: &&Finding| is_lost(finding) && finding.rule != Rule::Discarded;
        let losing = each.as_deref().unwrap_or(findings);
        let lost = lost_streams(case, losing.iter().filter(of_tails));
        tails.of(case.session, &lost, self.redact.as_ref())
    }

    /// The report as JSON. Each of its texts is redacted: a sentence names commands too.
    fn stored(&self, report: &Report) -> Vec<u8> {
        let mut value = serde_json::to_value(report).unwrap_or_default();
        if let Some(redact) = &self.redact {
            redact_texts(redact, &mut value);
        }
        serde_json::to_vec(&value).unwrap_or_default()
    }

    /// A stream whose names of files and readers are redacted.
    fn redacted_stream(&self, stream: Stream) -> Stream {
        Stream {
            destination: self.redacted_name(&stream.destination),
            reader: stream.reader.as_deref().map(|reader| self.redacted_name(reader)),
            ..stream
        }
    }

    fn redacted(&self, line: &str) -> String {
        shorten(&self.redacted_name(line), LONGEST_COMMAND)
    }

    /// A text that stays as it is otherwise.
    fn redacted_name(&self, name: &str) -> String {
        match &self.redact {
            Some(redact) => String::from_utf8_lossy(&redact.line(name.as_bytes())).into_owned(),
            None => name.to_owned(),
        }
    }
}

/// Redacts each text of a document.
pub(super) fn redact_texts(redact: &Redact, value: &mut Value) {
    match value {
        Value::String(text) => {
            let redacted = redact.line(text.as_bytes());
            *text = String::from_utf8_lossy(&redacted).into_owned();
        }
        Value::Array(items) => items.iter_mut().for_each(|item| redact_texts(redact, item)),
        Value::Object(fields) => fields.values_mut().for_each(|field| redact_texts(redact, field)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Whether a warning about a job says nothing worth telling of it. A command inside of another one or of a service may be
/// silent or use stderr, as in a trace of the whole; a command may be silent if those that it
/// started have entries of their own.
fn is_aside(rule: Rule, job: &Job, root: &Process) -> bool {
    let was_ended = root.signal().is_some_and(|signal| ENDED_BY_ANOTHER.contains(&signal));
    let is_well = root.exit_code() == Some(0) || root.end_ns.is_none() || was_ended;
    match rule {
        // It has redirected its output.
        Rule::NeverWrote if root.written_to_ended > 0 => true,
        Rule::NeverWrote => job.has_inner || job.is_inner && is_well,
        Rule::OtherStream => job.is_inner,
        _ => false,
    }
}

/// Whether a finding says that output did not arrive. That a command wrote nothing is no loss by itself, and that
/// something was not seen is none either.
pub(super) fn is_lost(finding: &Finding) -> bool {
    let is_unknown = matches!(
        finding.rule,
        Rule::NeverWrote | Rule::OwnLosses | Rule::OutOfSight | Rule::Unbalanced
    );
    finding.is_loss() && !is_unknown
}

/// Whether a job is a command. A process that enters a cgroup, does nothing there and ends is a part of the runtime that
/// starts a container.
fn is_command(root: &Process, job: &Job, part: &Session) -> bool {
    let wrote = || {
        let mut rows = part.ledger.iter().filter(|(key, _)| job.members.contains(&key.process));
        rows.any(|(key, row)| key.direction == WRITE && row.bytes > 0)
    };
    // The first of its steps can end before its command line is read.
    let is_first_step = || root.argv.is_empty() && root.comm == "runc";
    let is_of_runtime = || {
        let is_runc_init = root.argv.iter().eq(["runc", "init"]) || is_first_step();
        is_runc_init || !root.executed && prepares(&root.comm)
    };
    wrote() || !is_of_runtime() && (root.executed || root.attached_late || job.members.len() > 1)
}

fn in_short(finding: &Finding) -> tracer_history::Finding {
    let severity = severity_word(finding.severity).to_owned();
    tracer_history::Finding { rule: word(&finding.rule), severity }
}

/// The word of the history for a severity.
const fn severity_word(severity: Severity) -> &'static str {
    match severity {
        Severity::Loss => severity::LOSS,
        Severity::Warning => severity::WARNING,
        Severity::Info => severity::INFO,
    }
}

/// The word of the history for a confidence.
const fn confidence_word(confidence: Confidence) -> &'static str {
    match confidence {
        Confidence::Certain => confidence::CERTAIN,
        Confidence::Unsure => confidence::UNSURE,
    }
}

/// The name of a variant, as in reports.
pub(super) fn word(value: &impl Serialize) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    value.as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use tracer_core::verdict::Outcome;
    use tracer_history::{outcome, rule};

    use super::*;

    /// Whether this is an aside about a job that ended with this wait status.
    fn is_aside_of(rule: Rule, (is_inner, has_inner): (bool, bool), status: u32) -> bool {
        let id = ProcessId::new(7, 1);
        let members = BTreeSet::from([id]);
        let job = Job { root: id, members, ended_ns: Some(9), is_inner, has_inner };
        let root = Process { id, end_ns: Some(9), status: Some(status), ..Process::default() };
        is_aside(rule, &job, &root)
    }

    /// The history and what reads it compare these words.
    #[test]
    fn the_words_of_the_history_are_those_of_reports() {
        for severity in [Severity::Loss, Severity::Warning, Severity::Info] {
            assert_eq!(severity_word(severity), word(&severity));
        }
        for confidence in [Confidence::Certain, Confidence::Unsure] {
            assert_eq!(confidence_word(confidence), word(&confidence));
        }
        assert_eq!(rule::NEVER_WROTE, word(&Rule::NeverWrote));
        assert_eq!(rule::UNREAD, word(&Rule::Unread));
        assert_eq!(rule::FILE_LOST, word(&Rule::FileLost));
        assert_eq!(outcome::REMOVED, word(&Outcome::Removed));
        assert_eq!(outcome::OVERWRITTEN, word(&Outcome::Overwritten));
        assert_eq!(outcome::CUT, word(&Outcome::Cut));
    }

    #[test]
    fn only_the_silence_of_a_part_that_ended_well_is_an_aside() {
        let (alone, inner, outer) = ((false, false), (true, false), (false, true));
        let (failed, crashed, killed) = (1 << 8, 11, 9);
        assert!(!is_aside_of(Rule::NeverWrote, alone, 0));
        assert!(is_aside_of(Rule::NeverWrote, inner, 0) && is_aside_of(Rule::NeverWrote, outer, 0));
        assert!(is_aside_of(Rule::NeverWrote, inner, killed));
        assert!(!is_aside_of(Rule::NeverWrote, inner, failed));
        assert!(!is_aside_of(Rule::NeverWrote, inner, crashed));
        assert!(is_aside_of(Rule::OtherStream, inner, failed));
        assert!(!is_aside_of(Rule::OtherStream, alone, failed));
        assert!(!is_aside_of(Rule::Unread, inner, 0) && !is_aside_of(Rule::Unread, outer, 0));
    }
}
