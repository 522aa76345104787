//! What became of output behind its first reader: in the file that a relay keeps, or nowhere.

use tracer_common::{ledger::LedgerRow, object::ObjectId};

use super::{scene::*, silence::check};
use crate::{
    event::{EventKind, FileNow},
    session::{Kind, Object},
    verdict::Severity::{Info, Loss, Warning},
};

const INNER: ObjectId = object(150);
const FILE: ObjectId = object(160);
const SH: [&str; 2] = ["sh", "script"];
const SIGKILL: u32 = 9;

/// The manager read 90 bytes of stdout, and perhaps some of stderr, and wrote `logged` bytes into a file of its own.
fn logged(stderr: u64, logged: u64) -> Scene {
    let scene = managed(&["service"]).file(FILE, "/var/log/x");
    let scene = scene.wrote(COMMAND, 1, OUT, write(90)).read(MANAGER, OUT, 90, 110);
    let scene = match stderr {
        0 => scene,
        bytes => scene.wrote(COMMAND, 2, ERR, write(bytes)).read(MANAGER, ERR, bytes, 110),
    };
    let scene = scene.wrote(MANAGER, 9, FILE, written_at(logged, 120)).exited(COMMAND, 0, 130);
    scene.found(FILE, FileNow::Same, logged)
}

#[test]
fn the_file_of_a_relay_is_where_the_output_is() {
    let told = |scene: Scene| scene.finding(Rule::Delivered).unwrap().message;
    let renamed = || {
        let (now, renamed) = (FileNow::Replaced, "/var/log/x.1".to_owned());
        logged(0, 90).also(9_500, EventKind::File { object: FILE, now, size: 90, renamed })
    };
    let other = object(161);
    let apart = || {
        let scene = logged(30, 90).file(other, "/var/log/err");
        scene.wrote(MANAGER, 8, other, written_at(30, 120))
    };
    let into = "manager (pid 7) wrote";
    for (scene, expected) in [
        (logged(0, 90), format!("; {into} it into the file /var/log/x. It exited")),
        (renamed(), format!("{into} it into the file /var/log/x, which is /var/log/x.1 now.")),
        (logged(30, 120), format!("{into} both into the file /var/log/x.")),
        (
            apart(),
            format!(
                "{into} stdout into the file /var/log/x; {into} stderr into the file /var/log/err."
            ),
        ),
    ] {
        let message = told(scene);
        assert!(message.contains(&expected), "{message}");
    }
    // An assembler and a compressor write other bytes.
    let two = logged(0, 90).file(other, "/tmp/copy").wrote(MANAGER, 8, other, written_at(90, 120));
    let shared = managed(&["service"]).file(FILE, "/var/log/x").wrote(COMMAND, 1, OUT, write(95));
    let shared = shared.read(MANAGER, OUT, 90, 110).wrote(MANAGER, 9, FILE, written_at(90, 120));
    let shared = shared.read(31, OUT, 5, 115).exited(COMMAND, 0, 130);
    assert!(shared.finding(Rule::Delivered).is_some());
    for scene in [logged(0, 200), logged(0, 70), two, shared] {
        for finding in scene.judged() {
            assert!(!finding.message.contains(into), "{finding:#?}");
        }
    }
}

/// The log of a manager that read `read` bytes was removed while it had it open, or has only `left` of the 90 bytes.
#[test]
fn a_file_that_a_relay_keeps_has_books() {
    let removed = |mut scene: Scene| {
        scene.0.objects.get_mut(&FILE).unwrap().removed_ns = Some(at(125));
        scene
    };
    let cut =
        |bytes, left| logged(0, bytes).cut(MANAGER, FILE, 115).found(FILE, FileNow::Same, left);
    let nameless = || {
        let mut scene = removed(logged(0, 90));
        scene.0.objects.get_mut(&FILE).unwrap().deleted = true;
        scene
    };
    let by = |comm: &str, ms: u32| {
        let scene = logged(0, 40).wrote(MANAGER, 9, FILE, written_at(50, 140));
        let scene = scene.command(ms, MANAGER, &[comm, "x"], [NULL, OUT, ERR]);
        scene.exited(ms, 0, u64::from(ms) + 1).found(FILE, FileNow::Gone, 0)
    };
    let replaced = |argv: &[&str]| {
        let scene = logged(0, 40).wrote(MANAGER, 9, FILE, written_at(50, 140));
        let scene = scene.command(130, MANAGER, argv, [NULL, OUT, ERR]);
        scene.exited(130, 0, 131).found(FILE, FileNow::Replaced, 0)
    };
    check(vec![
        (Rule::FileLost, "removed while it is open", removed(logged(0, 90)), Some(Loss)),
        (Rule::FileLost, "of both streams", removed(logged(30, 120)), Some(Loss)),
        (Rule::FileLost, "the relay cut it itself", cut(90, 40), Some(Loss)),
        (Rule::FileLost, "all is there", cut(90, 90), None),
        (Rule::FileLost, "its state, written anew", cut(300, 40), None),
        (Rule::FileLost, "it never had a name", nameless(), None),
        (Rule::FileLost, "read before", removed(logged(0, 90)).read(30, FILE, 90, 124), None),
        (Rule::FileLost, "`rm` while it is written", by("rm", 130), Some(Loss)),
        (Rule::FileLost, "`rm` when it was written", by("rm", 150), None),
        (Rule::FileLost, "another program", by("cat", 130), None),
        (Rule::FileLost, "`mv` onto it", replaced(&["mv", "new", "/var/log/x"]), Some(Loss)),
        (Rule::FileLost, "`mv` to another place", replaced(&["mv", "x", "/srv/old"]), None),
    ]);
    let message = removed(logged(30, 120)).finding(Rule::FileLost).unwrap().message;
    let said = "manager (pid 7) wrote 120 B that it had read from service \
                (pid 71) into the file /var/log/x, which was removed: 120 B are gone.";
    assert!(message.starts_with(said), "{message}");
}

