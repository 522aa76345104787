use std::{
    fs::{self, File, Permissions},
    os::unix::fs::{PermissionsExt as _, symlink},
};

use serde_json::json;

use super::*;
use crate::target::machine::Machine;

const ID: &str = "aaaa456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const TASKS: &str = "run/containerd/io.containerd.runtime.v2.task";

/// What a cgroup is that root named.
fn place(roots: &Roots, cgroup: &str) -> Place {
    super::place(roots, &CgroupPath::of_root(cgroup))
}

/// What is known: engine, name, image, namespace, pod.
fn known(machine: &Machine, cgroup: &str) -> [Option<String>; 5] {
    let Place { engine, container, image, namespace, pod, .. } = place(&machine.roots(), cgroup);
    [engine, container, image, namespace, pod]
}

fn some<const COUNT: usize>(texts: [&str; COUNT]) -> [Option<String>; COUNT] {
    texts.map(|text| (!text.is_empty()).then(|| text.to_owned()))
}

fn docker_file(name: &str) -> String {
    json!({"ID": ID, "Name": format!("/{name}"), "Config": {"Image": "web:1", "Labels": null}})
        .to_string()
}

fn write_docker(machine: &Machine, folder: &str, name: &str) {
    machine.write(&format!("{folder}/containers/{ID}/config.v2.json"), &docker_file(name));
}

#[test]
fn a_container_of_docker_is_known_by_its_own_file() {
    let machine = Machine::unified();
    let cgroup = format!("/docker/{ID}");
    let early = place(&machine.roots(), &cgroup);
    assert_eq!(
        (early.engine.as_deref(), early.container_id.as_deref()),
        (Some("docker"), Some(ID))
    );
    assert!(early.container.is_none() && !early.is_named());
    write_docker(&machine, "var/lib/docker", "web");
    let place = place(&machine.roots(), &format!("{cgroup}/init/below"));
    assert_eq!(place.container.as_deref(), Some("web"));
    assert!(place.is_named());
    let expected = some(["docker", "web", "web:1", "", ""]);
    assert_eq!(known(&machine, &cgroup), expected);
    assert_eq!(known(&machine, &format!("/kubepods/pod1/{ID}")), expected);
    assert_eq!(known(&machine, &format!("/system.slice/docker-{ID}.scope")), expected);
}

#[test]
fn a_pod_on_docker_is_known_by_the_labels_or_the_name() {
    let machine = Machine::unified();
    let cgroup = format!("/kubepods/burstable/pod1/{ID}");
    write_docker(&machine, "var/lib/docker", "k8s_web_web-0_shop_uid_0");
    let expected = some(["docker", "web", "web:1", "shop", "web-0"]);
    assert_eq!(known(&machine, &cgroup), expected);
    let labels = json!({"io.kubernetes.container.name": "w", "io.kubernetes.pod.name": "p",
        "io.kubernetes.pod.namespace": "n"});
    let file = json!({"Name": "/x", "Config": {"Image": "i", "Labels": labels}});
    machine.write(&format!("var/lib/docker/containers/{ID}/config.v2.json"), &file.to_string());
    assert_eq!(known(&machine, &cgroup), some(["docker", "w", "i", "n", "p"]));
}

#[test]
fn dockers_data_can_be_elsewhere() {
    let cgroup = format!("/docker/{ID}");
    let expected = some(["docker", "web", "web:1", "", ""]);
    for key in ["data-root", "graph"] {
        let machine = Machine::unified();
        let folder = machine.roots().var_lib.join("other");
        machine.write("etc/docker/daemon.json", &json!({key: folder, "debug": true}).to_string());
        write_docker(&machine, "var/lib/other", "web");
        assert_eq!(known(&machine, &cgroup), expected, "{key}");
    }
    let machine = Machine::unified();
    let source = machine.roots().var_lib.join(format!("third/containers/{ID}/hostname"));
    let configuration = json!({"mounts": [{"destination": "/proc", "type": "proc"},
        {"destination": "/etc/hostname", "source": source}]});
    let tasks = "run/docker/containerd/daemon/io.containerd.runtime.v2.task/moby";
    machine.write(&format!("{tasks}/{ID}/config.json"), &configuration.to_string());
    assert_eq!(known(&machine, &cgroup), some(["docker", "", "", "", ""]));
    write_docker(&machine, "var/lib/third", "web");
    assert_eq!(known(&machine, &cgroup), expected);
    let machine = Machine::unified();
    write_docker(&machine, "var/lib/moved", "web");
    symlink("moved", machine.roots().var_lib.join("docker")).unwrap();
    assert_eq!(known(&machine, &cgroup), expected, "the administrator's link");
}

