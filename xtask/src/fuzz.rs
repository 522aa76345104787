//! Fuzzers of everything that reads what somebody else wrote: `cargo xtask fuzz`.
//!
//! What they check is in `tracer/fuzz`; the kept corpus there is checked by `cargo test` as well. They are built
//! by the compiler that builds tracer, without a nightly one and without `cargo-fuzz`.

mod outcome;

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Mutex, PoisonError},
    thread,
};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use xtask::{
    build::OBJECT_VARIABLE,
    cargo,
    command::{self, say},
    setup,
    workspace::Workspace,
};

use self::outcome::Outcome;

/// The crate of the targets, from the checkout.
const CRATE: &str = "tracer/fuzz";
/// Stands between cargo and rustc.
const WRAPPER: &str = "xtask/src/fuzz/instrument.sh";
/// Real sessions, from which the fuzzer of sessions starts as well.
const SESSIONS: &str = "tests/sessions";
/// Memory that one input may take; a tenth of it is usual.
const MEMORY_MIB: u32 = 1024;
/// Seconds that one input may take.
const PATIENCE: u32 = 20;
/// Bytes of an input.
const LONGEST: u32 = 32 << 10;
/// Bytes of an input that is kept in the checkout.
const LONGEST_KEPT: u32 = 2 << 10;

/// What to run, and for how long.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// Only this target (arguments, capture_index, decode, session, worker_log)
    #[arg(value_name = "TARGET")]
    target: Option<String>,
    /// How long each target runs
    #[arg(long, value_name = "N", default_value_t = 60)]
    seconds: u32,
    /// Add to the corpus in the checkout what goes ways that nothing in it goes yet
    #[arg(long)]
    keep: bool,
}

impl Options {
    /// What the continuous integration runs.
    pub(crate) fn short() -> Self {
        Self { target: None, seconds: 10, keep: false }
    }
}

/// Builds the fuzzers and runs them, one on each processor.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let targets = targets(workspace, options.target.as_deref())?;
    setup::ensure_for_fuzz()?;
    build(workspace)?;
    let (waiting, found) = (Mutex::new(targets), Mutex::new(Vec::new()));
    let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).pop();
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(name) = next() {
                    let outcome = Fuzzer::new(workspace, &name).run(options);
                    let outcome = outcome.with_context(|| format!("the fuzzer {name}"));
                    found.lock().unwrap_or_else(PoisonError::into_inner).push(outcome);
                }
            });
        }
    });
    let mut is_clean = true;
    for outcome in found.into_inner().unwrap_or_else(PoisonError::into_inner) {
        let outcome = outcome?;
        is_clean &= outcome.is_clean();
        say(&outcome.to_string());
    }
    if !is_clean {
        bail!(
            "inputs were found for which something does not hold: mend it, and keep the input in \
             {CRATE}/corpus/TARGET, where `cargo test -p tracer-fuzz` tries it"
        );
    }
    Ok(())
}

/// The targets there are, or the one that was named.
fn targets(workspace: &Workspace, named: Option<&str>) -> Result<Vec<String>> {
    let folder = workspace.root().join(CRATE).join("fuzz_targets");
    let entries =
        fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let mut targets: Vec<String> = entries
        .filter_map(|entry| Some(entry.ok()?.path().file_stem()?.to_str()?.to_owned()))
        .collect();
    targets.sort();
    match named {
        None => Ok(targets),
        Some(name) if targets.iter().any(|target| target == name) => Ok(vec![name.to_owned()]),
        Some(name) => bail!("there is no target {name}: choose one of {}", targets.join(", ")),
    }
}

fn build(workspace: &Workspace) -> Result<()> {
    let mut build = cargo::cargo(workspace);
    build
        .args(["build", "--release", "--package", "tracer-fuzz", "--features", "libfuzzer"])
        .arg("--bins")
        .env("RUSTC_WORKSPACE_WRAPPER", workspace.root().join(WRAPPER));
    if workspace.ebpf_object().exists() {
        // As in every other build, so that none of them spoils what the other built.
        build.env(OBJECT_VARIABLE, workspace.ebpf_object());
    }
    command::run(&mut build)
}

/// One target, and where its files are.
struct Fuzzer<'a> {
    name: &'a str,
    program: PathBuf,
    root: &'a Path,
    /// What it has found so far: grows, and is not in the checkout.
    corpus: PathBuf,
    /// Inputs for which something does not hold.
    failures: PathBuf,
    log: PathBuf,
}

impl<'a> Fuzzer<'a> {
    fn new(workspace: &'a Workspace, name: &'a str) -> Self {
        let folder = workspace.target().join("fuzz");
        Self {
            name,
            program: workspace.target().join("release").join(name),
            root: workspace.root(),
            corpus: folder.join("corpus").join(name),
            failures: folder.join("failures"),
            log: folder.join(format!("{name}.log")),
        }
    }

    fn run(&self, options: &Options) -> Result<Outcome> {
        for folder in [&self.corpus, &self.failures] {
            fs::create_dir_all(folder)
                .with_context(|| format!("cannot make {}", folder.display()))?;
        }
        let mut command = Command::new(&self.program);
        command
            .arg(format!("-max_total_time={}", options.seconds))
            .args([format!("-rss_limit_mb={MEMORY_MIB}"), format!("-timeout={PATIENCE}")])
            .arg(format!("-max_len={LONGEST}"))
            .arg(format!("-artifact_prefix={}/{}-", self.failures.display(), self.name))
            .arg("-print_final_stats=1");
        let words = self.root.join(CRATE).join("dictionaries").join(self.name);
        if words.exists() {
            command.arg(format!("-dict={}", words.display()));
        }
        command.arg(&self.corpus).arg(self.kept());
        if self.name == "session" {
            command.arg(self.root.join(SESSIONS));
        }
        let outcome = Outcome::of(self.name, &self.to_log(&mut command)?, &self.log)?;
        if options.keep && outcome.is_clean() {
            self.keep()?;
        }
        Ok(outcome)
    }

    /// The corpus in the checkout.
    fn kept(&self) -> PathBuf {
        self.root.join(CRATE).join("corpus").join(self.name)
    }

    fn keep(&self) -> Result<()> {
        let mut command = Command::new(&self.program);
        // Few files that go all ways; how often each goes them would be ten times as many.
        let few = ["-set_cover_merge=1", "-use_counters=0"];
        command.args(few).arg(format!("-max_len={LONGEST_KEPT}"));
        let status = self.to_log(command.arg(self.kept()).arg(&self.corpus))?;
        if !status.success() {
            bail!("its corpus could not be put together: see {}", self.log.display());
        }
        Ok(())
    }

    /// Runs to the end; what it says goes into the log.
    fn to_log(&self, command: &mut Command) -> Result<std::process::ExitStatus> {
        let log = File::create(&self.log)
            .with_context(|| format!("cannot make {}", self.log.display()))?;
        let error = log.try_clone().context("no descriptors left")?;
        command
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(error)
            .status()
            .with_context(|| format!("cannot start {}", self.program.display()))
    }
}
