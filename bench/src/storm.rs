//! Compares tracer's counts under load with what was really written: `cargo xtask storm`.
//!
//! Each storm is a loop of the tests' program `load`, which counts what each of its processes wrote. tracer's report
//! must be equal, or its losses must account for each missing unit.

mod accounts;
mod course;
mod judge;
mod plan;
mod recorder;
mod row;
mod trial;

use std::io::{self, Write as _};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use xtask::{
    command::{self, say},
    page,
    setup::{self, Extras, packages},
    workspace::Workspace,
};

use self::{
    course::Course,
    plan::{CHURN, Plan, SOAK},
    row::Row,
};
use crate::harness::fixture::Fixture;

/// The name of the table's block in RELIABILITY.md.
const BLOCK: &str = "storms";

/// Options of `cargo xtask storm`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// Minutes of the soak; 0 leaves it out
    #[arg(long, value_name = "MINUTES", default_value_t = 60)]
    soak: u64,
    /// Put the figures into RELIABILITY.md; rows about other storms stay there
    #[arg(long)]
    page: bool,
    /// Not traces, but a month of the recorder in fast forward
    #[arg(long, conflicts_with_all = ["soak", "page", "filters"])]
    recorder: bool,
    /// Jobs of the recorder's storm
    #[arg(long, value_name = "N", requires = "recorder", default_value_t = recorder::JOBS)]
    jobs: u64,
    /// Jobs each second
    #[arg(long, value_name = "N", requires = "recorder", default_value_t = recorder::RATE)]
    rate: u64,
    /// Only storms whose name contains one of these
    #[arg(value_name = "FILTER")]
    filters: Vec<String>,
}

impl Options {
    fn wants(&self, name: &str) -> bool {
        self.filters.is_empty() || self.filters.iter().any(|filter| name.contains(filter.as_str()))
    }

    fn plans(&self) -> impl Iterator<Item = &'static Plan> {
        plan::ALL.iter().filter(|plan| self.wants(plan.name))
    }

    fn courses(&self) -> Vec<Course> {
        let soak = (self.soak > 0 && self.wants(SOAK)).then(|| Course::soak(self.soak));
        self.wants(CHURN).then(Course::churn).into_iter().chain(soak).collect()
    }
}

/// Builds, runs the storms, and prints the table; `--page` writes it into RELIABILITY.md.
///
/// # Errors
///
/// The process is not root, a build or a storm fails, or a report does not agree with its storm.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    ensure!(packages::is_root(), "storms are traced with eBPF programs: run it as root");
    if options.recorder {
        return recorder::run(workspace, options.jobs, options.rate);
    }
    ensure!(
        !options.courses().is_empty() || options.plans().next().is_some(),
        "no storm is called {}: there are {}, {CHURN}, {SOAK}",
        options.filters.join(" or "),
        plan::ALL.iter().map(|plan| plan.name).collect::<Vec<_>>().join(", ")
    );
    let ready = setup::ensure(workspace, Extras::default())?;
    let fixture = Fixture::prepare(workspace, &ready)?;
    let mut rows = Vec::new();
    for plan in options.plans() {
        say(&format!("{}: {}", plan.name, plan.description()));
        rows.push(trial::run(&fixture, plan).with_context(|| plan.name)?);
    }
    for course in options.courses() {
        say(&format!("{}: {}", course.name, course.description));
        rows.push(course.run(&fixture)?);
    }
    let file = workspace.root().join("RELIABILITY.md");
    let (old, header) = (page::read(&file, BLOCK)?, header()?);
    let table = row::table(&header, if options.page { &old } else { "" }, &rows);
    io::stdout().write_all(table.as_bytes()).context("cannot write to standard output")?;
    if options.page {
        page::regenerate(&file, BLOCK, &table)?;
    }
    let wrong: Vec<_> = rows.iter().filter_map(Row::fault).collect();
    if !wrong.is_empty() {
        bail!("{}", wrong.join("; "));
    }
    Ok(())
}

/// The line above the table.
fn header() -> Result<String> {
    let kernel = command::capture(std::process::Command::new("uname").arg("-r"))?;
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    Ok(format!("Linux {}, {cpus} processors.\n", kernel.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(filters: &[&str], soak: u64) -> Options {
        let filters = filters.iter().map(|filter| (*filter).to_owned()).collect();
        Options {
            soak,
            page: false,
            filters,
            recorder: false,
            jobs: recorder::JOBS,
            rate: recorder::RATE,
        }
    }

    #[test]
    fn a_filter_chooses_and_none_chooses_all() {
        assert_eq!(options(&[], 60).plans().count(), plan::ALL.len());
        assert_eq!((options(&[], 60).courses().len(), options(&[], 0).courses().len()), (2, 1));
        let names: Vec<_> = options(&["bomb"], 60).plans().map(|plan| plan.name).collect();
        assert_eq!(names, ["bomb"]);
        assert!(options(&["bomb"], 60).courses().is_empty());
        assert_eq!(options(&[SOAK], 1).courses().len(), 1);
        assert_eq!(options(&[SOAK], 1).plans().count(), 0);
    }
}
