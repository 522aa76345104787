//! Programs on the kernel's functions of system calls, so that other calls cost nothing.
//!
//! They are attached one after the other while `sys_exit` counts already. From the moment on at which a function has its
//! program, that program counts the calls that begin. `sys_exit` counts those that began before (`tracer-ebpf/src/events/once.rs`)
//! and is detached when they have returned ([`Loader::end_transition`]). Calls that cannot be attached to at all make
//! fexit impossible: a call is never missed in silence.

mod calls;
mod preemption;

use std::{
    fs,
    os::fd::{AsFd as _, AsRawFd as _},
};

use aya::{
    maps::{Array, HashMap, MapError, ProgramArray},
    programs::{FExit, ProgramError, ProgramFd, fexit::FExitLink},
    sys::{Stats, enable_stats},
};
use tracer_common::{names, process::ProcessEntry};

pub use self::calls::is_looked_at;
use crate::{
    Loader, LoaderError,
    btf::KernelTypes,
    error::reason,
    hooks::{Attach, HOOKS},
    kernel::Kernel,
};

/// The programs on functions, and how far they replace `sys_exit`.
#[derive(Debug, Default)]
pub(crate) struct Functions {
    attached: Vec<Attached>,
    /// Whether calls may last that began before their function had a program.
    is_transition: bool,
    /// Runs of `sys_exit` that the kernel had skipped when it was detached.
    skipped_before: u64,
}

/// A program on a function. Dropping it detaches it.
#[derive(Debug)]
struct Attached {
    program: ProgramFd,
    _link: FExitLink,
}

/// Values of the map [`names::MAP_TRANSITION`].
mod phase {
    /// The programs on functions count all calls, or there are none.
    pub(super) const OFF: u32 = 0;
    /// `sys_exit` counts some of them.
    pub(super) const TRANSITION: u32 = 1;
    /// The programs on functions do nothing.
    pub(super) const STOPPED: u32 = 2;
}

/// Whether programs on functions are to be tried on this kernel; the error says why not.
pub(crate) fn is_tried(attach: Attach, types: &KernelTypes) -> Result<(), Option<String>> {
    match attach {
        Attach::SysExit => Err(None),
        Attach::Fexit => Ok(()),
        Attach::PreferFexit => preemption::reason(types).map_or(Ok(()), |reason| Err(Some(reason))),
    }
}

impl Functions {
    /// What the kernel tells about each program under this key (`bpf_prog_show_fdinfo`, kernel/bpf/syscall.c), summed.
    fn sum(&self, key: &str) -> u64 {
        self.attached.iter().filter_map(|one| told(&one.program, key)).sum()
    }

    /// Runs that the kernel skipped.
    pub(crate) fn skipped_runs(&self) -> u64 {
        self.skipped_before + self.sum("recursion_misses:")
    }
}

/// What the kernel tells about a program under this key.
fn told(program: &ProgramFd, key: &str) -> Option<u64> {
    let path = format!("/proc/self/fdinfo/{}", program.as_fd().as_raw_fd());
    let info = fs::read_to_string(path).ok()?;
    info.lines().find_map(|line| line.strip_prefix(key))?.trim().parse().ok()
}

impl Loader {
    /// Attaches a program to the function of each call that matters. If one cannot be attached to, none is.
    ///
    /// # Errors
    /// [`LoaderError::Fexit`] names the first function that the kernel refuses; [`LoaderError::Silent`].
    pub(crate) fn attach_functions(&mut self, kernel: &Kernel) -> Result<(), LoaderError> {
        let attached = self.try_functions(kernel);
        if attached.is_err() {
            let had_one = !self.functions.attached.is_empty();
            self.functions.attached.clear();
            // A call that was counted and noted may still be on its way to `sys_exit`.
            if !had_one {
                let _ = self.set_phase(phase::OFF);
            }
        }
        self.functions.is_transition = attached.is_ok();
        attached
    }

    fn try_functions(&mut self, kernel: &Kernel) -> Result<(), LoaderError> {
        if kernel.types.struct_id("bpf_tramp_image").is_none() {
            return Err(LoaderError::Fexit {
                function: calls::OF_READ.to_owned(),
                reason: NO_IMAGE.to_owned(),
            });
        }
        let functions = calls::functions().map_err(|error| LoaderError::Fexit {
            function: calls::OF_READ.to_owned(),
            reason: format!("/proc/kallsyms cannot be read: {error}"),
        })?;
        self.set_phase(phase::TRANSITION)?;
        let mut begun = 0;
        for function in &functions {
            let attached = self.attach_with_any(function, &mut begun, kernel)?;
            self.functions.attached.push(attached);
        }
        self.test_functions()
    }

