//! gVisor sandboxes on this machine: how they are recognised, and who has `runsc` make trace sessions in them.

mod keeper;
mod runtime;

pub use self::{
    keeper::{Answer, AnswerKind, Inside, Keeper, real_ns},
    runtime::{Folder, Runtime, SandboxProcess, is_sandbox_name},
};
