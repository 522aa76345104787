//! Attaches the hooks in order, or says which one the kernel refused.

mod self_test;
#[allow(unsafe_code, reason = "a thread of its own gets another view of the file system")]
mod tracefs;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, PoisonError},
    thread::available_parallelism,
};

use aya::{
    Ebpf,
    programs::{BtfTracePoint, Iter, Program, ProgramError, TracePoint},
};

use crate::{
    KernelSettings, Loader, LoaderError,
    error::reason,
    hooks::{self, At, HOOKS, Hook, ITERATORS, Need, Place, Walk},
    load::Kernel,
    maps::unpreempted::Unpreempted,
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
    /// Attaches every hook that these settings need, in the attach mode that they name. Where they name none, the
    /// other mode is tried when the kernel refuses the chosen one. Once: the kernel's types are dropped afterwards.
    ///
    /// # Errors
    /// [`LoaderError::Program`] with the kernel's words; [`LoaderError::Silent`], [`LoaderError::Tracefs`] and
    /// [`LoaderError::EventField`].
    pub fn attach(&mut self, settings: &KernelSettings) -> Result<(), LoaderError> {
        let kernel = self.kernel.take().ok_or(LoaderError::NoObject)?;
        let may_change = settings.attach_mode.is_none();
        self.mode.attach(may_change, |mode| {
            self.mode = mode;
            let attached = self.attach_all(settings, &kernel);
            if attached.is_err() {
                self.unload();
            }
            attached
        })?;
        drop(kernel);
        give_back_memory();
        Ok(())
    }

    fn attach_all(
        &mut self,
        settings: &KernelSettings,
        kernel: &Kernel,
    ) -> Result<(), LoaderError> {
        hooks::check_fields(self.mode, &kernel.types)?;
        let wanted = |hook: &&Hook| match hook.need {
            Need::Always => true,
            Need::Cgroup => settings.cgroup.is_some(),
            Need::Uring => self.uring_covered,
        };
        let places: Vec<Place> =
            HOOKS.iter().filter(wanted).map(|hook| hook.place(self.mode)).collect();
        // All of the verifier's work comes before the first hook, so that they start together.
        let hooks = places.iter().copied().map(Part::Hook);
        let parts: Vec<Part> = hooks.chain(ITERATORS.iter().map(Part::Iterator)).collect();
        verify(&mut self.bpf, &parts, kernel)?;
        let mut attach = || places.iter().try_for_each(|place| self.attach_hook(*place, kernel));
        if places.iter().any(|place| matches!(place.at, At::Event(..))) {
            tracefs::with(attach)?;
            self.unpreempted = Unpreempted::from_now_on();
        } else {
            attach()?;
        }
        self.self_test()
    }

    fn attach_hook(&mut self, place: Place, kernel: &Kernel) -> Result<(), LoaderError> {
        let hook = place.name(&kernel.types);
        let refused = |error: ProgramError| LoaderError::Program { hook, reason: reason(&error) };
        let program = self.bpf.program_mut(place.program).ok_or(LoaderError::NoObject)?;
        match place.at {
            At::Tracepoint(_) => {
                let program: &mut BtfTracePoint = program.try_into().map_err(refused)?;
                program.attach().map(|_| ()).map_err(refused)
            }
            At::Event(folder, name) => {
                let program: &mut TracePoint = program.try_into().map_err(refused)?;
                program.attach(folder, name).map(|_| ()).map_err(refused)
            }
        }
    }

    /// Why the kernel refuses a program, if it does.
    fn refusal(&mut self, part: Part, kernel: &Kernel) -> Option<String> {
        verify(&mut self.bpf, &[part], kernel).err().map(|error| error.to_string())
    }

    /// Detaches every hook; the maps stay readable.
    pub fn detach(&mut self) {
        self.unpreempted = Unpreempted::default();
        let hooks: Vec<&str> = HOOKS.iter().map(|hook| hook.place(self.mode).program).collect();
        self.unload_if(|name| hooks.contains(&name));
    }

    /// Detaches every hook and unloads every program, so that they can be loaded again.
    fn unload(&mut self) {
        self.detach();
        self.unload_if(|_| true);
    }

    fn unload_if(&mut self, wanted: impl Fn(&str) -> bool) {
        for (_, program) in self.bpf.programs_mut().filter(|(name, _)| wanted(name)) {
            // Fails only when it was not loaded.
            let _ = match program {
                Program::BtfTracePoint(program) => program.unload(),
                Program::TracePoint(program) => program.unload(),
                Program::Iter(program) => program.unload(),
                Program::RawTracePoint(program) => program.unload(),
                _ => Ok(()),
            };
        }
    }
}

