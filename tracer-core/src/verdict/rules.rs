//! The list of rules, one file each.

pub(super) mod accounted;
pub(super) mod blocked_open;
mod daemon_unreachable;
pub(super) mod delivered;
mod discarded;
mod elsewhere;
mod exec_failed;
pub(super) mod file_lost;
mod flushed;
mod held_back;
mod kept_back;
mod late_writer;
mod leaves_machine;
mod log_incomplete;
mod never_wrote;
mod not_seen;
mod other_stream;
pub(super) mod out_of_sight;
mod own_losses;
mod read_by_other;
mod read_then_lost;
pub(super) mod reader_gone;
pub(super) mod refused;
mod stopped;
pub(super) mod stuck;
mod unbalanced;
mod unflushed;
mod unread;

use super::{Case, Subject};
use crate::verdict::Finding;

/// Rules about the run as a whole.
pub(super) const GENERAL: &[fn(&Case<'_>) -> Vec<Finding>] = &[
    own_losses::find,
    out_of_sight::find,
    unbalanced::find,
    log_incomplete::find,
    not_seen::find,
    blocked_open::find,
    stopped::find,
    refused::find_elsewhere,
    kept_back::find,
    reader_gone::find_cut_copies,
    reader_gone::of_relays::find,
    file_lost::of_relays::find,
    unflushed::find,
];

/// Rules about one command.
pub(super) const PER_SUBJECT: &[fn(&Case<'_>, &Subject<'_>) -> Vec<Finding>] = &[
    exec_failed::find,
    never_wrote::find,
    other_stream::find,
    elsewhere::find,
    discarded::find,
    file_lost::find,
    refused::find,
    reader_gone::find,
    stuck::find,
    unread::find,
    flushed::find,
    read_by_other::find,
    read_then_lost::find,
    late_writer::find,
    daemon_unreachable::find,
    held_back::find,
    leaves_machine::find,
    delivered::find,
];

/// Rules about a command inside another one, whose output the outer one reads.
pub(super) const PER_INNER: &[fn(&Case<'_>, &Subject<'_>) -> Vec<Finding>] = &[
    other_stream::find,
    file_lost::find,
    refused::find,
    reader_gone::find,
    stuck::find,
    unread::find,
    flushed::find,
    read_by_other::find,
    read_then_lost::find,
    late_writer::find,
    delivered::find,
];
