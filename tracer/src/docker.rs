//! A docker client as the command of a trace: the container that it has the engine start is found.
//!
//! The container's processes are no descendants of the client. The client writes the container's id to the file of
//! `--cidfile` when the container is created, which is before its program runs. The id is the name of its cgroup.

mod client;
mod watch;

pub use self::{
    client::Client,
    watch::{Expected, News, Watched},
};
