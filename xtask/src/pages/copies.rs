//! Blocks that are copied from elsewhere in the checkout, which needs neither root nor the tool.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};

use crate::cases::story;

/// The address of a file of the checkout, for pages outside of it.
pub(crate) const FILES: &str = concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/main/");
/// How many cases are on the page of a rule.
const CASES: usize = 6;

/// The content of a block, unless the block is of another kind.
pub(crate) fn block(root: &Path, name: &str) -> Result<Option<String>> {
    match name.split_once(':') {
        Some(("part", part)) => part_of(root, part).map(Some),
        Some(("cases-of", rule)) => cases_of(root, rule).map(Some),
        _ => Ok(None),
    }
}

/// `FILE#TITLE`: what stands below that title in a document.
fn part_of(root: &Path, part: &str) -> Result<String> {
    let (file, title) = part.split_once('#').context("a part is FILE#TITLE")?;
    let text =
        fs::read_to_string(root.join(file)).with_context(|| format!("cannot read {file}"))?;
    let section = section(&text, title).with_context(|| format!("{file} has no title {title}"))?;
    Ok(section)
}

/// The lines between a title and the next one, without markers.
fn section(text: &str, title: &str) -> Option<String> {
    let is_title = |line: &str| line.starts_with('#');
    let mut lines = text.lines().skip_while(|line| {
        !(is_title(line) && line.trim_start_matches('#').trim_start().starts_with(title))
    });
    lines.next()?;
    let lines: Vec<&str> =
        lines.take_while(|line| !is_title(line)).filter(|line| !line.starts_with("<!--")).collect();
    Some(lines.join("\n").trim().to_owned())
}

/// The cases whose first finding is of this rule.
fn cases_of(root: &Path, rule: &str) -> Result<String> {
    let cases = story::of_rule(root, rule)?;
    if cases.is_empty() {
        return Ok("No case of the corpus has this rule as its first finding.".to_owned());
    }
    let mut list = "Cases of the corpus with this rule:\n".to_owned();
    for (name, title) in cases.iter().take(CASES) {
        list += &format!("\n* {}: [{name}]({FILES}tests/cases/{name}/run)", escaped(title));
    }
    if cases.len() > CASES {
        list += "\n* and more";
    }
    Ok(list)
}

/// A title of a case as text: `<` would begin a tag.
fn escaped(title: &str) -> String {
    let mut is_code = false;
    let mut text = String::new();
    for c in title.chars() {
        is_code ^= c == '`';
        if !is_code && "<>*_|[]".contains(c) {
            text.push('\\');
        }
        text.push(c);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_ends_at_the_next_title() {
        let text = "# A\n\n### Goals\n\n| x |\n<!-- end -->\n\n## Next\n\nwords\n";
        assert_eq!(section(text, "Goals").unwrap(), "| x |");
        assert_eq!(section(text, "Next").unwrap(), "words");
        assert_eq!(section(text, "Other"), None);
    }

    #[test]
    fn titles_are_text() {
        assert_eq!(escaped("`exec >FILE` with >log"), r"`exec >FILE` with \>log");
    }
}
