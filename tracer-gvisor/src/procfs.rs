//! What ran in a sandbox before its trace session began: the output of `runsc trace procfs`.

use serde::Deserialize;

/// A process, as `runsc trace procfs` prints it (`pkg/sentry/control`, `ProcessProcfsDump`).
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Running {
    /// Its arguments.
    #[serde(rename = "args", deserialize_with = "or_default")]
    pub arguments: Vec<String>,
    /// Its open fds.
    #[serde(rename = "fdlist", deserialize_with = "or_default")]
    pub fds: Vec<Open>,
    /// Start, real time in nanoseconds.
    #[serde(rename = "clone_ts")]
    pub start_ns: i64,
    /// Names and numbers.
    pub status: Status,
}

/// An open fd.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Open {
    /// Its number.
    pub number: i32,
    /// What it leads to: `pipe:[1]`, `host:[2]` or a path.
    pub path: String,
    /// File type and permissions, as in `st_mode` (`stat(2)`).
    pub mode: u32,
}

/// A part of `/proc/PID/status` inside.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Status {
    /// Name.
    pub comm: String,
    /// Pid inside the sandbox.
    pub pid: i32,
    /// Its parent's.
    #[serde(rename = "ppid")]
    pub parent: i32,
}

/// `null` stands for an empty list.
fn or_default<'de, D: serde::Deserializer<'de>, T: Default + Deserialize<'de>>(
    from: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// The processes that an output lists, parents first. What is no process is left out.
#[must_use]
pub fn running(output: &str) -> Vec<Running> {
    let lines = output.lines().filter(|line| line.starts_with('{'));
    let mut all: Vec<Running> = lines.filter_map(|line| serde_json::from_str(line).ok()).collect();
    all.retain(|process| process.status.pid > 0);
    all.sort_by_key(|process| (process.start_ns, process.status.pid));
    all
}
