//! Runs the privileged tests on other kernels: `cargo xtask vm`.
//!
//! Debian's cloud kernels boot in qemu's software emulation, with an initramfs that contains tracer, the host's test
//! programs, and busybox. Tests report themselves what a kernel does not support. Further boots restrict the kernel so
//! that no trace is possible, to test tracer's message.

mod console;
mod outcome;
mod plan;

use std::{
    path::PathBuf,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use anyhow::{Result, ensure};
use clap::Args;
use xtask::{
    command::say,
    page,
    setup::{self, Extras},
    vm::{self, Architecture, Boot, Clock, Contents, Guests, Kernel, Order, Programs, Series},
    workspace::Workspace,
};

use self::{
    console::ConsoleLog,
    outcome::Outcome,
    plan::{Plan, Restriction, Scope},
};
use crate::tally::Tally;

/// Machines that run at the same time. Each takes about one processor.
const AT_ONCE: usize = 2;

/// tracer, and the tests with the programs that they start.
const BUILDS: [&[&str]; 2] = [
    &["--package", "tracer", "--bin", "tracer", "--release"],
    &["--package", "tracer-tests", "--bins", "--tests"],
];

/// The name of the table's block in RELIABILITY.md.
const BLOCK: &str = "kernels";

/// Options of `cargo xtask vm`.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Options {
    /// Every kernel: 5.10, 6.1, 6.12 and 7, and two of them for arm64 (without it the oldest and the newest)
    #[arg(long)]
    all: bool,
    /// Only this kernel; may be given several times
    #[arg(long, value_name = "NAME", conflicts_with = "all")]
    kernel: Vec<String>,
    /// A few tests of each kind, in about two minutes: what the continuous integration runs
    #[arg(long)]
    quick: bool,
    /// Count with `--attach fexit`
    #[arg(long)]
    fexit: bool,
    /// Put the outcome into RELIABILITY.md; rows about other kernels stay there
    #[arg(long, conflicts_with = "filters")]
    page: bool,
    /// Only tests whose name contains one of these, whether they depend on the kernel or not
    #[arg(value_name = "FILTER", conflicts_with = "quick")]
    filters: Vec<String>,
}

impl Options {
    fn series(&self) -> Result<Vec<Series>> {
        if self.all {
            return Ok(vm::ALL.to_vec());
        }
        if self.kernel.is_empty() {
            return Ok(vec![vm::ALL[0], vm::NEWEST]);
        }
        self.kernel.iter().map(|name| Series::find(name)).collect()
    }

    /// A quick run on the oldest and the newest kernel, for the continuous integration.
    pub(crate) fn quick() -> Self {
        Self { quick: true, ..Self::default() }
    }

    fn scope(&self) -> Scope<'_> {
        match (self.quick, self.filters.as_slice()) {
            (true, _) => Scope::Quick,
            (false, []) => Scope::Whole,
            (false, filters) => Scope::Matching(filters),
        }
    }
}

/// Boots the kernels, prints the results, and returns the sum of all tests.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<Tally> {
    ensure!(
        cfg!(target_arch = "x86_64"),
        "most of the virtual machines are x86_64 ones with this machine's programs: run it on x86_64"
    );
    let series = options.series()?;
    let ready = setup::ensure(workspace, Extras { vm: true, ..Extras::default() })?;
    let kernels = series.into_iter().map(Series::fetch).collect::<Result<Vec<_>>>()?;
    let architectures = kernels.iter().map(|kernel| kernel.architecture);
    let contents = Contents { builds: &BUILDS, files: &[] };
    let guests = Guests::build(workspace, &ready, architectures, contents)?;
    let how = if options.fexit { Restriction::Fexit } else { Restriction::None };
    let programs = |architecture| guests.programs(architecture);
    let boots = boots(&kernels, options.scope(), how, programs);
    let page = options.page.then(|| Mutex::new(workspace.root().join("RELIABILITY.md")));
    let outcomes = Runner { guests: &guests, page }.perform_all(&boots)?;
    let mut tally = Tally::default();
    outcomes.iter().for_each(|outcome| tally += outcome.tally());
    ensure!(tally != Tally::default(), "no test is called {}", options.filters.join(" or "));
    Ok(tally)
}

/// A kernel and the plan of a boot.
type Task<'a> = (&'a Kernel, Plan);

