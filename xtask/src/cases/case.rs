//! A case of the corpus: its description and the truth about it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use xtask::command;

/// A folder of the corpus.
#[derive(Debug)]
pub(crate) struct Case {
    /// The folder's name: three digits and a few words.
    pub(crate) name: String,
    /// The script that runs the case.
    pub(crate) script: PathBuf,
    /// What `case.toml` says.
    pub(crate) description: Description,
}

/// The file `case.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Description {
    /// One sentence: what is done, and what happens to the output.
    pub(crate) title: String,
    /// A word that similar cases share.
    pub(crate) kind: String,
    /// Programs without which the case is skipped: names, or absolute paths.
    #[serde(default)]
    needs: Vec<String>,
    /// Debian packages that have those programs.
    #[serde(default)]
    #[expect(dead_code, reason = "for readers of the file")]
    packages: Vec<String>,
    /// Why tracer does not say the truth yet. Such a case counts in the figure, but the tests pass without it.
    pub(crate) gap: Option<String>,
    /// What tracer has to say.
    pub(crate) truth: Truth,
}

/// What tracer has to say, and must not say.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Truth {
    /// The rule of the first finding; several if they are equally right.
    #[serde(default)]
    pub(crate) rule: Vec<String>,
    /// Texts that are all in the first sentence. `ENOSPC|disk is full` is either of two.
    #[serde(default)]
    pub(crate) says: Vec<String>,
    /// The process that lost the bytes; in the first sentence as well.
    pub(crate) culprit: Option<String>,
    /// tracer's own exit code.
    #[serde(default)]
    pub(crate) exit: i32,
    /// Texts that would be false in the first sentence, and in any other one about a loss.
    #[serde(default)]
    pub(crate) not: Vec<String>,
    /// Whether nothing is wrong, so that no finding may be a loss or a warning. The rest is not used then.
    #[serde(default)]
    pub(crate) healthy: bool,
}

impl Case {
    /// Reads the case in a folder; `None` if that folder is no case.
    fn load(folder: &Path) -> Result<Option<Self>> {
        let file = folder.join("case.toml");
        if !file.exists() {
            return Ok(None);
        }
        let text =
            fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let description =
            Description::parse(&text).with_context(|| format!("{} is wrong", file.display()))?;
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Some(Self { name, script: folder.join("run"), description }))
    }

    /// A program that the case needs and this machine does not have.
    pub(crate) fn missing(&self) -> Option<&str> {
        self.description.needs.iter().map(String::as_str).find(|program| {
            if program.contains('/') {
                !Path::new(program).exists()
            } else {
                command::find(program).is_none()
            }
        })
    }

    /// Whether its name or kind contains one of the filters.
    fn matches(&self, filters: &[String]) -> bool {
        let contains = |filter: &String| {
            self.name.contains(filter.as_str()) || self.description.kind.contains(filter.as_str())
        };
        filters.is_empty() || filters.iter().any(contains)
    }
}

impl Description {
    fn parse(text: &str) -> Result<Self> {
        let description: Self = toml::from_str(text)?;
        let Truth { rule, healthy, .. } = &description.truth;
        ensure!(*healthy == rule.is_empty(), "[truth] has either `rule` or `healthy = true`");
        ensure!(!description.title.is_empty(), "the title is empty");
        Ok(description)
    }
}

/// The cases that match the filters, by name.
pub(crate) fn load_all(folder: &Path, filters: &[String]) -> Result<Vec<Case>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()));
    let mut cases = Vec::new();
    for entry in entries? {
        let path = entry.context("cannot read the folder of cases")?.path();
        cases.extend(Case::load(&path)?.filter(|case| case.matches(filters)));
    }
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(cases)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "title = \"t\"\nkind = \"unread\"\nneeds = [\"sh\", \"no-such-program\"]\n";

    fn case(truth: &str) -> Result<Case> {
        let description = Description::parse(&format!("{HEAD}[truth]\n{truth}\n"))?;
        Ok(Case { name: "007-a-pipe".to_owned(), script: PathBuf::new(), description })
    }

    #[test]
    fn a_truth_is_a_rule_or_health_but_not_both() {
        assert!(case("healthy = true").is_ok());
        assert!(case("rule = [\"unread\"]").is_ok());
        assert!(case("exit = 1").is_err());
        assert!(case("rule = [\"unread\"]\nhealthy = true").is_err());
    }

    #[test]
    fn a_misspelt_key_is_an_error() {
        assert!(case("rule = [\"unread\"]\nsay = [\"5 B\"]").is_err());
    }

    #[test]
    fn filters_look_at_name_and_kind() {
        let case = case("healthy = true").unwrap();
        for (filter, expected) in
            [("007", true), ("pipe", true), ("unread", true), ("stuck", false)]
        {
            assert_eq!(case.matches(&[filter.to_owned()]), expected, "{filter}");
        }
        assert!(case.matches(&[]));
    }

    #[test]
    fn the_first_missing_program_is_named() {
        assert_eq!(case("healthy = true").unwrap().missing(), Some("no-such-program"));
    }

    #[test]
    fn every_case_of_the_corpus_can_be_read_and_run() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/cases");
        for case in load_all(&folder, &[]).unwrap() {
            assert!(
                command::succeeds(std::process::Command::new("test").arg("-x").arg(case.script)),
                "{}",
                case.name
            );
        }
    }
}
