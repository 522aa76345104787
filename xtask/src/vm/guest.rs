//! The programs and the root file system of all machines of one architecture.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result};

use super::{
    architecture::Architecture,
    cross::Cross,
    initramfs::{Script, Tree},
    kernel::Kernel,
    machine::{Boot, Clock, Machine},
    programs::{self, Contents, Programs},
};
use crate::{setup::Ready, workspace::Workspace};

/// A guest for each architecture. Archives and console logs of their machines are in `folder`.
pub struct Guests {
    folder: PathBuf,
    guests: BTreeMap<Architecture, Guest>,
}

/// A boot to perform.
#[derive(Clone, Debug)]
pub struct Order<'a> {
    /// The name of its archive and of its console log, without their endings.
    pub name: String,
    /// What the machine does.
    pub script: Script,
    /// Additional parameters of the kernel.
    pub parameters: &'a str,
    /// What its clocks follow.
    pub clock: Clock,
    /// Time limit from the start of the first process, on the host's clock.
    pub limit: Duration,
}

struct Guest {
    programs: Programs,
    /// Locked while it is packed, because that writes a script into it.
    tree: Mutex<Tree>,
}

impl Guests {
    /// Builds a guest for each of these architectures, each once.
    pub fn build(
        workspace: &Workspace,
        ready: &Ready,
        architectures: impl Iterator<Item = Architecture>,
        contents: Contents<'_>,
    ) -> Result<Self> {
        let folder = workspace.target().join("vm");
        fs::create_dir_all(&folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
        let mut guests = BTreeMap::new();
        for architecture in architectures {
            if let Entry::Vacant(place) = guests.entry(architecture) {
                place.insert(Guest::build(workspace, ready, architecture, contents)?);
            }
        }
        Ok(Self { folder, guests })
    }

    /// The programs of an architecture that was built.
    pub fn programs(&self, architecture: Architecture) -> &Programs {
        &self.guests[&architecture].programs
    }

    /// The path of the console log of the boot with this name.
    pub fn log(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.log"))
    }

    /// Boots a kernel of an architecture that was built, and waits for the end.
    pub fn boot(&self, kernel: &Kernel, order: &Order<'_>) -> Result<Boot> {
        let archive = self.folder.join(format!("{}.cpio", order.name));
        self.pack(kernel.architecture, &order.script, &archive)?;
        let machine = Machine {
            architecture: kernel.architecture,
            clock: order.clock,
            kernel: &kernel.image,
            initramfs: &archive,
            parameters: order.parameters,
            log: &self.log(&order.name),
        };
        let boot = machine.boot_until_started(order.limit)?;
        // It has a hundred megabytes, and is made again in a second.
        fs::remove_file(&archive)
            .with_context(|| format!("cannot remove {}", archive.display()))?;
        Ok(boot)
    }

    fn pack(&self, architecture: Architecture, script: &Script, archive: &Path) -> Result<()> {
        let tree = &self.guests[&architecture].tree;
        tree.lock().unwrap_or_else(PoisonError::into_inner).pack(script, archive)
    }
}

impl Guest {
    fn build(
        workspace: &Workspace,
        ready: &Ready,
        architecture: Architecture,
        contents: Contents<'_>,
    ) -> Result<Self> {
        let cross = match architecture {
            Architecture::X86 => None,
            Architecture::Arm => Some(Cross::fetch(architecture)?),
        };
        let programs = programs::build(workspace, ready, contents, cross.as_ref())?;
        let tree = Mutex::new(Tree::create(&programs, cross.as_ref())?);
        Ok(Self { programs, tree })
    }
}
