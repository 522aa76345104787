//! What an object is, by the name that gVisor gives it.

/// What an object is, as far as its name tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Pipe,
    Socket,
    /// An open file of the host that was handed in.
    Host,
    /// `/dev/null`.
    Null,
    /// The slave of a pseudo-terminal.
    Terminal,
    /// The master of a pseudo-terminal.
    Master,
    /// Another device, or what has no name to go by.
    Other,
    File,
    /// A FIFO with a path. Only the list of what ran before tells it from a file.
    Fifo,
}

impl Kind {
    pub(super) fn of(name: &str) -> Self {
        match name {
            _ if name.starts_with("pipe:[") => Self::Pipe,
            _ if name.starts_with("socket:[") => Self::Socket,
            _ if name.starts_with("host:[") => Self::Host,
            "/dev/null" => Self::Null,
            "/dev/tty" => Self::Terminal,
            // All masters have this name.
            "/dev/pts/ptmx" => Self::Other,
            _ if name.starts_with("/dev/pts/") => Self::Terminal,
            _ if name.starts_with("/dev/") || !name.starts_with('/') => Self::Other,
            _ => Self::File,
        }
    }

    /// Whether transfers are counted before the object is watched: it may become the output of a command later.
    pub(crate) const fn is_counted_early(self) -> bool {
        !matches!(self, Self::Null | Self::Other | Self::File)
    }

    pub(super) const fn passes_on(self) -> bool {
        matches!(self, Self::Pipe | Self::Socket | Self::Fifo | Self::Master)
    }
}
