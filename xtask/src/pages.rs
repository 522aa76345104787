//! The pages whose blocks are generated: README.md and those of the book.

pub(crate) mod copies;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use xtask::command;

/// The pages, below the top of the checkout.
pub(crate) const SOURCES: &str = "docs/src";
/// The pages of the rules, below that.
const RULES: &str = "rules";

/// README.md and all pages of the book.
pub(crate) fn all(root: &Path) -> Result<Vec<PathBuf>> {
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
