use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::{MetadataExt as _, symlink},
    path::Path,
    thread::sleep,
};

use super::{
    super::wanted::{Place, Wanted},
    *,
};
use crate::target::{TargetError, machine::Machine};

const ID: &str = "aaaa456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const PATIENCE: Duration = Duration::from_secs(5);
/// Long enough for an event that must not come.
const QUIET: Duration = Duration::from_millis(60);

fn id(number: usize) -> String {
    format!("{number:064x}")
}

fn start(machine: &Machine, wanted: &Wanted) -> CgroupWatch {
    CgroupWatch::start_in(&machine.roots(), wanted).unwrap()
}

fn globs(globs: &[&str]) -> Wanted {
    Wanted::Globs(globs.iter().map(|glob| (*glob).to_owned()).collect())
}

fn units(names: &[&str]) -> Wanted {
    Wanted::Units(names.iter().map(|name| (*name).to_owned()).collect())
}

fn within(watch: &mut CgroupWatch, patience: Duration) -> Option<CgroupEvent> {
    let until = Instant::now() + patience;
    while Instant::now() < until {
        match watch.events.try_recv() {
            Ok(event) => return Some(event),
            Err(_) => sleep(Duration::from_millis(1)),
        }
    }
    None
}

#[track_caller]
fn appeared(watch: &mut CgroupWatch) -> CgroupTarget {
    match within(watch, PATIENCE) {
        Some(CgroupEvent::Appeared(target)) => target,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn gone(watch: &mut CgroupWatch) -> (u64, PathBuf) {
    match within(watch, PATIENCE) {
        Some(CgroupEvent::Gone { id, path }) => (id, path),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn nothing(watch: &mut CgroupWatch) {
    assert_eq!(within(watch, QUIET), None);
}

/// The labels of this many cgroups that appear.
#[track_caller]
fn labels<const COUNT: usize>(watch: &mut CgroupWatch) -> BTreeSet<String> {
    (0..COUNT).map(|_| appeared(watch).label).collect()
}

fn ino(path: &Path) -> u64 {
    fs::metadata(path).unwrap().ino()
}

#[test]
fn containers_that_are_there_appear_and_later_ones_too() {
    let machine = Machine::hybrid();
    let before = machine.make_cgroup("memory", &format!("docker/{ID}"));
    machine.make_cgroup("unified", &format!("docker/{}", id(1)));
    let mut watch = start(&machine, &Wanted::Containers);
    let memory = Hierarchy::V1 { controller: "memory".to_owned() };
    assert_eq!(*watch.hierarchy(), memory);
    let first = appeared(&mut watch);
    assert_eq!((first.id, &first.path), (ino(&before), &before));
    assert_eq!((first.label, first.doubt), (format!("/docker/{ID}"), None));
    assert_eq!(first.hierarchy, memory);
    nothing(&mut watch);
    let later = machine.make_cgroup("memory", "system.slice");
    let later = later.join(format!("docker-{ID}.scope"));
    fs::create_dir(&later).unwrap();
    assert_eq!(appeared(&mut watch).path, later);
    fs::create_dir(later.join("init.scope")).unwrap();
    fs::write(later.join("cgroup.procs"), "").unwrap();
    machine.make_cgroup("memory", &format!("libpod_parent/conmon/{}", &ID[1..]));
    nothing(&mut watch);
}

#[test]
fn of_nested_containers_only_the_topmost_appears() {
    let machine = Machine::unified();
    let outer = machine.make_cgroup("", &format!("docker/{ID}"));
    machine.make_cgroup("", &format!("docker/{ID}/docker/{}", id(1)));
    let mut watch = start(&machine, &Wanted::Containers);
    assert_eq!(appeared(&mut watch).path, outer);
    machine.make_cgroup("", &format!("docker/{ID}/docker/{}", id(2)));
    nothing(&mut watch);
}

#[test]
fn one_that_goes_is_told_with_its_id_and_one_made_again_has_another() {
    let machine = Machine::unified();
    let path = machine.make_cgroup("", &format!("docker/{ID}"));
    let mut watch = start(&machine, &Wanted::Containers);
    let first = appeared(&mut watch);
    fs::remove_dir(&path).unwrap();
    assert_eq!(gone(&mut watch), (first.id, path.clone()));
    // In a cgroup file system no number comes again soon.
    let _keeps_the_number = machine.make_cgroup("", "other");
    fs::create_dir(&path).unwrap();
    let second = appeared(&mut watch);
    assert_eq!(second.path, path);
    fs::rename(&path, path.with_extension("x")).unwrap();
    fs::create_dir(&path).unwrap();
    assert_eq!(gone(&mut watch).0, second.id);
    assert_eq!(appeared(&mut watch).id, ino(&path));
    nothing(&mut watch);
}

#[test]
fn what_is_below_a_cgroup_that_goes_is_told() {
    let machine = Machine::unified();
    let pod = machine.make_cgroup("", "kubepods/burstable/pod1");
    fs::create_dir(pod.join(ID)).unwrap();
    let mut watch = start(&machine, &Wanted::Containers);
    let target = appeared(&mut watch);
    fs::rename(&pod, machine.roots().run.join("elsewhere")).unwrap();
    assert_eq!(gone(&mut watch).0, target.id);
    fs::create_dir(&pod).unwrap();
    fs::create_dir(pod.join(id(7))).unwrap();
    assert_eq!(appeared(&mut watch).path, pod.join(id(7)));
    let moved = pod.with_file_name("pod2");
    fs::rename(&pod, &moved).unwrap();
    assert_eq!(gone(&mut watch).1, pod.join(id(7)));
    assert_eq!(appeared(&mut watch).path, moved.join(id(7)));
    fs::create_dir(moved.join(id(8))).unwrap();
    assert_eq!(appeared(&mut watch).path, moved.join(id(8)));
}

#[test]
fn directories_that_are_made_while_the_one_above_is_listed_are_not_missed() {
    let machine = Machine::unified();
    let root = machine.roots().cgroup;
    let mut watch = start(&machine, &Wanted::Containers);
    let makes = std::thread::spawn(move || {
        for number in 0..300 {
            let pod = root.join(format!("kubepods/{}/pod{number}", number % 7));
            fs::create_dir_all(pod.join(id(2 * number))).unwrap();
            fs::create_dir(pod.join(id(2 * number + 1))).unwrap();
        }
    });
    let paths: BTreeSet<PathBuf> = (0..600).map(|_| appeared(&mut watch).path).collect();
    assert_eq!(paths.len(), 600);
    makes.join().unwrap();
    nothing(&mut watch);
}

#[test]
fn after_lost_events_the_tree_is_listed_again() {
    let machine = Machine::unified();
    let stays = machine.make_cgroup("", &format!("docker/{ID}"));
    let goes = machine.make_cgroup("", &format!("docker/a/{}", id(1)));
    let (tell, events) = channel(WAITING);
    let place = Place::choose(&machine.roots(), &Wanted::Containers).unwrap();
    let mut tree = Tree::new(place, tell).unwrap();
    tree.list().unwrap();
    let (_, stop) = pipe().unwrap();
    let mut watch = CgroupWatch {
        events,
        hierarchy: Hierarchy::V2,
        mount_point: machine.roots().cgroup,
        _stop: stop,
    };
    let ids = [ino(&stays), ino(&goes)].into_iter().collect::<BTreeSet<_>>();
    assert_eq!((0..2).map(|_| appeared(&mut watch).id).collect::<BTreeSet<_>>(), ids);
    // The receiver takes no event.
    let id_of_goes = ino(&goes);
    fs::remove_dir_all(goes.parent().unwrap()).unwrap();
    let comes = machine.make_cgroup("", &format!("docker/b/c/{}", id(2)));
    tree.list_again().unwrap();
    assert_eq!(within(&mut watch, PATIENCE), Some(CgroupEvent::Lost));
    assert_eq!(gone(&mut watch), (id_of_goes, goes));
    assert_eq!(appeared(&mut watch).path, comes);
    nothing(&mut watch);
}

#[test]
fn each_limit_is_told_once_and_what_was_left_out_comes_when_there_is_room() {
    let machine = Machine::unified();
    for number in 0..MOST_MATCHES + 3 {
        machine.make_cgroup("", &format!("docker/{}", id(number)));
    }
    let place = Place::choose(&machine.roots(), &Wanted::Containers).unwrap();
    let (tell, mut events) = channel(3 * MOST_MATCHES);
    let mut tree = Tree::new(place, tell).unwrap();
    tree.list().unwrap();
    let mut told = Vec::new();
    while let Ok(event) = events.try_recv() {
        told.push(event);
    }
    let limits = told.iter().filter(|event| matches!(event, CgroupEvent::Limit(_))).count();
    assert_eq!((told.len(), limits), (MOST_MATCHES + 1, 1));
    assert!(tree.is_cut());
    let path = told.iter().find_map(|event| match event {
        CgroupEvent::Appeared(target) => Some(target.path.clone()),
        _ => None,
    });
    fs::remove_dir(path.unwrap()).unwrap();
    tree.list().unwrap();
    assert!(matches!(events.try_recv(), Ok(CgroupEvent::Gone { .. })));
    assert!(matches!(events.try_recv(), Ok(CgroupEvent::Appeared(_))));
    assert!(events.try_recv().is_err() && tree.is_cut());
}

#[test]
fn other_users_get_a_part_of_the_room() {
    let machine = Machine::unified();
    for number in 0..MOST_MATCHES / SHARE_OF_USERS + 1 {
        machine.make_cgroup("", &format!("user.slice/{}", id(number)));
    }
    let roots = Roots { root_uid: machine.roots().root_uid + 1, ..machine.roots() };
    let place = Place::choose(&roots, &Wanted::Containers).unwrap();
    let (tell, mut events) = channel(MOST_MATCHES);
    Tree::new(place, tell).unwrap().list().unwrap();
    let mut appeared = 0;
    let mut limits = Vec::new();
    while let Ok(event) = events.try_recv() {
        match event {
            CgroupEvent::Appeared(target) => {
                assert!(target.doubt.unwrap().contains("owns"));
                appeared += 1;
            }
            CgroupEvent::Limit(limit) => limits.push(limit),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((appeared, limits), (MOST_MATCHES / SHARE_OF_USERS, vec![Limit::OfUsers]));
}

#[test]
fn links_and_files_are_no_cgroups() {
    let machine = Machine::unified();
    let docker = machine.make_cgroup("", "docker");
    let outside = machine.roots().run.join("outside");
    fs::create_dir_all(outside.join(id(1))).unwrap();
    let mut watch = start(&machine, &Wanted::Containers);
    nothing(&mut watch);
    symlink(&outside, docker.join(ID)).unwrap();
    symlink(&outside, docker.join("link")).unwrap();
    fs::write(docker.join(id(2)), "").unwrap();
    nothing(&mut watch);
}

#[test]
fn globs_name_cgroups_below_the_root() {
    let machine = Machine::unified();
    for path in
        ["a/one", "a/one/x", "a/two", "b/c/d/x", "b/x", "other/one", "machine-a\\x2db.scope"]
    {
        machine.make_cgroup("", path);
    }
    for (patterns, expected) in [
        (&["a/*"][..], &["/a/one", "/a/two"][..]),
        (&["/a/t*/"], &["/a/two"]),
        (&["b/**/x"], &["/b/c/d/x", "/b/x"]),
        (&["**/x", "a/one"], &["/a/one", "/b/c/d/x", "/b/x"]),
        (&["{a,other}/one"], &["/a/one", "/other/one"]),
        (&["{a/two,b/x}"], &["/a/two", "/b/x"]),
        (&["machine-a\\x2d*.scope"], &["/machine-a\\x2db.scope"]),
        (&["/"], &["/"]),
        (&["none/*"], &[]),
    ] {
        let mut watch = start(&machine, &globs(patterns));
        let found: BTreeSet<String> = expected.iter().map(|_| appeared(&mut watch).label).collect();
        assert_eq!(
            found,
            expected.iter().map(|label| (*label).to_owned()).collect(),
            "{patterns:?}"
        );
        nothing(&mut watch);
    }
    let mut watch = start(&machine, &globs(&["a/**"]));
    assert_eq!(labels::<2>(&mut watch), ["/a/one", "/a/two"].map(str::to_owned).into());
    machine.make_cgroup("", "a/three/x");
    assert_eq!(appeared(&mut watch).label, "/a/three");
}

#[test]
fn globs_choose_the_hierarchy_in_which_they_match() {
    let machine = Machine::hybrid();
    machine.make_cgroup("pids", "jobs/1");
    let pids = Hierarchy::V1 { controller: "pids".to_owned() };
    let memory = Hierarchy::V1 { controller: "memory".to_owned() };
    assert_eq!(*start(&machine, &globs(&["jobs/*"])).hierarchy(), pids);
    assert_eq!(*start(&machine, &globs(&["other/*"])).hierarchy(), memory);
    let unified = machine.roots().cgroup.join("unified");
    let named = format!("{}/jobs/*", unified.display());
    let mut watch = start(&machine, &globs(&[&named]));
    assert_eq!(*watch.hierarchy(), Hierarchy::V2);
    let job = machine.make_cgroup("unified", "jobs/2");
    assert_eq!(appeared(&mut watch).path, job);
    let other = format!("{}/memory/*", machine.roots().cgroup.display());
    let error = CgroupWatch::start_in(&machine.roots(), &globs(&[&named, &other])).unwrap_err();
    assert!(matches!(error, ScopeError::Target(TargetError::TwoHierarchies { .. })), "{error}");
    let systemd = format!("{}/systemd/*", machine.roots().cgroup.display());
    let error = CgroupWatch::start_in(&machine.roots(), &globs(&[&systemd])).unwrap_err();
    assert!(error.is_usage() && error.to_string().contains("`systemd`"), "{error}");
}

#[test]
fn units_are_looked_for_where_systemd_makes_them() {
    let machine = Machine::unified();
    let nginx = machine.make_cgroup("", "system.slice/nginx.service");
    machine.make_cgroup("", "system.slice/nginx.service/nginx.service");
    machine.make_cgroup("", "docker/a/system.slice/nginx.service");
    let mut watch = start(&machine, &units(&["nginx", "app-*"]));
    assert_eq!(appeared(&mut watch).path, nginx);
    nothing(&mut watch);
    let user = "user.slice/user-1000.slice/user@1000.service/app.slice";
    let app = machine.make_cgroup("", &format!("{user}/app-a@1.service"));
    assert_eq!(appeared(&mut watch).path, app);
    let escaped = machine.make_cgroup("", "system.slice/_app-b.service");
    assert_eq!(appeared(&mut watch).path, escaped);
    machine.make_cgroup("", "system.slice/app-c.scope");
    nothing(&mut watch);
}

#[test]
fn all_is_the_root() {
    let machine = Machine::unified();
    machine.make_cgroup("", &format!("docker/{ID}"));
    let mut watch = start(&machine, &Wanted::All);
    let root = appeared(&mut watch);
    assert_eq!((root.id, root.label.as_str()), (ino(&machine.roots().cgroup), "/"));
    nothing(&mut watch);
}

#[test]
fn what_is_no_pattern_is_a_mistake_on_the_command_line() {
    let machine = Machine::unified();
    for wanted in
        [globs(&[]), globs(&[" "]), globs(&["a[b"]), units(&[]), units(&["a/b"]), units(&["{a"])]
    {
        let error = CgroupWatch::start_in(&machine.roots(), &wanted).unwrap_err();
        assert!(error.is_usage(), "{error}");
        assert_eq!(error.to_string().lines().count(), 1, "{error}");
    }
    let none = Machine::without_cgroups();
    let error = CgroupWatch::start_in(&none.roots(), &Wanted::Containers).unwrap_err();
    assert!(!error.is_usage(), "{error}");
}

#[test]
fn the_thread_ends_when_the_receiver_is_gone() {
    let machine = Machine::unified();
    machine.make_cgroup("", &format!("docker/{ID}"));
    let place = Place::choose(&machine.roots(), &Wanted::Containers).unwrap();
    let (tell, events) = channel(1);
    let (stopped, stop) = pipe().unwrap();
    let tree = Tree::new(place, tell).unwrap();
    let thread = std::thread::spawn(move || super::watch(tree, &stopped));
    sleep(QUIET);
    assert!(!thread.is_finished());
    drop(CgroupWatch {
        events,
        hierarchy: Hierarchy::V2,
        mount_point: machine.roots().cgroup,
        _stop: stop,
    });
    thread.join().unwrap();
}
