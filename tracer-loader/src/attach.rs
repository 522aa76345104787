//! Has the kernel verify the programs, attaches the hooks in order, and names the first one that the kernel refuses.

mod self_test;
mod tracefs;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, PoisonError},
    thread::{Builder, available_parallelism},
};

use aya::{
    Ebpf,
    programs::{BtfTracePoint, Iter, Program, ProgramError, TracePoint},
};

use crate::{
    Attach, KernelSettings, Loader, LoaderError,
    error::reason,
    hooks::{
        self, AttachMode, AttachPoint, Attachment, HOOKS, Hook, ITERATORS, KernelIterator, Need,
    },
    kernel::Kernel,
    maps::real_time::RealTime,
    pins::Pins,
};

/// The result of loading one program, for `tracer doctor`.
#[derive(Clone, Debug)]
pub struct HookCheck {
    /// Name of the tracepoint, trace event or iterator.
    pub name: &'static str,
    /// What the program is for.
    pub purpose: &'static str,
    /// Why the kernel refused the program; `None` if it loaded it.
    pub refused: Option<String>,
    /// Whether a trace works without it.
    pub optional: bool,
}

impl Loader {
    /// Attaches every hook that these settings need. If they name no attach mode and the kernel refuses the chosen
    /// one, tries the other one. Works once, because it frees the kernel's types.
    ///
    /// # Errors
    /// [`LoaderError::Program`], [`LoaderError::Silent`], [`LoaderError::Tracefs`], [`LoaderError::EventField`], or
    /// [`LoaderError::Fexit`] if the settings demand fexit.
    pub fn attach(&mut self, settings: &KernelSettings) -> Result<(), LoaderError> {
        let kernel = self.kernel.take().ok_or(LoaderError::NoObject)?;
        if self.is_adopted() {
            let iterators: Vec<Loadable> = ITERATORS.iter().map(Loadable::Iterator).collect();
            verify(&mut self.bpf, &iterators, &kernel)?;
            if self.mode == AttachMode::NonPreemptible {
                self.real_time = RealTime::enabled();
            }
            drop(kernel);
            give_back_memory();
            return self.self_test();
        }
        let may_change = settings.attach_mode.is_none();
        self.mode.attach(may_change, |mode| {
            self.mode = mode;
            let attached = self.attach_all(settings, &kernel);
            if attached.is_err() {
                self.unload();
            }
            attached
        })?;
        let explicit = settings.attach == Attach::Fexit;
        if self.counting != Attach::SysExit
            && let Err(refused) = self.attach_functions(&kernel)
        {
            if explicit {
                self.unload();
                return Err(refused);
            }
            tracing::info!("counts with --attach sys_exit: {refused}");
        }
        drop(kernel);
        give_back_memory();
        Ok(())
    }

    fn attach_all(
        &mut self,
        settings: &KernelSettings,
        kernel: &Kernel,
    ) -> Result<(), LoaderError> {
        let mode = self.mode;
        hooks::check_fields(mode, &kernel.types)?;
        let wanted = |hook: &&Hook| match hook.need {
            Need::Always => true,
            Need::Cgroup => settings.cgroup.is_some(),
            Need::Uring => self.uring_covered,
        };
        let attachments: Vec<Attachment> =
            HOOKS.iter().filter(wanted).map(|hook| hook.attachment(mode)).collect();
        // Verification takes longest. It is over before the first hook is attached, so that all hooks start at nearly
        // the same time.
        let hooks = attachments.iter().copied().map(Loadable::Hook);
        let iterators = ITERATORS.iter().map(Loadable::Iterator);
        let programs: Vec<Loadable> = hooks.chain(iterators).collect();
        verify(&mut self.bpf, &programs, kernel)?;
        let mut attach =
            || attachments.iter().try_for_each(|attachment| self.attach_hook(*attachment, kernel));
        match mode {
            AttachMode::TpBtf => attach()?,
            AttachMode::NonPreemptible => {
                tracefs::with(attach)?;
                self.real_time = RealTime::enabled();
            }
        }
        self.self_test()?;
        self.pins.as_ref().map_or(Ok(()), Pins::complete)
    }

