//! The list of rules, one file each.

pub(super) mod accounted;
mod daemon_unreachable;
mod delivered;
mod discarded;
mod elsewhere;
mod exec_failed;
mod held_back;
mod never_wrote;
mod other_stream;
mod own_losses;
mod reader_gone;
mod refused;
mod unread;

use super::{Case, Subject};
use crate::report::Finding;

/// Rules about the run as a whole.
pub(super) const GENERAL: &[fn(&Case<'_>) -> Vec<Finding>] = &[own_losses::find];

/// Rules about one command.
pub(super) const PER_SUBJECT: &[fn(&Case<'_>, &Subject<'_>) -> Vec<Finding>] = &[
    exec_failed::find,
    never_wrote::find,
    other_stream::find,
    elsewhere::find,
    discarded::find,
    refused::find,
    reader_gone::find,
    unread::find,
    daemon_unreachable::find,
    held_back::find,
    delivered::find,
];
