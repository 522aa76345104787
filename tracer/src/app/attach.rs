//! How a trace begins: targets, hooks, whoever was there before; and what is given up then.

use tracer_loader::{EventRing, KernelSettings, Loader};

use super::{AppError, Subject};
use crate::{launch::Launched, sys::privileges::Privileges};

/// Targets first, then the hooks, then whoever was there before them: nobody is missed.
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

/// Adopts with what will be kept of this thread's capabilities, and gives up the others: adopting takes
/// every kind of request to the kernel that is made later. Where that is not enough they all stay.
fn adopt_unprivileged(
    loader: &mut Loader,
    events: &mut EventRing,
    as_another_user: bool,
) -> Result<u64, AppError> {
    let keep = |error: &dyn std::fmt::Display| {
        tracing::warn!("tracer keeps all its capabilities, as this kernel wants it: {error}");
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