    /// Attaches the first of [`PAIRS`] that the kernel takes for this function. `begun` is how many of them have their slow path.
    fn attach_with_any(
        &mut self,
        function: &str,
        begun: &mut usize,
        kernel: &Kernel,
    ) -> Result<Attached, LoaderError> {
        let mut attached = Err(LoaderError::NoObject);
        for (index, (program, slow_path)) in PAIRS.into_iter().enumerate() {
            if index == *begun {
                self.load_slow_path(slow_path, function, kernel)?;
                *begun += 1;
            }
            attached = self.attach_function(program, function, kernel);
            if attached.is_ok() {
                break;
            }
        }
        attached
    }

    /// Loads the program that others for functions with this prototype continue with.
    fn load_slow_path(
        &mut self,
        map: &'static str,
        function: &str,
        kernel: &Kernel,
    ) -> Result<(), LoaderError> {
        let program = self.fexit(names::FEXIT_SLOW)?;
        program.load(function, &kernel.targets).map_err(refused(function))?;
        let fd = program.fd().and_then(|fd| Ok(fd.try_clone()?));
        let fd = fd.map_err(refused(function))?;
        // The map keeps it.
        program.unload().map_err(refused(function))?;
        let mut slow: ProgramArray<_> = self.map_mut(map)?;
        slow.set(0, &fd, 0).map_err(|error| LoaderError::map("fill", map, reason(&error)))
    }

    /// Loads the program for one function and attaches it.
    fn attach_function(
        &mut self,
        program: &'static str,
        function: &str,
        kernel: &Kernel,
    ) -> Result<Attached, LoaderError> {
        let program = self.fexit(program)?;
        let mut attach = || {
            program.load(function, &kernel.targets)?;
            let fd = program.fd()?.try_clone()?;
            let link = program.attach()?;
            let link = program.take_link(link)?;
            program.unload()?;
            Ok(Attached { program: fd, _link: link })
        };
        let attached = attach();
        if attached.is_err() {
            // It may be loaded and not attached.
            let _ = program.unload();
        }
        attached.map_err(refused(function))
    }

    fn fexit(&mut self, name: &'static str) -> Result<&mut FExit, LoaderError> {
        let program = self.bpf.program_mut(name).ok_or(LoaderError::NoObject)?;
        program.try_into().map_err(|_| LoaderError::NoObject)
    }

    /// Checks that the kernel calls the programs. Reading what the kernel tells about them is a `read(2)`. As
    /// [`Loader::self_test`], it passes where runs are not counted.
    fn test_functions(&self) -> Result<(), LoaderError> {
        let Ok(_counted) = enable_stats(Stats::RunTime) else { return Ok(()) };
        let _ = self.functions.sum("run_cnt:");
        if self.functions.sum("run_cnt:") > 0 { Ok(()) } else { Err(LoaderError::Silent) }
    }

    fn set_phase(&mut self, phase: u32) -> Result<(), LoaderError> {
        let _real_time = self.real_time.enter();
        let mut map: Array<_, u32> = self.map_mut(names::MAP_TRANSITION)?;
        map.set(0, phase, 0).map_err(|error| LoaderError::map("fill", names::MAP_TRANSITION, error))
    }

    /// Whether `sys_exit` is attached beside the programs on functions, for calls that began before those were attached.
    #[must_use]
    pub fn is_in_transition(&self) -> bool {
        self.functions.is_transition
    }

    /// Whether programs on the functions of system calls count.
    #[must_use]
    pub fn counts_by_fexit(&self) -> bool {
        !self.functions.attached.is_empty()
    }

    /// Whether a process is followed now.
    #[must_use]
    pub fn is_followed(&self, tgid: u32) -> bool {
        let _real_time = self.real_time.enter();
        let processes = self.map::<HashMap<_, u32, ProcessEntry>>(names::MAP_PROCESSES);
        processes.is_ok_and(|processes| processes.get(&tgid, 0).is_ok())
    }

    /// Notes threads whose call may have begun before its function had a program. Each of them leaves
    /// [`Loader::old_calls`] when that call returns.
    ///
    /// # Errors
    /// [`LoaderError::Map`], also if there are more than the map has room for.
    pub fn note_old_calls(&mut self, tids: &[u32]) -> Result<(), LoaderError> {
        self.change_old_calls(tids, |map, tid| map.insert(tid, 1, 0))
    }

