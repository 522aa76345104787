//! Selects the processes that get a block of lines, and their indentation.
//!
//! A process is shown if it wrote or tried to write, if a finding is about it, or if it executed a program and none
//! of its descendants is shown. The others are shells that only start programs, subshells, and processes without
//! output. They are named in one line.

use std::collections::{HashMap, HashSet};

use tracer_core::{
    report::{Fd, Process, Report},
    verdict::Severity,
};

/// How many silent processes get a block.
const MOST_SILENT: usize = 20;

/// The processes of a report, by how they are shown.
pub(super) struct Selection<'a> {
    /// Processes with a block: parents before their children, siblings by start.
    pub(super) shown: Vec<Shown<'a>>,
    /// Processes that wrote nothing and are only named.
    pub(super) silent: Vec<&'a Process>,
}

/// A process and its level in the tree.
pub(super) struct Shown<'a> {
    /// The process.
    pub(super) process: &'a Process,
    /// How many of its ancestors are shown.
    pub(super) depth: usize,
}

impl<'a> Selection<'a> {
    /// Selects from the processes of a report.
    pub(super) fn of(report: &'a Report) -> Self {
        let mut processes: Vec<&Process> = report.processes.iter().collect();
        processes.sort_by(|one, other| one.start_ms.total_cmp(&other.start_ms));
        let parents = parents(&processes);
        let subjects = subjects(report);
        let matters = matters(&processes, &parents, &subjects);
        let is_shown = strongest(&processes, &matters, &subjects);
        let silent = processes.iter().zip(&is_shown);
        let silent = silent.filter(|(_, is_shown)| !**is_shown).map(|(&process, _)| process);
        let silent = silent.collect();
        Self { shown: in_tree_order(&processes, &parents, &is_shown), silent }
    }
}

/// Whether bytes went through this row, or should have.
pub(super) fn is_used(row: &Fd) -> bool {
    row.bytes > 0 || row.writes > 0 || row.short > 0 || row.zero > 0 || !row.errors.is_empty()
}

fn is_active(process: &Process) -> bool {
    process.elsewhere.bytes.is_some_and(|bytes| bytes > 0) || process.fds.iter().any(is_used)
}

/// Index of each process's parent: the latest process of that pid that started before it.
fn parents(processes: &[&Process]) -> Vec<Option<usize>> {
    // By sandbox and pid: the first guest of a sandbox is a child of a process of this machine.
    let mut latest: HashMap<(u32, u32), usize> = HashMap::new();
    let mut parents = Vec::with_capacity(processes.len());
    for (index, process) in processes.iter().enumerate() {
        let (sandbox, parent) = (process.sandbox, process.ppid);
        let known = latest.get(&(sandbox, parent)).or_else(|| latest.get(&(0, parent)));
        parents.push(known.copied());
        latest.insert((sandbox, process.pid), index);
    }
    parents
}

/// Pids with findings: that of the first finding, and those of the others that are losses or warnings.
fn subjects(report: &Report) -> HashSet<u32> {
    // Pid 0 means the whole run.
    let findings = report.findings.iter().filter(|finding| finding.pid != 0).enumerate();
    findings
        .filter(|(index, finding)| *index == 0 || finding.severity != Severity::Info)
        .map(|(_, finding)| finding.pid)
        .collect()
}

fn matters(
    processes: &[&Process],
    parents: &[Option<usize>],
    subjects: &HashSet<u32>,
) -> Vec<bool> {
    let mut matters = vec![false; processes.len()];
    let mut above_one = vec![false; processes.len()];
    for (index, process) in processes.iter().enumerate().rev() {
        let is_silent_program = process.executed && !above_one[index];
        matters[index] = is_active(process) || subjects.contains(&process.pid) || is_silent_program;
        if let Some(parent) = parents[index] {
            above_one[parent] |= matters[index] || above_one[index];
        }
    }
    matters
}

/// Which of the candidates to show: those that wrote, and of the silent ones those with findings first.
fn strongest(processes: &[&Process], matters: &[bool], subjects: &HashSet<u32>) -> Vec<bool> {
    let mut ranked: Vec<usize> = (0..processes.len()).filter(|&index| matters[index]).collect();
    ranked.sort_by_key(|&index| !subjects.contains(&processes[index].pid));
    let mut is_shown = vec![false; processes.len()];
    let mut silent = 0;
    for index in ranked {
        is_shown[index] = is_active(processes[index]) || silent < MOST_SILENT;
        silent += usize::from(!is_active(processes[index]));
    }
    is_shown
}

fn in_tree_order<'a>(
    processes: &[&'a Process],
    parents: &[Option<usize>],
    is_shown: &[bool],
) -> Vec<Shown<'a>> {
    let mut above: Vec<Option<usize>> = Vec::with_capacity(processes.len());
    let mut below: Vec<Vec<usize>> = vec![Vec::new(); processes.len()];
    let mut roots = Vec::new();
    for index in 0..processes.len() {
        let nearest = parents[index]
            .and_then(|parent| if is_shown[parent] { Some(parent) } else { above[parent] });
        above.push(nearest);
        if is_shown[index] {
            nearest.map_or(&mut roots, |parent| &mut below[parent]).push(index);
        }
    }
    let mut shown = Vec::new();
    let mut pending: Vec<(usize, usize)> = roots.iter().rev().map(|&root| (root, 0)).collect();
    while let Some((index, depth)) = pending.pop() {
        shown.push(Shown { process: processes[index], depth });
        pending.extend(below[index].iter().rev().map(|&child| (child, depth + 1)));
    }
    shown
}
