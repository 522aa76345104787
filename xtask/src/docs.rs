//! The book in `docs/`: regenerates what its pages show, checks it, and makes its HTML.

mod check;

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;
use clap::Args;
use xtask::{
    command::{self, say},
    setup::cargo_tool::MDBOOK,
    workspace::Workspace,
};

use crate::{examples, steps::Checked};
pub(crate) use check::check;

/// How to make the book.
#[derive(Args)]
#[group(skip)]
pub(crate) struct Options {
    /// Keep the screens that the pages have: run nothing (needs no root)
    #[arg(long)]
    no_run: bool,
    /// What to run
    #[command(flatten)]
    examples: examples::Options,
}

/// Regenerates the pages, checks them and makes the HTML.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    if options.no_run {
        examples::copy(workspace)?;
    } else {
        examples::run(workspace, &options.examples)?;
    }
    check(workspace.root())?;
    let index = html(workspace, &MDBOOK.ensure(workspace)?)?;
    say(&format!("the book is in {}", index.display()));
    Ok(())
}

/// Checks the pages, and that they become HTML if mdbook is on this machine. Its build takes too long for a check.
pub(crate) fn check_all(workspace: &Workspace) -> Result<Checked> {
    check(workspace.root())?;
    match MDBOOK.find()? {
        Some(mdbook) => {
            html(workspace, &mdbook)?;
        }
        None => {
            say("the book's HTML was NOT made: mdbook is missing (`cargo xtask docs` builds it)");
        }
    }
    Ok(Checked::Passed)
}

/// Makes the HTML and returns its first page.
fn html(workspace: &Workspace, mdbook: &Path) -> Result<PathBuf> {
    let folder = workspace.target().join("book");
    let mut build = Command::new(mdbook);
    build.arg("build").arg(workspace.root().join("docs")).arg("--dest-dir").arg(&folder);
    command::run(build.env("MDBOOK_LOG", "warn"))?;
    Ok(folder.join("index.html"))
}
