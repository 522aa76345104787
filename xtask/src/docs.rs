//! The book in `docs/`: regenerates what its pages show, checks it, and makes its HTML.

mod check;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use clap::Args;
use xtask::{
    command::{self, say},
    setup::cargo_tool::MDBOOK,
    workspace::Workspace,
};

use crate::{checks::ci::Checked, examples};
pub(crate) use check::check;

/// The pages, below the top of the checkout.
const SOURCES: &str = "docs/src";
/// The pages of the rules, below that.
const RULES: &str = "rules";

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

/// README.md and all pages of the book.
pub(crate) fn pages(root: &Path) -> Result<Vec<PathBuf>> {
    let mut pages = vec![root.join("README.md")];
    let mut folders = vec![root.join(SOURCES)];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder);
        for entry in entries.with_context(|| format!("cannot read {}", folder.display()))? {
            let path = entry.context("cannot read a folder of the book")?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                pages.push(path);
            }
        }
    }
    pages.sort();
    Ok(pages)
}

/// Makes a page, with empty blocks, for each rule that has none.
pub(crate) fn add_rules(root: &Path, tool: &Path) -> Result<()> {
    let list = command::capture(Command::new(tool).args(["explain", "--color", "never"]))?;
    for rule in rules(&list) {
        let page = root.join(SOURCES).join(RULES).join(format!("{rule}.md"));
        if !page.exists() {
            let text = format!(
                "# {rule}\n\n<!-- run:tracer explain {rule} -->\n<!-- end -->\n\n\
                 <!-- cases-of:{rule} -->\n<!-- end -->\n"
            );
            fs::write(&page, text).with_context(|| format!("cannot write {}", page.display()))?;
        }
    }
    Ok(())
}

/// The names in the list of `tracer explain`: the first words of the lines before the empty one.
fn rules(list: &str) -> impl Iterator<Item = &str> {
    list.lines()
        .take_while(|line| !line.is_empty())
        .filter(|line| !line.starts_with(' '))
        .filter_map(|line| line.split_whitespace().next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_the_first_words_of_the_list() {
        let list =
            "stuck   a program\n        is blocked\nunread  bytes\n\n`tracer explain RULE`\n";
        assert_eq!(rules(list).collect::<Vec<_>>(), ["stuck", "unread"]);
    }
}