/// Loading needs some megabytes that a trace does not; the allocator would keep them.
#[allow(unsafe_code, reason = "memory is given back by a function of C")]
fn give_back_memory() {
    // SAFETY: takes a number; other threads may allocate at the same time.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
    }
}

/// A program that is to be loaded.
#[derive(Clone, Copy)]
enum Part {
    Hook(Place),
    Iterator(&'static Walk),
}

impl Part {
    /// Its name in the object.
    fn program(self) -> &'static str {
        match self {
            Self::Hook(place) => place.program,
            Self::Iterator(iterator) => iterator.program,
        }
    }

    /// Has the kernel verify and translate it.
    fn load(self, program: &mut Program, kernel: &Kernel) -> Result<(), LoaderError> {
        let hook = match self {
            Self::Hook(place) => place.name(&kernel.types),
            Self::Iterator(iterator) => iterator.program,
        };
        let refused = |error: ProgramError| LoaderError::Program { hook, reason: reason(&error) };
        match self {
            Self::Hook(Place { at: At::Tracepoint(_), .. }) => {
                let program: &mut BtfTracePoint = program.try_into().map_err(refused)?;
                program.load(hook, &kernel.targets).map_err(refused)
            }
            Self::Hook(Place { at: At::Event(..), .. }) => {
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

/// Loads programs, on all CPUs: the kernel verifies them side by side, and that is most of the time
/// until a trace begins. The dearest should be the first. Of several that are refused the first one is
/// told.
fn verify(bpf: &mut Ebpf, parts: &[Part], kernel: &Kernel) -> Result<(), LoaderError> {
    let mut found: HashMap<&str, &mut Program> = bpf.programs_mut().collect();
    let mut work = Vec::new();
    for (place, part) in parts.iter().enumerate() {
        work.push((place, *part, found.remove(part.program()).ok_or(LoaderError::NoObject)?));
    }
    let threads = available_parallelism().map_or(1, usize::from).min(work.len());
    // Taken from the end.
    work.reverse();
    let (work, refused) = (Mutex::new(work), Mutex::new(BTreeMap::new()));
    let next = || work.lock().unwrap_or_else(PoisonError::into_inner).pop();
    std::thread::scope(|scope| {
        let worker = || {
            while let Some((place, part, program)) = next() {
                if let Err(error) = part.load(program, kernel) {
                    refused.lock().unwrap_or_else(PoisonError::into_inner).insert(place, error);
                }
            }
        };
        for _ in 1..threads {
            scope.spawn(worker);
        }
        worker();
    });
    let refused = refused.into_inner().unwrap_or_else(PoisonError::into_inner);
    refused.into_values().next().map_or(Ok(()), Err)
}

/// Loads every program once and reports what the kernel says to each.
///
/// # Errors
/// [`LoaderError`] when not even the object could be prepared.
pub fn check_hooks() -> Result<Vec<HookCheck>, LoaderError> {
    let mut loader = Loader::load(&KernelSettings::default())?;
    let kernel = loader.kernel.take().ok_or(LoaderError::NoObject)?;
    hooks::check_fields(loader.mode, &kernel.types)?;
    let mut checks = Vec::new();
    for hook in HOOKS {
        let place = hook.place(loader.mode);
        let absent = hook.need == Need::Uring && !loader.uring_covered;
        let refused = if absent {
            Some("this kernel's io_uring tracepoints do not name the request (needs 5.19)".into())
        } else {
            loader.refusal(Part::Hook(place), &kernel)
        };
        checks.push(HookCheck {
            name: place.name(&kernel.types),
            purpose: hook.purpose,
            refused,
            optional: hook.need == Need::Uring,
        });
    }
    checks.extend(ITERATORS.iter().map(|iterator| HookCheck {
        name: iterator.name,
        purpose: iterator.purpose,
        refused: loader.refusal(Part::Iterator(iterator), &kernel),
        optional: false,
    }));
    Ok(checks)
}
