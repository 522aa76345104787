//! The thread that reads names of cgroups.
//!
//! The files about a container that ends at once are there for some ten milliseconds. So a path that is asked for is
//! looked at before those whose names were not there yet, and none of them is waited for.

use std::{
    collections::BTreeSet,
    sync::mpsc::{Receiver, RecvTimeoutError, Sender},
    time::{Duration, Instant},
};

use tracer_history::Place;

use crate::{
    scope::{self, CgroupPath},
    target::Roots,
};

/// A runtime may write the name of a container this long after its cgroup has appeared: the pauses between the looks.
const AGAIN_AFTER: [Duration; 3] =
    [Duration::from_millis(30), Duration::from_millis(200), Duration::from_secs(1)];

/// Reads the names of the paths that the main thread asks for, until the main thread is gone.
pub(super) fn read(asked: &Receiver<CgroupPath>, answer: &Sender<(String, Place)>) {
    let roots = Roots::host();
    answer_all(asked, answer, |path| scope::place(&roots, path));
}

/// A path whose name was not there: when to look again, and how often it was looked at.
type Waiting = (Instant, usize, CgroupPath);

fn answer_all(
    asked: &Receiver<CgroupPath>,
    answer: &Sender<(String, Place)>,
    place: impl Fn(&CgroupPath) -> Place,
) {
    let mut waiting = BTreeSet::<Waiting>::new();
    loop {
        let (looks, path) = match next(asked, waiting.first()) {
            Ok(path) => (0, path),
            Err(RecvTimeoutError::Timeout) => match waiting.pop_first() {
                Some((_, looks, path)) => (looks, path),
                None => continue,
            },
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let place = place(&path);
        if let Some(pause) = AGAIN_AFTER.get(looks).filter(|_| !place.is_named()) {
            waiting.insert((Instant::now() + *pause, looks + 1, path.clone()));
        }
        if answer.send((path.as_str().to_owned(), place)).is_err() {
            return;
        }
    }
}

/// The next path that is asked for, until it is time to look at the first one that waits.
fn next(
    asked: &Receiver<CgroupPath>,
    first: Option<&Waiting>,
) -> Result<CgroupPath, RecvTimeoutError> {
    match first {
        Some((at, ..)) => asked.recv_timeout(at.saturating_duration_since(Instant::now())),
        None => asked.recv().map_err(|_| RecvTimeoutError::Disconnected),
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, sync::mpsc::channel, thread};

    use super::*;

    fn container(name: Option<&str>) -> Place {
        let (container_id, container) = (Some("7".to_owned()), name.map(str::to_owned));
        Place { container_id, container, ..Place::default() }
    }

    #[test]
    fn a_name_that_is_not_there_keeps_none_from_its_own() {
        let ((ask, asked), (answer, answers)) = (channel(), channel());
        for number in 0..100 {
            ask.send(CgroupPath::of_root(&format!("/nameless-{number}"))).unwrap();
        }
        ask.send(CgroupPath::of_root("/web")).unwrap();
        let reader = thread::spawn(move || {
            answer_all(&asked, &answer, |path| {
                container((path.as_str() == "/web").then_some("web"))
            });
        });
        let before: Vec<_> = answers.iter().take_while(|(path, _)| path != "/web").collect();
        // Those that were asked for earlier were looked at once.
        assert_eq!(before.len(), 100);
        drop((ask, answers));
        reader.join().unwrap();
    }

    #[test]
    fn a_name_that_comes_later_is_found_and_one_that_never_comes_is_given_up() {
        let ((ask, asked), (answer, answers)) = (channel(), channel());
        let looks = RefCell::new(0);
        ask.send(CgroupPath::of_root("/late")).unwrap();
        let (done, seen) = channel();
        let reader = thread::spawn(move || {
            answer_all(&asked, &answer, |_| {
                *looks.borrow_mut() += 1;
                done.send(()).unwrap();
                container((*looks.borrow() == 3).then_some("late"))
            });
        });
        let found: Vec<_> = answers.iter().take(3).map(|(_, place)| place.container).collect();
        assert_eq!(found, [None, None, Some("late".to_owned())]);
        drop((ask, answers));
        reader.join().unwrap();
        assert_eq!(seen.iter().count(), 3);
    }
}