#[test]
fn tracer_itself_loses_no_output() {
    const TTY: ObjectId = object(170);
    const MASTER: ObjectId = object(171);
    let shown_by = |comm: &str| {
        let mut scene = managed(&SH);
        for (id, other) in [(TTY, MASTER), (MASTER, TTY)] {
            let path = if id == TTY { "/dev/pts/1".to_owned() } else { String::new() };
            scene.0.add_object(Object { id, kind: Kind::Pty, path, ..Object::default() });
            scene.0.joined.insert(id, other);
        }
        let scene = scene.command(80, 30, &SH, [TTY; 3]).wrote(80, 1, TTY, write(14));
        let mut scene = scene.read(30, MASTER, 15, 110).exited(80, 0, 120);
        comm.clone_into(&mut scene.0.processes.get_mut(&id(30)).unwrap().comm);
        scene.finding(Rule::Delivered).unwrap()
    };
    for comm in ["tracer", "pty-relay"] {
        let finding = shown_by(comm);
        let said = "to the terminal /dev/pts/1, which tracer passes on to its own stdout.";
        assert!(finding.message.contains(said), "{finding:?}");
        assert_eq!(finding.advice, None);
    }
    let other = shown_by("script");
    assert!(other.message.contains("which script (pid 30) shows"), "{other:?}");
    assert!(other.advice.unwrap().starts_with("script (pid 30) received every byte"));
}

/// A program that a shell starts reads the output of a command that it starts itself, and writes `wrote` bytes to a file.
fn collects(wrote: u64) -> Scene {
    let scene = managed(&SH).pipe(INNER).file(FILE, "/var/log/x");
    let scene = scene.command(80, COMMAND, &["job"], [NULL, OUT, ERR]);
    let scene =
        scene.command(81, 80, &["check"], [NULL, INNER, ERR]).wrote(81, 1, INNER, write(90));
    let mut scene = scene.read(80, INNER, 90, 110).exited(81, 3, 115);
    scene.0.objects.get_mut(&FILE).unwrap().hop = 1;
    if wrote > 0 { scene.wrote(80, 5, FILE, written_at(wrote, 120)) } else { scene }
}

#[test]
fn what_went_no_further_is_said_and_is_no_alarm() {
    let told = |scene: Scene| {
        let scene = scene.exited(80, 0, 200).exited(COMMAND, 0, 210);
        let found = scene.judged();
        assert!(found.iter().all(|finding| finding.severity == Info), "{found:#?}");
        found.into_iter().find(|it| it.rule == Rule::Delivered).unwrap().message
    };
    let none = ", all read by job (pid 80); nothing to stderr; job (pid 80) wrote nothing with any system call";
    let ends = told(collects(0));
    assert!(ends.contains(&format!("{none}. It exited with 3.")), "{ends}");
    let less = told(collects(40));
    assert!(less.contains("; job (pid 80) wrote 40 B in all, 50 B less."), "{less}");
    // What it wrote before it read, and what only wakes it up, is not of that.
    let wake = object(163);
    let before = collects(0).wrote(80, 5, FILE, written_at(30, 100)).pipe(wake);
    let before = before.wrote(80, 6, wake, written_at(90, 120)).read(80, wake, 90, 121);
    assert!(told(before).contains(none));
    // The time of a row of a file can be a tick too early.
    let row = LedgerRow { calls: 2, ..written_at(40, 109) };
    assert!(told(collects(0).wrote(80, 5, FILE, row)).contains("wrote 40 B in all"));
    // It may have got the bytes as an argument, or have handed them over.
    let started = |wrote| {
        let scene = collects(0).command(150, 80, &["kill", "9"], [NULL, OUT, ERR]);
        let scene = if wrote > 0 {
            scene.wrote(150, 1, OUT, written_at(wrote, 155)).read(MANAGER, OUT, wrote, 156)
        } else {
            scene
        };
        scene.exited(150, 0, 160)
    };
    let quiet = told(started(0));
    assert!(quiet.contains(&format!("{none}. It exited with 3.")), "{quiet}");
    assert!(!told(started(9)).contains("wrote nothing with any system call"));
    // While it runs, it may still pass it on.
    let running = collects(0).judged();
    assert!(
        !running.iter().any(|finding| finding.message.contains("any system call")),
        "{running:#?}"
    );
}

#[test]
fn a_killed_relay_kept_what_it_did_not_pass_on_since_it_read() {
    let kept = |scene: Scene| {
        let finding = scene.ended(80, SIGKILL, 200).finding(Rule::KeptBack).unwrap();
        (finding.evidence["passed_on"].as_u64().unwrap(), finding.severity)
    };
    assert_eq!(kept(collects(0).wrote(80, 5, FILE, written_at(30, 100))), (0, Loss));
    assert_eq!(kept(collects(40)), (40, Warning));
    let wake = object(163);
    let woken = collects(40).pipe(wake).wrote(80, 6, wake, written_at(7, 120));
    assert_eq!(kept(woken.clone().read(80, wake, 7, 121)), (40, Warning));
    assert_eq!(kept(woken.clone()), (40, Warning), "a lock that it takes later");
    let fed = woken.command(150, 80, &["mail"], [wake, OUT, ERR]).exited(150, 1, 160);
    assert_eq!(kept(fed), (47, Warning), "the input of another process");
}
