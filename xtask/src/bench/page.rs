//! BENCHMARKS.md: what lies between the markers is a run's; the rest is written by hand.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};

const START: &str = "<!-- bench -->\n";
const END: &str = "<!-- end -->";

/// Puts a run's tables into the page.
pub(crate) fn regenerate(page: &Path, tables: &str) -> Result<()> {
    let text =
        fs::read_to_string(page).with_context(|| format!("cannot read {}", page.display()))?;
    let text = replace(&text, tables)
        .with_context(|| format!("{} has no block {} … {END}", page.display(), START.trim()))?;
    fs::write(page, text).with_context(|| format!("cannot write {}", page.display()))
}

fn replace(text: &str, tables: &str) -> Option<String> {
    let (before, rest) = text.split_once(START)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{START}\n{}\n{END}{after}", tables.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prose_stays_and_a_second_run_replaces_the_first() {
        let page = "# Title\nwords\n<!-- bench -->\nold\n<!-- end -->\nmore\n";
        let once = replace(page, "| new |\n").unwrap();
        assert_eq!(once, "# Title\nwords\n<!-- bench -->\n\n| new |\n<!-- end -->\nmore\n");
        assert_eq!(replace(&once, "| new |\n").unwrap(), once);
    }

    #[test]
    fn a_page_without_markers_is_left_alone() {
        assert_eq!(replace("# Title\n", "x"), None);
        assert_eq!(replace("<!-- bench -->\nno end\n", "x"), None);
    }
}
