//! The points that a trace session asks for: what gVisor is to tell.

use std::path::Path;

use serde_json::{Value, json};

use crate::numbers;

/// The only name that gVisor has for a session (`pkg/sentry/seccheck`, `DefaultSessionName`).
pub const SESSION_NAME: &str = "Default";

/// What each point says about its thread. Only [`NAMES`] says the `process_name`: a guest can choose one that is no UTF-8,
/// and gVisor drops a message that it cannot encode.
const CONTEXT: [&str; 5] =
    ["time", "thread_id", "group_id", "thread_group_start_time", "container_id"];

/// Points that are no system call.
const OF_SENTRY: [&str; 5] = [
    "container/start",
    "sentry/clone",
    "sentry/execve",
    "sentry/exit_notify_parent",
    "sentry/task_exit",
];

/// The point that tells the name of its process: that of a command that the runtime started in a running container
/// (`docker exec`) is told by no other. If it is dropped, `sentry/exit_notify_parent` tells the end.
const NAMES: &str = "sentry/task_exit";

/// Calls whose message has the path that the fd leads to.
const WITH_PATH: [&str; 15] = [
    "read", "readv", "pread64", "preadv", "preadv2", "write", "writev", "pwrite64", "pwritev",
    "pwritev2", "dup", "dup2", "dup3", "fcntl", "connect",
];

/// Calls that only change what fds lead to.
const WITHOUT_PATH: [&str; 12] = [
    "open",
    "openat",
    "creat",
    "close",
    "pipe",
    "pipe2",
    "socket",
    "socketpair",
    "accept",
    "accept4",
    "execve",
    "execveat",
];

/// Calls that block in a full pipe: their beginning is told as well, so that a blocked writer is seen.
const THAT_BLOCK: [&str; 2] = ["write", "writev"];

/// The names of all points of a session.
pub fn names() -> impl Iterator<Item = String> {
    let of_sentry = OF_SENTRY.into_iter().map(str::to_owned);
    let calls = WITH_PATH.into_iter().chain(WITHOUT_PATH);
    let exits = calls.map(|call| format!("syscall/{call}/exit"));
    let enters = THAT_BLOCK.into_iter().map(|call| format!("syscall/{call}/enter"));
    let raw = numbers::RAW.into_iter().map(|number| format!("syscall/sysno/{number}/exit"));
    of_sentry.chain(exits).chain(enters).chain(raw)
}

/// The configuration of a session that sends to a sink at this socket: the file of `runsc trace create --config` and of
/// `--pod-init-config`. If no program listens at the socket, a sandbox that starts has no session.
#[must_use]
pub fn config(endpoint: &Path) -> Value {
    let point = |name: String| {
        let call = name.strip_prefix("syscall/").and_then(|rest| rest.split('/').next());
        let has_path = call.is_some_and(|call| WITH_PATH.contains(&call));
        let optional: &[&str] = if has_path { &["fd_path"] } else { &[] };
        let own = (name == NAMES).then_some("process_name");
        let context: Vec<&str> = CONTEXT.into_iter().chain(own).collect();
        json!({"name": name, "optional_fields": optional, "context_fields": context})
    };
    json!({"trace_session": {
        "name": SESSION_NAME,
        "ignore_missing": true,
        "points": names().map(point).collect::<Vec<_>>(),
        "sinks": [{"name": "remote", "ignore_setup_error": true, "config": {
            "endpoint": endpoint,
            // A full socket holds a guest's call up for at most 6.4 ms. Then the message is dropped.
            "retries": 8,
            "backoff": "25us",
            "backoff_max": "5ms",
        }}],
    }})
}

/// The points of a session that a release of gVisor lacks, according to its `runsc trace metadata`.
#[must_use]
pub fn missing(metadata: &str) -> Vec<String> {
    let offered = |line: &str| {
        let name = line.trim().strip_prefix("Name: ")?;
        Some(name.split(',').next().unwrap_or(name).to_owned())
    };
    let offered: std::collections::BTreeSet<String> =
        metadata.lines().filter_map(offered).collect();
    names().filter(|name| !offered.contains(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_that_lacks_a_point_is_named() {
        let all: Vec<String> =
            names().map(|name| format!("Name: {name}, optional fields: []")).collect();
        assert_eq!(missing(&all.join("\n")), Vec::<String>::new());
        assert_eq!(missing(&all[1..].join("\n")), ["container/start"]);
    }

    #[test]
    fn only_transfers_and_duplicates_carry_paths() {
        let config = config(Path::new("/run/tracer/gvisor.sock"));
        let session = &config["trace_session"];
        assert_eq!(session["sinks"][0]["config"]["endpoint"], "/run/tracer/gvisor.sock");
        let points = session["points"].as_array().unwrap();
        let with = |field: &str| {
            points.iter().filter(|point| point["optional_fields"][0] == field).count()
        };
        assert_eq!(with("fd_path"), WITH_PATH.len() + THAT_BLOCK.len());
    }
}
