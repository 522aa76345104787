//! Counts the instructions of system calls: a cost without noise. A kernel boots in a virtual machine whose clock
//! advances by one nanosecond with each instruction, and this program measures there ([`guest`]). Whatever else the host
//! does, the figures are the same. They are compared with those in `instructions.json`, so that a regression of a single
//! instruction is visible.

mod condition;
pub(crate) mod guest;
mod stored;

use std::{collections::BTreeMap, path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use xtask::{
    command::say,
    page,
    setup::{self, Extras},
    vm::{self, Architecture, Boot, Clock, Contents, Guests, Kernel, Order, Script, Series},
    workspace::Workspace,
};

use self::{
    condition::Condition,
    guest::Figures,
    stored::{Changes, Measured, Stored},
};
use crate::harness::fixture::FLOOR_OBJECT;

/// The stored figures, from the top of the checkout.
const FILE: &str = "bench/instructions.json";
/// The page with the tables, and the name of their block there.
const PAGE: &str = "BENCHMARKS.md";
const BLOCK: &str = "instructions";
/// The kernel that is measured if none is named.
const USUAL: &str = "6.12";

/// tracer as `cargo xtask vm` builds it, the loops with the empty program's loader, and this program.
const BUILDS: [&[&str]; 2] = [
    &["--package", "tracer", "--bin", "tracer", "--release"],
    &[
        "--package",
        "tracer-tests",
        "--bin",
        "load",
        "--bin",
        "floor",
        "--package",
        "bench",
        "--bin",
        "bench",
        "--release",
    ],
];
/// What the machine runs: this program, for at most this many seconds of its own clock.
const PROGRAMS: &str = "1000 bench in-guest\n";
/// Time limit of the measurements on the host's clock. They usually take a minute.
const LIMIT: Duration = Duration::from_secs(1200);

/// The kernels to measure.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Choice<'a> {
    /// Every kernel for x86-64.
    pub(crate) all: bool,
    /// Their names. No names select the usual one.
    pub(crate) names: &'a [String],
}

impl Choice<'_> {
    fn series(&self) -> Result<Vec<Series>> {
        let is_counted = |series: &Series| series.architecture == Architecture::X86;
        if self.all {
            return Ok(vm::ALL.into_iter().filter(is_counted).collect());
        }
        if self.names.is_empty() {
            return Ok(vec![Series::find(USUAL)?]);
        }
        let series =
            self.names.iter().map(|name| Series::find(name)).collect::<Result<Vec<_>>>()?;
        for one in &series {
            ensure!(is_counted(one), "{}: instructions are counted on x86-64 only", one.name);
        }
        Ok(series)
    }
}

/// Measures, prints a table for each kernel, and compares with the stored figures or updates them and the page.
///
/// # Errors
///
/// A build or a boot fails, or a call takes more instructions than before.
pub(crate) fn run(workspace: &Workspace, choice: &Choice<'_>, update: bool) -> Result<()> {
    let series = choice.series()?;
    let file = workspace.root().join(FILE);
    let mut stored = Stored::read(&file)?;
    let ready = setup::ensure(workspace, Extras { vm: true, ..Extras::default() })?;
    let kernels = series.into_iter().map(Series::fetch).collect::<Result<Vec<_>>>()?;
    let floor = workspace.floor_object();
    let contents = Contents { builds: &BUILDS, files: &[(FLOOR_OBJECT, &floor)] };
    let architectures = kernels.iter().map(|kernel| kernel.architecture);
    let guests = Guests::build(workspace, &ready, architectures, contents)?;
    let mut changes = Changes::default();
    for kernel in &kernels {
        let now = measure(&guests, kernel)?;
        let before = stored.kernels.get(kernel.name);
        super::print(&section(kernel.name, &now, before))?;
        let Changes { regressions, notes } = stored.compare(kernel.name, &now);
        changes.regressions.extend(regressions);
        changes.notes.extend(notes);
        if update {
            stored.kernels.insert(kernel.name.to_owned(), now);
        }
    }
    if update {
        stored.write(&file)?;
        return page::regenerate(&workspace.root().join(PAGE), BLOCK, &tables(&stored));
    }
    conclude(&changes)
}

/// Boots a kernel and reads its figures.
fn measure(guests: &Guests, kernel: &Kernel) -> Result<Measured> {
    say(&format!("counting instructions on {}", kernel.release));
    let order = Order {
        name: format!("{}-instructions", kernel.name),
        script: Script { settings: String::new(), programs: PROGRAMS.to_owned() },
        parameters: "",
        clock: Clock::Instructions,
        limit: LIMIT,
    };
    let Boot { console, time, is_complete: _ } = guests.boot(kernel, &order)?;
    let log = guests.log(&order.name);
    let conditions = conditions(&console, &log)?;
    say(&format!("{} took {} s", kernel.release, time.as_secs()));
    let mut measured = Measured { release: kernel.release.clone(), ..Measured::default() };
    for (condition, Figures { instructions, absent }) in conditions {
        if let Some(reason) = absent {
            say(&format!("{}, {}: not measured: {reason}", kernel.name, condition.name()));
        }
        for (call, figure) in instructions {
            measured.calls.entry(call).or_default().insert(condition, figure);
        }
    }
    Ok(measured)
}

