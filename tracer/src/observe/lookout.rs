//! tracer's side of the helper processes that look at processes and files: it asks, and never waits longer than it
//! wants to.
//!
//! One helper at a time gets the requests, a few ahead, and answers them in order. If no answer comes for a while, the
//! first open request is the one that blocks: the helper is abandoned, and the next helper gets the others. What shares
//! the cause of a request that blocked is not asked about again. What was not seen is counted. A recorder gets new helpers
//! when all are blocked.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io::{self, Read as _, Write as _},
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tracer_common::{id::ProcessId, object::ObjectId};
use tracer_core::event::{BlockedThread, EventKind, Look, NotSeen};

use super::look::{Cause, Request, serve};
use crate::sys::{
    helper::{Helper, HelperSource, Kept, encode},
    privileges::Rights,
};

/// How many helpers there are. Each is a process. While one of them is not blocked, tracer gets answers.
const HELPERS: usize = 3;
/// How many requests are sent ahead. They are asked again if one before them blocks.
const AHEAD: usize = 32;
/// How many requests can wait. A storm of new processes can be faster than the helper.
const MOST_WAITING: usize = 1 << 16;
/// How many looks of one kind are named if they were not answered. Further ones are counted.
const MOST_NAMED: usize = 64;
/// How long a helper may take for one answer while the trace runs. Nothing waits for it.
const PATIENCE: Duration = Duration::from_secs(2);
/// The same when the report waits. All helpers together must not delay it by more than a second.
const PATIENCE_AT_END: Duration = Duration::from_millis(300);
/// The same for the content of a log, which takes time to read.
const PATIENCE_FOR_LOG: Duration = Duration::from_millis(800);
/// How soon after each other a recorder gets new helpers.
const RENEWAL: Duration = Duration::from_secs(1);
/// How many causes of blocking are remembered.
const MOST_CAUSES: usize = 4096;
/// How many waiting requests are searched for a look.
const MOST_SEARCHED: usize = 1024;
/// How often a wait looks at the clock.
const TURN: Duration = Duration::from_millis(20);
/// A longer answer is none.
const LONGEST_ANSWER: usize = 16 << 20;

/// A request that a helper has.
#[derive(Debug)]
struct Asked {
    request: Request,
    /// Whether the answer comes too late to be used.
    is_late: bool,
}

/// Asks helper processes.
#[derive(Debug)]
pub struct Lookout {
    /// The first one is asked; the others are in reserve.
    helpers: VecDeque<Helper>,
    /// Forks further ones.
    source: Option<HelperSource>,
    next_renewal: Instant,
    waiting: VecDeque<Request>,
    asked: VecDeque<Asked>,
    /// Parts of requests that the socket has not taken yet, and of an answer that is not complete.
    unsent: Vec<u8>,
    unread: Vec<u8>,
    /// The latest answer, or the first request after all were answered.
    progress: Instant,
    blocking: BTreeSet<Cause>,
    unseen: BTreeMap<Look, Unseen>,
    /// Answers to [`Request::ThreadsNow`].
    blocked_now: Vec<BlockedThread>,
}

/// Looks of one kind that were not answered.
#[derive(Debug, Default)]
struct Unseen {
    named: Vec<(ProcessId, Option<ObjectId>)>,
    more: u64,
}

impl Lookout {
    /// Starts the helpers. To be called while this process has one thread. Where the system allows no further process,
    /// nothing is seen, and the report says so.
    #[must_use]
    pub fn start() -> Self {
        Self::start_of(HELPERS)
    }

    /// The same with this many helpers.
    #[must_use]
    pub fn start_of(helpers: usize) -> Self {
        let fork = |_| -> Option<Helper> {
            let helper = Helper::fork(Kept::Nothing, serve_with_rights).ok()?;
            helper.socket.set_nonblocking(true).ok()?;
            Some(helper)
        };
        Self::with((0..helpers).filter_map(fork).collect())
    }

    /// The same for a recorder: there is always a helper, however many are blocked.
    #[must_use]
    pub fn start_renewed() -> Self {
        Self { source: HelperSource::fork(serve_with_rights).ok(), ..Self::start_of(1) }
    }

    fn with(helpers: VecDeque<Helper>) -> Self {
        Self {
            helpers,
            source: None,
            next_renewal: Instant::now(),
            waiting: VecDeque::new(),
            asked: VecDeque::new(),
            unsent: Vec::new(),
            unread: Vec::new(),
            progress: Instant::now(),
            blocking: BTreeSet::new(),
            unseen: BTreeMap::new(),
            blocked_now: Vec::new(),
        }
    }

