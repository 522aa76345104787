//! The table of ways in RELIABILITY.md: each line names tests, and all of them exist.

use std::{fs, path::Path};

use anyhow::{Context, Result, ensure};

#[test]
fn every_way_of_writing_or_reading_names_tests_that_exist() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = String::new();
    for file in fs::read_dir(root.join("tests"))? {
        sources.push_str(&fs::read_to_string(file?.path())?);
    }
    let page = fs::read_to_string(root.join("../RELIABILITY.md"))?;
    let (_, table) = page.split_once("<!-- ways -->").context("the page has no table of ways")?;
    let lines: Vec<&str> =
        table.trim().lines().take_while(|line| line.starts_with('|')).skip(2).collect();
    ensure!(lines.len() > 20, "the table has {} lines", lines.len());
    for line in lines {
        let tests = line.split('|').nth(3).context("a line without a column of tests")?;
        let names: Vec<&str> = tests.split('`').skip(1).step_by(2).collect();
        ensure!(!names.is_empty(), "no test: {line}");
        for name in names {
            ensure!(sources.contains(&format!("fn {name}()")), "no test has the name {name}");
        }
    }
    Ok(())
}
