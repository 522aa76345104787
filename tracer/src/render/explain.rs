//! `tracer explain`: what each rule means.

mod texts;

use std::io;

use tracer_core::verdict::Rule;

use self::texts::TEXTS;
use super::{
    Style,
    palette::{PLAIN, STRONG},
    text::{Page, Text},
};

/// What a rule means.
struct Explanation {
    rule: Rule,
    /// What it means for the output.
    means: &'static str,
    /// What the kernel showed.
    proof: &'static str,
    causes: &'static str,
    todo: &'static str,
}

/// Whether there is a rule of this name.
#[must_use]
pub fn is_rule(name: &str) -> bool {
    find(name).is_some()
}

/// Writes the text of one rule, or the list of all rules. Nothing for a name that is no rule.
///
/// # Errors
/// Errors of `out`.
pub fn explain(name: Option<&str>, style: &Style, out: &mut dyn io::Write) -> io::Result<()> {
    let mut page = Page::new(style, out);
    match name.map(find) {
        None => list(&mut page),
        Some(None) => Ok(()),
        Some(Some(explanation)) => one(&mut page, explanation),
    }
}

/// The explanation of a rule. `Unread` and `[unread]` are accepted as well.
fn find(name: &str) -> Option<&'static Explanation> {
    let name = name.trim_matches(['[', ']']).to_ascii_lowercase().replace('-', "_");
    TEXTS.iter().find(|text| text.rule.to_string() == name)
}

fn one(
    page: &mut Page<'_>,
    Explanation { rule, means, proof, causes, todo }: &Explanation,
) -> io::Result<()> {
    page.line(&Text::styled(STRONG, &rule.to_string()))?;
    let parts = [
        ("what it means", means),
        ("what proves it", proof),
        ("usual causes", causes),
        ("what to do", todo),
    ];
    let widest = parts.iter().map(|(title, _)| title.len()).max().unwrap_or(0);
    for (title, words) in parts {
        let lead = Text::blank(2).and(STRONG, title).padded(2 + widest).and(PLAIN, "  ");
        let column = lead.width();
        page.words(lead, column, PLAIN, words)?;
    }
    Ok(())
}

fn list(page: &mut Page<'_>) -> io::Result<()> {
    let widest = TEXTS.iter().map(|text| text.rule.to_string().len()).max().unwrap_or(0);
    for Explanation { rule, means, .. } in &TEXTS {
        let lead = Text::styled(STRONG, &rule.to_string()).padded(widest).and(PLAIN, "  ");
        let column = lead.width();
        page.words(lead, column, PLAIN, means)?;
    }
    page.section()?;
    page.words(Text::default(), 0, PLAIN, "`tracer explain RULE` says more about one of them.")
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::*;

    const STYLE: Style = Style { color: false, width: 80 };

    fn text(name: Option<&str>) -> String {
        let mut out = Vec::new();
        explain(name, &STYLE, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_rule_of_the_verdict_is_explained_once() {
        let explained: BTreeSet<Rule> = TEXTS.iter().map(|text| text.rule).collect();
        assert_eq!(explained.len(), TEXTS.len());
        let missing: Vec<Rule> =
            Rule::ALL.into_iter().filter(|rule| !explained.contains(rule)).collect();
        assert!(missing.is_empty(), "not explained: {missing:?}");
    }

    #[test]
    fn a_rule_is_found_as_it_stands_in_a_report() {
        assert!(text(Some("[unread]")).starts_with("unread\n  what it means"));
        assert!(is_rule("never-wrote") && is_rule("STUCK") && !is_rule("nonsense"));
        assert_eq!(text(Some("nonsense")), "");
    }

    /// The book's pages of the rules are made by `cargo xtask docs` from what is printed here.
    #[test]
    fn the_book_has_the_text_of_each_rule() {
        let book = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/src");
        let page = |path: String| fs::read_to_string(book.join(path)).unwrap_or_default();
        let screen = |command: &str, text: &str| format!("```console\n$ {command}\n{text}```\n");
        assert!(page("rules.md".into()).contains(&screen("tracer explain", &text(None))));
        for Explanation { rule, .. } in &TEXTS {
            let screen = screen(&format!("tracer explain {rule}"), &text(Some(&rule.to_string())));
            let page = page(format!("rules/{rule}.md"));
            assert!(page.contains(&screen), "run `cargo xtask docs rules`: {rule}");
        }
        assert_eq!(fs::read_dir(book.join("rules")).unwrap().count(), TEXTS.len());
    }

    #[test]
    fn every_text_is_short() {
        for explanation in &TEXTS {
            let text = text(Some(&explanation.rule.to_string()));
            assert!(text.lines().count() <= 16, "{text}");
            assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        }
        assert!(text(None).contains("\nunread "));
    }
}
