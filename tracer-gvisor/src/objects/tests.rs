use super::*;

#[test]
fn a_pipe_gets_its_name_from_the_first_call_that_tells_it() {
    let mut objects = Objects::new(1);
    let pipe = objects.created(Kind::Pipe, 0, 7);
    assert_eq!(objects.seen(0, pipe, "[err: FD not found]"), pipe);
    assert_eq!(objects.seen(0, pipe, "pipe:[3]"), pipe);
    assert_eq!(objects.named(0, "pipe:[3]"), pipe);
    assert_eq!(objects.id(pipe.unwrap()).unwrap().ino, 3);
}

#[test]
fn a_renamed_file_is_the_same_and_a_new_file_with_its_name_another() {
    let mut objects = Objects::new(1);
    let log = objects.named(0, "/log");
    assert_eq!(objects.seen(0, log, "/log.1"), log);
    let next = objects.named(0, "/log");
    assert_ne!(next, log);
    assert_ne!(objects.id(next.unwrap()), objects.id(log.unwrap()));
}

#[test]
fn a_fifo_that_was_open_before_is_one_for_later_opens() {
    let mut objects = Objects::new(1);
    let fifo = objects.open(0, "/run/fifo", 0o10600);
    let (described, path) = objects.get(fifo.unwrap()).unwrap().describe(None);
    assert_eq!((described.mode, path.as_str()), (mode::S_IFIFO, "/run/fifo"));
    assert_eq!((objects.named(0, "/run/fifo"), objects.seen(0, fifo, "/run/fifo")), (fifo, fifo));
}

#[test]
fn what_an_fd_leads_to_is_believed_more_than_the_table() {
    let mut objects = Objects::new(1);
    let one = objects.named(0, "pipe:[1]");
    let two = objects.seen(0, one, "pipe:[2]");
    assert_ne!(one, two);
    assert_eq!(objects.seen(0, one, "pipe:[1]"), one);
}

#[test]
fn objects_in_use_no_more_make_room_and_never_come_back_as_others() {
    let mut objects = Objects::new(1);
    let kept = objects.named(0, "/kept").unwrap();
    let mut seen = BTreeSet::new();
    for number in 0..3 * MOST {
        if objects.are_too_many() {
            objects.forget(&BTreeSet::from([kept]));
        }
        let file = objects.named(0, &format!("/f{number}")).unwrap();
        assert!(seen.insert(objects.id(file)), "an identity was given twice");
    }
    assert_eq!((objects.refused, objects.named(0, "/kept")), (0, Some(kept)));
}

#[test]
fn a_full_table_in_use_is_not_searched_again_and_again() {
    let mut objects = Objects::new(1);
    let all: BTreeSet<Number> =
        (0..MOST - SPARE).filter_map(|number| objects.named(0, &format!("/f{number}"))).collect();
    assert!(objects.are_too_many());
    objects.forget(&all);
    assert!(!objects.are_too_many());
}

#[test]
fn names_have_no_end_but_the_table_has() {
    let mut objects = Objects::new(1);
    for number in 0..MOST + 10 {
        objects.named(0, &format!("/f{number}"));
    }
    assert_eq!((objects.all.len(), objects.refused), (MOST, 10));
}

#[test]
fn each_container_has_paths_of_its_own_and_the_sandbox_has_its_pipes() {
    let mut objects = Objects::new(1);
    assert_ne!(objects.named(0, "/log"), objects.named(1, "/log"));
    assert_eq!(objects.named(1, "/log"), objects.seen(1, None, "/log"));
    assert_eq!(objects.named(0, "pipe:[3]"), objects.named(1, "pipe:[3]"));
}

#[test]
fn terminals_are_numbered_in_the_order_in_which_a_container_opens_them() {
    let mut objects = Objects::new(1);
    assert_eq!(objects.terminal_opened(0, 5), None, "a container that ran before");
    objects.container_started(0);
    objects.container_started(1);
    let masters = [0, 1, 0].map(|container| objects.terminal_opened(container, 5).unwrap());
    let slaves = masters.map(|master| objects.get(master).unwrap().peer.unwrap());
    for (slave, (container, name)) in
        slaves.into_iter().zip([(0, "/dev/pts/0"), (1, "/dev/pts/0"), (0, "/dev/pts/1")])
    {
        assert_eq!(objects.named(container, name), Some(slave));
    }
    assert_eq!(objects.seen(0, Some(masters[0]), "/dev/pts/ptmx"), Some(masters[0]));
}
