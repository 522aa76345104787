//! The privileged tests on other kernels: `cargo xtask vm`.
//!
//! Debian's cloud kernels are booted under qemu's software emulation to an initramfs that holds
//! tracer, the same test programs as on the host, and busybox. What a kernel cannot do is told by
//! the tests themselves; what a kernel refuses is asked of kernels that were made to refuse.

mod architecture;
mod archive;
mod console;
mod cross;
mod initramfs;
mod kernel;
mod kit;
mod machine;
mod outcome;
mod plan;
mod programs;

use std::{
    fs,
    path::PathBuf,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use xtask::{
    command::say,
    page,
    setup::{self, Extras},
    workspace::Workspace,
};

use self::{
    architecture::Architecture,
    console::Account,
    kernel::{Kernel, Series},
    kit::Kits,
    machine::{Boot, Machine},
    outcome::Outcome,
    plan::{Circumstance, Extent, Plan},
    programs::Programs,
};
use crate::tally::Tally;

/// Machines at the same time: emulation takes one processor each, most of the time.
const AT_ONCE: usize = 2;

/// How often a machine is started whose kernel does not come as far as the tests.
const STARTS: u32 = 3;

/// The table's place in RELIABILITY.md.
const BLOCK: &str = "kernels";

/// Where to run what.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Options {
    /// Every kernel: 5.10, 6.1, 6.12 and 7, and two of them for arm64 (without it the oldest and the newest)
    #[arg(long)]
    all: bool,
    /// Only this kernel; may be given several times
    #[arg(long, value_name = "NAME", conflicts_with = "all")]
    kernel: Vec<String>,
    /// A few tests of each kind, in about two minutes, and the newest of them made to refuse: what the
    /// continuous integration runs
    #[arg(long)]
    quick: bool,
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
            return Ok(kernel::ALL.to_vec());
        }
        if self.kernel.is_empty() {
            return Ok(vec![kernel::ALL[0], kernel::NEWEST]);
        }
        self.kernel.iter().map(|name| Series::find(name)).collect()
    }

    /// What the continuous integration runs: the oldest and the newest kernel.
    pub(crate) fn quick() -> Self {
        Self { quick: true, ..Self::default() }
    }

    fn extent(&self) -> Extent<'_> {
        match (self.quick, self.filters.as_slice()) {
            (true, _) => Extent::Quick,
            (false, []) => Extent::Whole,
            (false, filters) => Extent::Matching(filters),
        }
    }
}

/// Boots, tests, prints.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<Tally> {
    ensure!(
        cfg!(target_arch = "x86_64"),
        "most of the virtual machines are x86_64 ones with this machine's programs: run it on x86_64"
    );
    let series = options.series()?;
    let ready = setup::ensure(workspace, Extras { vm: true, ..Extras::default() })?;
    let kernels = series.into_iter().map(Series::fetch).collect::<Result<Vec<_>>>()?;
    let architectures = kernels.iter().map(|kernel| kernel.architecture);
    let kits = Kits::build(workspace, &ready, architectures)?;
    let boots = boots(&kernels, options.extent(), |architecture| kits.programs(architecture));
    let place = Place::prepare(workspace, &kits)?;
    let outcomes = place.perform_all(&boots)?;
    if options.page {
        let page = workspace.root().join("RELIABILITY.md");
        let table = outcome::table(&page::read(&page, BLOCK)?, &outcomes);
        page::regenerate(&page, BLOCK, &table)?;
    }
    let mut tally = Tally::default();
    outcomes.iter().for_each(|outcome| tally += outcome.tally());
    ensure!(tally != Tally::default(), "no test is called {}", options.filters.join(" or "));
    Ok(tally)
}

/// A kernel, and what to do there.
type Task<'a> = (&'a Kernel, Plan);

/// All tests on each kernel; then the kernels made to refuse, of which a quick run has the newest only.
fn boots<'a, 'b>(
    kernels: &'a [Kernel],
    extent: Extent<'_>,
    programs: impl Fn(Architecture) -> &'b Programs,
) -> Vec<Task<'a>> {
    let plan = |kernel: &Kernel| Plan::of_tests(programs(kernel.architecture), extent);
    let mut boots: Vec<_> = kernels.iter().map(|kernel| (kernel, plan(kernel))).collect();
    let refusing = match extent {
        Extent::Whole => kernels,
        Extent::Quick => &kernels[kernels.len().saturating_sub(1)..],
        Extent::Matching(_) => &[],
    };
    boots.extend(refusing.iter().flat_map(refusals));
    boots
}

