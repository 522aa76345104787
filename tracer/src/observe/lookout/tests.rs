use std::{os::unix::net::UnixStream, thread};

use super::*;

/// A helper that is a thread of this process.
fn answering() -> Helper {
    let (socket, end) = UnixStream::pair().unwrap();
    socket.set_nonblocking(true).unwrap();
    thread::spawn(move || serve(end));
    Helper::of_thread(socket)
}

/// A helper that takes requests and never answers, and its end.
fn blocked() -> (Helper, UnixStream) {
    let (socket, end) = UnixStream::pair().unwrap();
    socket.set_nonblocking(true).unwrap();
    (Helper::of_thread(socket), end)
}

fn lookout(helpers: impl IntoIterator<Item = Helper>) -> Lookout {
    Lookout::with(helpers.into_iter().collect())
}

fn own() -> ProcessId {
    ProcessId::new(std::process::id(), 5)
}

fn arguments_of(process: ProcessId) -> Request {
    Request::Process { process, arguments: true, environment: false }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

fn not_seen(look: Look, process: ProcessId, looks: u64) -> EventKind {
    EventKind::NotSeen(NotSeen { look, process, object: None, looks })
}

#[test]
fn answers_are_events_and_none_is_missing() {
    let mut lookout = lookout([answering()]);
    let many = 3 * AHEAD;
    (0..many).for_each(|_| lookout.ask(arguments_of(own())));
    let seen = lookout.answers_by(soon(), false);
    assert_eq!(seen.len(), many);
    assert!(
        matches!(&seen[0], EventKind::Arguments { process, argv, .. } if *process == own() && !argv.is_empty())
    );
    assert_eq!(lookout.finish(), []);
}

#[test]
fn what_blocks_is_told_and_what_came_with_it_is_seen_by_the_next_helper() {
    let (first, _end) = blocked();
    let mut lookout = lookout([first, answering()]);
    let stuck = ProcessId::new(1, 1);
    for request in [arguments_of(stuck), arguments_of(own()), arguments_of(stuck)] {
        lookout.ask(request);
    }
    let began = Instant::now();
    let seen = lookout.answers_by(soon(), true);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(matches!(&seen[..], [EventKind::Arguments { process, .. }] if *process == own()));
    // The same process is not asked about again.
    lookout.ask(arguments_of(stuck));
    let unseen = not_seen(Look::Process, stuck, 1);
    assert_eq!(lookout.finish(), vec![unseen; 3]);
}

#[test]
fn a_helper_that_has_ended_is_replaced() {
    let (first, end) = blocked();
    let mut lookout = lookout([first, answering()]);
    lookout.ask(Request::Threads { process: ProcessId::new(1, 1), writers: false });
    lookout.ask(arguments_of(own()));
    assert_eq!(lookout.answers(), []);
    drop(end);
    assert_eq!(lookout.answers_by(soon(), true).len(), 1);
    assert_eq!(lookout.finish(), [not_seen(Look::Threads, ProcessId::new(1, 1), 1)]);
}

#[test]
fn without_helpers_nothing_is_seen_and_all_of_it_is_counted() {
    let mut lookout = lookout([]);
    let more = 7;
    for tgid in 1..=(MOST_NAMED + more) as u32 {
        lookout.ask(arguments_of(ProcessId::new(tgid, 1)));
    }
    lookout.left_out(Look::File, 3);
    assert_eq!(lookout.answers_by(soon(), true), []);
    let told = lookout.finish();
    assert_eq!(told.len(), MOST_NAMED + 2);
    assert_eq!(told[MOST_NAMED], not_seen(Look::Process, ProcessId::default(), more as u64));
    assert_eq!(told[MOST_NAMED + 1], not_seen(Look::File, ProcessId::default(), 3));
}

#[test]
fn an_answer_after_the_deadline_is_not_used() {
    let (helper, mut end) = blocked();
    let mut lookout = lookout([helper]);
    lookout.ask(arguments_of(own()));
    assert_eq!(lookout.answers_by(Instant::now(), true), []);
    end.write_all(&encode(&vec![not_seen(Look::Log, own(), 1)]).unwrap()).unwrap();
    assert_eq!(lookout.answers_by(Instant::now(), true), []);
    assert_eq!(lookout.finish(), [not_seen(Look::Process, own(), 1)]);
}
