//! Golden texts, hostile input and the published schema.

mod golden;
mod hostile;
mod page;
mod picture;
mod recordings;
pub(super) mod samples;
mod schema;
mod screen;
mod trees;

use tracer_core::report::Report;

use super::{Format, Style, View, write};

/// No colour, 100 columns.
const PLAIN: Style = Style { color: false, width: 100 };

/// The whole report.
fn whole() -> View {
    View { all: true, ..View::default() }
}

fn rendered(report: &Report, format: Format, view: &View, style: &Style) -> String {
    let mut out = Vec::new();
    write(report, format, view, style, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}
