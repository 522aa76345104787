//! Measured values beside their goals and beside what they were when the recorder was a trace that never ended.

use crate::harness::table::{Table, number};

/// A measured value.
#[derive(Clone, Debug)]
pub(super) struct Figure {
    /// What was measured.
    pub(super) text: String,
    /// Its value before there was a recorder.
    pub(super) before: &'static str,
    /// The largest value that reaches the goal; `None` for a value without one.
    pub(super) bound: Option<f64>,
    /// The value.
    pub(super) measured: f64,
    /// The unit, which is printed after numbers.
    pub(super) unit: &'static str,
}

impl Figure {
    /// A value without a goal.
    pub(super) fn of(text: impl Into<String>, measured: f64, unit: &'static str) -> Self {
        Self { text: text.into(), before: "–", bound: None, measured, unit }
    }

    /// With a goal.
    pub(super) fn at_most(self, bound: f64) -> Self {
        Self { bound: Some(bound), ..self }
    }

    /// With the value before.
    pub(super) fn before(self, before: &'static str) -> Self {
        Self { before, ..self }
    }
}

/// The table, in Markdown.
pub(super) fn table(figures: &[Figure]) -> String {
    let mut table = Table::new(&["what", "before", "goal", "measured", "reached"]);
    for figure in figures {
        let with_unit = |value: f64| format!("{}{}", number(value), figure.unit);
        let reached = figure.bound.map(|bound| figure.measured <= bound);
        table.add(vec![
            figure.text.clone(),
            figure.before.to_owned(),
            figure.bound.map_or_else(|| "–".to_owned(), |bound| format!("≤ {}", with_unit(bound))),
            with_unit(figure.measured),
            reached.map_or("–", |is_reached| if is_reached { "yes" } else { "**no**" }).to_owned(),
        ]);
    }
    table.render()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_is_reached_up_to_its_bound() {
        let of = |measured| Figure::of("memory", measured, " MB").at_most(64.0).before("55 GB");
        let text = table(&[of(64.0), of(64.1), Figure::of("other", 3.0, "")]);
        assert_eq!((text.matches("yes").count(), text.matches("**no**").count()), (1, 1));
        assert!(text.contains("55 GB") && text.contains("≤ 64.0 MB"), "{text}");
    }
}
