//! A report as one page for a browser or a printer: one file without scripts, which loads nothing.
//!
//! Traced programs choose most of the text. Three things keep it text: [`tracer_core::text::escape`] makes control
//! characters visible, maud escapes what HTML would read as markup, and the page's own policy forbids the browser all
//! scripts, and all styles and sources but the one style sheet of this module.

mod flow;
mod head;
mod tables;
mod timeline;

use std::{borrow::Cow, io};

use maud::{DOCTYPE, Markup, PreEscaped, html};
use tracer_core::{
    report::Report,
    text::{escape, name, shorten, units},
};

use super::picture::{Mark, Picture};

/// The style sheet.
const STYLE: &str = include_str!("html/style.css");

/// What the browser may do: apply that style sheet, named by its SHA-256, and nothing else.
const POLICY: &str = "default-src 'none'; style-src 'sha256-HcX0K8VPAbbKi3BER9MeM+2JjdzWb7CMTwHpE0Du4Hk='; base-uri 'none'; form-action 'none'";

/// The most columns of a sentence: two of the longest paths (`PATH_MAX`), as in human reports.
const SENTENCE: usize = 8192;

/// Writes the page.
pub(super) fn write(report: &Report, out: &mut dyn io::Write) -> io::Result<()> {
    let picture = Picture::of(report);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="referrer" content="no-referrer";
                title { "tracer: " (shorten(&report.verdict, 120)) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                (head::verdict(report))
                (flow::section(&picture))
                (head::findings(report))
                (timeline::section(report))
                (tables::all(report))
                (foot(report))
            }
        }
    };
    writeln!(out, "{}", page.into_string())
}

/// What was traced, and when.
fn foot(report: &Report) -> Markup {
    let seconds = units::duration(report.window.seconds * 1e3);
    html! {
        footer {
            p {
                "Traced " (name(&report.target.name)) " for " (seconds) ", from " (escape(&report.window.start)) ". "
                "Times are relative to that moment. "
                "All bytes were counted in the kernel, when they were written and when they were read."
            }
            @if let Some(doubt) = &report.target.doubt {
                p.odd { (name(&report.target.name)) " may be no container: " (sentence(doubt)) }
            }
        }
    }
}

/// A sentence, escaped and bounded.
fn sentence(text: &str) -> Cow<'_, str> {
    match escape(text) {
        short if short.len() <= SENTENCE => short,
        long => Cow::Owned(shorten(&long, SENTENCE)),
    }
}

/// The class of a mark.
fn class(mark: Mark) -> &'static str {
    match mark {
        Mark::Fine => "fine",
        Mark::Odd => "odd",
        Mark::Bad => "bad",
    }
}
