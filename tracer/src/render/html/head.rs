//! The top of the page: the first sentence, and the findings.

use maud::{Markup, html};
use tracer_core::{
    report::Report,
    verdict::{Finding, Rule, Severity},
};

use super::{Mark, class, sentence};
use crate::render::{human::Lead, palette};

/// How many findings are open to the eye. The others are folded.
const MOST_OPEN: usize = 8;
/// The most findings.
const MOST: usize = 400;

/// The first sentence with its mark, and its advice.
pub(super) fn verdict(report: &Report) -> Markup {
    let lead = Lead::of(report);
    let rule = lead.finding.map(|finding| finding.rule);
    html! {
        header class=(of(lead.severity)) {
            h1 { (mark(lead.severity)) " " (sentence(lead.verdict)) " " (tag(rule)) }
            @if let Some(advice) = lead.finding.and_then(|finding| finding.advice.as_ref()) {
                p.advice { "→ " (sentence(advice)) }
            }
        }
    }
}

/// The other findings.
pub(super) fn findings(report: &Report) -> Markup {
    let others = Lead::of(report).others(report);
    let (open, folded) = others.split_at(others.len().min(MOST_OPEN));
    let (folded, more) = folded.split_at(folded.len().min(MOST));
    html! {
        @if !others.is_empty() {
            section {
                h2 { "Also found" }
                (list(open))
                @if !folded.is_empty() {
                    details {
                        summary { (folded.len() + more.len()) " more findings" }
                        (list(folded))
                        @if !more.is_empty() {
                            p.note { "… and " (more.len()) " that are only in the JSON report" }
                        }
                    }
                }
            }
        }
    }
}

fn list(findings: &[Finding]) -> Markup {
    html! {
        ul.findings {
            @for finding in findings {
                li class=(of(finding.severity)) {
                    (mark(finding.severity)) " " (sentence(&finding.message)) " " (tag(Some(finding.rule)))
                    @if let Some(advice) = &finding.advice {
                        p.advice { "→ " (sentence(advice)) }
                    }
                }
            }
        }
    }
}

fn mark(severity: Severity) -> Markup {
    let (mark, _) = palette::mark(severity);
    html! { span.mark { (mark) } }
}

/// The name for `tracer explain`.
fn tag(rule: Option<Rule>) -> Markup {
    html! {
        @if let Some(rule) = rule {
            code.rule title={ "tracer explain " (rule) } { (rule) }
        }
    }
}

fn of(severity: Severity) -> &'static str {
    match severity {
        Severity::Loss => class(Mark::Bad),
        Severity::Warning => class(Mark::Odd),
        Severity::Info => class(Mark::Fine),
    }
}
