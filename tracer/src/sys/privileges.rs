//! Capabilities: what a trace needs once it is attached, and how everything else is given up.
//!
//! Loading programs and opening the user's files takes root's rights; what comes after takes three of
//! them. They belong to threads, not to the process: threads that run on beside the trace give theirs up
//! before they do anything ([`spawn`]), and the main thread, of which any other is born, keeps only what
//! is in [`names_kept`]. The traced command is forked before all that and keeps what it had.

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

/// A capability that outlives the attaching.
#[derive(Clone, Copy, Debug)]
struct Need {
    /// What it is called in `capabilities(7)`.
    name: &'static str,
    capability: CapabilitySet,
    /// The stronger one that does as well, for who has only that.
    stand_in: Option<(&'static str, CapabilitySet)>,
}

/// A capability and its name.
type Named = (&'static str, CapabilitySet);

/// What every trace needs to its end.
const NEEDS: [Need; 3] = [
    // To read the tables.
    Need {
        name: "CAP_BPF",
        capability: CapabilitySet::BPF,
        stand_in: Some(("CAP_SYS_ADMIN", CapabilitySet::SYS_ADMIN)),
    },
    LOOK[0],
    LOOK[1],
];

/// What it takes to look at other users' processes and files.
const LOOK: [Need; 2] = [
    Need {
        name: "CAP_DAC_READ_SEARCH",
        capability: CapabilitySet::DAC_READ_SEARCH,
        stand_in: Some(("CAP_DAC_OVERRIDE", CapabilitySet::DAC_OVERRIDE)),
    },
    Need { name: "CAP_SYS_PTRACE", capability: CapabilitySet::SYS_PTRACE, stand_in: None },
];

/// To end a command of another user when it cannot be started.
const END_IT: Need = Need { name: "CAP_KILL", capability: CapabilitySet::KILL, stand_in: None };

/// What is kept out of what there is.
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

/// The names of what a thread with these permitted capabilities keeps when a trace is attached.
#[must_use]
pub fn names_kept(permitted: u64) -> Vec<&'static str> {
    let kept = kept(CapabilitySet::from_bits_retain(permitted), &NEEDS);
    kept.into_iter().map(|(name, _)| name).collect()
}

/// The capabilities of the main thread between attaching and giving up: laid aside, not gone.
#[derive(Debug)]
pub struct Privileges {
    before: CapabilitySets,
    kept: Vec<Named>,
}

impl Privileges {
    /// Goes on with what is to be kept, in such a way that [`Self::resume`] is possible.
    ///
    /// # Errors
    /// When the system does not let a thread lower its capabilities, as some sandboxes do.
    pub fn lay_aside(as_another_user: bool) -> io::Result<Self> {
        let before = capabilities(None)?;
        let of_user = as_another_user.then_some(&END_IT);
        let kept = kept(before.permitted, NEEDS.iter().chain(of_user));
        set_capabilities(None, CapabilitySets { effective: sum(&kept), ..before })?;
        Ok(Self { before, kept })
    }

    /// Takes everything up again, for a kernel that asks for more.
    ///
    /// # Errors
    /// As [`Self::lay_aside`].
    pub fn resume(self) -> io::Result<()> {
        Ok(set_capabilities(None, self.before)?)
    }

    /// Gives up the rest for good, for this thread and those that it will start. Returns the names of
    /// what is left.
    ///
    /// # Errors
    /// As [`Self::lay_aside`].
    pub fn give_up(self) -> io::Result<Vec<&'static str>> {
        reduce_to(sum(&self.kept))?;
        Ok(self.kept.into_iter().map(|(name, _)| name).collect())
    }
}

/// What a thread beside the trace may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rights {
    /// Nothing that another program of the user may not.
    None,
    /// Look at other users' processes and files.
    Look,
}

/// Starts a thread that has no capabilities but these, and has given up the others when this returns:
/// for what handles the traced programs' bytes.
///
/// # Errors
/// When there is no thread to be had. One that has to keep its capabilities is no error.
pub fn spawn<T: Send + 'static>(
    name: &str,
    rights: Rights,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    let (report, reported) = sync_channel(1);
    let thread = Builder::new().name(name.to_owned()).spawn(move || {
        // The one who waits is there until it has an answer.
        let _ = report.send(rights.take());
        work()
    })?;
    if let Ok(Err(error)) = reported.recv() {
        tracing::warn!("the thread {name} keeps its capabilities: {error}");
    }
    Ok(thread)
}

impl Rights {
    fn take(self) -> io::Result<()> {
        let needs = match self {
            Self::None => &[][..],
            Self::Look => &LOOK,
        };
        reduce_to(sum(&kept(capabilities(None)?.permitted, needs)))
    }
}

/// Leaves this thread with these capabilities, no way to others, and none for what it may execute.
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
            // The kernel knows no more of them.
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

    /// The lines of this thread's status that say what it may.
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

    /// In a thread of its own, since there is no way back.
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
