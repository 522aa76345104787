//! What processes did to files and pipes that others use: they cut a file, very likely removed it, or made an open file
//! non-blocking. A finding about a loss names them.
//!
//! A recorder judges each job by itself. Who cut the log of a service can be a process of another job, or of none, and
//! can have been forgotten long before. So of each object that is known, those that matter for it stay known.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    path::Path,
};

use tracer_common::{id::ProcessId, object::ObjectId};

use super::{Fact, FactKind, Kind, Object, Process, Session};

/// Programs that remove or replace the files that their arguments name.
const REMOVERS: [&str; 8] = ["find", "logrotate", "mv", "perl", "rm", "sed", "shred", "unlink"];
/// How many of the processes that may have removed one file stay known. Of several, it is not known which one did.
const MOST_REMOVERS: usize = 2;

/// How many processes with one file as their output belong to the judgement of a job that writes to the file.
const MOST_OUTPUTS: usize = 16;

/// Whether a process runs a program that removes or replaces the files that its arguments name.
#[must_use]
pub(crate) fn is_remover(process: &Process) -> bool {
    let mut arguments = process.argv.iter().skip(1);
    match process.comm.as_str() {
        // They only read, unless they are told otherwise.
        "find" => {
            arguments.any(|it| it == "-delete" || it.starts_with("-exec") || it.starts_with("-ok"))
        }
        "sed" => arguments.any(|it| {
            let is_short = it.starts_with('-') && !it.starts_with("--") && it.contains('i');
            is_short || it.starts_with("--in-place")
        }),
        comm => REMOVERS.contains(&comm),
    }
}

/// Whether an argument of a process names a file, or a directory above it.
pub(crate) fn is_given(process: &Process, path: &Path) -> bool {
    process.argv.iter().skip(1).any(|argument| names(argument, path))
}

/// Whether a fact is about an object that others use, and is looked for by the object.
fn is_act(fact: &Fact) -> bool {
    matches!(fact.kind, FactKind::FileCut | FactKind::Nonblock) && fact.object.is_some()
}

/// Who did something to which object.
#[derive(Debug, Default)]
pub(super) struct Acts<'a> {
    /// Of each kind of fact and object the latest process, and when, nanoseconds since boot.
    facts: BTreeMap<(ObjectId, &'static str), (u64, ProcessId)>,
    /// The processes that have a file as stdout or stderr, those that run first.
    outputs: BTreeMap<ObjectId, BTreeSet<(Reverse<u64>, ProcessId)>>,
    /// What may be removed, by what arguments name: whole paths, and last components.
    removers: BTreeMap<&'a Path, Vec<&'a Process>>,
}

impl<'a> Acts<'a> {
    /// Sorts what these processes did.
    pub(super) fn of(processes: impl Iterator<Item = &'a Process>) -> Self {
        let mut acts = Self::default();
        for process in processes {
            acts.add(process);
        }
        acts
    }

    fn add(&mut self, process: &'a Process) {
        for fact in process.facts.iter().filter(|fact| is_act(fact)) {
            let key = (fact.object.unwrap_or_default(), fact.kind.name());
            let latest = self.facts.entry(key).or_insert((fact.time_ns, process.id));
            *latest = (*latest).max((fact.time_ns, process.id));
        }
        let outputs = process.stdio.iter().flat_map(|stdio| [stdio[1].object, stdio[2].object]);
        for object in outputs.filter(|object| process.executed && !object.is_none()) {
            let ends = Reverse(process.end_ns.unwrap_or(u64::MAX));
            let known = self.outputs.entry(object).or_default();
            known.insert((ends, process.id));
            if known.len() > MOST_OUTPUTS {
                known.pop_last();
            }
        }
        if is_remover(process) {
            for argument in process.argv.iter().skip(1).map(Path::new) {
                let names = [Some(argument), argument.file_name().map(Path::new)];
                for name in names.into_iter().flatten() {
                    self.removers.entry(name).or_default().push(process);
                }
            }
        }
    }

    /// Whether nothing is known.
    pub(super) fn is_empty(&self) -> bool {
        self.facts.is_empty() && self.removers.is_empty()
    }

    /// The processes that did something to an object, or may have removed it.
    pub(super) fn on(&self, object: &Object) -> impl Iterator<Item = ProcessId> {
        let kinds = [FactKind::FileCut, FactKind::Nonblock].map(FactKind::name);
        let acted = kinds.into_iter().filter_map(|kind| self.facts.get(&(object.id, kind)));
        acted.map(|(_, process)| *process).chain(self.removers_of(object))
    }

    /// Processes that have a file as their output, those that run first.
    pub(super) fn with_output(&self, object: &Object) -> impl Iterator<Item = ProcessId> {
        let known = self.outputs.get(&object.id).filter(|_| object.kind == Kind::File);
        known.into_iter().flatten().map(|(_, process)| *process)
    }