    /// Adds a request. [`Self::answers`] sends it.
    pub fn ask(&mut self, request: Request) {
        if self.waiting.len() < MOST_WAITING && !self.blocking.contains(&request.cause()) {
            self.waiting.push_back(request);
        } else {
            self.not_seen(&request);
        }
    }

    /// Counts looks of one kind that are not made, because there are too many.
    pub fn left_out(&mut self, look: Look, looks: usize) {
        if looks > 0 {
            self.unseen.entry(look).or_default().more += looks as u64;
        }
    }

    /// Sends requests and takes answers, without waiting.
    pub fn answers(&mut self) -> Vec<EventKind> {
        self.turn(PATIENCE)
    }

    /// Takes the answers to [`Request::ThreadsNow`] so far.
    pub fn blocked_now(&mut self) -> Vec<BlockedThread> {
        std::mem::take(&mut self.blocked_now)
    }

    /// Waits for all answers, at most until a deadline. What is open then is not seen.
    pub fn answers_by(&mut self, deadline: Instant, is_end: bool) -> Vec<EventKind> {
        let patience = if is_end { PATIENCE_AT_END } else { PATIENCE };
        let mut seen = self.turn(patience);
        while !(self.asked.is_empty() && self.waiting.is_empty()) && Instant::now() < deadline {
            self.wait();
            seen.append(&mut self.turn(patience));
        }
        if is_end {
            self.give_up_open();
        }
        seen
    }

    /// Waits for all answers, at most until a deadline, and gives up what is open then: it will be asked again.
    pub fn look_until(&mut self, deadline: Instant) -> Vec<EventKind> {
        let seen = self.answers_by(deadline, false);
        self.give_up_open();
        seen
    }

    /// Whether a look at one of these processes or objects is open.
    #[must_use]
    pub fn looks_at(
        &self,
        processes: &BTreeSet<ProcessId>,
        is_used: impl Fn(&ObjectId) -> bool,
    ) -> bool {
        let asked = self.asked.iter().map(|asked| &asked.request);
        asked.chain(self.waiting.iter().take(MOST_SEARCHED)).any(|request| {
            let (_, process, object) = request.subject();
            processes.contains(&process) || object.as_ref().is_some_and(&is_used)
        })
    }

    /// What was not seen, as events. To be called at the end.
    pub fn finish(&mut self) -> Vec<EventKind> {
        self.give_up_open();
        self.take_unseen()
    }

    /// What was not seen since the last call, as events.
    pub fn take_unseen(&mut self) -> Vec<EventKind> {
        let mut events = Vec::new();
        for (look, unseen) in std::mem::take(&mut self.unseen) {
            let event = |process, object, looks| {
                EventKind::NotSeen(NotSeen { look, process, object, looks })
            };
            events.extend(unseen.named.iter().map(|(process, object)| event(*process, *object, 1)));
            if unseen.more > 0 {
                events.push(event(ProcessId::default(), None, unseen.more));
            }
        }
        events
    }

    fn turn(&mut self, patience: Duration) -> Vec<EventKind> {
        let mut seen = Vec::new();
        if self.helpers.is_empty() {
            self.renew();
        }
        loop {
            let is_alive = self.receive(&mut seen) && self.send();
            let is_blocked = self.asked.front().is_some_and(|first| {
                let is_log = matches!(first.request, Request::Log(_));
                let patience = if is_log { PATIENCE_FOR_LOG } else { patience };
                self.progress.elapsed() > patience
            });
            if is_alive && !is_blocked {
                return seen;
            }
            if !self.replace_helper() {
                return seen;
            }
        }
    }

