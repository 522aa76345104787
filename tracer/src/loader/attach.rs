//! Attaches the hooks in order, or says which one the kernel refused.

use aya::programs::{BtfTracePoint, Iter};
use tracer_common::names;

use super::{
    KernelSettings, Loader, LoaderError,
    error::reason,
    hooks::{self, HOOKS, Hook, Need},
};

/// Whether one hook would work here, found out by really loading it.
#[derive(Clone, Debug)]
pub struct HookCheck {
    /// The tracepoint or iterator.
    pub name: &'static str,
    /// What it gives.
    pub purpose: &'static str,
    /// Why it was refused.
    pub refused: Option<String>,
    /// Whether a trace works without it.
    pub optional: bool,
}

impl Loader {
    /// Attaches every hook that these settings need.
    ///
    /// # Errors
    /// [`LoaderError::Program`] with the kernel's words.
    pub fn attach(&mut self, settings: &KernelSettings) -> Result<(), LoaderError> {
        let covered = self.uring_covered;
        let wanted = |hook: &&Hook| match hook.need {
            Need::Always => true,
            Need::Cgroup => settings.cgroup.is_some(),
            Need::Uring => covered,
        };
        // All of the verifier's work comes before the first hook, so that they start together.
        for hook in HOOKS.iter().filter(wanted) {
            self.load_hook(hook)?;
        }
        self.load_iterator(names::ADOPT, "task")?;
        self.load_iterator(names::HOLDERS, "task_file")?;
        HOOKS.iter().filter(wanted).try_for_each(|hook| self.attach_hook(hook))
    }

    fn load_hook(&mut self, hook: &Hook) -> Result<(), LoaderError> {
        let name = hooks::tracepoint(hook, &self.types);
        let refused = |error: &dyn std::error::Error| LoaderError::Program {
            hook: hook.tracepoints[0],
            reason: reason(error),
        };
        let program = self.bpf.program_mut(hook.program).ok_or(LoaderError::NoObject)?;
        let program: &mut BtfTracePoint = program.try_into().map_err(|error| refused(&error))?;
        program.load(name, &self.btf).map_err(|error| refused(&error))
    }

    fn attach_hook(&mut self, hook: &Hook) -> Result<(), LoaderError> {
        let name = hooks::tracepoint(hook, &self.types);
        let refused = |error: &dyn std::error::Error| LoaderError::Program {
            hook: name,
            reason: reason(error),
        };
        let program = self.bpf.program_mut(hook.program).ok_or(LoaderError::NoObject)?;
        let program: &mut BtfTracePoint = program.try_into().map_err(|error| refused(&error))?;
        program.attach().map(|_| ()).map_err(|error| refused(&error))
    }

    fn load_iterator(&mut self, program: &'static str, kind: &str) -> Result<(), LoaderError> {
        let refused = |error: &dyn std::error::Error| LoaderError::Program {
            hook: program,
            reason: reason(error),
        };
        let found = self.bpf.program_mut(program).ok_or(LoaderError::NoObject)?;
        let iterator: &mut Iter = found.try_into().map_err(|error| refused(&error))?;
        iterator.load(kind, &self.btf).map_err(|error| refused(&error))
    }

    /// Detaches every hook; the maps stay readable.
    pub fn detach(&mut self) {
        for hook in HOOKS {
            let Some(program) = self.bpf.program_mut(hook.program) else { continue };
            if let Ok(program) = <&mut BtfTracePoint>::try_from(program) {
                // Fails only when it was not loaded, and then there is nothing to detach.
                let _ = program.unload();
            }
        }
    }
}

/// Loads every program once and reports what the kernel says to each.
///
/// # Errors
/// [`LoaderError`] when not even the object could be prepared.
pub fn check_hooks() -> Result<Vec<HookCheck>, LoaderError> {
    let mut loader = Loader::load(&KernelSettings::default())?;
    let mut checks = Vec::new();
    for hook in HOOKS {
        let absent = hook.need == Need::Uring && !loader.uring_covered;
        let refused = if absent {
            Some("this kernel's io_uring tracepoints do not name the request (needs 5.19)".into())
        } else {
            loader.load_hook(hook).err().map(|error| error.to_string())
        };
        checks.push(HookCheck {
            name: hooks::tracepoint(hook, &loader.types),
            purpose: hook.purpose,
            refused,
            optional: hook.need == Need::Uring,
        });
    }
    for (program, kind, purpose) in [
        (names::ADOPT, "task", "processes that are there already"),
        (names::HOLDERS, "task_file", "who holds an object open"),
    ] {
        checks.push(HookCheck {
            name: if kind == "task" { "iter/task" } else { "iter/task_file" },
            purpose,
            refused: loader.load_iterator(program, kind).err().map(|error| error.to_string()),
            optional: false,
        });
    }
    Ok(checks)
}
