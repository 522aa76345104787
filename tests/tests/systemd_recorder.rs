//! The always-on recorder and units of a real systemd: a user's manager of root's, in a slice of its own.
//!
//! The manager moves every process of the cgroup that it is started in, so it must not be started in the root.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;
use tempfile::TempDir;
use tracer_tests::{
    deadline::{DEADLINE, OwnedChild, wait_until},
    recorder::{Recorder, entries, why},
    refusal,
};

/// The hierarchies in which systemd has its cgroups; on a machine with only version 2, the first does not exist.
const HIERARCHIES: [&str; 3] =
    ["/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified", "/sys/fs/cgroup"];
/// `systemctl` works only where this is.
const BOOTED: &str = "/run/systemd/system";

/// A manager with its folders and cgroups. Dropping it removes them.
struct Manager {
    folder: TempDir,
    slices: Vec<PathBuf>,
    made_booted: bool,
    systemd: Option<OwnedChild>,
}

impl Manager {
    /// Starts it with one unit.
    fn start(unit: &str, text: &str) -> Result<Self> {
        let folder = TempDir::new()?;
        fs::set_permissions(folder.path(), Permissions::from_mode(0o700))?;
        let units = folder.path().join("systemd/user");
        fs::create_dir_all(&units)?;
        fs::write(units.join(unit), text)?;
        let made_booted = !Path::new(BOOTED).exists();
        fs::create_dir_all(BOOTED)?;
        let mut manager = Self { folder, slices: Vec::new(), made_booted, systemd: None };
        let name = format!("tracertest{}.slice", std::process::id());
        let mounts = HIERARCHIES.iter().map(Path::new);
        for mount in mounts.filter(|mount| mount.join("cgroup.procs").exists()) {
            let slice = mount.join(&name);
            fs::create_dir(&slice)?;
            manager.slices.push(slice);
        }
        ensure!(!manager.slices.is_empty(), "there is no hierarchy for systemd");
        let mut systemd = manager.command("sh");
        let enter =
            "for slice; do echo $$ >$slice/cgroup.procs || exit 1; done; exec systemd --user";
        systemd.args(["-c", enter, "sh"]).args(&manager.slices);
        systemd.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        manager.systemd = Some(OwnedChild::spawn(&mut systemd, "systemd --user")?);
        wait_until("systemd", || {
            Ok(manager.systemctl(&["show", "--property=Version"]).is_ok().then_some(()))
        })?;
        Ok(manager)
    }

    /// A program that means this manager.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("XDG_RUNTIME_DIR", self.folder.path());
        command.env("XDG_CONFIG_HOME", self.folder.path());
        command.env_remove("DBUS_SESSION_BUS_ADDRESS");
        command
    }

    fn systemctl(&self, arguments: &[&str]) -> Result<()> {
        let mut command = self.command("systemctl");
        let output = refusal::run_command(command.arg("--user").args(arguments))?;
        ensure!(output.status.success(), "systemctl {arguments:?}: {output:?}");
        Ok(())
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        if let Some(mut systemd) = self.systemd.take() {
            let _ = systemd.signal(Signal::TERM);
            let _ = systemd.wait_for(*DEADLINE);
        }
        for slice in &self.slices {
            // Its cgroups can be removed from below only.
            let _ =
                Command::new("find").arg(slice).args(["-depth", "-type", "d", "-delete"]).output();
            let _ = fs::remove_dir(slice);
        }
        if self.made_booted {
            let _ = fs::remove_dir(BOOTED);
        }
    }
}

#[test]
#[ignore = "needs root and systemd"]
fn each_run_of_a_unit_that_is_restarted_has_an_entry() -> Result<()> {
    let history = TempDir::new()?;
    let recorder = Recorder::start(history.path(), &["--unit", "tracertest-*"])?;
    let text = "[Service]\nRestart=on-failure\nRestartSec=1\n\
                ExecStart=/bin/sh -c 'sleep 1; seq 1 2000 | sleep 0.2; exit 7'\n";
    let manager = Manager::start("tracertest-loser.service", text)?;
    manager.systemctl(&["start", "tracertest-loser.service"])?;
    let of_unit = ["--unit", "tracertest-loser", "--lost"];
    let runs = wait_until("three runs", || {
        Ok(Some(entries(history.path(), &of_unit)?).filter(|found| found.len() >= 3))
    })?;
    let mut pids: Vec<u64> = runs.iter().filter_map(|run| run["pid"].as_u64()).collect();
    pids.dedup();
    ensure!(pids.len() == runs.len(), "{runs:#?}");
    for run in &runs {
        ensure!(run["exit_code"] == 7 && run["rule"] == "unread", "{run:#}");
        // Not `(sh)`, which is systemd's name for the process until then.
        let command = run["command"].as_str().context("no command")?;
        ensure!(command.starts_with("/bin/sh -c sleep 1;"), "{run:#}");
        ensure!(run["place"]["unit"] == "tracertest-loser.service", "{run:#}");
    }
    drop(manager);
    recorder.stop()?;
    // The latest run was ended with the manager.
    let pid = pids.last().context("no pid")?.to_string();
    let answer = why(history.path(), &["--unit", "tracertest-loser", "--pid", &pid])?;
    ensure!(answer.status.code() == Some(1), "{answer:?}");
    let said = String::from_utf8(answer.stdout).context("no text")?;
    ensure!(said.contains("8,893 B"), "{said}");
    Ok(())
}
