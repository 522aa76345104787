//! Every write path with every fd identity in one trace: hundreds of processes, whose counts must not
//! affect each other. On emulated machines this is much faster than the tests of single paths, because
//! the BPF programs are loaded only once.

use anyhow::Result;
use tracer_tests::{
    expect::{self, MatchBy},
    kernel::{URING_IS_COUNTED, is_at_least},
    paths::{COMPAT, NATIVE, URING},
    scenario::{identities_of, trace_together},
};

/// Its requests have no fd number, so its rows cannot be matched by fd.
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
