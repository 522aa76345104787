//! Runs the fuzzers of all code that parses untrusted input: `cargo xtask fuzz`.
//!
//! The fuzz targets are in `tracer/fuzz`; `cargo test` runs them on the corpus in the checkout. They are built by
//! tracer's own compiler, without a nightly one and without `cargo-fuzz`.

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

/// The crate of the fuzz targets.
const CRATE: &str = "tracer/fuzz";
/// cargo calls it in place of rustc.
const WRAPPER: &str = "xtask/src/checks/fuzz/instrument.sh";
/// Recorded sessions, which are further seeds of the target `session`.
const SESSIONS: &str = "tests/sessions";
/// Limit of a fuzzer's memory; a tenth of it is usual.
const MEMORY_MIB: u32 = 1024;
/// Seconds after which an input counts as a hang.
const TIMEOUT: u32 = 20;
/// Limit of an input, in bytes.
const LONGEST: u32 = 32 << 10;
/// Limit of an input in the checkout's corpus, in bytes.
const LONGEST_KEPT: u32 = 2 << 10;

/// Options of `cargo xtask fuzz`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// Only this target (arguments, capture_index, decode, guest, session, worker_log)
    #[arg(value_name = "TARGET")]
    target: Option<String>,
    /// How long each target runs
    #[arg(long, value_name = "N", default_value_t = 60)]
    seconds: u32,
    /// Add inputs with new coverage to the corpus in the checkout
    #[arg(long)]
    keep: bool,
}

impl Options {
    /// A short run of all targets, for the continuous integration.
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
            "failing inputs were found: fix the cause, and add the input to {CRATE}/corpus/TARGET, \
             where `cargo test -p tracer-fuzz` runs it"
        );
    }
    Ok(())
}

/// All targets, or the one that was named.
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
        // The same value as in other builds: a change would rebuild the tool.
        build.env(OBJECT_VARIABLE, workspace.ebpf_object());
    }
    command::run(&mut build)
}

/// A target and its files.
struct Fuzzer<'a> {
    name: &'a str,
    program: PathBuf,
    root: &'a Path,
    /// Inputs that earlier runs found; grows, and is not in the checkout.
    corpus: PathBuf,
    /// Inputs that made a target fail.
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
            .args([format!("-rss_limit_mb={MEMORY_MIB}"), format!("-timeout={TIMEOUT}")])
            .arg(format!("-max_len={LONGEST}"))
            .arg(format!("-artifact_prefix={}/{}-", self.failures.display(), self.name))
            .arg("-print_final_stats=1");
        let words = self.root.join(CRATE).join("dictionaries").join(self.name);
        if words.exists() {
            command.arg(format!("-dict={}", words.display()));
        }
        command.arg(&self.corpus).arg(self.checkout_corpus());
        if self.name == "session" {
            command.arg(self.root.join(SESSIONS));
        }
        let outcome = Outcome::of(self.name, &self.run_logged(&mut command)?, &self.log)?;
        if options.keep && outcome.is_clean() {
            self.merge_corpus()?;
        }
        Ok(outcome)
    }

    /// The corpus in the checkout.
    fn checkout_corpus(&self) -> PathBuf {
        self.root.join(CRATE).join("corpus").join(self.name)
    }

    fn merge_corpus(&self) -> Result<()> {
        let mut command = Command::new(&self.program);
        // The smallest set with full coverage. Without counters, which need ten times as many files.
        let few = ["-set_cover_merge=1", "-use_counters=0"];
        command.args(few).arg(format!("-max_len={LONGEST_KEPT}"));
        let status = self.run_logged(command.arg(self.checkout_corpus()).arg(&self.corpus))?;
        if !status.success() {
            bail!("its corpus could not be put together: see {}", self.log.display());
        }
        Ok(())
    }

    /// Runs to the end with output into the log.
    fn run_logged(&self, command: &mut Command) -> Result<std::process::ExitStatus> {
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
