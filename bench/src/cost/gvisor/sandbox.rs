//! A measured loop in a sandbox, and the program that reads what the sandbox tells.

use std::{fs, process::Command};

use anyhow::{Context as _, Result};
use serde_json::Value;
use tempfile::TempDir;
use xtask::command;

use super::sink::Sink;
use crate::{
    cost::{
        comparison::{
            contender::Contender,
            count::{Counted, Difference, TracerCounts},
        },
        load::{Load, Plan, Truth},
    },
    harness::{fixture::Fixture, report},
};

/// As in the tests of gVisor: the platform that needs no virtualisation, and a container without a cgroup.
const OPTIONS: [&str; 3] = ["--platform=ptrace", "--network=none", "--ignore-cgroups"];
/// The first process of a container, as its guests see it.
const FIRST: u32 = 1;

/// The configuration of a session that asks for what tracer asks for.
pub(super) fn configuration(fixture: &Fixture) -> Result<Value> {
    let text = command::capture(Command::new(&fixture.tracer).args(["gvisor", "config"]))?;
    serde_json::from_str(&text).context("`tracer gvisor config` printed no JSON")
}

/// A loop at its gate, in a sandbox.
pub(super) struct Sandbox {
    load: Load,
    listener: Listener,
}

/// The reader of the messages of the sandbox.
enum Listener {
    /// There is no session.
    Absent,
    /// A program that discards it. The folder has its socket.
    Sink(Sink, TempDir),
    /// tracer, which writes its report there.
    Tracer(TempDir),
}

impl Sandbox {
    /// Starts a loop in a new sandbox, and waits until it is at its gate.
    pub(super) fn start(
        fixture: &Fixture,
        config: &Value,
        contender: Contender,
        plan: &Plan<'_>,
    ) -> Result<Self> {
        let files = fixture.new_directory()?;
        let mut command = Command::new("runsc");
        let listener = match contender {
            Contender::Tracer => {
                command = Command::new(&fixture.tracer);
                command.args(["--no-live", "--format", "json", "-o"]);
                command.arg(files.path().join("report")).args(["--", "runsc"]);
                Listener::Tracer(files)
            }
            Contender::Floor => {
                let socket = files.path().join("socket");
                let mut config = config.clone();
                config["trace_session"]["sinks"][0]["config"]["endpoint"] =
                    socket.to_str().context("a path that is no text")?.into();
                let file = files.path().join("session.json");
                fs::write(&file, config.to_string()).context("cannot write a configuration")?;
                command.arg(format!("--pod-init-config={}", file.display()));
                Listener::Sink(Sink::listen(&socket)?, files)
            }
            _ => Listener::Absent,
        };
        command.args(OPTIONS).arg("do").arg(&fixture.load);
        Ok(Self { load: Load::start_by(command, plan)?, listener })
    }

    /// The loop.
    pub(super) fn load(&mut self) -> &mut Load {
        &mut self.load
    }

    /// Ends it and compares the counts with what the loop says.
    pub(super) fn finish(self, truth: &Truth, repetitions: u32) -> Result<Difference> {
        // Besides its writes to fd 1, the loop wrote that it is ready, and its results.
        let lines = u64::from(repetitions) + 1;
        let counted = match self.listener {
            Listener::Absent => {
                self.load.finish()?;
                Counted::Nothing
            }
            Listener::Sink(sink, _files) => {
                self.load.finish()?;
                let told = sink.finish()?;
                // Each write has a message at its beginning and one at its end.
                let difference =
                    Difference::between(&Counted::Calls(told.writes / 2), truth, lines);
                return Ok(told.with_losses(difference));
            }
            Listener::Tracer(files) => {
                // 1 means that output was lost.
                self.load.finish_with_code(&[0, 1])?;
                let mut report = report::read(&files.path().join("report"))?;
                report.retain_guests();
                Counted::Tracer(TracerCounts::of(&report, FIRST))
            }
        };
        Ok(Difference::between(&counted, truth, lines))
    }
}
