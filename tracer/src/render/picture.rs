//! The flow of the output as a graph: who wrote how much, into what, who read it, and what was lost on the way.
//!
//! [`Picture::of`] selects and describes; [`dot`], [`mermaid`] and the page of [`super::html`] only write what it holds.
//! A picture is bounded, whatever the report: the most important nodes are in it, and one more node counts the rest.

mod build;
mod describe;
pub(super) mod dot;
pub(super) mod layout;
mod loss;
pub(super) mod mermaid;

use tracer_core::text::units;

/// A graph. All text in it is escaped and cut; a writer adds only what its own language needs.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Picture {
    /// The nodes, the most important first.
    pub(super) nodes: Vec<Node>,
    /// The edges, in the direction in which the bytes went.
    pub(super) edges: Vec<Edge>,
}

/// A process, an object, or a number of bytes that were lost.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    /// What it stands for.
    pub(super) shape: Shape,
    /// Its name, at most [`TITLE`] columns.
    pub(super) title: String,
    /// Lines below the name: pid and exit, or bytes.
    pub(super) details: Vec<String>,
    /// How bad it is.
    pub(super) mark: Mark,
}

/// What a node stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// A process.
    Process,
    /// Several processes that did the same.
    Group,
    /// A pipe or FIFO.
    Pipe,
    /// A file.
    File,
    /// A socket.
    Socket,
    /// A terminal.
    Terminal,
    /// `/dev/null`, another device, or a closed fd.
    Device,
    /// Bytes that did not arrive.
    Lost,
    /// What has no node of its own.
    Rest,
}

/// How bad something is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mark {
    /// As it should be, or not known to be otherwise.
    #[default]
    Fine,
    /// A finding warns of it.
    Odd,
    /// Bytes did not arrive.
    Bad,
}

/// Bytes on their way, or how two processes belong together.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Edge {
    /// Index of the node that they left.
    pub(super) from: usize,
    /// Index of the node that they went to.
    pub(super) to: usize,
    /// How many; `None` if this is not about bytes, or their number is not known.
    pub(super) bytes: Option<u64>,
    /// Through which stream, or another remark; empty if there is nothing to say.
    pub(super) remark: String,
    /// How bad it is.
    pub(super) mark: Mark,
}

/// The most columns of a title.
pub(super) const TITLE: usize = 56;

impl Edge {
    /// `65,536 B`, or `nothing`; empty without a number.
    pub(super) fn amount(&self) -> String {
        match self.bytes {
            None => String::new(),
            Some(0) => "nothing".to_owned(),
            Some(bytes) => units::exact(bytes),
        }
    }

    /// Whether no byte took this way.
    pub(super) fn is_idle(&self) -> bool {
        self.bytes.unwrap_or(0) == 0 && self.mark != Mark::Bad
    }

    /// `stdout: 65,536 B`
    fn label(&self) -> String {
        let both = [self.remark.clone(), self.amount()];
        both.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(": ")
    }

    /// Width of its line in pixels: it grows with the logarithm of the bytes, so that 1 B is thin, and 1 GiB is ten times
    /// as wide and still no wall.
    pub(super) fn width(&self) -> f64 {
        let decades = (self.bytes.unwrap_or(0).max(1) as f64).log10();
        (1.2 + decades * 1.2).min(14.0)
    }
}
