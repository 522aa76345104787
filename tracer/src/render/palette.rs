//! The styles of human output. [`super::Style::color`] says whether they are used.

use anstyle::{AnsiColor, Style};
use tracer_core::verdict::Severity;

/// No style.
pub(super) const PLAIN: Style = Style::new();
/// The verdict and the names of processes.
pub(super) const STRONG: Style = Style::new().bold();
/// Details.
pub(super) const FAINT: Style = Style::new().dimmed();
/// Bytes that did not arrive, and failed calls.
pub(super) const BAD: Style = AnsiColor::Red.on_default();
/// What deserves a look.
pub(super) const ODD: Style = AnsiColor::Yellow.on_default();
/// What is as it should be.
pub(super) const GOOD: Style = AnsiColor::Green.on_default();

/// Lines of output, by stream: stdout, stderr, any other fd.
pub(super) const OUT: Style = AnsiColor::Cyan.on_default();
pub(super) const ERR: Style = AnsiColor::Magenta.on_default();
pub(super) const OTHER: Style = AnsiColor::Blue.on_default();

/// The mark and the style of a severity.
pub(super) fn mark(severity: Severity) -> (&'static str, Style) {
    match severity {
        Severity::Loss => ("✗", BAD),
        Severity::Warning => ("!", ODD),
        Severity::Info => ("✓", GOOD),
    }
}
