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
    gvisor::Gvisor,
    start::{self, Start},
    view::{self, View},
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
    /// The cost of a view at different numbers of processes.
    pub(crate) view: Vec<View>,
    /// Costs inside a gVisor sandbox.
    pub(crate) gvisor: Option<Gvisor>,
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
        if !self.view.is_empty() {
            text += &format!("\n### View\n\n{}", view::table(&self.view));
        }
        if let Some(gvisor) = &self.gvisor
            && gvisor.absent.is_none()
        {
            text += &format!("\n### gVisor\n\n{}", gvisor.tables());
        }
        text += &self.not_measured();
        text += &format!("\n### Goals\n\n{}", goals::table(&self.goals));
        text
    }

    /// What could not be measured, as Markdown.
    fn not_measured(&self) -> String {
        let workloads = self.absent.iter().map(|(name, why)| (name.as_str(), why));
        let gvisor = self.gvisor.iter().filter_map(|gvisor| gvisor.absent.as_ref());
        let all: Vec<_> = workloads.chain(gvisor.map(|why| ("gvisor", why))).collect();
        if all.is_empty() {
            return String::new();
        }
        let lines: String = all.iter().map(|(name, why)| format!("* {name}: {why}\n")).collect();
        format!("\n### Not measured\n\n{lines}")
    }

    /// Writes the results as JSON.
    pub(crate) fn write_json(&self, path: &Path) -> Result<()> {
        let mut text = serde_json::to_string_pretty(self).context("cannot make JSON")?;
        text.push('\n');
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    }
}