#[test]
fn a_container_of_kubernetes_on_containerd_is_known_by_annotations() {
    let machine = Machine::unified();
    let annotations = json!({"annotations": {"io.kubernetes.cri.container-name": "web",
        "io.kubernetes.cri.image-name": "web:1", "io.kubernetes.cri.sandbox-name": "web-0",
        "io.kubernetes.cri.sandbox-namespace": "shop"}, "ociVersion": "1"});
    machine.write(&format!("{TASKS}/k8s.io/{ID}/config.json"), &annotations.to_string());
    let expected = some(["containerd", "web", "web:1", "shop", "web-0"]);
    let slice = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1.slice";
    assert_eq!(known(&machine, &format!("{slice}/cri-containerd-{ID}.scope")), expected);
    assert_eq!(known(&machine, &format!("/kubepods/burstable/pod1/{ID}")), expected);
    let unit = place(&machine.roots(), &format!("{slice}/cri-containerd-{ID}.scope")).unit;
    assert_eq!(unit, Some(format!("cri-containerd-{ID}.scope")));
}

#[test]
fn a_sandbox_of_a_pod_is_known_as_one() {
    let pod = json!({"io.kubernetes.pod.name": "web-0", "io.kubernetes.pod.namespace": "shop",
        "io.kubernetes.container.name": "POD"});
    let is_sandbox = |machine: &Machine, cgroup: &str| {
        let place = place(&machine.roots(), cgroup);
        assert_eq!(place.pod.as_deref(), Some("web-0"), "{place:?}");
        place.is_sandbox()
    };
    let pods = format!("/kubepods/burstable/pod1/{ID}");
    let docker = |name: &str, labels: &serde_json::Value| {
        let machine = Machine::unified();
        let file = json!({"Name": name, "Config": {"Image": "pause:3", "Labels": labels}});
        machine.write(&format!("var/lib/docker/containers/{ID}/config.v2.json"), &file.to_string());
        machine
    };
    let names = ["/k8s_POD_web-0_shop_uid_0", "/k8s_web_web-0_shop_uid_0"];
    assert!(is_sandbox(&docker(names[0], &json!({})), &pods));
    assert!(is_sandbox(&docker("/x", &pod), &pods));
    assert!(!is_sandbox(&docker(names[1], &json!({})), &pods));
    let mut crio = pod.clone();
    crio["io.kubernetes.cri-o.SandboxID"] = json!("s");
    let cri = json!({"io.kubernetes.cri.sandbox-name": "web-0",
        "io.kubernetes.cri.sandbox-namespace": "shop"});
    let storage = format!("run/containers/storage/overlay-containers/{ID}/userdata");
    for (folder, annotations) in [(storage, crio), (format!("{TASKS}/k8s.io/{ID}"), cri)] {
        let machine = Machine::unified();
        let file = json!({"annotations": annotations});
        machine.write(&format!("{folder}/config.json"), &file.to_string());
        assert!(is_sandbox(&machine, &pods), "{folder}");
    }
    // A container without a pod can have this name.
    let machine = docker("/POD", &json!({}));
    let place = place(&machine.roots(), &pods);
    assert!(place.container.as_deref() == Some("POD") && !place.is_sandbox());
}

#[test]
fn a_container_of_containerd_alone_is_known_in_its_namespace() {
    let machine = Machine::unified();
    let named = |name: &str| json!({"annotations": {"nerdctl/name": name}}).to_string();
    machine.write(&format!("{TASKS}/default/1/config.json"), &named("one"));
    machine.write(&format!("{TASKS}/build/1/config.json"), &named("other"));
    assert_eq!(known(&machine, "/default/1"), some(["containerd", "one", "", "", ""]));
    assert_eq!(known(&machine, "/build/1"), some(["containerd", "other", "", "", ""]));
    assert_eq!(known(&machine, "/build/2"), some([""; 5]));
    let place = place(&machine.roots(), "/default/2");
    assert_eq!((place.container_id.as_deref(), place.is_named()), (Some("2"), false));
}

