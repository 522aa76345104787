//! What all machines with one processor have in common: the programs, and the files around them.

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

/// One for each architecture.
pub(crate) struct Kits(BTreeMap<Architecture, Kit>);

struct Kit {
    programs: Programs,
    /// A plan is put into it for as long as it is packed.
    tree: Mutex<Tree>,
}

impl Kits {
    /// Builds those of some architectures, each once.
    pub(crate) fn build(
        workspace: &Workspace,
        ready: &Ready,
        architectures: impl Iterator<Item = Architecture>,
    ) -> Result<Self> {
        let mut kits = BTreeMap::new();
        for architecture in architectures {
            if let Entry::Vacant(place) = kits.entry(architecture) {
                place.insert(Kit::build(workspace, ready, architecture)?);
            }
        }
        Ok(Self(kits))
    }

    /// The programs of one that was built.
    pub(crate) fn programs(&self, architecture: Architecture) -> &Programs {
        &self.0[&architecture].programs
    }

    /// Packs the files of one that was built, with this plan in it, into `archive`.
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

impl Kit {
    fn build(workspace: &Workspace, ready: &Ready, architecture: Architecture) -> Result<Self> {
        let cross = match architecture {
            Architecture::X86 => None,
            Architecture::Arm => Some(Cross::fetch(architecture)?),
        };
        let programs = programs::build(workspace, ready, cross.as_ref())?;
        let tree = Mutex::new(Tree::lay_out(&programs, cross.as_ref())?);
        Ok(Self { programs, tree })
    }
}