/// A boot of each kernel with the tests, then the restricted boots. A quick run restricts the newest kernel only.
fn boots<'a, 'b>(
    kernels: &'a [Kernel],
    scope: Scope<'_>,
    how: Restriction,
    programs: impl Fn(Architecture) -> &'b Programs,
) -> Vec<Task<'a>> {
    let plan = |kernel: &Kernel| Plan::of_tests(programs(kernel.architecture), scope, how);
    let mut boots: Vec<_> = kernels.iter().map(|kernel| (kernel, plan(kernel))).collect();
    let restricted = match scope {
        _ if how != Restriction::None => &[],
        Scope::Whole => kernels,
        Scope::Quick => &kernels[kernels.len().saturating_sub(1)..],
        Scope::Matching(_) => &[],
    };
    boots.extend(restricted.iter().flat_map(restricted_boots));
    boots
}

/// A boot of a kernel under each restriction.
fn restricted_boots(kernel: &Kernel) -> [Task<'_>; 2] {
    [Restriction::NoTypes, Restriction::Confidential]
        .map(|restriction| (kernel, Plan::restricted(restriction)))
}

/// Performs boots.
struct Runner<'a> {
    guests: &'a Guests,
    /// The page that gets the outcome of each boot when it has ended: a run of hours may be interrupted.
    page: Option<Mutex<PathBuf>>,
}

impl Runner<'_> {
    /// Performs all boots, [`AT_ONCE`] at a time. Results are in the order of `tasks`.
    fn perform_all(&self, tasks: &[Task<'_>]) -> Result<Vec<Outcome>> {
        let next = AtomicUsize::new(0);
        let work = || {
            let mut done = Vec::new();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some((kernel, plan)) = tasks.get(index) else { break };
                done.push((index, self.perform(kernel, plan)));
            }
            done
        };
        let mut done = thread::scope(|scope| {
            let workers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(work)).collect();
            let finished = workers.into_iter().filter_map(|worker| worker.join().ok());
            finished.flatten().collect::<Vec<_>>()
        });
        ensure!(done.len() == tasks.len(), "a boot was given up");
        done.sort_by_key(|(index, _)| *index);
        done.into_iter().map(|(_, outcome)| outcome).collect()
    }

    /// Performs one boot and prints its result.
    fn perform(&self, kernel: &Kernel, plan: &Plan) -> Result<Outcome> {
        let restriction = plan.restriction;
        say(&format!("booting {} {}", kernel.release, restriction.words()));
        let name = format!("{}-{}", kernel.name, restriction.word());
        let order = Order {
            name,
            script: plan.script(),
            parameters: restriction.kernel_parameters(),
            clock: Clock::Host,
            limit: plan.limit(),
        };
        let Boot { console, time, is_complete } = self.guests.boot(kernel, &order)?;
        let console = ConsoleLog::read(&console);
        let release = kernel.release.clone();
        let outcome = Outcome { release, restriction, console, time, is_complete };
        outcome.print(&self.guests.log(&order.name))?;
        if let Some(page) = &self.page {
            let page = page.lock().unwrap_or_else(PoisonError::into_inner);
            let table = outcome::table(&page::read(&page, BLOCK)?, &outcome);
            page::regenerate(&page, BLOCK, &table)?;
        }
        Ok(outcome)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_run_restricts_each_kernel_and_a_quick_one_the_newest() {
        let kernel = |name| {
            let (architecture, release) = (Architecture::X86, String::from(name));
            Kernel { name, architecture, release, image: "/".into() }
        };
        let kernels = [kernel("5.10"), kernel("7")];
        let programs = Programs::default();
        let restricted_boots = |scope| {
            let boots = boots(&kernels, scope, Restriction::None, |_| &programs);
            let (plain, restricted) = boots.split_at(kernels.len());
            assert!(plain.iter().all(|(_, plan)| plan.restriction == Restriction::None));
            let restriction = |(kernel, plan): &Task<'_>| (kernel.name, plan.restriction);
            restricted.iter().map(restriction).collect::<Vec<_>>()
        };
        let ways = [Restriction::NoTypes, Restriction::Confidential];
        let newest = ways.map(|way| ("7", way));
        assert_eq!(restricted_boots(Scope::Quick), newest);
        assert_eq!(
            restricted_boots(Scope::Whole),
            [ways.map(|way| ("5.10", way)), newest].concat()
        );
        let filters = ["pipe".to_owned()];
        assert_eq!(restricted_boots(Scope::Matching(&filters)), []);
    }

    fn names(options: &Options) -> Vec<&'static str> {
        options.series().unwrap().iter().map(|series| series.name).collect()
    }

    #[test]
    fn the_oldest_and_the_newest_are_the_default() {
        assert_eq!(names(&Options::default()), ["5.10", "7"]);
        let all = Options { all: true, ..Options::default() };
        assert_eq!(names(&all), ["5.10", "5.10-arm64", "6.1", "6.12", "6.12-arm64", "7"]);
        let one = Options { kernel: vec!["6.12".into()], ..Options::default() };
        assert_eq!(names(&one), ["6.12"]);
    }
}