/// A kernel made to refuse, in each way.
fn refusals(kernel: &Kernel) -> [Task<'_>; 2] {
    [Circumstance::NoTypes, Circumstance::Confidential]
        .map(|circumstance| (kernel, Plan::of_refusal(circumstance)))
}

/// Where archives and consoles go, and what goes into the machines.
struct Place<'a> {
    folder: PathBuf,
    kits: &'a Kits,
}

impl<'a> Place<'a> {
    fn prepare(workspace: &Workspace, kits: &'a Kits) -> Result<Self> {
        let folder = workspace.target().join("vm");
        fs::create_dir_all(&folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
        Ok(Self { folder, kits })
    }

    /// All boots, some of them at the same time; in their order.
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

    /// One boot; what failed is printed with what was said.
    fn perform(&self, kernel: &Kernel, plan: &Plan) -> Result<Outcome> {
        let circumstance = plan.circumstance;
        say(&format!("booting {} {}", kernel.release, circumstance.words()));
        let name = format!("{}-{}", kernel.name, circumstance.word());
        let archive = self.folder.join(format!("{name}.cpio"));
        self.kits.pack(kernel.architecture, plan, &archive)?;
        let log = self.folder.join(format!("{name}.log"));
        let machine = Machine {
            architecture: kernel.architecture,
            kernel: &kernel.image,
            initramfs: &archive,
            parameters: circumstance.kernel_parameters(),
            log: &log,
        };
        let Boot { console, time, is_complete } = started(&machine, plan)?;
        // A hundred megabytes, made again in a second.
        fs::remove_file(&archive)
            .with_context(|| format!("cannot remove {}", archive.display()))?;
        let account = Account::read(&console);
        let release = kernel.release.clone();
        let outcome = Outcome { release, circumstance, account, time, is_complete };
        outcome.print(&log)?;
        Ok(outcome)
    }
}

/// Boots until the first process runs, and to the end. Now and then an emulated processor runs into code that
/// another one is just patching (`int3` in `static_call` or a static key), and the kernel is dead, or hangs, before
/// there is anything of ours.
fn started(machine: &Machine<'_>, plan: &Plan) -> Result<Boot> {
    for _ in 1..STARTS {
        let boot = machine.boot(plan.limit())?;
        if boot.has_started() {
            return Ok(boot);
        }
        say("the kernel did not come to its first process: booting it again");
    }
    machine.boot(plan.limit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kernel_is_made_to_refuse_in_a_whole_run_and_the_newest_in_a_quick_one() {
        let kernel = |name| {
            let (architecture, release) = (Architecture::X86, String::from(name));
            Kernel { name, architecture, release, image: "/".into() }
        };
        let kernels = [kernel("5.10"), kernel("7")];
        let programs = Programs::default();
        let refusals = |extent| {
            let boots = boots(&kernels, extent, |_| &programs);
            let (plain, refusing) = boots.split_at(kernels.len());
            assert!(plain.iter().all(|(_, plan)| plan.circumstance == Circumstance::Plain));
            let circumstance = |(kernel, plan): &Task<'_>| (kernel.name, plan.circumstance);
            refusing.iter().map(circumstance).collect::<Vec<_>>()
        };
        let ways = [Circumstance::NoTypes, Circumstance::Confidential];
        let newest = ways.map(|way| ("7", way));
        assert_eq!(refusals(Extent::Quick), newest);
        assert_eq!(refusals(Extent::Whole), [ways.map(|way| ("5.10", way)), newest].concat());
        let filters = ["pipe".to_owned()];
        assert_eq!(refusals(Extent::Matching(&filters)), []);
    }

    fn names(options: &Options) -> Vec<&'static str> {
        options.series().unwrap().iter().map(|series| series.name).collect()
    }

    #[test]
    fn the_oldest_and_the_newest_are_the_usual_choice() {
        assert_eq!(names(&Options::default()), ["5.10", "7"]);
        let all = Options { all: true, ..Options::default() };
        assert_eq!(names(&all), ["5.10", "5.10-arm64", "6.1", "6.12", "6.12-arm64", "7"]);
        let one = Options { kernel: vec!["6.12".into()], ..Options::default() };
        assert_eq!(names(&one), ["6.12"]);
    }
}
