//! What a docker client as the command will have its engine start, and what is said if that cannot be followed.

use tracer_core::text::escape;

use super::stderr;
use crate::{
    docker::{Asks, Client, Engine, Entering, Expected},
    launch::Launch,
    target::{
        CgroupTarget, CommandLines, ContainerPlace, Roots, TargetError,
        container::docker::{self, Named},
        name::sandbox_among,
    },
};

/// The command with which to start, and what it will have docker start. `docker run` gets one more option. `cgroups` are
/// targets already. `is_sandbox` says that [`sandbox_of_exec`] has found one.
pub(in crate::app) fn expect(
    mut launch: Launch,
    cgroups: &[CgroupTarget],
    is_sandbox: bool,
    quiet: bool,
) -> (Launch, Option<Expected>) {
    let Some(Client { host, asks }) = Client::of(&launch.argv) else { return (launch, None) };
    let roots = roots(host);
    let expected = match asks {
        Asks::Run(at) => {
            let expected = run(&launch, at, cgroups);
            let option = expected.as_ref().ok().and_then(|expected| expected.as_ref()?.option());
            if let Some(option) = option {
                let words = option.to_string_lossy();
                stderr::note(
                    quiet,
                    &format!("tracer: gives docker the option {words}, to follow the container"),
                );
                launch.argv.insert(at, option);
            }
            expected
        }
        Asks::Exec { .. } if is_sandbox => Ok(None),
        Asks::Exec { container, words } => exec(&roots, &container, words, cgroups),
        Asks::Start(names) => start(&roots, &names, cgroups),
        Asks::Compose => {
            Err("what `docker compose` starts is no child of it: when it runs, trace each \
                              container by its name, with tracer --container NAME"
                .to_owned())
        }
    };
    let expected = expected.unwrap_or_else(|why| {
        stderr::note(quiet, &format!("tracer: traces the client only: {why}"));
        None
    });
    (launch, expected)
}

/// The machine, with the engine that the client's command line names.
fn roots(host: Option<String>) -> Roots {
    let roots = Roots::host();
    Roots { docker_host: host.or_else(|| roots.docker_host.clone()), ..roots }
}

fn found(roots: &Roots, name: &str) -> Result<Named, String> {
    docker::find(roots, name).map_err(|error| escape(&error.to_string()).into())
}

/// What to watch for, or why that is impossible. `None` if nothing can be said for the user.
fn run(launch: &Launch, at: usize, cgroups: &[CgroupTarget]) -> Result<Option<Expected>, String> {
    let words = launch.argv.get(at..).unwrap_or_default();
    let Some(place) = place(cgroups) else { return Ok(None) };
    match Expected::new(words, place, launch.user.is_none()) {
        Ok(expected) if expected.has_file() => Ok(Some(expected)),
        Ok(_) => {
            Err("to follow the container of another user's `docker run`, give it --cidfile=FILE \
                      with a new FILE in a folder of that user"
                .to_owned())
        }
        Err(error) => {
            tracing::warn!("cannot follow the container: {error}");
            Ok(None)
        }
    }
}

fn place(cgroups: &[CgroupTarget]) -> Option<ContainerPlace> {
    let hierarchy = cgroups.first().map(|cgroup| &cgroup.hierarchy);
    ContainerPlace::expect(&Roots::host(), hierarchy)
        .inspect_err(|error| tracing::warn!("cannot follow the container: {error}"))
        .ok()
}

/// The sandbox in which a `docker exec` will start a process. All that runs in it is traced: its processes are none of this
/// machine. With why it may not be the container that is meant.
pub(in crate::app) fn sandbox_of_exec(
    launch: &Launch,
    lines: &mut Option<CommandLines>,
    quiet: bool,
) -> Option<(u32, Option<String>)> {
    let Client { host, asks: Asks::Exec { container, .. } } = Client::of(&launch.argv)? else {
        return None;
    };
    let named = found(&roots(host), &container).ok()?;
    let sandbox = sandbox_of(&named, lines)?;
    let name = escape(&container);
    stderr::note(
        quiet,
        &format!("tracer: {name} is a sandbox of gVisor: traces all that runs in it"),
    );
    Some((sandbox, named.doubt))
}

/// gVisor's kernel, if a container runs in one.
fn sandbox_of(named: &Named, lines: &mut Option<CommandLines>) -> Option<u32> {
    let pids = match &named.cgroup {
        Ok(cgroup) => cgroup.pids(),
        Err(TargetError::ContainerWithoutCgroup { pid, .. }) => vec![*pid],
        Err(_) => Vec::new(),
    };
    // By its command line: a busybox that runs itself has the name of a sandbox, too.
    sandbox_among(lines, &pids, &named.id)
}

/// The process that starts in a container, unless all of the container is traced.
fn exec(
    roots: &Roots,
    container: &str,
    words: Vec<std::ffi::OsString>,
    cgroups: &[CgroupTarget],
) -> Result<Option<Expected>, String> {
    let named = found(roots, container)?;
    let Named { id, engine: api, cgroup, .. } = named;
    let cgroup = cgroup.map_err(|error| String::from(escape(&error.to_string())))?;
    if cgroups.iter().any(|known| cgroup.path.starts_with(&known.path)) {
        return Ok(None);
    }
    let command: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
    let action = format!("exec_start: {}", command.join(" ")).trim_end().to_owned();
    let engine = Engine { api, id, action };
    Ok(Some(Expected::exec(engine, Entering { cgroup, words })))
}

/// The container that is started.
fn start(
    roots: &Roots,
    names: &[String],
    cgroups: &[CgroupTarget],
) -> Result<Option<Expected>, String> {
    let [name] = names else {
        return Err(
            "it follows one container of a `docker start`: start each with a command of its own"
                .to_owned(),
        );
    };
    let Named { id, label, engine: api, cgroup, doubt } = found(roots, name)?;
    match cgroup {
        Ok(_) => {
            let label = escape(&label);
            Err(format!(
                "container {label} runs already, so `docker start` starts nothing: trace it with \
                 tracer --container {label}"
            ))
        }
        Err(TargetError::ContainerNotRunning { .. }) => {
            let Some(place) = place(cgroups) else { return Ok(None) };
            let engine = Engine { api, id, action: "start".to_owned() };
            Ok(Some(Expected::start(engine, place, doubt)))
        }
        Err(error) => Err(escape(&error.to_string()).into()),
    }
}
