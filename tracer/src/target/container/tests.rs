//! Searches on machines in a temporary directory.

use std::{
    io::{Read, Write},
    os::unix::net::UnixListener,
    thread,
};

use super::*;
use crate::target::{Hierarchy, machine::Machine};

const WEB: &str = "aaaa456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const DATABASE: &str = "aaab456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn resolve_on(machine: &Machine, name: &str) -> Result<CgroupTarget, TargetError> {
    resolve(&machine.roots(), name)
}

/// An engine that lists containers with these names and ids, all with this pid and state.
fn serve_api(machine: &Machine, socket: &str, containers: &[(&str, &str)], pid: u32, state: &str) {
    let path = machine.roots().run.join(socket);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let listener = UnixListener::bind(path).unwrap();
    let listed: Vec<String> = containers
        .iter()
        .map(|(name, id)| format!("{{\"Id\":\"{id}\",\"Names\":[\"/{name}\"]}}"))
        .collect();
    let list = format!("[{}]", listed.join(","));
    let inspect = format!("{{\"State\":{{\"Pid\":{pid},\"Status\":\"{state}\"}}}}");
    // The thread ends with the test process.
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 1024];
            let length = stream.read(&mut request).unwrap();
            let is_list = request[..length].starts_with(b"GET /containers/json?");
            let body = if is_list { &list } else { &inspect };
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
                .unwrap();
        }
    });
}

#[test]
fn a_docker_container_is_found_in_version_2_of_a_hybrid_machine() {
    let machine = Machine::hybrid();
    serve_api(&machine, "docker.sock", &[("web", WEB), ("db", DATABASE)], 50, "running");
    let path = format!("docker/{WEB}");
    machine.make_cgroup("memory", &path);
    let unified = machine.make_cgroup("unified", &path);
    machine.make_process(50, 1, &[&format!("4:memory:/{path}"), &format!("0::/{path}")]);
    for typed in ["web", WEB, "aaaa", " web "] {
        let target = resolve_on(&machine, typed).unwrap();
        assert_eq!((target.path, target.hierarchy), (unified.clone(), Hierarchy::V2), "{typed}");
        assert_eq!(target.label, "web");
    }
}

#[test]
fn without_a_version_2_cgroup_memory_is_used() {
    let machine = Machine::hybrid();
    serve_api(&machine, "docker.sock", &[("web", WEB)], 50, "running");
    let memory = machine.make_cgroup("memory", &format!("docker/{WEB}"));
    machine.make_cgroup("pids", &format!("docker/{WEB}"));
    let lines = [format!("8:pids:/docker/{WEB}"), format!("4:memory:/docker/{WEB}")];
    machine.make_process(50, 1, &[&lines[0], &lines[1], "0::/"]);
    let target = resolve_on(&machine, "web").unwrap();
    assert_eq!(target.path, memory);
    assert_eq!(target.hierarchy, Hierarchy::V1 { controller: "memory".to_owned() });
}

#[test]
fn a_cgroup_made_inside_of_the_container_is_not_mistaken_for_it() {
    let machine = Machine::unified();
    serve_api(&machine, "docker.sock", &[("web", WEB)], 50, "running");
    let whole = machine.make_cgroup("", &format!("system.slice/docker-{WEB}.scope"));
    machine.make_cgroup("", &format!("system.slice/docker-{WEB}.scope/init.scope"));
    let line = format!("0::/system.slice/docker-{WEB}.scope/init.scope");
    machine.make_process(50, 1, &[&line]);
    assert_eq!(resolve_on(&machine, "web").unwrap().path, whole);
}

#[test]
fn a_prefix_of_several_ids_is_ambiguous() {
    let machine = Machine::unified();
    serve_api(&machine, "docker.sock", &[("web", WEB), ("db", DATABASE)], 50, "running");
    let error = resolve_on(&machine, "aaa").unwrap_err();
    assert_eq!(
        error.to_string(),
        "`aaa` could be web (docker aaaa456789ab) or db (docker aaab456789ab): give more of the id"
    );
    assert!(error.is_usage());
}

#[test]
fn one_name_in_two_engines_is_ambiguous() {
    let machine = Machine::unified();
    serve_api(&machine, "docker.sock", &[("web", WEB)], 50, "running");
    serve_api(&machine, "podman/podman.sock", &[("web", DATABASE)], 51, "running");
    let error = resolve_on(&machine, "web").unwrap_err();
    let TargetError::ContainerAmbiguous { candidates, .. } = &error else { panic!("{error}") };
    assert_eq!(candidates[0].engine, Engine::Docker);
    assert_eq!(candidates[1].engine, Engine::Podman);
}