    /// Takes complete answers. `false` if the helper is gone.
    fn receive(&mut self, seen: &mut Vec<EventKind>) -> bool {
        let Some(helper) = self.helpers.front_mut() else { return self.asked.is_empty() };
        let mut buffer = [0; 16 << 10];
        loop {
            match helper.socket.read(&mut buffer) {
                Ok(0) => return false,
                Ok(length) => {
                    self.unread.extend_from_slice(buffer.get(..length).unwrap_or_default());
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
            if self.unread.len() > LONGEST_ANSWER {
                return false;
            }
        }
        let Some(end) = self.unread.iter().rposition(|byte| *byte == b'\n') else { return true };
        let rest = self.unread.split_off(end + 1);
        for line in std::mem::replace(&mut self.unread, rest).split_inclusive(|byte| *byte == b'\n')
        {
            self.progress = Instant::now();
            let Some(asked) = self.asked.pop_front().filter(|asked| !asked.is_late) else {
                continue;
            };
            let events = serde_json::from_slice::<Vec<EventKind>>(line).unwrap_or_default();
            if matches!(asked.request, Request::ThreadsNow { .. }) {
                self.blocked_now.extend(events.into_iter().filter_map(|event| match event {
                    EventKind::BlockedThread(thread) => Some(thread),
                    _ => None,
                }));
            } else {
                seen.extend(events);
            }
        }
        true
    }

    /// Sends requests ahead. `false` if the helper is gone.
    fn send(&mut self) -> bool {
        let Some(helper) = self.helpers.front_mut() else {
            return self.waiting.is_empty();
        };
        while self.asked.len() < AHEAD
            && let Some(request) = self.waiting.pop_front()
        {
            if self.asked.is_empty() {
                self.progress = Instant::now();
            }
            // A request has no member that cannot be encoded.
            self.unsent.extend(encode(&request).unwrap_or_default());
            self.asked.push_back(Asked { request, is_late: false });
        }
        while !self.unsent.is_empty() {
            match helper.socket.write(&self.unsent) {
                Ok(length) => drop(self.unsent.drain(..length)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        true
    }

    /// Abandons the helper that is asked: its first open request blocks. `false` if there is nothing left to ask.
    fn replace_helper(&mut self) -> bool {
        if let Some(helper) = self.helpers.pop_front() {
            helper.abandon();
        }
        if self.helpers.is_empty() {
            self.renew();
        }
        self.unsent.clear();
        self.unread.clear();
        self.progress = Instant::now();
        let mut again: VecDeque<Request> = std::mem::take(&mut self.asked)
            .into_iter()
            .enumerate()
            .filter_map(|(index, asked)| {
                if index == 0 {
                    if self.blocking.len() >= MOST_CAUSES {
                        self.blocking.clear();
                    }
                    self.blocking.insert(asked.request.cause());
                }
                (!asked.is_late).then_some(asked.request)
            })
            .collect();
        again.append(&mut self.waiting);
        let has_helper = !self.helpers.is_empty();
        for request in again {
            if has_helper && !self.blocking.contains(&request.cause()) {
                self.waiting.push_back(request);
            } else {
                self.not_seen(&request);
            }
        }
        has_helper
    }

    /// Gets a new helper if it is time for one.
    fn renew(&mut self) {
        let now = Instant::now();
        let Some(source) = self.source.as_ref().filter(|_| now >= self.next_renewal) else {
            return;
        };
        self.next_renewal = now + RENEWAL;
        let helper = source.helper();
        let helper = helper.and_then(|it| it.socket.set_nonblocking(true).map(|()| it));
        self.helpers.extend(helper.ok());
    }

    /// What is open is not seen, and its answers come too late.
    fn give_up_open(&mut self) {
        for request in std::mem::take(&mut self.waiting) {
            self.not_seen(&request);
        }
        let mut asked = std::mem::take(&mut self.asked);
        for open in asked.iter_mut().filter(|open| !open.is_late) {
            open.is_late = true;
            self.not_seen(&open.request);
        }
        self.asked = asked;
    }

    fn not_seen(&mut self, request: &Request) {
        if matches!(request, Request::ThreadsNow { .. }) {
            return;
        }
        let (look, process, object) = request.subject();
        let unseen = self.unseen.entry(look).or_default();
        if unseen.named.len() < MOST_NAMED {
            unseen.named.push((process, object));
        } else {
            unseen.more += 1;
        }
    }

    /// Waits until the helper has an answer, or for one turn.
    fn wait(&self) {
        let Some(helper) = self.helpers.front() else { return };
        let turn = Timespec { tv_sec: 0, tv_nsec: TURN.subsec_nanos().into() };
        // An error only shortens the turn.
        let _ = poll(&mut [PollFd::new(&helper.socket, PollFlags::IN)], Some(&turn));
    }
}

fn serve_with_rights(socket: UnixStream) -> io::Result<()> {
    Rights::Look.take()?;
    serve(socket)
}

#[cfg(test)]
mod tests;