    fn attach_hook(&mut self, attachment: Attachment, kernel: &Kernel) -> Result<(), LoaderError> {
        let hook = attachment.name(&kernel.types);
        let refused = |error: ProgramError| LoaderError::Program { hook, reason: reason(&error) };
        let program = self.bpf.program_mut(attachment.program).ok_or(LoaderError::NoObject)?;
        match attachment.point {
            AttachPoint::Tracepoint(_) => {
                let program: &mut BtfTracePoint = program.try_into().map_err(refused)?;
                let link = program.attach().map_err(refused)?;
                let Some(pins) = &self.pins else { return Ok(()) };
                let link = program.take_link(link).map_err(refused)?;
                pins.pin_link(attachment.program, link.into())
            }
            AttachPoint::TraceEvent(folder, name) => {
                let program: &mut TracePoint = program.try_into().map_err(refused)?;
                let link = program.attach(folder, name).map_err(refused)?;
                let Some(pins) = &self.pins else { return Ok(()) };
                let link = program.take_link(link).map_err(refused)?;
                let link = link.try_into().map_err(|_| LoaderError::Program {
                    hook,
                    reason: "before Linux 5.15 it cannot live on: leave out --pinned".to_owned(),
                })?;
                pins.pin_link(attachment.program, link)
            }
        }
    }

    /// The kernel's error for a program; `None` if the kernel loads it.
    fn refusal(&mut self, loadable: Loadable, kernel: &Kernel) -> Option<String> {
        verify(&mut self.bpf, &[loadable], kernel).err().map(|error| error.to_string())
    }

    /// Detaches every hook, unless they live on in bpffs. The maps stay readable.
    pub fn detach(&mut self) {
        self.stop_functions();
        self.real_time = RealTime::default();
        let hooks: Vec<&str> =
            HOOKS.iter().map(|hook| hook.attachment(self.mode).program).collect();
        self.unload_if(|name| hooks.contains(&name));
    }

    /// Detaches every hook and unloads every program. They can then be loaded again.
    fn unload(&mut self) {
        self.detach();
        self.pins.iter().for_each(Pins::remove_links);
        self.unload_if(|_| true);
    }

    pub(crate) fn unload_if(&mut self, wanted: impl Fn(&str) -> bool) {
        for (_, program) in self.bpf.programs_mut().filter(|(name, _)| wanted(name)) {
            // This fails only for a program that is not loaded.
            let _ = match program {
                Program::BtfTracePoint(program) => program.unload(),
                Program::TracePoint(program) => program.unload(),
                Program::Iter(program) => program.unload(),
                Program::FExit(program) => program.unload(),
                _ => Ok(()),
            };
        }
    }
}

/// Returns the allocator's free memory to the system. Loading needs some megabytes that a trace does not need.
#[allow(unsafe_code, reason = "memory is given back by a function of C")]
fn give_back_memory() {
    // SAFETY: `malloc_trim` takes a number, and other threads may allocate at the same time.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
    }
}

/// A program that the kernel has to load.
#[derive(Clone, Copy)]
enum Loadable {
    Hook(Attachment),
    Iterator(&'static KernelIterator),
}

impl Loadable {
    /// The program's name in the object.
    fn program(self) -> &'static str {
        match self {
            Self::Hook(attachment) => attachment.program,
            Self::Iterator(iterator) => iterator.program,
        }
    }