    /// Takes out threads that are certainly not in such a call.
    ///
    /// # Errors
    /// [`LoaderError::Map`].
    pub fn forget_old_calls(&mut self, tids: &[u32]) -> Result<(), LoaderError> {
        self.change_old_calls(tids, |map, tid| match map.remove(tid) {
            // The call has returned.
            Err(MapError::KeyNotFound) => Ok(()),
            Err(MapError::SyscallError(error))
                if error.io_error.raw_os_error() == Some(libc::ENOENT) =>
            {
                Ok(())
            }
            removed => removed,
        })
    }

    fn change_old_calls(
        &mut self,
        tids: &[u32],
        change: impl Fn(&mut HashMap<&mut aya::maps::MapData, u32, u32>, &u32) -> Result<(), MapError>,
    ) -> Result<(), LoaderError> {
        for some in tids.chunks(AT_ONCE) {
            let _real_time = self.real_time.enter();
            let map = self.bpf.map_mut(names::MAP_OLD_CALLS).ok_or(LoaderError::NoObject)?;
            let open = |error| LoaderError::map("open", names::MAP_OLD_CALLS, error);
            let mut map = HashMap::try_from(map).map_err(open)?;
            for tid in some {
                change(&mut map, tid).map_err(|error| {
                    LoaderError::map("change", names::MAP_OLD_CALLS, reason(&error))
                })?;
            }
        }
        Ok(())
    }

    /// Threads whose call may have begun before its function had a program, and has not returned yet.
    ///
    /// # Errors
    /// [`LoaderError::Map`].
    pub fn old_calls(&self) -> Result<Vec<u32>, LoaderError> {
        let _real_time = self.real_time.enter();
        let map: HashMap<_, u32, u32> = self.map(names::MAP_OLD_CALLS)?;
        crate::maps::ledgers::keys(&map, names::MAP_OLD_CALLS)
    }

    /// Detaches `sys_exit`: from now on the programs on functions count all calls.
    ///
    /// # Errors
    /// [`LoaderError::Map`].
    pub fn end_transition(&mut self) -> Result<(), LoaderError> {
        let hook = HOOKS[0].attachment(self.mode).program;
        self.functions.skipped_before += self.recursion_misses(hook).unwrap_or(0);
        self.functions.is_transition = false;
        self.unload_if(|name| name == hook);
        self.set_phase(phase::OFF)?;
        // A note that is made now stays, and disturbs nothing: nothing looks at it any more.
        let counted: HashMap<_, u32, u32> = self.map(names::MAP_COUNTED_CALLS)?;
        let left = crate::maps::ledgers::keys(&counted, names::MAP_COUNTED_CALLS)?;
        let mut counted: HashMap<_, u32, u32> = self.map_mut(names::MAP_COUNTED_CALLS)?;
        for tid in left {
            // An error means that it is gone.
            let _ = counted.remove(&tid);
        }
        Ok(())
    }

    /// Makes the programs on functions do nothing. They are detached when the loader is dropped, because that takes the
    /// kernel some time for each.
    pub(crate) fn stop_functions(&mut self) {
        if self.counts_by_fexit() {
            // The map has one entry.
            let _ = self.set_phase(phase::STOPPED);
            // The kernel detaches them at the end of the process, after the report: it takes some time for each.
            std::mem::forget(std::mem::take(&mut self.functions.attached));
        }
    }

    /// Whether fexit works here, for `tracer doctor`: the kernel's refusal, or why it would not be exact.
    pub(crate) fn check_functions(&mut self, kernel: &Kernel) -> Option<String> {
        // All of them: a kernel may refuse only some.
        let refused = self.try_functions(kernel).err().map(|error| error.to_string());
        self.stop_functions();
        refused.or_else(|| preemption::reason(&kernel.types))
    }
}

/// The kernel has freed the code around a program while calls slept in the function (commit e21aa341785c, Linux 5.12), for
/// which `struct bpf_tramp_image` came.
const NO_IMAGE: &str =
    "it could crash where a call sleeps in the function: that was mended in Linux 5.12";

/// Programs for functions of one prototype each, and the map with the program that they continue with.
const PAIRS: [(&str, &str); 2] =
    [(names::FEXIT, names::MAP_FEXIT_SLOW), (names::FEXIT_TOO, names::MAP_FEXIT_SLOW_TOO)];

/// How many entries are changed before the thread stops being a real-time task for a moment.
const AT_ONCE: usize = 16;

/// The error for a function that the kernel refuses.
fn refused(function: &str) -> impl Fn(ProgramError) -> LoaderError {
    let function = function.to_owned();
    move |error| LoaderError::Fexit { function: function.clone(), reason: reason(&error) }
}