/// The guest's lines on the console. `log` is the path of its copy.
fn conditions(console: &[String], log: &Path) -> Result<BTreeMap<Condition, Figures>> {
    let lines = console.iter().filter(|line| line.starts_with("[\""));
    let mut conditions = BTreeMap::new();
    for line in lines {
        let (condition, figures) = serde_json::from_str(line)
            .with_context(|| format!("the machine's line is not understood: {line}"))?;
        conditions.insert(condition, figures);
    }
    ensure!(
        conditions.len() == Condition::ALL.len(),
        "the machine reported {} of {} conditions; its console is {}",
        conditions.len(),
        Condition::ALL.len(),
        log.display()
    );
    Ok(conditions)
}

/// A kernel's part of the output.
fn section(name: &str, measured: &Measured, before: Option<&Measured>) -> String {
    format!("### {name} ({})\n\n{}\n", measured.release, measured.table(before))
}

/// The tables of all stored kernels, for the page.
fn tables(stored: &Stored) -> String {
    // The names begin with numbers: 5.10 is before 6.1.
    let number = |name: &str| vm::ALL.iter().position(|series| series.name == name);
    let mut kernels: Vec<_> = stored.kernels.iter().collect();
    kernels.sort_by_key(|(name, _)| number(name));
    kernels.into_iter().map(|(name, measured)| section(name, measured, None)).collect()
}

/// Says what is new; fails if there is a regression.
fn conclude(changes: &Changes) -> Result<()> {
    let cure = "`cargo xtask bench --instructions --update`";
    if !changes.notes.is_empty() {
        say(&format!("{} (store the new figures: {cure})", changes.notes.join("; ")));
    }
    ensure!(
        changes.regressions.is_empty(),
        "more instructions than stored: {} (if that is meant: {cure})",
        changes.regressions.join("; ")
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{condition::Call, *};

    fn names(all: bool, names: &[&str]) -> Result<Vec<&'static str>> {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let series = Choice { all, names: &names }.series()?;
        Ok(series.iter().map(|series| series.name).collect())
    }

    #[test]
    fn one_kernel_is_the_default_and_all_are_those_whose_clock_counts() {
        assert_eq!(names(false, &[]).unwrap(), ["6.12"]);
        assert_eq!(names(true, &[]).unwrap(), ["5.10", "6.1", "6.12", "7"]);
        assert_eq!(names(false, &["7"]).unwrap(), ["7"]);
        let error = names(false, &["6.12-arm64"]).unwrap_err().to_string();
        assert!(error.contains("6.12-arm64: instructions are counted on x86-64"), "{error}");
    }

    fn console() -> Vec<String> {
        let figures =
            Figures { instructions: BTreeMap::from([(Call::Write32, 584.4)]), absent: None };
        let line = |condition| serde_json::to_string(&(condition, &figures)).unwrap();
        let before = ["[    0.1] Linux", "@@ kernel 6.12.1", "@@ begin bench"];
        let after = ["", "@@ end bench 0", "@@ done"];
        let conditions = Condition::ALL.into_iter().map(line);
        before
            .into_iter()
            .map(str::to_owned)
            .chain(conditions)
            .chain(after.map(str::to_owned))
            .collect()
    }

    #[test]
    fn the_guests_lines_are_found_among_others() {
        let log = Path::new("/l");
        let conditions = conditions(&console(), log).unwrap();
        assert_eq!(
            conditions[&Condition::TracedNonPreemptible].instructions[&Call::Write32],
            584.4
        );
        let mut short = console();
        short.retain(|line| !line.starts_with("[\"captured\""));
        let error = super::conditions(&short, log).unwrap_err().to_string();
        assert_eq!(error, "the machine reported 8 of 9 conditions; its console is /l");
        short.push("[\"captured\",".to_owned());
        assert!(super::conditions(&short, log).unwrap_err().to_string().contains("not understood"));
    }

    #[test]
    fn a_regression_fails_with_one_line_and_news_do_not() {
        let words = || vec!["6.12, write32, traced: 1041.4 → 1043.4 (+2.0)".to_owned()];
        let notes = Changes { notes: words(), ..Changes::default() };
        assert!(conclude(&notes).is_ok());
        let worse = Changes { regressions: words(), ..Changes::default() };
        let error = conclude(&worse).unwrap_err().to_string();
        assert_eq!(
            error,
            "more instructions than stored: 6.12, write32, traced: 1041.4 → 1043.4 (+2.0) (if \
             that is meant: `cargo xtask bench --instructions --update`)"
        );
    }

    #[test]
    fn the_page_has_the_kernels_in_their_order() {
        let kernels = ["7", "6.12", "5.10"].map(|name| (name.to_owned(), Measured::default()));
        let text = tables(&Stored { kernels: kernels.into() });
        let heads: Vec<_> = text.lines().filter(|line| line.starts_with('#')).collect();
        assert_eq!(heads, ["### 5.10 ()", "### 6.12 ()", "### 7 ()"]);
    }
}
