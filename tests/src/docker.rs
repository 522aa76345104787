//! Docker commands run by the tests' process manager, which tracer traces.

use std::{env, ffi::OsString, fs, process::Command};

use anyhow::{Context, Result, ensure};
use tempfile::NamedTempFile;

use crate::{
    deadline::{OwnedChild, describe},
    gate::{GATE_ENV, Gate},
    process_manager::Account,
    refusal,
    report::{Exit, Process, Report},
    tracer::{Outcome, Tracer, check_status, parse},
    workload::sibling_binary,
};

/// Environment variable with the name of an image in a registry on this machine.
pub const IMAGE_ENV: &str = "TRACER_TEST_IMAGE";

/// The image named by [`IMAGE_ENV`].
pub fn image() -> Result<String> {
    env::var(IMAGE_ENV).with_context(|| {
        format!(
            "set {IMAGE_ENV} to an image in a registry on this machine; dockerd must be running"
        )
    })
}

/// Runs an untraced docker command that must succeed; returns its stdout without outer blanks.
pub fn docker(arguments: &[&str]) -> Result<String> {
    let output = refusal::run_command(Command::new("docker").args(arguments))?;
    ensure!(
        output.status.success(),
        "docker {}: {}, {}",
        arguments.join(" "),
        describe(output.status),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// Removes the image if it is present, so that the next pull prints output.
pub fn remove_image(image: &str) -> Result<()> {
    refusal::run_command(Command::new("docker").args(["rmi", "--force", image]))?;
    Ok(())
}

/// A container that is removed when dropped.
#[derive(Debug)]
pub struct Container(String);

impl Container {
    /// Owns the name of a container that the test creates itself.
    pub fn named(name: &str) -> Self {
        Self(format!("tracer-test-{name}-{}", std::process::id()))
    }

    /// Starts a container that sleeps.
    pub fn start(image: &str, name: &str) -> Result<Self> {
        // Owned before it exists: `docker run` leaves a container behind even if it cannot start it.
        let container = Self::named(name);
        docker(&["run", "--detach", "--name", &container.0, image, "sleep", "600"])?;
        Ok(container)
    }

    /// Its docker name.
    pub fn name(&self) -> &str {
        &self.0
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // Fails if the test has already removed it.
        let _ = docker(&["rm", "--force", &self.0]);
    }
}

/// A trace of a docker client that has ended.
#[derive(Debug)]
pub struct Traced {
    /// What the client printed.
    pub stdout: String,
    /// What the client and tracer printed.
    pub stderr: String,
    /// tracer's report.
    pub report: Report,
}

/// Traces docker with these arguments, behind these options of tracer. Beside other work on all processors, one command of
/// an exec in 25 has begun before tracer finds it. tracer says so; then the same is done once more, three times in all.
pub fn trace(options: &[&str], arguments: &[&str]) -> Result<Traced> {
    let is_late = |traced: &Traced| {
        traced.report.losses().iter().any(|(reason, _)| reason == "container_missed")
    };
    let mut traced = trace_once(options, arguments)?;
    for _ in 0..2 {
        if arguments.contains(&"exec") && is_late(&traced) {
            traced = trace_once(options, arguments)?;
        }
    }
    Ok(traced)
}

fn trace_once(options: &[&str], arguments: &[&str]) -> Result<Traced> {
    let file = NamedTempFile::new()?;
    let tracer = Tracer::default().args(options).arg("-o").arg(file.path()).arg("--");
    let outcome = tracer.arg("docker").args(arguments).launch()?.finish()?;
    check_status(outcome.status).context(outcome.stderr.clone())?;
    let report = parse(&fs::read_to_string(file.path())?)?;
    Ok(Traced { stdout: outcome.stdout, stderr: outcome.stderr, report })
}

/// Bytes that a process wrote through fd 1 and 2. For `>&2`, a shell makes fd 1 the stderr.
pub fn written(process: &Process) -> u64 {
    let own = process.fds.iter().filter(|row| matches!(row.fd, Some(1 | 2)));
    own.map(|row| row.bytes).sum()
}

/// A traced command of the process manager.
#[derive(Debug)]
pub struct Managed {
    /// The bytes that the manager read from its pipes.
    pub account: Account,
    /// Tracer's exit status and output.
    pub tracer: Outcome,
    /// Tracer's report on the manager's process tree.
    pub report: Report,
}

/// Starts the manager and tracer, then lets the manager run `argv` with these variables set.
pub fn trace_managed(argv: &[&str], variables: &[(&str, &str)]) -> Result<Managed> {
    let directory = tempfile::tempdir()?;
    let account = directory.path().join("account.json");
    let mut gate = Gate::create()?;
    let mut command = Command::new(sibling_binary("manager")?);
    command
        .arg(&account)
        .arg("--")
        .args(argv)
        .envs(variables.iter().map(|(name, value)| (OsString::from(name), value)))
        .env(GATE_ENV, gate.path());
    let words = argv.join(" ");
    let mut manager = OwnedChild::spawn(&mut command, &format!("manager of {words}"))?;
    let tracer = Tracer::on_pid(manager.pid()).start()?;
    gate.open()?;
    let status = manager.wait()?;
    ensure!(status.success(), "the manager of {words} ended with {}", describe(status));
    let tracer = tracer.finish()?;
    let account = serde_json::from_slice(&fs::read(&account)?)?;
    Ok(Managed { account, report: tracer.report()?, tracer })
}

impl Managed {
    /// Checks that tracer lost nothing, and that for each of the manager's pipes it counted as many
    /// written bytes as the manager read.
    pub fn check(&self) -> Result<()> {
        crate::expect::no_losses(&self.report)?;
        for (name, stream) in [("stdout", &self.account.stdout), ("stderr", &self.account.stderr)] {
            let reported = self.report.written_to(&stream.object);
            ensure!(
                reported == stream.bytes,
                "{} {name} ({}): the manager read {} bytes, the report says {reported}; text: {}",
                self.account.argv.join(" "),
                stream.object,
                stream.bytes,
                stream.text
            );
        }
        let Account { pid, code, signal, .. } = self.account;
        self.report.check_exit(pid, Exit { code, signal })
    }

    /// Checks that the command itself wrote all bytes, through its fd 1 and fd 2.
    pub fn check_single_writer(&self) -> Result<()> {
        let Account { pid, stdout, stderr, .. } = &self.account;
        for (fd, stream) in [(1, stdout), (2, stderr)] {
            let reported = self.report.bytes_of(*pid, fd);
            ensure!(
                reported == stream.bytes,
                "pid {pid} fd {fd}: the manager read {} bytes, the report says {reported}",
                stream.bytes
            );
        }
        Ok(())
    }
}