#[test]
fn a_name_is_preferred_to_the_beginning_of_an_id() {
    let machine = Machine::unified();
    serve_api(&machine, "docker.sock", &[("aaab", WEB), ("db", DATABASE)], 50, "running");
    let directory = machine.make_cgroup("", &format!("docker/{WEB}"));
    machine.make_process(50, 1, &[&format!("0::/docker/{WEB}")]);
    assert_eq!(resolve_on(&machine, "aaab").unwrap().path, directory);
}

#[test]
fn a_stopped_container_is_named_with_its_state() {
    let machine = Machine::unified();
    serve_api(&machine, "docker.sock", &[("web", WEB)], 0, "exited");
    let error = resolve_on(&machine, "web").unwrap_err();
    assert_eq!(
        error.to_string(),
        "container web (docker aaaa456789ab) does not run (its engine says: exited): start it first"
    );
}

#[test]
fn a_cgroup_named_by_hand_is_found_by_leaving_out_the_shims() {
    let machine = Machine::unified();
    serve_api(&machine, "docker.sock", &[("web", WEB)], 50, "running");
    let own = machine.make_cgroup("", "mine");
    machine.make_cgroup("", "system.slice/containerd.service");
    machine.make_process(40, 1, &["0::/system.slice/containerd.service"]);
    machine.make_process(50, 40, &["0::/mine"]);
    assert_eq!(resolve_on(&machine, "web").unwrap().path, own);
    machine.make_process(50, 40, &["0::/system.slice/containerd.service"]);
    let error = resolve_on(&machine, "web").unwrap_err();
    assert!(matches!(error, TargetError::ContainerWithoutCgroup { pid: 50, .. }), "{error}");
}

#[test]
fn a_cgroup_that_is_not_mounted_here_is_reported() {
    let machine = Machine::unified();
    serve_api(&machine, "docker.sock", &[("web", WEB)], 50, "running");
    machine.make_process(50, 1, &[&format!("0::/../{WEB}")]);
    let error = resolve_on(&machine, "web").unwrap_err();
    assert!(matches!(error, TargetError::ContainerCgroupHidden { .. }), "{error}");
}

