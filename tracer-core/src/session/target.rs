//! What was traced.

use serde::{Deserialize, Serialize};

/// What the user asked to trace.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct Target {
    /// `pid`, `cgroup`, `container` or `command`.
    pub kind: String,
    /// As the user would name it again: `--pid 71`, `--container web`, `docker pull x`.
    pub name: String,
    /// The processes named or started.
    pub pids: Vec<u32>,
}
