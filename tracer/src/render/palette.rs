//! Every style that human output uses. Whether they are used at all is [`super::Style::color`].

use anstyle::{AnsiColor, Style};
use tracer_core::verdict::Severity;

/// No style.
pub(super) const PLAIN: Style = Style::new();
/// The verdict and the names of processes.
pub(super) const STRONG: Style = Style::new().bold();
/// What is only needed now and then.
pub(super) const FAINT: Style = Style::new().dimmed();
/// Bytes that did not arrive, calls that failed.
pub(super) const BAD: Style = AnsiColor::Red.on_default();
/// What should be looked at.
pub(super) const ODD: Style = AnsiColor::Yellow.on_default();
/// As it should be.
pub(super) const GOOD: Style = AnsiColor::Green.on_default();

/// Whose line of output it is: stdout, stderr, any other fd.
pub(super) const OUT: Style = AnsiColor::Cyan.on_default();
pub(super) const ERR: Style = AnsiColor::Magenta.on_default();
pub(super) const OTHER: Style = AnsiColor::Blue.on_default();

/// The mark of a severity and its style.
pub(super) fn mark(severity: Severity) -> (&'static str, Style) {
    match severity {
        Severity::Loss => ("✗", BAD),
        Severity::Warning => ("!", ODD),
        Severity::Info => ("✓", GOOD),
    }
}
