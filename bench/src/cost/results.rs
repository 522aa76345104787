//! The results of a run, as JSON and as Markdown.

mod goals;
pub(crate) mod machine;
pub(crate) mod quick;

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use serde::Serialize;

use self::{goals::Goal, machine::Machine};
use super::{
    comparison::{Comparison, table},
    growth::{self, Step},
    start::{self, Start},
};

/// The results of a run.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Results {
    /// The machine and the versions of the programs.
    pub(crate) machine: Machine,
    /// Rounds of each contender.
    pub(crate) rounds: u32,
    /// Costs by workload.
    pub(crate) workloads: Vec<Comparison>,
    /// Start times of tracers.
    pub(crate) start: Vec<Start>,
    /// Growth of cost and memory.
    #[serde(rename = "scale")]
    pub(crate) growth: Vec<Step>,
    /// The goals, filled in by [`Self::judge`].
    pub(crate) goals: Vec<Goal>,
    /// Workloads that could not be measured, with the reason.
    pub(crate) absent: Vec<(String, String)>,
}

impl Results {
    /// The results of a workload.
    pub(crate) fn comparison(&self, name: &str) -> Option<&Comparison> {
        self.workloads.iter().find(|workload| workload.name == name)
    }

    /// Compares the results with the goals.
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
        if !self.growth.is_empty() {
            text += &format!("\n### Growth\n\n{}", growth::tables(&self.growth));
        }
        if !self.absent.is_empty() {
            text += "\n### Not measured\n\n";
            text.extend(self.absent.iter().map(|(name, why)| format!("* {name}: {why}\n")));
        }
        text += &format!("\n### Goals\n\n{}", goals::table(&self.goals));
        text
    }

    /// Writes the results as JSON.
    pub(crate) fn write_json(&self, path: &Path) -> Result<()> {
        let mut text = serde_json::to_string_pretty(self).context("cannot make JSON")?;
        text.push('\n');
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    }
}
