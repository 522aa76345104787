//! The programs and the root file system of all machines of one architecture.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    path::Path,
    sync::{Mutex, PoisonError},
};

use anyhow::Result;
use xtask::{setup::Ready, workspace::Workspace};

use super::{
    architecture::Architecture,
    cross::Cross,
    initramfs::Tree,
    plan::Plan,
    programs::{self, Programs},
};

/// A guest for each architecture.
pub(crate) struct Guests(BTreeMap<Architecture, Guest>);

struct Guest {
    programs: Programs,
    /// Locked while it is packed, because that writes a plan into it.
    tree: Mutex<Tree>,
}

impl Guests {
    /// Builds a guest for each of these architectures, each once.
    pub(crate) fn build(
        workspace: &Workspace,
        ready: &Ready,
        architectures: impl Iterator<Item = Architecture>,
    ) -> Result<Self> {
        let mut guests = BTreeMap::new();
        for architecture in architectures {
            if let Entry::Vacant(place) = guests.entry(architecture) {
                place.insert(Guest::build(workspace, ready, architecture)?);
            }
        }
        Ok(Self(guests))
    }

    /// The programs of an architecture that was built.
    pub(crate) fn programs(&self, architecture: Architecture) -> &Programs {
        &self.0[&architecture].programs
    }

    /// Packs the files of an architecture that was built, with this plan, into the cpio archive `archive`.
    pub(crate) fn pack(
        &self,
        architecture: Architecture,
        plan: &Plan,
        archive: &Path,
    ) -> Result<()> {
        let tree = &self.0[&architecture].tree;
        tree.lock().unwrap_or_else(PoisonError::into_inner).pack(plan, archive)
    }
}

impl Guest {
    fn build(workspace: &Workspace, ready: &Ready, architecture: Architecture) -> Result<Self> {
        let cross = match architecture {
            Architecture::X86 => None,
            Architecture::Arm => Some(Cross::fetch(architecture)?),
        };
        let programs = programs::build(workspace, ready, cross.as_ref())?;
        let tree = Mutex::new(Tree::create(&programs, cross.as_ref())?);
        Ok(Self { programs, tree })
    }
}
