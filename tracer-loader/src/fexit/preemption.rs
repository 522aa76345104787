//! Whether this kernel can preempt an fexit program.
//!
//! While such a program is preempted, the kernel skips it for every other task of that CPU (`__bpf_prog_enter_recur`,
//! kernel/bpf/trampoline.c, Linux 5.12), and calls would be missed. The trampoline around the program calls
//! `migrate_disable`. Up to Linux 5.14 that turns preemption off, because a kernel without `PREEMPT_RT` had nothing else.
//! From 5.15 on a kernel with `CONFIG_SMP` has a member `task_struct.migration_disabled`, and the program can be preempted
//! if the kernel preempts kernel code at all. It does so with the models `full`, `lazy` and `PREEMPT_RT`. It does not
//! with `none` and `voluntary`: there a task leaves the CPU only where it waits or offers it (`cond_resched`), and
//! an eBPF program that may not sleep does neither.
//!
//! The model can be changed while a kernel with `PREEMPT_DYNAMIC` runs. Then skipped runs are counted
//! ([`Loader::skipped_runs`](crate::Loader::skipped_runs)).

use std::{fs, io, path::Path};

use crate::{LoaderError, btf::KernelTypes, thread::private_mount};

/// Where the kernel tells its model (`kernel/sched/debug.c`, Linux 5.13).
const DEBUGFS: &str = "/sys/kernel/debug";
const MODEL: &str = "sched/preempt";

/// Why the kernel can preempt an fexit program; `None` if it cannot.
pub(super) fn reason(types: &KernelTypes) -> Option<String> {
    let has = |member| types.offset_in("task_struct", member).is_some();
    // `on_cpu` belongs to `CONFIG_SMP`, or to every kernel (6.17).
    if has("on_cpu") && !has("migration_disabled") {
        return None;
    }
    let version = rustix::system::uname();
    judge(&version.version().to_string_lossy(), model)
}

/// `version` is that of `uname -v`, to which the kernel's build adds its kind of preemption (`init/Makefile`).
fn judge(version: &str, model: impl FnOnce() -> Result<String, LoaderError>) -> Option<String> {
    let mut kinds = version.split_whitespace().filter(|word| word.starts_with("PREEMPT"));
    let kind = kinds.next()?;
    if kind != "PREEMPT_DYNAMIC" {
        return Some(format!("this kernel can preempt eBPF programs there ({kind})"));
    }
    match model() {
        Ok(text) => match chosen(&text) {
            Some("none" | "voluntary") => None,
            Some(other) => {
                Some(format!("this kernel can preempt eBPF programs there (preempt={other})"))
            }
            None => Some(format!("{DEBUGFS}/{MODEL} does not tell which model the kernel uses")),
        },
        Err(error) => Some(format!(
            "{DEBUGFS}/{MODEL}, which tells whether this kernel can preempt eBPF programs, cannot be read: {error}"
        )),
    }
}

/// The model in parentheses: `none (voluntary) full`.
fn chosen(text: &str) -> Option<&str> {
    text.split_whitespace().find_map(|word| word.strip_prefix('(')?.strip_suffix(')'))
}

fn model() -> Result<String, LoaderError> {
    let failed = |error: io::Error| LoaderError::Debugfs { reason: error.to_string() };
    let read = || fs::read_to_string(Path::new(DEBUGFS).join(MODEL)).map_err(failed);
    if Path::new(DEBUGFS).join("sched").is_dir() {
        return read();
    }
    private_mount::with("debugfs", DEBUGFS, failed, read)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_kernel_that_preempts_no_kernel_code_is_exact() {
        let never = || -> Result<String, LoaderError> { panic!("not asked") };
        assert_eq!(judge("#1 SMP Debian 5.10.1-1 (2021-01-01)", never), None);
        for kind in ["PREEMPT", "PREEMPT_RT", "PREEMPT_LAZY"] {
            let reason = judge(&format!("#1 SMP {kind} Thu"), never).unwrap();
            assert!(reason.ends_with(&format!("({kind})")), "{reason}");
        }
        let dynamic = |text: &str| judge("#1 SMP PREEMPT_DYNAMIC Thu", || Ok(text.to_owned()));
        assert_eq!(dynamic("none (voluntary) full \n"), None);
        assert_eq!(dynamic("(none) voluntary full lazy\n"), None);
        for model in ["full", "lazy"] {
            let reason = dynamic(&format!("none ({model}) \n")).unwrap();
            assert!(reason.ends_with(&format!("(preempt={model})")), "{reason}");
        }
        assert!(dynamic("").unwrap().contains("does not tell"));
        let refused = || Err(LoaderError::Debugfs { reason: "not permitted".to_owned() });
        assert!(judge("#1 PREEMPT_DYNAMIC", refused).unwrap().contains("not permitted"));
    }
}
