//! Regenerates the blocks of README.md and of the book from real runs.
//!
//! A block begins with `<!-- KIND:WHAT -->` (see [`xtask::page`]). Its kinds are:
//!
//! * `example:NAME`: one of the runs in [`manager`].
//! * `run:LINE`: a line for the shell. The lines of a page run one after the other in one folder.
//! * `case:NUMBER`: a case of the corpus, with its program and its screen.
//! * `part:FILE#TITLE` and `cases-of:RULE`: copies (see [`copies`]).

mod manager;
mod recorder;
mod shell;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use xtask::{
    build::{self, Verbosity},
    cargo,
    command::{self, say},
    docker::Docker,
    page,
    setup::{self, Extras, packages},
    workspace::{Profile, Workspace},
};

use crate::{
    cases::story,
    pages::{self, copies},
};

/// Which pages to regenerate, and with what.
#[derive(Args, Default)]
pub(crate) struct Options {
    /// Run this binary [default: build the tool from this checkout]
    #[arg(long, value_name = "PATH")]
    tracer: Option<PathBuf>,
    /// Only pages whose path contains one of these
    #[arg(value_name = "FILTER")]
    filters: Vec<String>,
}

/// Runs what the pages show and writes the output into them.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    ensure!(packages::is_root(), "the examples need root: tracer loads eBPF programs");
    let ready = setup::ensure(workspace, Extras { tests: true, ..Extras::default() })?;
    let tool = match &options.tracer {
        Some(path) => {
            path.canonicalize().with_context(|| format!("cannot find {}", path.display()))?
        }
        None => build::build(workspace, &ready, Profile::Release, Verbosity::Full)?,
    };
    let wanted = |page: &PathBuf| {
        let path = page.strip_prefix(workspace.root()).unwrap_or(page).to_string_lossy();
        options.filters.is_empty() || options.filters.iter().any(|f| path.contains(f.as_str()))
    };
    pages::add_rules(workspace.root(), &tool)?;
    let mut runs = Runs { workspace, tool: &tool, docker: None, recorded: None };
    for page in pages::all(workspace.root())?.into_iter().filter(wanted) {
        say(&format!("running what {} shows", page.display()));
        shell::empty_folder()?;
        regenerate(&page, |name| runs.block(name))?;
    }
    Ok(())
}

/// Refreshes the blocks that are copies, for which nothing runs.
pub(crate) fn copy(workspace: &Workspace) -> Result<()> {
    for page in pages::all(workspace.root())? {
        regenerate(&page, |name| copies::block(workspace.root(), name))?;
    }
    Ok(())
}

fn regenerate(page: &Path, mut block: impl FnMut(&str) -> Result<Option<String>>) -> Result<()> {
    let text = fs::read_to_string(page);
    let text = text.with_context(|| format!("cannot read {}", page.display()))?;
    for name in page::names(&text) {
        let content = block(name).with_context(|| format!("{}: {name}", page.display()))?;
        if let Some(content) = content {
            page::regenerate(page, name, &content)?;
        }
    }
    Ok(())
}

/// Makes blocks.
struct Runs<'a> {
    workspace: &'a Workspace,
    tool: &'a Path,
    /// Started for the first block that needs it.
    docker: Option<Docker>,
    /// What a recorder has answered, for all pages.
    recorded: Option<recorder::Screens>,
}

impl Runs<'_> {
    /// The content of a block, unless another task makes it.
    fn block(&mut self, name: &str) -> Result<Option<String>> {
        let screen = match name.split_once(':') {
            Some(("run", line)) => shell::screen(self.tool, self.workspace.target(), line)?,
            Some(("example", "gvisor")) => manager::in_sandbox(self.tool)?,
            Some(("example", "docker")) => self.pull(&[])?,
            Some(("example", "capture")) => self.pull(&["--capture", "out"])?,
            Some(("example", "history")) => self.recorded()?.history.clone(),
            Some(("example", "why")) => self.recorded()?.why.clone(),
            Some(("example", other)) => bail!("there is no example {other}"),
            Some(("case", number)) => return self.story(number).map(Some),
            _ => return copies::block(self.workspace.root(), name),
        };
        Ok(Some(console(&screen)))
    }

    /// A manager that pulls an image with an option that this docker does not have.
    fn pull(&mut self, options: &[&str]) -> Result<String> {
        let mut manager = cargo::cargo(self.workspace);
        command::run(manager.args(["build", "--package", "tracer-tests", "--bin", "manager"]))?;
        let (workspace, tool) = (self.workspace, self.tool);
        let argv = ["docker", "pull", "--progress=plain", self.image()?];
        manager::managed(workspace, tool, &argv, options)
    }

    /// An image of a docker that runs from now on.
    fn image(&mut self) -> Result<&str> {
        if self.docker.is_none() {
            self.docker = Some(Docker::start(&self.workspace.test_logs())?);
        }
        Ok(self.docker.as_ref().context("no docker")?.image())
    }

    fn recorded(&mut self) -> Result<&recorder::Screens> {
        if self.recorded.is_none() {
            let tool = self.tool;
            self.recorded = Some(recorder::asked_afterwards(tool, self.image()?)?);
        }
        self.recorded.as_ref().context("nothing was recorded")
    }

    fn story(&self, number: &str) -> Result<String> {
        let story::Story { name, program, command, report } =
            story::tell(self.workspace, self.tool, number)?;
        let screen = console(&format!("$ {command}\n{}", report.trim_end()));
        let address = format!("{}tests/cases/{name}/run", copies::FILES);
        Ok(format!(
            "The program, [{name}]({address}):\n\n```bash\n{program}\n```\n\nThe screen:\n\n{screen}"
        ))
    }
}

fn console(screen: &str) -> String {
    format!("```console\n{screen}\n```")
}
