//! Which of the documented exit codes an error leads to.
//!
//! Error types say what kind of failure they are; the command line turns the kind into a number.

/// The kind of failure, from the user's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitKind {
    /// What was typed cannot be right on any machine: type something else.
    Usage,
    /// What was typed is well formed, but this machine does not have it or does not allow it.
    Environment,
}
