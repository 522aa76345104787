//! Starts a trace: declares targets, attaches hooks, adopts running processes, and gives up capabilities.

use tracer_loader::{EventRing, KernelSettings, Loader};

use super::{AppError, Subject};
use crate::{launch::Launched, sys::privileges::Privileges};

/// Declares the targets first, then attaches the hooks, then adopts processes that run already. So no process is
/// missed.
pub(super) fn attach(
    loader: &mut Loader,
    events: &mut EventRing,
    kernel: &KernelSettings,
    subject: &Subject,
) -> Result<(), AppError> {
    for pid in &subject.target.pids {
        loader.add_target(*pid)?;
    }
    loader.attach(kernel)?;
    let as_another_user = subject.launched.as_ref().is_some_and(Launched::as_another_user);
    let adopted = adopt_unprivileged(loader, events, as_another_user)?;
    tracing::debug!(adopted, "adopted the processes that were there");
    Ok(())
}

/// Adopts with the capabilities that this thread will keep, and then gives up the others: adopting makes every kind
/// of kernel request that the trace makes later. If the kernel refuses one, the thread keeps all its capabilities.
fn adopt_unprivileged(
    loader: &mut Loader,
    events: &mut EventRing,
    as_another_user: bool,
) -> Result<u64, AppError> {
    let keep = |error: &dyn std::fmt::Display| {
        tracing::warn!(
            "tracer keeps all its capabilities, because this kernel refused it fewer: {error}"
        );
    };
    let privileges = match Privileges::lay_aside(as_another_user) {
        Ok(privileges) => privileges,
        Err(error) => {
            keep(&error);
            return Ok(loader.adopt(events)?);
        }
    };
    match loader.adopt(events) {
        Ok(adopted) => {
            match privileges.give_up() {
                Ok(names) => tracing::debug!(?names, "capabilities that are left"),
                Err(error) => keep(&error),
            }
            Ok(adopted)
        }
        Err(refused) => {
            privileges.resume().map_err(|source| AppError::Runtime { source })?;
            let adopted = loader.adopt(events)?;
            keep(&refused);
            Ok(adopted)
        }
    }
}
