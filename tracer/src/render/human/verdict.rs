//! The top of the text: the verdict, its advice, and the other findings.

use std::io;

use anstyle::Style as Ink;
use tracer_core::{report::Report, verdict::Finding};

use super::only_in_json;
use crate::render::{
    palette::{FAINT, PLAIN, STRONG, mark},
    text::{Page, Text},
};

/// How many findings are written below the first one, the most important ones. A program that starts a thousand
/// commands of different names gets one for each.
const MOST_FINDINGS: usize = 40;

/// Writes verdict, advice and further findings.
pub(super) fn write(page: &mut Page<'_>, report: &Report) -> io::Result<()> {
    page.words(Text::default(), 2, STRONG, &report.verdict)?;
    let (first, others) = match report.findings.split_first() {
        // The verdict has the message already, so only its advice is written.
        Some((first, others)) if report.verdict.contains(&first.message) => (Some(first), others),
        _ => (None, report.findings.as_slice()),
    };
    if let Some(advice) = first.and_then(|finding| finding.advice.as_ref()) {
        page.words(Text::plain("→ "), 2, PLAIN, advice)?;
    }
    if others.is_empty() {
        return Ok(());
    }
    page.section()?;
    others.iter().take(MOST_FINDINGS).try_for_each(|finding| write_finding(page, finding))?;
    match others.len().saturating_sub(MOST_FINDINGS) as u64 {
        0 => Ok(()),
        more => page.line(&Text::styled(FAINT, &only_in_json(more, "finding"))),
    }
}

fn write_finding(page: &mut Page<'_>, finding: &Finding) -> io::Result<()> {
    let (mark, ink): (&str, Ink) = mark(finding.severity);
    page.words(Text::styled(ink, mark).and(PLAIN, " "), 2, PLAIN, &finding.message)?;
    match &finding.advice {
        Some(advice) => page.words(Text::plain("  → "), 4, PLAIN, advice),
        None => Ok(()),
    }
}
