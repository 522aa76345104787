//! Builds the programs of a virtual machine. They are static, because the machine has no shared libraries.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{
    build::{self, OBJECT_VARIABLE, Verbosity, arm64},
    cargo,
    command::say,
    setup::Ready,
    workspace::Workspace,
};
use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use super::{architecture::Architecture, cross::Cross};

/// What a machine has in `/t`.
#[derive(Clone, Copy, Debug)]
pub struct Contents<'a> {
    /// For each call of `cargo build`: the arguments that select packages, programs and a profile.
    pub builds: &'a [&'a [&'a str]],
    /// Files that are copied as they are, each with its name there. They exist after the build.
    pub files: &'a [(&'a str, &'a Path)],
}

/// The programs and files, each with its name and path.
#[derive(Debug, Default)]
pub struct Programs {
    /// Programs that are no tests.
    pub tools: Vec<(String, PathBuf)>,
    /// Test programs, by name.
    pub tests: Vec<(String, PathBuf)>,
    /// Other files.
    pub files: Vec<(String, PathBuf)>,
}

/// The settings of a build for one architecture.
struct Recipe<'a> {
    workspace: &'a Workspace,
    /// The eBPF object to embed.
    object: PathBuf,
    /// For another architecture than the host's.
    cross: Option<&'a Cross>,
}

/// Builds all programs: for the host's architecture, or for that of `cross`.
pub(crate) fn build(
    workspace: &Workspace,
    ready: &Ready,
    contents: Contents<'_>,
    cross: Option<&Cross>,
) -> Result<Programs> {
    let object = if cross.is_some() {
        arm64::build(workspace, ready)?
    } else {
        build::build_object(workspace, ready, Verbosity::Brief)?;
        workspace.ebpf_object()
    };
    let recipe = Recipe { workspace, object, cross };
    let debian = recipe.architecture().debian();
    say(&format!("building static programs for virtual machines ({debian})"));
    let mut programs = Programs::default();
    for arguments in contents.builds {
        programs.add(&messages(recipe.cargo().args(*arguments))?)?;
    }
    let file = |(name, path): &(&str, &Path)| ((*name).to_owned(), path.to_path_buf());
    programs.files = contents.files.iter().map(file).collect();
    Ok(programs)
}

impl Recipe<'_> {
    fn architecture(&self) -> Architecture {
        self.cross.map_or(Architecture::X86, |cross| cross.architecture)
    }

    /// A `cargo build` of static programs that prints its messages as JSON.
    fn cargo(&self) -> Command {
        let mut flags = "-Ctarget-feature=+crt-static".to_owned();
        let mut cargo = cargo::cargo(self.workspace);
        cargo.args(["build", "--quiet", "--target", self.architecture().target()]);
        if let Some(cross) = self.cross {
            cross.configure(&mut cargo, self.workspace.target());
            flags = format!("{flags} --sysroot={}", cross.sysroot.display());
        }
        cargo.args(["--message-format", "json"]);
        cargo.env("RUSTFLAGS", flags).env(OBJECT_VARIABLE, &self.object);
        // Without debug information the tests are linked faster.
        cargo.env("CARGO_PROFILE_DEV_DEBUG", "false");
        cargo
    }
}

/// Runs cargo and returns its JSON messages. Its other output goes to standard error.
fn messages(cargo: &mut Command) -> Result<String> {
    let output = cargo
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start `cargo build`")?;
    if !output.status.success() {
        bail!("the programs do not build: {}", output.status);
    }
    String::from_utf8(output.stdout).context("cargo's messages are not UTF-8")
}

/// A message of cargo about an artifact.
#[derive(Deserialize)]
struct Message {
    executable: Option<PathBuf>,
    target: Option<Target>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

impl Programs {
    fn add(&mut self, messages: &str) -> Result<()> {
        for line in messages.lines().filter(|line| line.starts_with('{')) {
            let message: Message =
                serde_json::from_str(line).context("cargo's message is not understood")?;
            let (Some(executable), Some(target)) = (message.executable, message.target) else {
                continue;
            };
            match target.kind.first().map(String::as_str) {
                Some("test") => self.tests.push((target.name, executable)),
                Some("bin") if is_tool(&executable) => self.tools.push((target.name, executable)),
                _ => {}
            }
        }
        self.tests.sort();
        Ok(())
    }
}

/// Whether this is a program, not its unit tests, which are in `deps`.
fn is_tool(executable: &Path) -> bool {
    executable.parent().and_then(Path::file_name).is_some_and(|folder| folder != "deps")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGES: &str = r#"{"reason":"compiler-artifact","target":{"kind":["lib"],"name":"anyhow","test":true},"executable":null}
{"reason":"compiler-artifact","target":{"kind":["bin"],"name":"workload","test":true},"executable":"/t/debug/workload"}
{"reason":"compiler-artifact","target":{"kind":["bin"],"name":"workload","test":true},"executable":"/t/debug/deps/workload-1"}
{"reason":"compiler-artifact","target":{"kind":["test"],"name":"trees","test":true},"executable":"/t/debug/deps/trees-1"}
{"reason":"build-finished","success":true}
"#;

    #[test]
    fn tests_and_tools_are_distinguished() {
        let mut programs = Programs::default();
        programs.add(MESSAGES).unwrap();
        assert_eq!(programs.tests, [("trees".to_owned(), "/t/debug/deps/trees-1".into())]);
        assert_eq!(programs.tools, [("workload".to_owned(), "/t/debug/workload".into())]);
    }
}
