//! What programs tell user space: records of the ring buffer, facts about calls, and losses.

pub(crate) mod emit;
pub(crate) mod facts;
pub(crate) mod loss;
pub(crate) mod once;
