//! What is traced: processes that are followed, cgroups whose processes are, and objects that are watched.

pub(crate) mod adopt;
pub(crate) mod cgroup;
pub(crate) mod membership;
pub(crate) mod watches;
