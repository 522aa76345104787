//! What a recorder that runs for months records: which cgroups belong to it, now and later, and what each of them is.
//!
//! A trace of a command knows its targets when it starts. A recorder does not: containers and units come and go, and the
//! program of a container runs some ten milliseconds after its cgroup was made. [`watch`] tells of each cgroup that
//! appears or goes, [`owner`] tells how far its name is root's, and [`names`] reads what engines have written down about it.
//! Nothing here attaches or prints.

mod container;
pub mod names;
mod owner;
mod wanted;
pub mod watch;

pub use self::{
    names::{Place, place},
    owner::CgroupPath,
    wanted::{ScopeError, Wanted},
    watch::{CgroupEvent, CgroupWatch, Limit},
};
