//! gVisor sandboxes on this machine: how they are recognised, and who has `runsc` make trace sessions in them.

mod keeper;
mod runtime;

pub use self::{
    keeper::{Keeper, Opened},
    runtime::{Folder, Runtime, SandboxProcess, is_sandbox_name},
};
