//! Words of verdicts that this crate and other readers of entries compare. The program that adds entries makes these
//! words of its own types, so that another name there changes nothing here.

/// Values of [`Entry::severity`](crate::Entry::severity).
pub mod severity {
    /// Output did not arrive.
    pub const LOSS: &str = "loss";
    /// Something odd. Some warnings also tell that output did not arrive, or very likely did not.
    pub const WARNING: &str = "warning";
    /// Nothing is wrong.
    pub const INFO: &str = "info";
}

/// Values of [`Entry::confidence`](crate::Entry::confidence).
pub mod confidence {
    /// All counts are complete.
    pub const CERTAIN: &str = "certain";
    /// Something was not counted.
    pub const UNSURE: &str = "unsure";
}

/// Values of [`Entry::rule`](crate::Entry::rule), as far as they are compared.
pub mod rule {
    /// The command was silent.
    pub const NEVER_WROTE: &str = "never_wrote";
    /// Bytes were left where no process reads them.
    pub const UNREAD: &str = "unread";
    /// A file was removed, cut or overwritten.
    pub const FILE_LOST: &str = "file_lost";
}

/// Values of [`Stream::outcome`](crate::Stream::outcome), as far as they are compared.
pub mod outcome {
    /// The file was removed before a process had read all of it.
    pub const REMOVED: &str = "removed";
    /// Another writer wrote over a part of the file.
    pub const OVERWRITTEN: &str = "overwritten";
    /// The file was cut.
    pub const CUT: &str = "cut";
}
