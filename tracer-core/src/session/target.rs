//! The target of a trace.

use serde::{Deserialize, Serialize};

/// What the user asked to trace.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct Target {
    /// `command`, or the kind of what was named: `pid`, `name`, `cgroup`, `unit`, `container` or `pod`; `several` if these
    /// are of several kinds.
    pub kind: String,
    /// As on the command line: `--pid 71`, `--container web --container db`, `docker pull x`.
    pub name: String,
    /// The processes that were named or started.
    pub pids: Vec<u32>,
    /// Why it may be something else than the user named: no engine of root's vouches for a container, or a unit is one
    /// of a user's manager.
    #[serde(default)]
    pub doubt: Option<String>,
}
