//! Docker under the tests' process manager, with the tracer on the manager.

use std::{env, ffi::OsString, fs, process::Command};

use anyhow::{Context, Result, ensure};

use crate::{
    deadline::{OwnedChild, describe},
    gate::{GATE_ENV, Gate},
    process_manager::Account,
    refusal,
    report::Report,
    tracer::{Outcome, Tracer},
    workload::sibling_binary,
};

/// Names an image that a registry on this machine serves.
pub const IMAGE_ENV: &str = "TRACER_TEST_IMAGE";

/// The image to pull and run.
pub fn image() -> Result<String> {
    env::var(IMAGE_ENV).with_context(|| {
        format!("set {IMAGE_ENV} to an image of a registry on this machine; dockerd must run")
    })
}

/// Runs a docker command that is no subject of a test, and insists on success.
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

/// Removes the image, so that the next pull has something to say; it may be absent already.
pub fn forget_image(image: &str) -> Result<()> {
    refusal::run_command(Command::new("docker").args(["rmi", "--force", image]))?;
    Ok(())
}

/// A container that is removed with its test.
#[derive(Debug)]
pub struct Container(String);

impl Container {
    /// Reserves a name for a container that the test makes itself.
    pub fn named(name: &str) -> Self {
        Self(format!("tracer-test-{name}-{}", std::process::id()))
    }

    /// Starts one that sleeps.
    pub fn start(image: &str, name: &str) -> Result<Self> {
        // Owned before it is made: a container that could not be started is left behind as well.
        let container = Self::named(name);
        docker(&["run", "--detach", "--name", &container.0, image, "sleep", "600"])?;
        Ok(container)
    }

    /// What docker knows it by.
    pub fn name(&self) -> &str {
        &self.0
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // Fails if the test has removed it already.
        let _ = docker(&["rm", "--force", &self.0]);
    }
}

/// A managed command that has been traced.
#[derive(Debug)]
pub struct Managed {
    /// What the manager's pipes received.
    pub account: Account,
    /// The tracer's exit and texts.
    pub tracer: Outcome,
    /// The tracer's report on the manager's tree.
    pub report: Report,
}

/// Starts the manager, traces it, and lets it run `argv` with these variables set.
pub fn trace_managed(argv: &[&str], variables: &[(&str, &str)]) -> Result<Managed> {
    let directory = tempfile::tempdir()?;
    let account = directory.path().join("account.json");
    let mut gate = Gate::create(directory.path())?;
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
    /// What the tracer counted into each of the manager's pipes is what the manager read out of
    /// it, and nothing was lost on the way of counting.
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
        self.check_exit()
    }

    /// The command's own fd 1 and fd 2 carried all of it: nobody else wrote to its pipes.
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

    fn check_exit(&self) -> Result<()> {
        let Account { pid, code, signal, .. } = &self.account;
        let exit = self.report.of_pid(*pid).find_map(|process| process.exit);
        let exit = exit.with_context(|| format!("the report gives no exit of pid {pid}"))?;
        ensure!(
            (exit.code.unwrap_or(0), exit.signal.unwrap_or(0))
                == (code.unwrap_or(0), signal.unwrap_or(0)),
            "pid {pid} ended with {code:?}/{signal:?}, the report says {exit:?}"
        );
        Ok(())
    }
}
