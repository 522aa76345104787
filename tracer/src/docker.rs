//! A docker client as the command of a trace: what it has the engine start is found.
//!
//! The container's processes are no descendants of the client. A new container is known by its id, which is the name of its
//! cgroup: the client of a `docker run` writes it to the file of `--cidfile` when the container is created, and `docker
//! start` names it. A process that a `docker exec` starts in a container that runs already is known by the runtime that
//! puts it there.

mod client;
mod entering;
mod options;
mod watch;

pub use self::{
    client::{Asks, Client},
    entering::Entering,
    watch::{ContainerEvent, Expected, Watched},
};
pub(crate) use self::{entering::READY, watch::Engine};