#[test]
fn a_container_of_crio_is_known_by_annotations_or_its_full_name() {
    let cgroup = format!("/kubepods.slice/a.slice/crio-{ID}.scope");
    let expected = some(["cri-o", "web", "web:1", "shop", "web-0"]);
    for annotations in [
        json!({"io.kubernetes.cri-o.SandboxID": "s", "io.kubernetes.cri-o.ImageName": "web:1",
            "io.kubernetes.cri-o.Image": "00ff", "io.kubernetes.container.name": "web",
            "io.kubernetes.pod.name": "web-0", "io.kubernetes.pod.namespace": "shop"}),
        json!({"io.kubernetes.cri-o.SandboxID": "s", "io.kubernetes.cri-o.Image": "web:1",
            "io.kubernetes.cri-o.Name": "k8s_web_web-0_shop_uid_2"}),
    ] {
        let machine = Machine::unified();
        let folder = format!("run/containers/storage/overlay-containers/{ID}/userdata");
        let file = json!({"annotations": annotations});
        machine.write(&format!("{folder}/config.json"), &file.to_string());
        assert_eq!(known(&machine, &cgroup), expected);
    }
}

#[test]
fn a_container_of_podman_is_known_by_the_list() {
    let expected = some(["podman", "web", "docker.io/web:1", "", ""]);
    let metadata = json!({"image-name": "docker.io/web:1", "name": "web"}).to_string();
    let listed = |names: serde_json::Value| json!([{"id": "other", "names": ["x"]}, {"id": ID, "names": names, "metadata": metadata}]);
    for (list, names) in [
        ("var/lib/containers/storage/overlay-containers/containers.json", json!(["web"])),
        ("var/lib/containers/storage/vfs-containers/volatile-containers.json", json!(["web"])),
        ("run/containers/storage/overlay-containers/volatile-containers.json", json!([])),
    ] {
        let machine = Machine::unified();
        machine.write(list, &listed(names).to_string());
        let cgroups = [
            format!("/machine.slice/libpod-{ID}.scope/container"),
            format!("/libpod_parent/libpod-{ID}"),
        ];
        for cgroup in cgroups {
            assert_eq!(known(&machine, &cgroup), expected, "{list}");
        }
    }
    let machine = Machine::unified();
    let folder = format!("var/lib/containers/storage/overlay-containers/{ID}/userdata");
    let podmans = json!({"annotations": {"io.container.manager": "libpod"}});
    machine.write(&format!("{folder}/config.json"), &podmans.to_string());
    assert_eq!(known(&machine, &format!("/own/{ID}")), some(["podman", "", "", "", ""]));
}

#[test]
fn machines_and_units_are_known_by_their_paths() {
    let machine = Machine::unified();
    let nspawn = "/machine.slice/machine-a\\x2db.scope/payload/system.slice/x.service";
    assert_eq!(known(&machine, nspawn), some(["systemd-machined", "a-b", "", "", ""]));
    let lxc = "/lxc.payload.web/system.slice";
    assert_eq!(known(&machine, lxc), some(["lxc", "web", "", "", ""]));
    let unit = |cgroup: &str| place(&machine.roots(), cgroup).unit;
    assert_eq!(unit(nspawn).as_deref(), Some("machine-a\\x2db.scope"));
    assert_eq!(unit(lxc), None);
    assert_eq!(unit("/system.slice/a\\x2db.service/sub").as_deref(), Some("a\\x2db.service"));
    assert_eq!(
        unit("/user.slice/user@1.service/a.slice/b.scope").as_deref(),
        Some("user@1.service")
    );
    assert_eq!(unit(&format!("/docker/{ID}/system.slice/x.service")), None, "a container's own");
    for cgroup in ["", "/", "/system.slice", "/a.service.d/b"] {
        let place = place(&machine.roots(), cgroup);
        assert_eq!(place, Place { cgroup: cgroup.to_owned(), ..Place::default() });
        assert!(place.is_named());
    }
    for (name, plain) in [
        ("a\\x2d", "a-"),
        ("\\x", "\\x"),
        ("\\xzz", "\\xzz"),
        ("\\xé", "\\xé"),
        ("\\xc3\\xa9", "é"),
    ] {
        assert_eq!(unescaped(name), plain);
    }
}

