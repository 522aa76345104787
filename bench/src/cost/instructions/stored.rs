//! The stored figures in `bench/instructions.json`, and how new ones differ from them.

use std::{collections::BTreeMap, fs, io, path::Path};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::condition::{Call, Condition};
use crate::harness::table::{Table, tenths};

/// Instructions per call, by call and condition.
pub(crate) type Calls = BTreeMap<Call, BTreeMap<Condition, f64>>;

/// The content of `instructions.json`: figures by the kernels' names in `cargo xtask vm`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Stored {
    /// The kernels.
    pub(crate) kernels: BTreeMap<String, Measured>,
}

/// The figures of a kernel.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Measured {
    /// The kernel's release. Figures of other releases differ.
    pub(crate) release: String,
    /// The figures.
    pub(crate) calls: Calls,
}

/// How the figures of a kernel differ from the stored ones. Each is a sentence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// More instructions, or a figure that is missing now.
    pub(crate) regressions: Vec<String>,
    /// What makes it useful to store the figures anew.
    pub(crate) notes: Vec<String>,
}

impl Stored {
    /// Reads the file; no file has no figures.
    pub(crate) fn read(file: &Path) -> Result<Self> {
        match fs::read_to_string(file) {
            Ok(text) => {
                serde_json::from_str(&text).with_context(|| format!("{} is broken", file.display()))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
        }
    }

    /// Writes the file.
    pub(crate) fn write(&self, file: &Path) -> Result<()> {
        let mut text = serde_json::to_string_pretty(self).context("cannot make JSON")?;
        text.push('\n');
        fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
    }

    /// Compares new figures of the kernel `name` with the stored ones.
    pub(crate) fn compare(&self, name: &str, now: &Measured) -> Changes {
        let mut changes = Changes::default();
        let Some(before) = self.kernels.get(name) else {
            changes.notes.push(format!("{name}: nothing is stored to compare with"));
            return changes;
        };
        if before.release != now.release {
            changes.notes.push(format!(
                "{name}: not compared, because the stored figures are of {} and these of {}",
                before.release, now.release
            ));
            return changes;
        }
        for call in Call::ALL {
            for condition in Condition::ALL {
                let place = format!("{name}, {}, {}", call.name(), condition.name());
                let (old, new) = (before.figure(call, condition), now.figure(call, condition));
                changes.add(&place, old, new, condition.tolerance());
            }
        }
        changes
    }
}

impl Measured {
    fn figure(&self, call: Call, condition: Condition) -> Option<f64> {
        self.calls.get(&call)?.get(&condition).copied()
    }

    /// The figures as a Markdown table, with the change since `before` if it has the same release.
    pub(crate) fn table(&self, before: Option<&Self>) -> String {
        let before = before.filter(|before| before.release == self.release);
        let mut head = vec!["".to_owned()];
        let mut table = Vec::new();
        for call in Call::ALL {
            head.push(call.words().to_owned());
            head.push("added".to_owned());
            if before.is_some() {
                head.push("change".to_owned());
            }
        }
        for condition in Condition::ALL {
            let mut row = vec![condition.name().to_owned()];
            for call in Call::ALL {
                row.extend(self.cells(before, call, condition));
            }
            table.push(row);
        }
        let head: Vec<_> = head.iter().map(String::as_str).collect();
        let mut text = Table::new(&head);
        table.into_iter().for_each(|row| text.add(row));
        text.render()
    }

