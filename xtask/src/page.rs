//! Generated blocks of documents: a task replaces the text between two markers.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};

const END: &str = "<!-- end -->";

/// Replaces the content of the block of `page` that begins with `<!-- NAME -->`.
pub fn regenerate(page: &Path, name: &str, tables: &str) -> Result<()> {
    let text = replace(&text_of(page)?, name, tables).with_context(|| {
        format!("{} has no block {} … {END}", page.display(), marker(name).trim())
    })?;
    fs::write(page, text).with_context(|| format!("cannot write {}", page.display()))
}

/// The content of that block; empty if there is no such block.
pub fn read(page: &Path, name: &str) -> Result<String> {
    let text = text_of(page)?;
    Ok(parts(&text, name).map(|[_, block, _]| block.to_owned()).unwrap_or_default())
}

/// The names of a text's blocks, in order.
#[must_use]
pub fn names(text: &str) -> Vec<&str> {
    text.lines().filter_map(name).filter(|name| *name != "end").collect()
}

/// A text without its blocks, so that only what people wrote remains.
#[must_use]
pub fn outside(text: &str) -> String {
    let mut inside = false;
    let is_outside = |line: &&str| {
        let was_inside = inside;
        inside = name(line).map_or(inside, |name| name != "end");
        !was_inside && !inside
    };
    text.split_inclusive('\n').filter(is_outside).collect()
}

/// The name in a line that is a marker.
fn name(line: &str) -> Option<&str> {
    line.trim_end().strip_prefix("<!-- ")?.strip_suffix(" -->")
}

fn text_of(page: &Path) -> Result<String> {
    fs::read_to_string(page).with_context(|| format!("cannot read {}", page.display()))
}

fn marker(name: &str) -> String {
    format!("<!-- {name} -->\n")
}

/// The text before, in and after a block, without its markers.
fn parts<'a>(text: &'a str, name: &str) -> Option<[&'a str; 3]> {
    let (before, rest) = text.split_once(&marker(name))?;
    let (block, after) = rest.split_once(END)?;
    Some([before, block, after])
}

fn replace(text: &str, name: &str, tables: &str) -> Option<String> {
    let [before, _, after] = parts(text, name)?;
    Some(format!("{before}{}\n{}\n{END}{after}", marker(name), tables.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prose_stays_and_a_second_run_replaces_the_first() {
        let page = "# Title\nwords\n<!-- bench -->\nold\n<!-- end -->\nmore\n";
        let once = replace(page, "bench", "| new |\n").unwrap();
        assert_eq!(once, "# Title\nwords\n<!-- bench -->\n\n| new |\n<!-- end -->\nmore\n");
        assert_eq!(replace(&once, "bench", "| new |\n").unwrap(), once);
    }

    #[test]
    fn blocks_are_listed_and_taken_out() {
        let page = "a\n<!-- run:ls -l -->\nx\n<!-- end -->\nb\n<!-- cases -->\n<!-- end -->\n";
        assert_eq!(names(page), ["run:ls -l", "cases"]);
        assert_eq!(outside(page), "a\nb\n");
    }

    #[test]
    fn a_page_without_markers_is_left_alone() {
        assert_eq!(replace("# Title\n", "bench", "x"), None);
        assert_eq!(replace("<!-- bench -->\nno end\n", "bench", "x"), None);
        assert_eq!(replace("<!-- bench -->\n<!-- end -->\n", "kernels", "x"), None);
    }
}