/// A user who may make cgroups gives them the names of containers that exist, and of units.
#[test]
fn a_name_that_a_user_gave_is_none() {
    let machine = Machine::unified();
    let roots = machine.roots();
    write_docker(&machine, "var/lib/docker", "web");
    machine.write(&format!("{TASKS}/build/job-7/config.json"), "{}");
    let forged = [
        format!("docker-{ID}.scope"),
        format!("docker/{ID}"),
        format!("libpod-{ID}.scope"),
        format!("x.slice/cri-containerd-{ID}.scope/init"),
        "machine-web.scope".to_owned(),
        "systemd-nspawn@web.service".to_owned(),
        "lxc.payload.web".to_owned(),
        "nginx.service".to_owned(),
        "system.slice/nginx.service".to_owned(),
        "lxc/web".to_owned(),
        "default/web".to_owned(),
        "build/job-7".to_owned(),
    ];
    let manager = "user.slice/user-7.slice/user@7.service";
    for (above, unit) in [("given", None), (manager, Some("user@7.service"))] {
        let given = machine.make_cgroup("", above);
        fs::set_permissions(&given, Permissions::from_mode(0o777)).unwrap();
        for name in &forged {
            let path = format!("/{above}/{name}");
            machine.make_cgroup("", &path[1..]);
            let looked_at = CgroupPath::look(&roots, &roots.cgroup, &path);
            let expected =
                Place { cgroup: path, unit: unit.map(str::to_owned), ..Place::default() };
            assert_eq!(super::place(&roots, &looked_at), expected);
        }
    }
    // The same names, where root alone can give them. The cgroup itself may be given away: its name stays.
    let docker = machine.make_cgroup("", &forged[0]);
    fs::set_permissions(&docker, Permissions::from_mode(0o777)).unwrap();
    let path = format!("/{}/init/docker-{}.scope", forged[0], ID.replace('a', "b"));
    let found = super::place(&roots, &CgroupPath::look(&roots, &roots.cgroup, &path));
    assert_eq!(
        (found.container.as_deref(), found.container_id.as_deref(), found.unit.as_ref()),
        (Some("web"), Some(ID), Some(&forged[0]))
    );
}

#[test]
fn a_file_that_is_not_roots_alone_is_not_believed() {
    let cgroup = format!("/docker/{ID}");
    let nothing = some(["docker", "", "", "", ""]);
    let machine = Machine::unified();
    write_docker(&machine, "var/lib/docker", "web");
    let roots = Roots { root_uid: machine.roots().root_uid + 1, ..machine.roots() };
    assert_eq!(place(&roots, &cgroup).container, None, "another user's");
    let folder = machine.roots().var_lib.join("docker/containers").join(ID);
    let file = folder.join("config.v2.json");
    for place in [&file, &folder, &machine.roots().var_lib.join("docker")] {
        let before = fs::metadata(place).unwrap().permissions();
        fs::set_permissions(place, Permissions::from_mode(0o777)).unwrap();
        assert_eq!(known(&machine, &cgroup), nothing, "{}", place.display());
        fs::set_permissions(place, before).unwrap();
    }
    assert_ne!(known(&machine, &cgroup), nothing);
    fs::rename(&file, folder.join("other")).unwrap();
    symlink("other", &file).unwrap();
    assert_eq!(known(&machine, &cgroup), nothing, "a link");
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    assert_eq!(known(&machine, &cgroup), nothing, "a directory");
}

#[test]
fn a_pipe_does_not_block_and_what_is_no_file_of_an_engine_is_passed_over() {
    let cgroup = format!("/docker/{ID}");
    let nothing = some(["docker", "", "", "", ""]);
    let machine = Machine::unified();
    let file = machine.roots().var_lib.join("docker/containers").join(ID).join("config.v2.json");
    for text in ["", "{", "[]", "{\"Name\": 7}", "{\"Config\": []}", "\0\u{fffd}"] {
        machine.write(&format!("var/lib/docker/containers/{ID}/config.v2.json"), text);
        assert_eq!(known(&machine, &cgroup), nothing, "{text}");
    }
    // Deeper than any parser's stack.
    fs::write(&file, "[".repeat(1 << 20)).unwrap();
    assert_eq!(known(&machine, &cgroup), nothing);
    // A gigabyte, of which the disk has nothing.
    fs::write(&file, docker_file("web")).unwrap();
    File::options().write(true).open(&file).unwrap().set_len(1 << 30).unwrap();
    assert_eq!(known(&machine, &cgroup), nothing);
    fs::remove_file(&file).unwrap();
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mkfifoat(rustix::fs::CWD, &file, mode).unwrap();
    assert_eq!(known(&machine, &cgroup), nothing);
}

#[test]
fn long_names_are_cut_between_characters() {
    let machine = Machine::unified();
    write_docker(&machine, "var/lib/docker", &format!("x{}", "é".repeat(500)));
    let name = place(&machine.roots(), &format!("/docker/{ID}")).container.unwrap();
    assert_eq!(name, format!("x{}", "é".repeat(126)));
    write_docker(&machine, "var/lib/docker", "");
    assert_eq!(place(&machine.roots(), &format!("/docker/{ID}")).container, None);
    assert_eq!(cut(&"a".repeat(LONGEST)).unwrap().len(), LONGEST);
}
