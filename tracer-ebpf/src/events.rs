//! What programs tell user space: records of the ring buffer, and losses.

pub(crate) mod emit;
pub(crate) mod loss;
pub(crate) mod once;
