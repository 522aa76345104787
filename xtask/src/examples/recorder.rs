//! The example of the recorder: containers that are gone, and what the history says about them.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};

use super::shell;

/// The tool's message when it records.
const RECORDS: &str = "tracer: records";
/// The containers: their names and what they run.
const CONTAINERS: [(&str, &str); 3] = [
    ("report-1", "seq 1 2000 | (head -1; sleep .2)"),
    ("web", "echo ready"),
    ("backup", "echo failed >&2; exit 3"),
];
/// How long the history may take to have them.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often to look.
const TURN: Duration = Duration::from_millis(200);

/// Two screens.
pub(super) struct Screens {
    /// The list of what ended.
    pub(super) history: String,
    /// The answer about the container that lost output.
    pub(super) why: String,
}

/// Runs containers under `tracer daemon`, and asks its history when they are gone.
pub(super) fn asked_afterwards(tool: &Path, image: &str) -> Result<Screens> {
    let history = shell::empty_folder()?.join("history");
    let mut daemon = Command::new(tool)
        .args(["daemon", "--containers", "--history"])
        .arg(&history)
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start the recorder")?;
    let asked = ask(tool, image, &history, &mut daemon);
    // An error says that it has ended.
    let _ = kill_process(Pid::from_child(&daemon), Signal::TERM);
    daemon.wait().context("cannot wait for the recorder")?;
    asked
}

fn ask(tool: &Path, image: &str, history: &Path, daemon: &mut Child) -> Result<Screens> {
    let mut stderr = BufReader::new(daemon.stderr.take().context("its stderr is a pipe")?).lines();
    let records = stderr.by_ref().map_while(Result::ok).any(|line| line.starts_with(RECORDS));
    ensure!(records, "the recorder did not start");
    for (name, script) in CONTAINERS {
        // Its exit code is a part of the example.
        Command::new("docker")
            .args(["run", "--rm", "--network", "none", "--name", name, image, "sh", "-c", script])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .context("cannot start docker")?;
    }
    let deadline = Instant::now() + PATIENCE;
    while screen(tool, history, &["history", "--format", "ndjson"])?.lines().count()
        < CONTAINERS.len()
    {
        ensure!(Instant::now() < deadline, "the history does not have the containers");
        thread::sleep(TURN);
    }
    let shown = |arguments: &[&str]| -> Result<String> {
        let text = screen(tool, history, arguments)?;
        Ok(format!("$ tracer {}\n{}", arguments.join(" "), text.trim_end()))
    };
    Ok(Screens {
        history: shown(&["history"])?,
        why: shown(&["why", "--container", CONTAINERS[0].0])?,
    })
}

fn screen(tool: &Path, history: &Path, arguments: &[&str]) -> Result<String> {
    let output = Command::new(tool).args(arguments).arg("--history").arg(history).output();
    let output = output.context("cannot start the tool")?;
    String::from_utf8(output.stdout).context("the answer is no text")
}