#[test]
fn podman_without_a_socket_is_read_from_its_state() {
    let machine = Machine::unified();
    let list = format!(r#"[{{"id":"{WEB}","names":["web"],"layer":"x"}}]"#);
    machine.write("var/lib/containers/storage/overlay-containers/containers.json", &list);
    let volatile = format!(r#"[{{"id":"{DATABASE}","names":["db"]}}]"#);
    machine.write("run/containers/storage/overlay-containers/volatile-containers.json", &volatile);
    let userdata = format!("run/containers/storage/overlay-containers/{WEB}/userdata/pidfile");
    machine.write(&userdata, "50\n");
    let web = machine.make_cgroup("", &format!("machine.slice/libpod-{WEB}.scope"));
    machine.make_process(50, 1, &[&format!("0::/machine.slice/libpod-{WEB}.scope/container")]);
    machine.make_process(49, 1, &[&format!("0::/machine.slice/libpod-conmon-{WEB}.scope")]);
    assert_eq!(resolve_on(&machine, "web").unwrap().path, web);
    let error = resolve_on(&machine, "db").unwrap_err();
    assert!(matches!(error, TargetError::ContainerNotRunning { .. }), "{error}");
    let db = machine.make_cgroup("", &format!("machine.slice/libpod-{DATABASE}.scope"));
    machine.make_process(60, 1, &[&format!("0::/machine.slice/libpod-{DATABASE}.scope")]);
    assert_eq!(resolve_on(&machine, "db").unwrap().path, db, "without a pid file");
}

fn write_task(machine: &Machine, task: &str, pid: u32, configuration: &str) {
    let task = format!("run/containerd/io.containerd.runtime.v2.task/{task}");
    machine.write(&format!("{task}/init.pid"), &pid.to_string());
    machine.write(&format!("{task}/config.json"), configuration);
}

#[test]
fn containerd_is_read_from_its_tasks() {
    let machine = Machine::unified();
    let nerdctl = r#"{"annotations":{"nerdctl/name":"web"},"linux":{"cgroupsPath":"x:nerdctl:y"}}"#;
    write_task(&machine, &format!("default/{WEB}"), 50, nerdctl);
    let pod = r#"{"annotations":{"io.kubernetes.cri.container-name":"db",
        "io.kubernetes.cri.sandbox-name":"shop","io.kubernetes.cri.sandbox-namespace":"prod"}}"#;
    write_task(&machine, &format!("k8s.io/{DATABASE}"), 51, pod);
    write_task(&machine, "default/plain", 52, r#"{"linux":{"cgroupsPath":"/by-hand"}}"#);
    let web = machine.make_cgroup("", &format!("system.slice/nerdctl-{WEB}.scope"));
    let db = machine.make_cgroup("", &format!("kubepods/pod1/{DATABASE}"));
    let plain = machine.make_cgroup("", "by-hand");
    machine.make_process(50, 1, &[&format!("0::/system.slice/nerdctl-{WEB}.scope")]);
    machine.make_process(51, 1, &[&format!("0::/kubepods/pod1/{DATABASE}")]);
    machine.make_process(52, 1, &["0::/by-hand"]);
    assert_eq!(resolve_on(&machine, "web").unwrap().path, web);
    for typed in ["db", "shop/db", "prod/shop/db", "aaab"] {
        let target = resolve_on(&machine, typed).unwrap();
        assert_eq!((target.path, target.label.as_str()), (db.clone(), "prod/shop/db"), "{typed}");
    }
    let target = resolve_on(&machine, "plain").unwrap();
    assert_eq!((target.path, target.label.as_str()), (plain, "plain"));
}

#[test]
fn a_written_pid_that_was_reused_is_not_believed() {
    let machine = Machine::unified();
    write_task(&machine, &format!("default/{WEB}"), 50, "{}");
    machine.make_cgroup("", "user.slice");
    machine.make_process(50, 1, &["0::/user.slice"]);
    let error = resolve_on(&machine, WEB).unwrap_err();
    assert!(matches!(error, TargetError::ContainerNotRunning { .. }), "{error}");
}

#[test]
fn a_container_that_docker_runs_through_containerd_is_one_container() {
    let machine = Machine::unified();
    serve_api(&machine, "docker.sock", &[("web", WEB)], 50, "running");
    write_task(&machine, &format!("moby/{WEB}"), 50, "{}");
    let directory = machine.make_cgroup("", &format!("docker/{WEB}"));
    machine.make_process(50, 1, &[&format!("0::/docker/{WEB}")]);
    assert_eq!(resolve_on(&machine, "aaaa").unwrap().path, directory);
}

#[test]
fn an_id_is_found_without_any_engine() {
    let machine = Machine::hybrid();
    let directory = machine.make_cgroup("unified", &format!("crio-{WEB}.scope"));
    machine.make_process(49, 1, &[&format!("0::/crio-conmon-{WEB}.scope")]);
    machine.make_process(50, 49, &["4:memory:/", &format!("0::/crio-{WEB}.scope")]);
    machine.make_process(51, 50, &["4:memory:/", &format!("0::/crio-{WEB}.scope")]);
    let target = resolve_on(&machine, "aaaa").unwrap();
    assert_eq!((target.path, target.label.as_str()), (directory, "aaaa456789ab"));
    assert!(resolve_on(&machine, "aaa").is_err(), "three digits are too few");
}

#[test]
fn what_nobody_knows_is_reported_with_every_answer() {
    let machine = Machine::unified();
    drop(UnixListener::bind(machine.roots().run.join("docker.sock")).unwrap());
    write_task(&machine, "default/plain", 52, "{}");
    let error = resolve_on(&machine, "web").unwrap_err();
    let message = error.to_string();
    assert!(
        message.starts_with("no container is named `web` and no container id begins with it (")
    );
    assert!(message.contains("docker: nobody listens on "), "{message}");
    assert!(message.contains("podman: nothing at "), "{message}");
    assert!(message.contains("containerd: 1 other container)"), "{message}");
    assert!(!error.is_usage());
    assert!(matches!(resolve_on(&machine, " "), Err(TargetError::EmptyName { .. })));
}

#[test]
fn what_another_users_engine_lists_is_traced_with_a_doubt_and_never_before_roots() {
    let machine = Machine::unified();
    let forged = machine.make_cgroup("", &format!("docker-{DATABASE}.scope"));
    machine.make_process(51, 1, &[&format!("0::/docker-{DATABASE}.scope")]);
    serve_api(&machine, "user/1000/docker.sock", &[("web", DATABASE)], 51, "running");
    // The engine is in another mount namespace than pid 1.
    machine.make_namespaces(std::process::id(), proof::INITIAL_USER, "mnt:[6]");
    let target = resolve_on(&machine, "web").unwrap();
    assert_eq!(target.path, forged);
    assert!(target.doubt.unwrap().ends_with("of another user or mount namespace"));
    // Podman's state, which root alone can write, has a container of that name.
    let list = format!(r#"[{{"id":"{WEB}","names":["web"]}}]"#);
    machine.write("var/lib/containers/storage/overlay-containers/containers.json", &list);
    let userdata = format!("run/containers/storage/overlay-containers/{WEB}/userdata/pidfile");
    machine.write(&userdata, "50\n");
    let own = machine.make_cgroup("", &format!("libpod-{WEB}.scope"));
    machine.make_process(50, 1, &[&format!("0::/libpod-{WEB}.scope")]);
    let target = resolve_on(&machine, "web").unwrap();
    assert_eq!((target.path, target.doubt), (own, None));
}

#[test]
fn a_client_of_docker_means_roots_container_before_one_that_another_user_lists() {
    let machine = Machine::unified();
    let find = |name: &str| docker::find(&machine.roots(), name);
    let forged = machine.make_cgroup("", "prod");
    machine.make_process(1, 0, &["0::/"]);
    machine.make_process(51, 1, &["0::/prod"]);
    // A user's engine has an id that is the name of root's container, and names any process.
    let lists = [("web", DATABASE), ("x", "web"), ("other", "other-id")];
    serve_api(&machine, "user/1000/docker.sock", &lists, 51, "running");
    machine.make_namespaces(std::process::id(), proof::INITIAL_USER, "mnt:[6]");
    let found = find("other").unwrap();
    let doubt = found.doubt.unwrap();
    assert!(doubt.ends_with("of another user or mount namespace"), "{doubt}");
    let cgroup = found.cgroup.unwrap();
    assert_eq!((cgroup.path, cgroup.doubt), (forged, Some(doubt)));
    // The engine of a test is one process, so what root's engine lists is added.
    let believed = |id: &str, name: &str| Candidate {
        engine: Engine::Docker,
        id: id.to_owned(),
        names: vec![name.to_owned()],
        init: Init::Search,
        pod: None,
        declared_cgroup: None,
        doubt: None,
    };
    for (typed, id) in [("web", WEB), ("aaaa", WEB), ("aaab", DATABASE), ("other", "other-id")] {
        let mut listed = docker::survey(&machine.roots());
        listed.candidates.push(believed(WEB, "web"));
        let found = docker::meant(typed, listed).unwrap();
        assert_eq!((found.id.as_str(), found.doubt.is_none()), (id, id == WEB), "{typed}");
    }
    let mut listed = docker::survey(&machine.roots());
    listed.candidates.extend([believed(WEB, "one"), believed(DATABASE, "two")]);
    let error = docker::meant("aaa", listed).unwrap_err();
    assert!(matches!(error, TargetError::ContainerAmbiguous { .. }), "{error}");
}

#[test]
fn a_cgroup_with_the_name_of_a_container_is_not_taken_for_it() {
    let machine = Machine::unified();
    // The engine denies the id: the name of the cgroup is all there is.
    serve_api(&machine, "docker.sock", &[("db", DATABASE)], 50, "running");
    let forged = machine.make_cgroup("", &format!("user.slice/docker-{WEB}.scope"));
    machine.make_process(60, 1, &[&format!("0::/user.slice/docker-{WEB}.scope")]);
    let target = resolve_on(&machine, WEB).unwrap();
    assert_eq!(target.path, forged);
    let doubt = target.doubt.unwrap();
    assert!(doubt.contains("docker: 1 other container"), "{doubt}");
    // The engine knows the id, and the first process is in a cgroup of another name.
    let own = machine.make_cgroup("", "mine");
    machine.make_process(1, 0, &["0::/"]);
    machine.make_process(50, 1, &["0::/mine"]);
    machine.make_process(61, 1, &[&format!("0::/user.slice/docker-{DATABASE}.scope")]);
    machine.make_cgroup("", &format!("user.slice/docker-{DATABASE}.scope"));
    let target = resolve_on(&machine, "db").unwrap();
    assert_eq!((target.path, target.doubt), (own, None));
}

#[test]
fn a_cgroup_inside_of_a_container_is_in_doubt() {
    let machine = Machine::unified();
    let list = format!(r#"[{{"id":"{WEB}","names":["web"]}}]"#);
    machine.write("var/lib/containers/storage/overlay-containers/containers.json", &list);
    let path = format!("docker/{DATABASE}/docker/{WEB}");
    let inner = machine.make_cgroup("", &path);
    machine.make_process(50, 1, &[&format!("0::/{path}")]);
    let target = resolve_on(&machine, "web").unwrap();
    assert_eq!(target.path, inner);
    assert!(target.doubt.unwrap().ends_with("is inside of a container"));
}
