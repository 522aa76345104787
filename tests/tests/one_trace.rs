//! Every way to write, by every kind of fd, in one trace: hundreds of programs at once, of which none
//! may spoil the count of another. It says in one run what the tests of single paths say one by
//! one, where loading the programs takes long.

use anyhow::Result;
use tracer_tests::{
    expect::{self, MatchBy},
    kernel::{URING_IS_COUNTED, is_at_least},
    paths::{COMPAT, NATIVE, URING},
    scenario::{identities_of, trace_together},
};

/// Carries no fd number, so its rows are matched in another way.
const WITHOUT_FD: &str = "uring-registered-file";

#[test]
#[ignore = "needs root"]
fn every_path_with_every_identity_is_counted_to_the_byte() -> Result<()> {
    let mut paths = NATIVE.to_vec();
    if cfg!(target_arch = "x86_64") {
        paths.extend(COMPAT);
    }
    if is_at_least(URING_IS_COUNTED)? {
        paths.extend(URING.iter().filter(|path| path.name != WITHOUT_FD));
    }
    let mut workloads = Vec::new();
    for path in paths {
        workloads.extend(identities_of(path.name)?);
    }
    expect::exact_together(&trace_together(&workloads)?, MatchBy::Fd)
}
