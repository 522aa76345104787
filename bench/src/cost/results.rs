//! Everything that one run found: the JSON document, and the same as text.

mod goals;
pub(crate) mod machine;
pub(crate) mod quick;

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use serde::Serialize;

use self::{goals::Goal, machine::Machine};
use super::{
    comparison::{Comparison, table},
    scale::{self, Step},
    start::{self, Start},
};

/// A run.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Results {
    /// Where and with what.
    pub(crate) machine: Machine,
    /// How often each contender had its turn.
    pub(crate) rounds: u32,
    /// The loops.
    pub(crate) workloads: Vec<Comparison>,
    /// How fast tracers start.
    pub(crate) start: Vec<Start>,
    /// How cost and memory grow.
    pub(crate) scale: Vec<Step>,
    /// What was asked for.
    pub(crate) goals: Vec<Goal>,
    /// Rows that could not be measured at all, and why.
    pub(crate) absent: Vec<(String, String)>,
}

impl Results {
    /// A workload by its name.
    pub(crate) fn comparison(&self, name: &str) -> Option<&Comparison> {
        self.workloads.iter().find(|workload| workload.name == name)
    }

    /// Judges the goals.
    pub(crate) fn judge(&mut self) {
        self.goals = goals::all(self);
    }

    /// The tables, as Markdown.
    pub(crate) fn text(&self) -> String {
        let mut text = self.machine.list();
        text += &format!(
            "* {} interleaved rounds; ns are per call; *added* is best minus best of native\n",
            self.rounds
        );
        for workload in &self.workloads {
            text += &format!("\n### {}: {}\n\n", workload.name, workload.call);
            text += &table::comparison(workload);
        }
        if !self.start.is_empty() {
            text += &format!("\n### Start\n\n{}", start::table(&self.start));
        }
        if !self.scale.is_empty() {
            text += &format!("\n### Growth\n\n{}", scale::tables(&self.scale));
        }
        if !self.absent.is_empty() {
            text += "\n### Not measured\n\n";
            text.extend(self.absent.iter().map(|(name, why)| format!("* {name}: {why}\n")));
        }
        text += &format!("\n### Goals\n\n{}", goals::table(&self.goals));
        text
    }

    /// Writes the document.
    pub(crate) fn write_json(&self, path: &Path) -> Result<()> {
        let mut text = serde_json::to_string_pretty(self).context("cannot make JSON")?;
        text.push('\n');
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    }
}
