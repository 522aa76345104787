//! `tracer gvisor config`: the configuration of sandboxes that always tell what their guests do.

use std::io::{self, Write as _};

use super::super::{AppError, stderr};
use crate::gvisor::Folder;

/// Prints the configuration for runtimes whose sandboxes always send to tracer, and on standard error where it belongs.
///
/// # Errors
/// [`AppError`] if standard output cannot be written to.
pub fn gvisor_config() -> Result<(), AppError> {
    const WHERE: &str = "\
Save this as /etc/tracer-gvisor.json. Then add one option to runsc, and restart the engine:
  docker, in /etc/docker/daemon.json:
    {\"runtimes\": {\"runsc\": {\"path\": \"/usr/bin/runsc\",
      \"runtimeArgs\": [\"--pod-init-config=/etc/tracer-gvisor.json\"]}}}
  containerd, in /etc/containerd/runsc.toml (the ConfigPath of its runtime io.containerd.runsc.v1):
    [runsc_config]
      pod-init-config = \"/etc/tracer-gvisor.json\"
  by hand:
    runsc --pod-init-config=/etc/tracer-gvisor.json …";
    let config = tracer_gvisor::points::config(&Folder::shared_socket());
    stderr::say(WHERE);
    match writeln!(io::stdout(), "{config:#}") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => {
            result.map_err(|source| AppError::Output { path: "standard output".into(), source })
        }
    }
}
