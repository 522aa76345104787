//! Capabilities: what a trace needs after the attach, and how it gives up the others.
//!
//! Loading programs and opening the user's files takes root's rights. What comes after takes three of them.
//! Capabilities belong to threads and not to the process. Threads beside the trace give theirs up before they do
//! anything else ([`spawn`]). The main thread, from which other threads inherit, keeps only [`names_kept`]. The
//! traced command is forked before and keeps its capabilities.

use std::{
    io,
    sync::mpsc::sync_channel,
    thread::{Builder, JoinHandle},
};

use rustix::{
    io::Errno,
    thread::{
        CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set,
        remove_capability_from_bounding_set, set_capabilities, set_no_new_privs,
    },
};

/// A capability that a trace needs after the attach.
#[derive(Clone, Copy, Debug)]
struct Need {
    /// Its name in `capabilities(7)`.
    name: &'static str,
    capability: CapabilitySet,
    /// A stronger capability that is enough as well, for a process that has only that one.
    stand_in: Option<(&'static str, CapabilitySet)>,
}

/// A capability and its name.
type Named = (&'static str, CapabilitySet);

/// What every trace needs until its end.
const NEEDS: [Need; 3] = [
    // To read the maps.
    Need {
        name: "CAP_BPF",
        capability: CapabilitySet::BPF,
        stand_in: Some(("CAP_SYS_ADMIN", CapabilitySet::SYS_ADMIN)),
    },
    LOOK[0],
    LOOK[1],
];

/// To look at other users' processes and files.
const LOOK: [Need; 2] = [
    Need {
        name: "CAP_DAC_READ_SEARCH",
        capability: CapabilitySet::DAC_READ_SEARCH,
        stand_in: Some(("CAP_DAC_OVERRIDE", CapabilitySet::DAC_OVERRIDE)),
    },
    Need { name: "CAP_SYS_PTRACE", capability: CapabilitySet::SYS_PTRACE, stand_in: None },
];

/// To end a command of another user that cannot be started.
const END_IT: Need = Need { name: "CAP_KILL", capability: CapabilitySet::KILL, stand_in: None };

/// The capabilities to keep, out of the permitted ones.
fn kept<'a>(permitted: CapabilitySet, needs: impl IntoIterator<Item = &'a Need>) -> Vec<Named> {
    let of = |need: &Need| match need.stand_in {
        _ if permitted.contains(need.capability) => Some((need.name, need.capability)),
        Some((name, stronger)) if permitted.contains(stronger) => Some((name, stronger)),
        _ => None,
    };
    needs.into_iter().filter_map(of).collect()
}

fn sum(kept: &[Named]) -> CapabilitySet {
    kept.iter().map(|(_, capability)| *capability).collect()
}

/// Names of the capabilities that a thread with these permitted capabilities keeps after the attach.
#[must_use]
pub fn names_kept(permitted: u64) -> Vec<&'static str> {
    let kept = kept(CapabilitySet::from_bits_retain(permitted), &NEEDS);
    kept.into_iter().map(|(name, _)| name).collect()
}

/// The main thread's capabilities between the attach and giving up: no longer effective, but still permitted.
#[derive(Debug)]
pub struct Privileges {
    before: CapabilitySets,
    kept: Vec<Named>,
}

impl Privileges {
    /// Continues with the capabilities that are kept. [`Self::resume`] can undo this.
    ///
    /// # Errors
    /// An error if the system does not let a thread lower its capabilities, as some sandboxes do.
    pub fn lay_aside(as_another_user: bool) -> io::Result<Self> {
        let before = capabilities(None)?;
        let of_user = as_another_user.then_some(&END_IT);
        let kept = kept(before.permitted, NEEDS.iter().chain(of_user));
        set_capabilities(None, CapabilitySets { effective: sum(&kept), ..before })?;
        Ok(Self { before, kept })
    }

    /// Makes all capabilities effective again, for a kernel that needs more of them.
    ///
    /// # Errors
    /// As [`Self::lay_aside`].
    pub fn resume(self) -> io::Result<()> {
        Ok(set_capabilities(None, self.before)?)
    }

    /// Gives up the other capabilities for good, for this thread and the threads that it will start. Returns the
    /// names of the kept ones.
    ///
    /// # Errors
    /// As [`Self::lay_aside`].
    pub fn give_up(self) -> io::Result<Vec<&'static str>> {
        reduce_to(sum(&self.kept))?;
        Ok(self.kept.into_iter().map(|(name, _)| name).collect())
    }
}

/// The capabilities of a thread beside the trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rights {
    /// None.
    None,
    /// To look at other users' processes and files.
    Look,
}

