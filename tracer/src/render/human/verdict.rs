//! The top of the text: the verdict, its advice, and the other findings.

use std::io;

use tracer_core::{
    report::Report,
    verdict::{Finding, Rule, Severity},
};

use crate::render::{
    palette::{PLAIN, STRONG, mark},
    text::{Page, Text},
};

/// The first sentence, and what stands beside it.
#[derive(Clone, Copy)]
pub(in crate::render) struct Lead<'a> {
    /// The sentence.
    pub(in crate::render) verdict: &'a str,
    /// Its severity.
    pub(in crate::render) severity: Severity,
    /// The first finding, if the verdict has its message.
    pub(in crate::render) finding: Option<&'a Finding>,
}

impl<'a> Lead<'a> {
    /// The first sentence of a report.
    pub(in crate::render) fn of(report: &'a Report) -> Self {
        let first = report.findings.first();
        Self {
            verdict: &report.verdict,
            // Without any finding there is nothing that could have arrived.
            severity: first.map_or(Severity::Warning, |finding| finding.severity),
            finding: first.filter(|first| report.verdict.contains(&first.message)),
        }
    }

    /// The findings of a report that are not in the first sentence.
    pub(in crate::render) fn others<'b>(&self, report: &'b Report) -> &'b [Finding] {
        match report.findings.split_first() {
            Some((first, others)) if self.finding == Some(first) => others,
            _ => &report.findings,
        }
    }

    /// Writes the first sentence and its advice.
    pub(super) fn write(&self, page: &mut Page<'_>) -> io::Result<()> {
        let (mark, ink) = mark(self.severity);
        let lead = Text::styled(ink, mark).and(PLAIN, " ");
        let rule = self.finding.map(|finding| finding.rule);
        page.tagged(lead, 2, STRONG, self.verdict, &tag(rule))?;
        match self.finding.and_then(|finding| finding.advice.as_ref()) {
            Some(advice) => page.words(Text::plain("→ "), 2, PLAIN, advice),
            None => Ok(()),
        }
    }
}

/// Writes the findings below the first one.
pub(super) fn write_others(page: &mut Page<'_>, others: &[Finding]) -> io::Result<()> {
    if others.is_empty() {
        return Ok(());
    }
    page.section()?;
    others.iter().try_for_each(|finding| write_finding(page, finding))
}

/// Writes a finding and its advice.
pub(super) fn write_finding(page: &mut Page<'_>, finding: &Finding) -> io::Result<()> {
    let (mark, ink) = mark(finding.severity);
    let lead = Text::styled(ink, mark).and(PLAIN, " ");
    page.tagged(lead, 2, PLAIN, &finding.message, &tag(Some(finding.rule)))?;
    match &finding.advice {
        Some(advice) => page.words(Text::plain("  → "), 4, PLAIN, advice),
        None => Ok(()),
    }
}

/// `[unread]`: the name for `tracer explain`.
fn tag(rule: Option<Rule>) -> String {
    rule.map_or_else(String::new, |rule| format!("[{rule}]"))
}
