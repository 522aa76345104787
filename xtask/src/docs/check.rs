//! What can be checked about the pages without running anything.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use xtask::page;

use crate::pages::{
    self, SOURCES,
    copies::{self, FILES},
};

/// Languages of code blocks that are commands.
const COMMANDS: [&str; 4] = ["sh", "bash", "console", "shell"];

/// Fails if a page is not in the book's list, a link leads nowhere, a block is empty or an old copy, or a command is not
/// one that the build runs.
pub(crate) fn check(root: &Path) -> Result<()> {
    let mut faults = Vec::new();
    for path in pages::all(root)? {
        let text = fs::read_to_string(&path);
        let text = text.with_context(|| format!("cannot read {}", path.display()))?;
        let shown = path.strip_prefix(root).unwrap_or(&path).display();
        let of_page = [of_page(root, &path, &text), stale_copies(root, &path, &text)?].concat();
        faults.extend(of_page.into_iter().map(|f| format!("{shown}: {f}")));
    }
    faults.extend(of_list(root)?);
    if !faults.is_empty() {
        bail!("{}", faults.join("\n"));
    }
    Ok(())
}

fn of_page(root: &Path, path: &Path, text: &str) -> Vec<String> {
    let mut faults = empty_blocks(path, text);
    let is_in_book = path.starts_with(root.join(SOURCES));
    if is_in_book {
        let own = page::outside(text);
        faults.extend(commands(&own).map(|line| format!("no build runs this block: {line}")));
    }
    for link in links(text) {
        if let Some(fault) = fault_of_link(root, path, text, link, is_in_book) {
            faults.push(format!("{link}: {fault}"));
        }
    }
    faults
}

/// A block whose content is missing, or that stands twice on a page: the second one would stay as it is.
fn empty_blocks(path: &Path, text: &str) -> Vec<String> {
    let names = page::names(text);
    let unique: BTreeSet<&str> = names.iter().copied().collect();
    let mut faults = Vec::new();
    if unique.len() < names.len() {
        faults.push("two blocks have the same name".to_owned());
    }
    for name in unique {
        let content = page::read(path, name).unwrap_or_default();
        let lines = content.lines().filter(|line| !line.is_empty() && !line.starts_with("```"));
        // A screen has the command and at least one line.
        let needed = if content.contains("```console") { 2 } else { 1 };
        if lines.count() < needed {
            faults.push(format!("the block {name} is empty: run `cargo xtask docs`"));
        }
    }
    faults
}

/// Copies that differ from what they were copied from.
fn stale_copies(root: &Path, path: &Path, text: &str) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    for name in page::names(text) {
        let source = copies::block(root, name)?;
        if source.is_some_and(|source| page::read(path, name).is_ok_and(|c| c.trim() != source)) {
            faults.push(format!("{name} is an old copy: run `cargo xtask docs --no-run`"));
        }
    }
    Ok(faults)
}

/// The first lines of code blocks that are commands.
fn commands(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| {
        line.strip_prefix("```").is_some_and(|language| COMMANDS.contains(&language))
    })
}

/// The targets of links and pictures outside of code.
fn links(text: &str) -> Vec<&str> {
    let mut links = Vec::new();
    let mut is_code = false;
    for line in text.lines() {
        is_code ^= line.starts_with("```");
        if !is_code {
            let targets = line.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
            links.extend(targets.map(|(target, _)| target));
        }
    }
    links
}

/// Why a link leads nowhere.
fn fault_of_link(
    root: &Path,
    page: &Path,
    text: &str,
    link: &str,
    is_in_book: bool,
) -> Option<String> {
    let (target, title) = link.split_once('#').unwrap_or((link, ""));
    let file = if let Some(file) = target.strip_prefix(FILES) {
        root.join(file)
    } else if target.contains("://") {
        return None;
    } else if target.is_empty() {
        page.to_path_buf()
    } else {
        page.parent().unwrap_or(root).join(target)
    };
    let Ok(file) = file.canonicalize() else { return Some("no such file".to_owned()) };
    let is_outside = !file.starts_with(root.join(SOURCES).canonicalize().unwrap_or_default());
    if is_in_book && is_outside && !target.starts_with(FILES) {
        return Some("it leads out of the book".to_owned());
    }
    if title.is_empty() {
        return None;
    }
    let there = if target.is_empty() { text.to_owned() } else { fs::read_to_string(file).ok()? };
    let has_title = there.lines().any(|line| line.starts_with('#') && slug(line) == title);
    (!has_title).then(|| "no such title".to_owned())
}

/// A title as the fragment of a link.
fn slug(title: &str) -> String {
    let title = title.trim_start_matches('#').trim().to_lowercase();
    title
        .chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

/// Pages that the book's list leaves out or names twice. Its links are checked with those of the pages.
fn of_list(root: &Path) -> Result<Vec<String>> {
    let sources = root.join(SOURCES);
    let list = sources.join("SUMMARY.md");
    let text = fs::read_to_string(&list).context("cannot read the list of the book's pages")?;
    let listed: Vec<PathBuf> = links(&text).into_iter().map(|link| sources.join(link)).collect();
    let mut faults = Vec::new();
    for page in pages::all(root)? {
        let times = listed.iter().filter(|listed| **listed == page).count();
        if page.starts_with(&sources) && page != list && times != 1 {
            faults.push(format!("docs/src/SUMMARY.md names {} {times} times", page.display()));
        }
    }
    Ok(faults)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A checkout with a book of one page and a README.
    fn faults(page: &str, list: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let sources = root.join(SOURCES);
        fs::create_dir_all(&sources).unwrap();
        fs::write(root.join("README.md"), "# t\n[book](docs/src/a.md#first-title)\n").unwrap();
        fs::write(sources.join("SUMMARY.md"), list).unwrap();
        fs::write(sources.join("a.md"), format!("# First title\n{page}")).unwrap();
        check(root).err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn a_whole_book_has_no_faults() {
        let page = "[x](a.md#first-title) [y](https://example.org)\n\
                    <!-- run:true -->\n\n```console\n$ true\nx\n```\n<!-- end -->\n";
        assert_eq!(faults(page, "[a](a.md)\n"), "");
    }

    #[test]
    fn each_fault_is_named() {
        let list = "[a](a.md)\n";
        for (page, fault) in [
            ("[x](b.md)\n", "b.md: no such file"),
            ("[x](a.md#other)\n", "a.md#other: no such title"),
            ("[x](../../README.md)\n", "it leads out of the book"),
            ("```sh\nls\n```\n", "no build runs this block"),
            ("<!-- run:ls -->\n<!-- end -->\n", "the block run:ls is empty"),
            ("<!-- run:ls -->\n\n```console\n$ ls\n```\n<!-- end -->\n", "run:ls is empty"),
            ("<!-- part:README.md#t -->\nx\n<!-- end -->\n", "t is an old copy"),
            ("<!-- a:b -->\nx\n<!-- end -->\n<!-- a:b -->\nx\n<!-- end -->\n", "the same name"),
        ] {
            let found = faults(page, list);
            assert!(found.contains(fault), "{page}: {found}");
        }
        assert!(faults("", "").contains("names"));
    }

    #[test]
    fn the_pages_of_this_checkout_are_whole() {
        check(&Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()).unwrap();
    }
}
