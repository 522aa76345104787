//! The table of storms.

use std::{process::Command, time::Duration};

use tracer_core::verdict::{Confidence, Rule};
use xtask::command;

use super::{
    accounts::{Counted, Truth},
    plan::{self, Plan},
};
use crate::harness::table::{Table, number, whole};

/// The results of a storm.
#[derive(Debug)]
pub(super) struct Row {
    /// The storm's name; a row replaces the old one of this name.
    pub(super) name: String,
    /// The storm's description.
    pub(super) description: String,
    pub(super) truth: Truth,
    pub(super) counted: Counted,
    /// How the accounts agree, or the difference.
    pub(super) outcome: Result<String, String>,
    /// tracer's memory, formatted.
    pub(super) memory: String,
    pub(super) time: Duration,
}

/// The head of the table.
const HEAD: [&str; 7] =
    ["storm", "size", "written", "losses reported", "count", "headline", "RSS, time, day"];

impl Row {
    /// The difference, if any, with the name of the storm.
    pub(super) fn fault(&self) -> Option<String> {
        self.outcome.as_ref().err().map(|fault| format!("{}: {fault}", self.name))
    }

    fn cells(&self) -> Vec<String> {
        let Truth { processes, writes, bytes, pipes, .. } = &self.truth;
        let mut written = vec![
            format!("{} processes", whole(*processes)),
            format!("{} writes", whole(*writes)),
            format!("{} B", whole(*bytes)),
        ];
        if *pipes > 1 {
            written.insert(1, format!("{} pipes", whole(*pipes)));
        }
        let outcome = match &self.outcome {
            Ok(words) => words.clone(),
            Err(fault) => format!("**{}**", fault.replace('|', "/")),
        };
        let headline = self.counted.findings.first();
        let headline = headline.map(|(rule, confidence)| match self.subject_confidence() {
            Some(other) if *rule == Rule::OwnLosses => format!("{rule}; the others {other}"),
            _ => format!("{rule}, {confidence}"),
        });
        let seconds = self.time.as_secs_f64();
        let time = if seconds < 300.0 {
            format!("{} s", number(seconds))
        } else {
            format!("{} min", number(seconds / 60.0))
        };
        vec![
            self.name.clone(),
            self.description.clone(),
            written.join(", "),
            self.losses(),
            outcome,
            headline.unwrap_or_else(|| "–".to_owned()),
            format!("{}, {time}, {}", self.memory, today()),
        ]
    }

    /// The confidence of the last finding.
    fn subject_confidence(&self) -> Option<Confidence> {
        let last = self.counted.findings.iter().rfind(|(rule, _)| *rule != Rule::Unbalanced);
        last.map(|(_, confidence)| *confidence)
    }

    fn losses(&self) -> String {
        let Counted { losses, lost_bytes, .. } = &self.counted;
        let words = losses.iter().map(|(reason, events)| match lost_bytes.get(reason) {
            Some(bytes) => format!("{reason} {} ({} B)", whole(*events), whole(*bytes)),
            None => format!("{reason} {}", whole(*events)),
        });
        let words: Vec<_> = words.collect();
        if words.is_empty() { "nothing".to_owned() } else { words.join(", ") }
    }
}

fn today() -> String {
    let day = command::capture(Command::new("date").args(["--utc", "+%F"]));
    day.map(|day| day.trim().to_owned()).unwrap_or_default()
}

/// Formats bytes as MB (10⁶ bytes).
pub(super) fn megabytes(bytes: u64) -> String {
    format!("{} MB", number(bytes as f64 / 1e6))
}

/// The table with these rows, in the order of the plans. Rows of `old` about other storms stay.
pub(super) fn table(header: &str, old: &str, rows: &[Row]) -> String {
    let new: Vec<_> = rows.iter().map(Row::cells).collect();
    let is_replaced = |cells: &Vec<String>| new.iter().any(|row| row.first() == cells.first());
    let kept = old.lines().filter_map(cells_of).filter(|cells| !is_replaced(cells));
    let mut rows: Vec<_> = kept.chain(new.iter().cloned()).collect();
    // Courses are not in `ALL`, and come last.
    let order = |cells: &Vec<String>| {
        let is_of = |plan: &Plan| cells.first().is_some_and(|name| name == plan.name);
        plan::ALL.iter().position(is_of).unwrap_or(usize::MAX)
    };
    rows.sort_by_key(order);
    let mut table = Table::new(&HEAD);
    rows.into_iter().for_each(|cells| table.add(cells));
    format!("{header}\n{}", table.render())
}

/// The cells of a line of the table; `None` for the head and the line below it.
fn cells_of(line: &str) -> Option<Vec<String>> {
    let inside = line.strip_prefix("| ")?.strip_suffix('|')?;
    let cells: Vec<_> = inside.split('|').map(|cell| cell.trim().to_owned()).collect();
    (cells.first().map(String::as_str) != Some(HEAD[0])).then_some(cells)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str) -> Row {
        Row {
            name: name.to_owned(),
            description: "5 things".to_owned(),
            truth: Truth { processes: 1, writes: 2, bytes: 3000, ..Truth::default() },
            counted: Counted::default(),
            outcome: Ok("exact".to_owned()),
            memory: "9 MB".to_owned(),
            time: Duration::from_secs(2),
        }
    }

    #[test]
    fn a_row_is_replaced_and_others_stay() {
        let first = table("H.\n", "", &[row("brief"), row("bomb")]);
        assert!(first.starts_with("H.\n\n| storm"), "{first}");
        let mut wrong = row("bomb");
        wrong.outcome = Err("no".to_owned());
        let second = table("H.\n", &first, &[wrong]);
        assert_eq!(second.matches("| bomb").count(), 1, "{second}");
        assert!(second.contains("| brief") && second.contains("**no**"), "{second}");
        assert_eq!(second.matches("| storm").count(), 1, "{second}");
        let third = table("H.\n", &table("H.\n", "", &[row("soak")]), &[row("bomb")]);
        assert!(third.find("| bomb") < third.find("| soak"), "{third}");
    }

    #[test]
    fn a_fault_names_its_storm() {
        assert_eq!(row("brief").fault(), None);
        let wrong = Row { outcome: Err("no".to_owned()), ..row("brief") };
        assert_eq!(wrong.fault().as_deref(), Some("brief: no"));
    }
}