    /// Has the kernel verify and compile the program.
    fn load(self, program: &mut Program, kernel: &Kernel) -> Result<(), LoaderError> {
        let hook = match self {
            Self::Hook(attachment) => attachment.name(&kernel.types),
            Self::Iterator(iterator) => iterator.program,
        };
        let refused = |error: ProgramError| LoaderError::Program { hook, reason: reason(&error) };
        match self {
            Self::Hook(Attachment { point: AttachPoint::Tracepoint(_), .. }) => {
                let program: &mut BtfTracePoint = program.try_into().map_err(refused)?;
                program.load(hook, &kernel.targets).map_err(refused)
            }
            Self::Hook(Attachment { point: AttachPoint::TraceEvent(..), .. }) => {
                let program: &mut TracePoint = program.try_into().map_err(refused)?;
                program.load().map_err(refused)
            }
            Self::Iterator(iterator) => {
                let program: &mut Iter = program.try_into().map_err(refused)?;
                program.load(iterator.kind, &kernel.targets).map_err(refused)
            }
        }
    }
}

/// Loads programs on all CPUs. Verification takes most of the time until a trace begins, and the kernel verifies
/// several programs at once. The slowest program should be the first of `programs`.
///
/// # Errors
/// The error of the first of `programs` that the kernel refused.
fn verify(bpf: &mut Ebpf, programs: &[Loadable], kernel: &Kernel) -> Result<(), LoaderError> {
    let mut found: HashMap<&str, &mut Program> = bpf.programs_mut().collect();
    let mut work = Vec::new();
    for (index, loadable) in programs.iter().enumerate() {
        let program = found.remove(loadable.program()).ok_or(LoaderError::NoObject)?;
        work.push((index, *loadable, program));
    }
    let threads = available_parallelism().map_or(1, usize::from).min(work.len());
    // `pop` takes from the end.
    work.reverse();
    let (work, refused) = (Mutex::new(work), Mutex::new(BTreeMap::new()));
    let next = || work.lock().unwrap_or_else(PoisonError::into_inner).pop();
    std::thread::scope(|scope| {
        let worker = || {
            while let Some((index, loadable, program)) = next() {
                if let Err(error) = loadable.load(program, kernel) {
                    refused.lock().unwrap_or_else(PoisonError::into_inner).insert(index, error);
                }
            }
        };
        for _ in 1..threads {
            // Where the system allows no thread, this one verifies all.
            drop(Builder::new().spawn_scoped(scope, worker));
        }
        worker();
    });
    let refused = refused.into_inner().unwrap_or_else(PoisonError::into_inner);
    refused.into_values().next().map_or(Ok(()), Err)
}

/// Loads every program and returns the kernel's answer for each.
///
/// # Errors
/// [`LoaderError`] if the object itself cannot be loaded.
pub fn check_hooks() -> Result<Vec<HookCheck>, LoaderError> {
    let mut loader = Loader::load(&KernelSettings::default())?;
    let kernel = loader.kernel.take().ok_or(LoaderError::NoObject)?;
    hooks::check_fields(loader.mode, &kernel.types)?;
    let mut checks = Vec::new();
    for hook in HOOKS {
        let attachment = hook.attachment(loader.mode);
        let absent = hook.need == Need::Uring && !loader.uring_covered;
        let refused = if absent {
            Some("this kernel's io_uring tracepoints do not name the request (needs 5.19)".into())
        } else {
            loader.refusal(Loadable::Hook(attachment), &kernel)
        };
        checks.push(HookCheck {
            name: attachment.name(&kernel.types),
            purpose: hook.purpose,
            refused,
            optional: hook.need == Need::Uring,
        });
    }
    checks.push(HookCheck {
        name: "fexit",
        purpose: "the recorder's: other calls than writes, reads and their kin cost nothing",
        refused: loader.check_functions(&kernel),
        optional: true,
    });
    checks.extend(ITERATORS.iter().map(|iterator| HookCheck {
        name: iterator.name,
        purpose: iterator.purpose,
        refused: loader.refusal(Loadable::Iterator(iterator), &kernel),
        optional: false,
    }));
    Ok(checks)
}
