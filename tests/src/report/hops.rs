//! The part of the report about hops.

use anyhow::{Context, Result};
use serde::Deserialize;

use super::Report;

/// The chain of hops of one process's output through other processes.
#[derive(Clone, Debug, Deserialize)]
pub struct Chain {
    /// Pid of the process whose output it is.
    pub subject_pid: u32,
    /// The fd of that process.
    pub fd: i32,
    /// Every process in the chain, the subject first.
    pub(super) steps: Vec<ReportedStep>,
}

/// A process in a chain. The last one can be a reader without an object.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct ReportedStep {
    pid: u32,
    comm: String,
    object: Option<String>,
    pub(super) bytes: u64,
}

impl Chain {
    /// Every writer in the chain, the subject first.
    pub fn writers(&self) -> Vec<Step> {
        self.steps
            .iter()
            .filter_map(|step| {
                let object = step.object.clone()?;
                Some(Step { pid: step.pid, comm: step.comm.clone(), object, bytes: step.bytes })
            })
            .collect()
    }
}

/// A process in a chain, which wrote to an object that the next one read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Pid of the writer.
    pub pid: u32,
    /// Name of the writer.
    pub comm: String,
    /// The object it wrote to.
    pub object: String,
    /// Bytes that it wrote.
    pub bytes: u64,
}

impl Report {
    /// The chain of the output of this process through this fd.
    pub fn chain(&self, pid: u32, fd: i32) -> Result<&Chain> {
        let mut chains = self.hops.iter();
        let found = chains.find(|chain| chain.subject_pid == pid && chain.fd == fd);
        found.with_context(|| format!("no chain of pid {pid} fd {fd}: {:#?}", self.hops))
    }
}