    /// The processes that may have removed a file since it was first seen, the latest first.
    fn removers_of(&self, object: &Object) -> impl Iterator<Item = ProcessId> {
        let path = Path::new(&object.path);
        let is_file = object.kind == Kind::File && !self.removers.is_empty();
        let names = is_file.then(|| {
            let components = [path.file_name(), path.parent().and_then(Path::file_name)];
            path.ancestors().chain(components.into_iter().flatten().map(Path::new))
        });
        let found = names.into_iter().flatten().filter_map(|name| self.removers.get(name));
        let found = found.flatten().map(|process| (process.end_ns.unwrap_or(u64::MAX), process.id));
        let since: BTreeSet<_> = found.filter(|(end_ns, _)| *end_ns >= object.seen_ns).collect();
        since.into_iter().rev().take(MOST_REMOVERS).map(|(_, process)| process)
    }
}

/// Whether an argument names a file, or a directory above it (`rm -r`).
pub(crate) fn names(argument: &str, path: &Path) -> bool {
    let last: Option<&OsStr> = Path::new(argument).file_name();
    path.starts_with(argument)
        || last.is_some_and(|last| {
            [path.file_name(), path.parent().and_then(Path::file_name)].contains(&Some(last))
        })
}

impl Process {
    /// The part of a judged process that the judgement of other jobs may need: its name, and what it did to objects.
    pub(super) fn judged(self) -> Self {
        let facts = self.facts.into_iter().filter(is_act).collect();
        Self {
            is_target: false,
            is_judged: true,
            facts,
            stdio: None,
            stdio_at_end: None,
            environment: None,
            past_images: self.past_images,
            ..self
        }
    }
}

impl Session {
    /// The processes that did something to an object that is known.
    pub(super) fn known_actors(&self) -> BTreeSet<ProcessId> {
        let acts = Acts::of(self.processes.values());
        if acts.is_empty() {
            return BTreeSet::new();
        }
        self.objects.values().flat_map(|object| acts.on(object)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remover(comm: &str, argv: &[&str], (tgid, end_ns): (u32, u64)) -> Process {
        let argv: Vec<String> = argv.iter().map(|word| (*word).to_owned()).collect();
        let id = ProcessId::new(tgid, 1);
        let end_ns = Some(end_ns);
        Process { id, comm: comm.to_owned(), argv: argv.into(), end_ns, ..Process::default() }
    }

    fn file(path: &str) -> Object {
        Object { kind: Kind::File, path: path.to_owned(), seen_ns: 10, ..Object::default() }
    }

    #[test]
    fn a_remover_is_found_by_what_its_arguments_name() {
        let path = "/var/log/app/today.log";
        for argument in ["today.log", "./today.log", path, "/var/log/app/", "app", "/var/log"] {
            let process = remover("rm", &["rm", "-rf", argument], (7, 20));
            let acts = Acts::of([&process].into_iter());
            assert_eq!(acts.on(&file(path)).collect::<Vec<_>>(), [process.id], "{argument}");
            assert!(names(argument, Path::new(path)), "{argument}");
        }
        for argument in ["today", "log", "/var/lo", "/srv/app2", "-rf"] {
            let process = remover("rm", &["rm", argument], (7, 20));
            let acts = Acts::of([&process].into_iter());
            assert_eq!(acts.on(&file(path)).count(), 0, "{argument}");
            assert!(!names(argument, Path::new(path)), "{argument}");
        }
    }

    #[test]
    fn of_many_removers_of_a_file_the_latest_two_are_known_and_none_from_before_it() {
        let processes: Vec<Process> =
            (1..100).map(|n| remover("unlink", &["unlink", "/tmp/x"], (n, n.into()))).collect();
        let acts = Acts::of(processes.iter());
        let found: Vec<u32> = acts.on(&file("/tmp/x")).map(|process| process.tgid).collect();
        assert_eq!(found, [99, 98]);
        let acts = Acts::of(processes.iter().take(9));
        assert_eq!(acts.on(&file("/tmp/x")).count(), 0);
    }

    #[test]
    fn programs_that_can_also_read_only_remove_with_an_option() {
        let is = |comm: &str, argv: &[&str]| is_remover(&remover(comm, argv, (7, 20)));
        assert!(is("sed", &["sed", "-i", "s/a/b/", "x"]) && is("sed", &["sed", "-Ei.bak", "x"]));
        assert!(!is("sed", &["sed", "-n", "1p", "x"]) && !is("sed", &["sed", "s/i/-i/", "x"]));
        assert!(is("find", &["find", ".", "-delete"]) && !is("find", &["find", "/", "-name", "x"]));
        assert!(is("rm", &["rm", "x"]) && !is("cat", &["cat", "x"]));
    }
}
