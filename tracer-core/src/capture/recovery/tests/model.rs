//! Threads that write to one pipe in every order: whatever is said to be certain is true.

use std::collections::BTreeMap;

use proptest::{collection::vec, prelude::*};

use super::*;

/// One byte of one write.
type Byte = (usize, u64);

/// A thread between its calls, or within one.
#[derive(Clone, Copy, Default)]
struct Thread {
    step: u32,
    write: usize,
    length: u64,
}

/// Threads, the pipe as it really is, and the index that tells of it.
struct Model {
    clock: u64,
    threads: [Thread; 4],
    writes: usize,
    pipe: Vec<Byte>,
    /// What each stream's file holds.
    files: BTreeMap<u32, Vec<Byte>>,
    lines: Vec<Line>,
}

impl Model {
    /// Two threads of one process and two other processes, the last of which begins when it first writes.
    fn new() -> Self {
        let lines = vec![stream(1, PIPE), stream(2, PIPE)];
        let (threads, files) = ([Thread::default(); 4], BTreeMap::new());
        Self { clock: 10, threads, writes: 0, pipe: Vec::new(), files, lines }
    }

    /// A thread goes on: calls, puts in a first part, puts in the rest, returns.
    fn go_on(&mut self, number: usize, length: u64, is_lost: bool) {
        self.clock += 1;
        let mut thread = self.threads[number];
        let half = thread.length / 2;
        match thread.step {
            0 => {
                self.writes += 1;
                thread = Thread { step: 0, write: self.writes, length };
                self.begin(number);
            }
            1 => self.pipe.extend((0..half).map(|at| (thread.write, at))),
            2 => self.pipe.extend((half..thread.length).map(|at| (thread.write, at))),
            _ => self.done(number, is_lost),
        }
        thread.step = (thread.step + 1) % 4;
        self.threads[number] = thread;
    }

    fn begin(&mut self, number: usize) {
        if number == 3 && !self.files.contains_key(&3) {
            self.files.insert(3, Vec::new());
            let Line::Stream(mut late) = stream(3, PIPE) else { unreachable!() };
            late.process.start_ns = self.clock;
            self.lines.push(Line::Stream(late));
        }
    }

    fn done(&mut self, number: usize, is_lost: bool) {
        let Thread { write: id, length, .. } = self.threads[number];
        let stream = [1, 1, 2, 3][number];
        let tid = 100 + number as u32;
        let file = self.files.entry(stream).or_default();
        let offset = file.len() as u64;
        if is_lost {
            return self.lines.push(gap(stream, offset, length, Reason::RingFull));
        }
        file.extend((0..length).map(|at| (id, at)));
        let first = length.min(3);
        self.lines.push(write(stream, offset, first, tid, self.clock));
        self.lines.push(write(stream, offset + first, length - first, tid, self.clock));
    }

    /// Every call returns, and the trace ends.
    fn finish(&mut self) {
        for number in 0..4 {
            while self.threads[number].step != 0 {
                self.go_on(number, 1, false);
            }
        }
        self.lines.extend([end(1, 0), end(2, 0), end(3, 0)]);
    }

    fn bytes(&self, found: &Found) -> Vec<Byte> {
        let mut bytes = Vec::new();
        for part in &found.parts {
            if let Part::Bytes(piece) = part {
                let range = piece.offset as usize..(piece.offset + piece.length) as usize;
                bytes.extend_from_slice(&self.files[&piece.stream][range]);
            }
        }
        bytes
    }
}

/// Who goes on, how long its next write is, and whether the ring loses it.
fn steps(threads: usize) -> impl Strategy<Value = Vec<(usize, u64, bool)>> {
    let is_lost = prop_oneof![15 => Just(false), 1 => Just(true)];
    vec((0..threads, 1_u64..9, is_lost), 0..80)
}

fn model(steps: &[(usize, u64, bool)]) -> Model {
    let mut model = Model::new();
    steps.iter().for_each(|(number, length, is_lost)| model.go_on(*number, *length, *is_lost));
    model.finish();
    model
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2048, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn certain_results_are_true(steps in steps(4), unread in 0.0..1.0_f64) {
        let model = model(&steps);
        let total = model.pipe.len() as u64;
        let unread = (total as f64 * unread) as u64;
        let found = one(tail(unread, total), &model.lines);
        prop_assert_eq!(found.bytes + found.missing, unread);
        if found.is_exact() && found.missing == 0 && unread < total {
            let truth = &model.pipe[(total - unread) as usize..];
            let (mut bytes, mut truth) = (model.bytes(&found), truth.to_vec());
            // Which bytes they are is certain; the order of what two threads put in is that of returns.
            bytes.sort_unstable();
            truth.sort_unstable();
            prop_assert_eq!(bytes, truth);
        }
    }

    #[test]
    fn one_thread_is_always_certain(
        steps in steps(1), unread in 0.0..1.0_f64,
    ) {
        let steps: Vec<_> = steps.into_iter().map(|(number, length, _)| (number, length, false)).collect();
        let model = model(&steps);
        let total = model.pipe.len() as u64;
        let unread = (total as f64 * unread) as u64;
        let found = one(tail(unread, total), &model.lines);
        prop_assert!(found.is_exact(), "{:?}", found.doubts);
        prop_assert_eq!(model.bytes(&found), &model.pipe[(total - unread) as usize..]);
    }

    #[test]
    fn a_whole_stream_is_its_whole_file(steps in steps(4)) {
        let model = model(&steps);
        let want = Want::Stream { process: ProcessId::new(1, 1), fd: 1, object: PIPE };
        let found = one(want, &model.lines);
        let file = model.files.get(&1).cloned().unwrap_or_default();
        prop_assert_eq!(found.is_exact(), found.missing == 0);
        prop_assert_eq!(model.bytes(&found), file);
    }
}