/// Starts a thread that has only these capabilities. It has given up the others when this returns. For threads that
/// handle bytes of traced programs.
///
/// # Errors
/// An error if no thread can be started. A thread that cannot give up its capabilities is no error.
pub fn spawn<T: Send + 'static>(
    name: &str,
    rights: Rights,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    let (report, reported) = sync_channel(1);
    let thread = Builder::new().name(name.to_owned()).spawn(move || {
        // The receiver lives until it has an answer.
        let _ = report.send(rights.take());
        work()
    })?;
    if let Ok(Err(error)) = reported.recv() {
        tracing::warn!("the thread {name} keeps its capabilities: {error}");
    }
    Ok(thread)
}

impl Rights {
    /// Gives up all others, for the calling thread.
    ///
    /// # Errors
    /// An error if the system does not let a thread lower its capabilities, as some sandboxes do.
    pub(crate) fn take(self) -> io::Result<()> {
        let needs = match self {
            Self::None => &[][..],
            Self::Look => &LOOK,
        };
        reduce_to(sum(&kept(capabilities(None)?.permitted, needs)))
    }
}

/// Reduces this thread to these capabilities. It can get no others back, and has none for programs that it executes.
fn reduce_to(kept: CapabilitySet) -> io::Result<()> {
    let before = capabilities(None)?;
    if before.permitted.contains(CapabilitySet::SETPCAP) {
        let with_setpcap = before.effective | CapabilitySet::SETPCAP;
        set_capabilities(None, CapabilitySets { effective: with_setpcap, ..before })?;
        empty_bounding_set()?;
    }
    set_no_new_privs(true)?;
    clear_ambient_capability_set()?;
    let sets =
        CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    Ok(set_capabilities(None, sets)?)
}

fn empty_bounding_set() -> io::Result<()> {
    for number in 0..u64::BITS {
        match remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << number)) {
            Ok(()) => {}
            // The kernel has no capability with a higher number.
            Err(Errno::INVAL) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const ALL: u64 = (1 << 41) - 1;

    fn bit(capability: CapabilitySet) -> u64 {
        capability.bits()
    }

    #[test]
    fn root_keeps_three() {
        assert_eq!(names_kept(ALL), ["CAP_BPF", "CAP_DAC_READ_SEARCH", "CAP_SYS_PTRACE"]);
    }

    #[test]
    fn who_has_only_the_stronger_one_keeps_that() {
        let permitted = bit(CapabilitySet::SYS_ADMIN) | bit(CapabilitySet::DAC_OVERRIDE);
        assert_eq!(names_kept(permitted), ["CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE"]);
        assert_eq!(names_kept(permitted | bit(CapabilitySet::BPF))[0], "CAP_BPF");
        assert!(names_kept(0).is_empty());
    }

    /// The lines of this thread's status that list its capabilities.
    fn own_rights() -> Vec<String> {
        let status = fs::read_to_string("/proc/thread-self/status").unwrap();
        let lines = status.lines();
        let about = |line: &&str| line.starts_with("Cap") || line.starts_with("NoNewPrivs");
        lines.filter(about).map(|line| line.replace('\t', " ")).collect()
    }

    #[test]
    fn a_thread_without_capabilities_has_none_from_its_start() {
        let can_empty = capabilities(None).unwrap().permitted.contains(CapabilitySet::SETPCAP);
        let rights = spawn("without", Rights::None, own_rights).unwrap().join().unwrap();
        for (line, name) in rights.iter().zip(["Inh", "Prm", "Eff", "Bnd", "Amb"]) {
            if name != "Bnd" || can_empty {
                assert_eq!(*line, format!("Cap{name}: 0000000000000000"));
            }
        }
        assert_eq!(rights.last().unwrap(), "NoNewPrivs: 1");
    }

    /// Runs in a thread of its own, because the thread cannot get its capabilities back.
    #[test]
    fn what_is_laid_aside_comes_back_and_what_is_given_up_does_not() {
        let work = || {
            let before = capabilities(None).unwrap();
            Privileges::lay_aside(false).unwrap().resume().unwrap();
            assert_eq!(capabilities(None).unwrap(), before);
            let names = Privileges::lay_aside(false).unwrap().give_up().unwrap();
            assert_eq!(names, names_kept(before.permitted.bits()));
            let after = capabilities(None).unwrap();
            assert_eq!(after.effective, after.permitted);
            assert_eq!(after.permitted.iter().count(), names.len());
            assert!(set_capabilities(None, before).is_err() || before.permitted.is_empty());
        };
        std::thread::spawn(work).join().unwrap();
    }
}
