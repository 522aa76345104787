//! `--keep-tail`: the ends of streams stay in memory until their job is judged.

use std::{collections::BTreeSet, time::Duration};

use serde::Serialize as _;
use tracer_common::{id::ProcessId, ledger::WRITE, object::ObjectId};
use tracer_core::{
    report::{self, LostStream, NotKept},
    session::{Job, Session},
    text::redact::Redact,
};
use tracer_history::Tail;
use tracer_loader::{CaptureScope, Loader, boot_ns};

use crate::{app::AppError, capture::tails::TailKeeper, settings::DaemonSettings};

/// Size of the ring between kernel and recorder, in bytes. It is emptied into memory, which is faster than a disk.
pub(super) const RING: u32 = 8 << 20;
/// Streams that are not known to the session are kept for this long: what they are may not be told yet.
const UNKNOWN_NS: u64 = 10_000_000_000;
/// How long the end may wait for what is still in the ring.
const LAST: Duration = Duration::from_millis(500);
/// The most tails of an entry.
const MOST: usize = 16;

/// The tails of all jobs that are not judged yet; nothing without the option.
pub(super) struct JobTails {
    keeper: Option<TailKeeper>,
}

impl JobTails {
    /// What the kernel side is to capture.
    pub(super) fn scope(settings: &DaemonSettings) -> Option<CaptureScope> {
        settings.tails().map(|_| CaptureScope { ring_bytes: RING, limit: None })
    }

    /// Starts to keep, if that is wanted. This must happen before anything is attached.
    pub(super) fn start(settings: &DaemonSettings, loader: &mut Loader) -> Result<Self, AppError> {
        let Some(limits) = settings.tails() else { return Ok(Self { keeper: None }) };
        let keeper = TailKeeper::start(loader.take_capture()?, limits);
        let keeper = keeper.map_err(|source| AppError::Runtime { source })?;
        Ok(Self { keeper: Some(keeper) })
    }

    /// Whether tails are kept.
    pub(super) fn are_kept(&self) -> bool {
        self.keeper.is_some()
    }

    /// Whether everything is here that was written until this time, nanoseconds since boot.
    pub(super) fn has_taken(&self, until_ns: u64) -> bool {
        self.keeper.as_ref().is_none_or(|keeper| keeper.has_taken(until_ns))
    }

    /// Waits for what is still in the ring.
    pub(super) fn catch_up(&self) {
        self.keeper.iter().for_each(|keeper| keeper.catch_up(LAST));
    }

    /// The ends of streams that lost output, and the number of further ones.
    pub(super) fn of(
        &self,
        part: &Session,
        lost: &[LostStream],
        redact: Option<&Redact>,
    ) -> (Vec<Tail>, u64) {
        let Some(keeper) = &self.keeper else { return (Vec::new(), 0) };
        let tail = |stream: &LostStream| {
            let kept = keeper.tails().kept(&stream.object);
            stored(report::tail(part, stream, kept, redact))
        };
        let more = lost.len().saturating_sub(MOST) as u64;
        (lost.iter().take(MOST).map(tail).collect(), more)
    }

    /// Jobs have been judged: what they wrote leaves the memory.
    pub(super) fn forget(&self, part: &Session, job: &Job) {
        let Some(keeper) = &self.keeper else { return };
        let is_member = |process: &ProcessId| job.members.contains(process);
        let written =
            part.ledger.keys().filter(|key| key.direction == WRITE && is_member(&key.process));
        let objects: BTreeSet<ObjectId> = written.map(|key| key.object).collect();
        let mut tails = keeper.tails();
        objects.iter().for_each(|object| tails.forget(object, is_member));
    }

    /// Keeps only streams that the session still knows.
    pub(super) fn retain(&self, session: &Session) {
        let Some(keeper) = &self.keeper else { return };
        let since_ns = boot_ns().saturating_sub(UNKNOWN_NS);
        let is_known = |object: &ObjectId| session.objects.contains_key(object);
        keeper.tails().retain(since_ns, is_known);
    }
}

/// As the history has it.
fn stored((tail, text): (report::Tail, Vec<u8>)) -> Tail {
    let report::Tail { fd, object, written, lost, kept, missing, not_kept, text: _ } = tail;
    Tail { fd, object, written, lost, kept, missing, not_kept: not_kept.map(name), text }
}

/// The name of a reason, as in reports.
fn name(reason: NotKept) -> String {
    let value = reason.serialize(serde_json::value::Serializer).unwrap_or_default();
    value.as_str().unwrap_or_default().to_owned()
}