    /// A figure, what is added to the native one, and the change since `before` if there is one.
    fn cells(&self, before: Option<&Self>, call: Call, condition: Condition) -> Vec<String> {
        let dash = || "–".to_owned();
        let figure = self.figure(call, condition);
        let native =
            self.figure(call, Condition::Native).filter(|_| condition != Condition::Native);
        let added = figure.zip(native).map(|(figure, native)| figure - native);
        let mut cells = vec![tenths(figure), tenths(added)];
        if let Some(before) = before {
            let old = before.figure(call, condition);
            let change = figure.zip(old).map(|(new, old)| new - old);
            cells.push(change.map_or_else(dash, |change| format!("{change:+.1}")));
        }
        cells
    }
}

impl Changes {
    fn add(&mut self, place: &str, before: Option<f64>, now: Option<f64>, tolerance: f64) {
        match (before, now) {
            (Some(old), Some(new)) => {
                let change = new - old;
                let words = format!("{place}: {old:.1} → {new:.1} ({change:+.1})");
                if change > tolerance {
                    self.regressions.push(words);
                } else if change < -tolerance {
                    self.notes.push(words);
                }
            }
            (Some(_), None) => self.regressions.push(format!("{place}: no longer measured")),
            (None, Some(_)) => self.notes.push(format!("{place}: new")),
            (None, None) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(native: f64, traced: f64) -> Measured {
        let conditions = BTreeMap::from([(Condition::Native, native), (Condition::Traced, traced)]);
        Measured { release: "6.12.1".into(), calls: BTreeMap::from([(Call::Write32, conditions)]) }
    }

    fn stored(native: f64, traced: f64) -> Stored {
        Stored { kernels: BTreeMap::from([("6.12".to_owned(), measured(native, traced))]) }
    }

    #[test]
    fn half_an_instruction_is_tolerated_and_a_tenth_more_is_a_regression() {
        let before = stored(584.4, 1041.4);
        assert_eq!(before.compare("6.12", &measured(584.9, 1041.0)), Changes::default());
        let changes = before.compare("6.12", &measured(584.4, 1042.0));
        assert_eq!(changes.regressions, ["6.12, write32, traced: 1041.4 → 1042.0 (+0.6)"]);
        assert!(changes.notes.is_empty());
    }

    #[test]
    fn a_captured_write_may_differ_by_two_instructions_more() {
        let captured = |figure| {
            let conditions = BTreeMap::from([(Condition::Captured, figure)]);
            Measured { calls: BTreeMap::from([(Call::Write32, conditions)]), ..measured(0.0, 0.0) }
        };
        let before = Stored { kernels: BTreeMap::from([("6.12".to_owned(), captured(3594.0))]) };
        assert_eq!(before.compare("6.12", &captured(3596.5)), Changes::default());
        assert_eq!(before.compare("6.12", &captured(3597.0)).regressions.len(), 1);
    }

    #[test]
    fn fewer_instructions_are_news() {
        let changes = stored(584.4, 1041.4).compare("6.12", &measured(584.4, 1030.4));
        assert!(changes.regressions.is_empty());
        assert_eq!(changes.notes, ["6.12, write32, traced: 1041.4 → 1030.4 (-11.0)"]);
    }

    #[test]
    fn a_figure_that_is_missing_now_is_a_regression_and_a_new_one_is_none() {
        let with = measured(584.4, 1041.4);
        let mut without = with.clone();
        without.calls.entry(Call::Write32).or_default().remove(&Condition::Traced);
        let changes = stored(584.4, 1041.4).compare("6.12", &without);
        assert_eq!(changes.regressions, ["6.12, write32, traced: no longer measured"]);
        let before = Stored { kernels: BTreeMap::from([("6.12".to_owned(), without)]) };
        let changes = before.compare("6.12", &with);
        assert_eq!(changes.notes, ["6.12, write32, traced: new"]);
        assert!(changes.regressions.is_empty());
    }

    #[test]
    fn figures_of_another_release_or_of_no_kernel_are_not_compared() {
        let newer = Measured { release: "6.12.2".into(), ..measured(900.0, 2000.0) };
        let changes = stored(584.4, 1041.4).compare("6.12", &newer);
        assert!(changes.regressions.is_empty());
        assert!(changes.notes[0].contains("6.12.1 and these of 6.12.2"), "{changes:?}");
        let changes = Stored::default().compare("6.12", &newer);
        assert_eq!(changes.notes, ["6.12: nothing is stored to compare with"]);
    }

    #[test]
    fn a_file_keeps_the_figures_and_no_file_has_none() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("instructions.json");
        assert_eq!(Stored::read(&file).unwrap(), Stored::default());
        stored(584.4, 1041.4).write(&file).unwrap();
        assert_eq!(Stored::read(&file).unwrap(), stored(584.4, 1041.4));
        fs::write(&file, "{").unwrap();
        assert!(Stored::read(&file).unwrap_err().to_string().ends_with("is broken"));
    }

    #[test]
    fn the_table_has_what_is_added_and_the_change() {
        let before = measured(584.4, 1041.4);
        let now = measured(584.4, 1043.4);
        let row = |text: &str| {
            let line = text.lines().find(|line| line.starts_with("| traced  "));
            line.unwrap().split('|').map(str::trim).collect::<Vec<_>>().join("|")
        };
        assert_eq!(row(&now.table(None)), "|traced|–|–|1,043.4|459.0|–|–|");
        assert_eq!(row(&now.table(Some(&before))), "|traced|–|–|–|1,043.4|459.0|+2.0|–|–|–|");
        let other = Measured { release: "6.12.2".into(), ..before };
        assert_eq!(now.table(Some(&other)), now.table(None));
    }
}
