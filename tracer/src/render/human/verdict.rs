//! The top of the text: the verdict, its advice, and the other findings.

use std::io;

use anstyle::Style as Ink;
use tracer_core::{report::Report, verdict::Finding};

use crate::render::{
    palette::{PLAIN, STRONG, mark},
    text::{Page, Text},
};

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
    others.iter().try_for_each(|finding| write_finding(page, finding))
}

fn write_finding(page: &mut Page<'_>, finding: &Finding) -> io::Result<()> {
    let (mark, ink): (&str, Ink) = mark(finding.severity);
    page.words(Text::styled(ink, mark).and(PLAIN, " "), 2, PLAIN, &finding.message)?;
    match &finding.advice {
        Some(advice) => page.words(Text::plain("  → "), 4, PLAIN, advice),
        None => Ok(()),
    }
}
