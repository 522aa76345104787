//! Golden texts, hostile input and the published schema.

mod golden;
mod hostile;
mod recordings;
pub(super) mod samples;
mod schema;

use tracer_core::report::Report;

use super::{Format, Style, write};

/// No colour, 100 columns.
const PLAIN: Style = Style { color: false, width: 100 };

fn rendered(report: &Report, format: Format, style: &Style) -> String {
    let mut out = Vec::new();
    write(report, format, style, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}
