//! Facts about the machine and about this process's rights, each with a fix if it is wrong.
//!
//! This module only returns data. A trace calls [`preflight`] and stops at the first fact that would make it fail
//! later with a less clear error.

mod error;
mod probe;

use std::path::PathBuf;

pub use error::EnvironmentError;

use tracer_loader::btf::KernelTypes;

/// The result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// The fact is as it should be.
    Ok,
    /// A trace works, but with less than it could have.
    Warn,
    /// No trace is possible.
    Fail,
}

/// One fact about the environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What was checked.
    pub name: &'static str,
    /// The result.
    pub status: Status,
    /// What was found.
    pub found: String,
    /// What to do about it; `None` if nothing needs to be done.
    pub cure: Option<String>,
}

/// The places that are checked. Tests use their own.
#[derive(Clone, Debug)]
pub struct Places {
    /// procfs, normally `/proc`.
    pub proc: PathBuf,
    /// sysfs, normally `/sys`.
    pub sys: PathBuf,
    /// The kernel's type information.
    pub btf: PathBuf,
    /// The architecture this program was built for.
    pub architecture: &'static str,
    /// Whether the kernel may be asked for what is not mounted below `sys`.
    pub is_host: bool,
}

impl Places {
    /// The machine that this process runs on.
    pub fn host() -> Self {
        Self {
            proc: PathBuf::from("/proc"),
            sys: PathBuf::from("/sys"),
            btf: KernelTypes::path(),
            architecture: std::env::consts::ARCH,
            is_host: true,
        }
    }
}

/// Checks everything that a trace depends on.
pub fn inspect() -> Vec<Check> {
    inspect_in(&Places::host())
}

/// Checks everything that a trace depends on, in the given places.
pub fn inspect_in(places: &Places) -> Vec<Check> {
    vec![
        required("capabilities", probe::capabilities(places)),
        probe::kept_capabilities(places),
        probe::other_users_files(places),
        required("pid namespace", probe::pid_namespace(places)),
        required("kernel", probe::kernel(places)),
        required("kernel types (BTF)", probe::btf(places)),
        required("lockdown", probe::lockdown(places)),
        required("architecture", probe::architecture(places)),
        probe::cgroups(places),
        probe::tracefs(places),
        probe::gvisor(crate::gvisor::Runtime::find().as_ref()),
    ]
}

/// Checks that a trace is possible at all.
///
/// # Errors
///
/// The first requirement that is not met.
pub fn preflight() -> Result<(), EnvironmentError> {
    preflight_in(&Places::host())
}

/// Checks that a trace is possible at all, in the given places.
///
/// # Errors
///
/// The first requirement that is not met.
pub fn preflight_in(places: &Places) -> Result<(), EnvironmentError> {
    probe::capabilities(places)?;
    probe::pid_namespace(places)?;
    probe::btf(places)?;
    probe::kernel(places)?;
    probe::lockdown(places)?;
    probe::architecture(places)?;
    Ok(())
}

fn required(name: &'static str, found: Result<String, EnvironmentError>) -> Check {
    match found {
        Ok(found) => Check { name, status: Status::Ok, found, cure: None },
        Err(error) => {
            let (found, cure) = (error.found(), Some(error.cure().to_owned()));
            Check { name, status: Status::Fail, found, cure }
        }
    }
}

#[cfg(test)]
mod tests;
