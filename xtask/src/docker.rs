//! Docker for the tests: a daemon and a loopback registry. Both are started if they are not running, and then
//! stopped after the tests.

mod image;
mod service;

use std::{
    env, fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{self, Command},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

use self::{image::TestImage, service::Service};
use crate::command::{self, say};

/// A registry on loopback needs no certificate: docker trusts 127.0.0.0/8.
const REGISTRY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 5000);

/// A running docker with the tests' image in a registry. Fields are dropped in this order.
pub struct Docker {
    image: TestImage,
    _registry: Option<Service>,
    _daemon: Option<Service>,
    _scratch: Scratch,
}

impl Docker {
    /// Starts the daemons that are not running; they log into the directory `logs`.
    pub fn start(logs: &Path) -> Result<Self> {
        let scratch = Scratch::create()?;
        let daemon =
            start_daemon(logs, &scratch.0).context("docker is not available for the tests")?;
        let registry = start_registry(logs, &scratch.0)
            .context("no docker registry is available for the tests")?;
        let image = TestImage::publish(REGISTRY, &scratch.0)
            .context("the image of the tests could not be made")?;
        Ok(Self { image, _registry: registry, _daemon: daemon, _scratch: scratch })
    }

    /// The name of the tests' image, as `docker pull` takes it.
    pub fn image(&self) -> &str {
        self.image.name()
    }
}

fn start_daemon(logs: &Path, scratch: &Path) -> Result<Option<Service>> {
    let answers = || command::succeeds(Command::new("docker").arg("info"));
    if answers() {
        return Ok(None);
    }
    let dockerd = command::find("dockerd").context("dockerd is not installed (docker.io)")?;
    say("starting dockerd for the tests");
    let config = scratch.join("daemon.json");
    fs::write(&config, WITH_GVISOR)
        .with_context(|| format!("cannot write {}", config.display()))?;
    let mut command = Command::new(dockerd);
    command.arg("--config-file").arg(config);
    Service::start("dockerd", &mut command, logs, answers).map(Some)
}

/// Configuration of `dockerd` that also has gVisor, on the platform that needs no virtualisation: with a cgroup for each
/// container, and without.
const WITH_GVISOR: &str = r#"{
  "runtimes": {
    "runsc": {
      "path": "/usr/bin/runsc",
      "runtimeArgs": ["--platform=ptrace", "--network=none"]
    },
    "runsc-without-cgroup": {
      "path": "/usr/bin/runsc",
      "runtimeArgs": ["--platform=ptrace", "--network=none", "--ignore-cgroups"]
    }
  }
}
"#;

fn start_registry(logs: &Path, scratch: &Path) -> Result<Option<Service>> {
    match ask_registry() {
        Answer::Registry => return Ok(None),
        Answer::Other => bail!("something that is no docker registry listens on {REGISTRY}"),
        Answer::None => {}
    }
    let storage = scratch.join("registry");
    let config = scratch.join("registry.yml");
    fs::write(&config, registry_config(&storage))
        .with_context(|| format!("cannot write {}", config.display()))?;
    let registry = command::find("docker-registry").context("docker-registry is not installed")?;
    say(&format!("starting a docker registry on {REGISTRY} for the tests"));
    let mut serve = Command::new(registry);
    serve.arg("serve").arg(config);
    let is_ready = || matches!(ask_registry(), Answer::Registry);
    Service::start("docker-registry", &mut serve, logs, is_ready).map(Some)
}

fn registry_config(storage: &Path) -> String {
    format!(
        "version: 0.1\nlog:\n  level: warn\nstorage:\n  filesystem:\n    rootdirectory: {}\n\
         http:\n  addr: {REGISTRY}\n",
        storage.display()
    )
}

/// The program that listens on the registry's port.
enum Answer {
    None,
    Registry,
    Other,
}

fn ask_registry() -> Answer {
    let time = Duration::from_secs(2);
    let Ok(mut stream) = TcpStream::connect_timeout(&REGISTRY, time) else {
        return Answer::None;
    };
    let mut answer = Vec::new();
    let request = format!("GET /v2/ HTTP/1.0\r\nHost: {REGISTRY}\r\n\r\n");
    let asked = stream
        .set_read_timeout(Some(time))
        .and_then(|()| stream.write_all(request.as_bytes()))
        .and_then(|()| stream.read_to_end(&mut answer));
    let answer = String::from_utf8_lossy(&answer);
    // Docker recognises a registry by this header.
    let is_registry = answer.to_ascii_lowercase().contains("docker-distribution-api-version:");
    if asked.is_ok() && is_registry { Answer::Registry } else { Answer::Other }
}

/// A directory outside the checkout, removed when dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn create() -> Result<Self> {
        let dir = env::temp_dir().join(format!("tracer-tests-{}", process::id()));
        fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        Ok(Self(dir))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            say(&format!("cannot remove {}: {error}", self.0.display()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registry_stores_in_the_given_directory_and_listens_on_loopback_only() {
        let config = registry_config(Path::new("/tmp/x"));
        assert!(config.contains("    rootdirectory: /tmp/x\n"), "{config}");
        assert!(config.contains("  addr: 127.0.0.1:5000\n"), "{config}");
    }

    #[test]
    fn scratch_space_goes_away_with_its_owner() {
        let scratch = Scratch::create().unwrap();
        let dir = scratch.0.clone();
        assert!(dir.is_dir());
        drop(scratch);
        assert!(!dir.exists());
    }
}
