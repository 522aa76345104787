//! One screen: whatever the tree, at most [`LINES`] lines of [`COLUMNS`] columns.
//!
//! The verdict comes first, then the other findings, then the streams of the processes that these are about. What has
//! no room is counted. `--all` shows the whole report.

mod blocks;
mod rest;
mod streams;

use std::io;

use tracer_core::{
    report::Report,
    text::units::count,
    verdict::{Finding, Rule, Severity},
};

use self::blocks::{Block, Section, block};
use super::{by_id, captured, filter, losses, paths, recovered, verdict, verdict::Lead};
use crate::render::{
    Style, View,
    palette::PLAIN,
    text::{Page, Text},
};

/// The most lines.
const LINES: usize = 40;
/// The widest line.
const COLUMNS: usize = 80;
/// The most lines of the first sentence and its advice.
const HEAD: usize = 12;
/// The most lines below everything else.
const FOOT: usize = 6;

/// Writes the screen.
pub(super) fn write(
    report: &Report,
    lead: Lead<'_>,
    view: &View,
    style: &Style,
    out: &mut dyn io::Write,
) -> io::Result<()> {
    let style = Style { width: style.width.min(COLUMNS), ..*style };
    let head = block(&style, |page| lead.write(page))?.cut(HEAD);
    let blamed = streams::blamed(report, lead, view);
    let foot = block(&style, |page| foot(page, report, view, &blamed))?.cut(FOOT);
    let room = LINES - head.len() - foot.len() - 1;
    // In the order in which they stand. The first number says who gets room first.
    let sections = [
        recovered(report, &style)?,
        findings(report, lead, &style)?,
        streams::section(report, &blamed, &style)?,
        Section::of("", 5, 3, vec![block(&style, |page| ways(page, report, lead))?]),
        Section::of("", 4, 3, vec![block(&style, |page| captured::write_in_short(page, report))?]),
    ];
    head.print(out)?;
    for lines in blocks::fit(&sections, room, &style)? {
        writeln!(out)?;
        lines.print(out)?;
    }
    writeln!(out)?;
    foot.print(out)
}

/// The findings below the first one. Those that say that all is well are left to the line about the other commands.
fn findings(report: &Report, lead: Lead<'_>, style: &Style) -> io::Result<Section> {
    let others = lead.others(report).iter().filter(|finding| !is_all_well(finding));
    let blocks: io::Result<Vec<Block>> =
        others.map(|finding| block(style, |page| verdict::write_finding(page, finding))).collect();
    Ok(Section::of("finding", 1, 6, blocks?))
}

fn is_all_well(finding: &Finding) -> bool {
    finding.severity == Severity::Info
        && matches!(finding.rule, Rule::Delivered | Rule::Accounted | Rule::NeverWrote)
}

/// Captured output that did not arrive.
fn recovered(report: &Report, style: &Style) -> io::Result<Section> {
    let objects = by_id(report);
    let all = report
        .capture
        .iter()
        .flat_map(|captured| captured.recovered.iter().map(move |recovered| (captured, recovered)));
    let blocks: io::Result<Vec<Block>> = all
        .map(|(captured, one)| {
            block(style, |page| recovered::write_one(page, report, captured, one, &objects))
        })
        .collect();
    let beyond = report.capture.as_ref().map_or(0, |captured| captured.more);
    Ok(Section::of("output", 3, 5, blocks?).and(beyond))
}

/// The path of the output of the first finding's process through relays.
fn ways(page: &mut Page<'_>, report: &Report, lead: Lead<'_>) -> io::Result<()> {
    let pid = lead.finding.map_or(0, |finding| finding.pid);
    paths::write_of(page, report, pid)
}

/// What stands below everything else.
fn foot(
    page: &mut Page<'_>,
    report: &Report,
    view: &View,
    blamed: &[streams::Blamed<'_>],
) -> io::Result<()> {
    if filter::is_empty(report, view) {
        page.words(Text::default(), 2, PLAIN, filter::NOTHING)?;
    } else if !view.is_filter() {
        rest::write(page, report, blamed)?;
    }
    paths::logs(page, report)?;
    let tells_losses = report.findings.iter().any(|finding| finding.rule == Rule::OwnLosses);
    let missed: u64 = if tells_losses { 0 } else { report.losses.values().sum() };
    if missed > 0 {
        let facts = count(missed, "fact");
        let words = format!("tracer could not record {facts} ({}; --all)", losses::names(report));
        page.words(Text::default(), 2, PLAIN, &words)?;
    }
    super::write_window(page, report)
}
