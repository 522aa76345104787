//! Selects what a picture shows.

use std::{
    cmp::Reverse,
    collections::{HashMap, HashSet},
    iter::successors,
};

use tracer_core::{
    report::{Command, Endpoint, Object, Process, Report},
    text::units::{count, exact, grouped, offset},
};

use super::{
    Edge, Mark, Node, Picture, Shape, describe,
    loss::{Loss, Marks, Place},
};
use crate::render::command::{is_command, stream_name};

/// The most objects.
const MOST_OBJECTS: usize = 10;
/// How many of them are as they should be, if others are not.
const MOST_FINE: usize = 6;
/// How many of them are files that one process wrote and none read.
const MOST_PLAIN_FILES: usize = 3;
/// From this number of nodes on, no further object is added.
const MOST_NODES: usize = 30;
/// How many writers of an object get a node. The others share one.
const MOST_WRITERS: usize = 4;
/// How many readers.
const MOST_READERS: usize = 3;
/// How many parents of a process are looked at.
const GENERATIONS: usize = 64;
/// How many processes get a node because findings are about them, and not for their bytes.
const MOST_SILENT: usize = 6;

impl Picture {
    /// The picture of a report.
    pub(in crate::render) fn of(report: &Report) -> Self {
        let objects: HashMap<&str, &Object> =
            report.objects.iter().map(|object| (object.id.as_str(), object)).collect();
        let marks = Marks::of(report, &objects);
        let mut builder = Builder {
            commands: report.commands.iter().map(|command| (command.pid, command)).collect(),
            processes: report.processes.iter().map(|process| (process.pid, process)).collect(),
            objects,
            marks,
            picture: Self::default(),
            places: HashMap::new(),
            grouped: HashSet::new(),
        };
        let ranked = builder.ranked(report);
        for object in builder.told(&ranked) {
            builder.add_flow(object);
        }
        for loss in builder.marks.losses.clone() {
            builder.add_loss(&loss);
        }
        builder.add_silent();
        builder.add_rest(report, &ranked);
        builder.picture
    }
}

struct Builder<'a> {
    /// The target's processes. Of several with one pid, the last one.
    processes: HashMap<u32, &'a Process>,
    commands: HashMap<u32, &'a Command>,
    objects: HashMap<&'a str, &'a Object>,
    marks: Marks<'a>,
    picture: Picture,
    /// The node of each place that has one.
    places: HashMap<Place<'a>, usize>,
    /// Processes that share a node.
    grouped: HashSet<u32>,
}

impl<'a> Builder<'a> {
    /// The objects that output went through, the most important first: losses, warnings, the path of the output that they
    /// are about, output of the target, output of its readers.
    fn ranked(&self, report: &'a Report) -> Vec<&'a Object> {
        let subjects: HashSet<u32> = self.marks.subjects.iter().copied().collect();
        let chains = report.hops.iter().filter(|chain| subjects.contains(&chain.subject_pid));
        let on_path: HashSet<&str> = chains
            .flat_map(|chain| &chain.steps)
            .filter_map(|step| step.object.as_deref())
            .collect();
        let mut ranked: Vec<&Object> = report
            .objects
            .iter()
            .filter(|object| {
                let is_near = on_path.contains(object.id.as_str()) || object.hop > 0;
                self.mark_of(object) > Mark::Fine
                    || moves_bytes(object) && (is_near || self.is_of_target(object))
            })
            .collect();
        ranked.sort_by_cached_key(|object| {
            (
                Reverse(self.mark_of(object)),
                !on_path.contains(object.id.as_str()),
                object.hop > 0,
                object.readers.is_empty(),
                Reverse(object.written.max(object.read)),
            )
        });
        ranked
    }

    /// Whether a process of the target wrote to it or read from it.
    fn is_of_target(&self, object: &Object) -> bool {
        let mut endpoints = object.writers.iter().chain(&object.readers);
        endpoints.any(|endpoint| self.processes.contains_key(&endpoint.pid))
    }

    /// Those that get a node if there is room.
    fn told(&self, ranked: &[&'a Object]) -> Vec<&'a Object> {
        let (mut told, mut plain) = (Vec::new(), 0);
        let marked = ranked.iter().take_while(|object| self.mark_of(object) > Mark::Fine).count();
        let most = if marked > 0 {
            marked.saturating_add(MOST_FINE).min(MOST_OBJECTS)
        } else {
            MOST_OBJECTS
        };
        for (index, object) in ranked.iter().enumerate() {
            let is_plain = index >= marked && is_plain_file(object);
            plain += usize::from(is_plain);
            if told.len() < most && !(is_plain && plain > MOST_PLAIN_FILES) {
                told.push(*object);
            }
        }
        told
    }

    fn mark_of(&self, object: &Object) -> Mark {
        self.marks.mark(Place::Object(&object.id))
    }

    /// Adds an object with its writers and readers, if there is room.
    fn add_flow(&mut self, object: &'a Object) {
        let writers = self.side(&object.writers, MOST_WRITERS);
        let readers = self.side(&object.readers, MOST_READERS);
        let needed = 3 + writers.shown.len() + readers.shown.len();
        if !self.picture.nodes.is_empty() && self.picture.nodes.len() + needed > MOST_NODES {
            return;
        }
        let object_node = self.object_node(object);
        let is_odd = self.mark_of(object) > Mark::Fine;
        for writer in &writers.shown {
            let is_warned = self.marks.mark(Place::Process(writer.pid)) == Mark::Odd;
            // Of what a writer lost, only the lost bytes are marked.
            let is_warned = is_warned && self.mark_of(object) == Mark::Odd;
            let mark = if is_warned { Mark::Odd } else { Mark::Fine };
            let remark = self.streams(writer.pid, &object.id);
            let from = self.process_node(writer);
            self.edge((from, object_node), Some(writer.bytes), remark, mark);
        }
        if let Some(group) = self.group(&writers, "writer") {
            self.edge((group, object_node), Some(writers.others_bytes), String::new(), Mark::Fine);
        }
        for reader in &readers.shown {
            let remark = if is_odd { closing(object, reader.pid) } else { String::new() };
            let to = self.process_node(reader);
            self.edge((object_node, to), Some(reader.bytes), remark, Mark::Fine);
        }
        if let Some(group) = self.group(&readers, "reader") {
            self.edge((object_node, group), Some(readers.others_bytes), String::new(), Mark::Fine);
        }
        if is_odd {
            self.add_idle_readers(object, object_node);
        }
    }

    /// Adds the processes that could still read from an object and have not; if nothing was read, also the last one that
    /// closed it.
    fn add_idle_readers(&mut self, object: &'a Object, from: usize) {
        let moved = |endpoints: &[Endpoint]| -> HashSet<u32> {
            let moved = endpoints.iter().filter(|endpoint| endpoint.bytes > 0);
            moved.map(|endpoint| endpoint.pid).collect()
        };
        let (mut known, writers) = (moved(&object.readers), moved(&object.writers));
        let room = MOST_READERS.saturating_sub(known.len());
        let holders = object.holders.iter().filter(|holder| holder.access != "write");
        let holders = holders.map(|holder| (holder.pid, &holder.comm, "has it open".to_owned()));
        let closer = object.closes.last().filter(|_| known.is_empty());
        let closer = closer.map(|close| (close.pid, &close.comm, closing(object, close.pid)));
        let idle = holders.chain(closer);
        let idle = idle.filter(|(pid, ..)| !writers.contains(pid) && known.insert(*pid));
        for (pid, comm, remark) in idle.take(room) {
            let to = self.process_node(&Endpoint { pid, comm: comm.clone(), bytes: 0 });
            self.edge((from, to), Some(0), remark, Mark::Odd);
        }
    }

    fn add_loss(&mut self, loss: &Loss<'a>) {
        let place = match loss.place {
            Place::Process(pid) => self.known_process(pid),
            Place::Object(id) => {
                self.objects.get(id).copied().map(|object| self.object_node(object))
            }
        };
        let Some(from) = place else { return };
        let title = match loss.bytes {
            0 => loss.words.to_owned(),
            bytes => format!("{} {}", exact(bytes), loss.words),
        };
        let unsure = loss.is_unsure.then(|| "unsure: some counts are missing".to_owned());
        let details = unsure.into_iter().collect();
        let to = self.push(Node { shape: Shape::Lost, title, details, mark: Mark::Bad });
        self.edge((from, to), (loss.bytes > 0).then_some(loss.bytes), String::new(), Mark::Bad);
    }

    /// Adds processes that findings are about and that moved no bytes: with the processes that wrote for them, or else
    /// with the streams that got nothing.
    fn add_silent(&mut self) {
        let has_none = |pid: &u32| !self.places.contains_key(&Place::Process(*pid));
        let mut silent: Vec<u32> = self.marks.subjects.iter().copied().filter(has_none).collect();
        silent.truncate(MOST_SILENT);
        for pid in silent {
            let Some(process) = self.processes.get(&pid).copied() else { continue };
            let below = self.shown_below(pid);
            let Some(from) = self.known_process(pid) else { continue };
            for &to in &below {
                self.edge((from, to), None, "started".to_owned(), Mark::Fine);
            }
            if below.is_empty() {
                self.add_silence(process, from);
            }
        }
    }

    /// The nodes of processes that a process started, or that one of these did, and so on; not those below another node.
    fn shown_below(&self, pid: u32) -> Vec<usize> {
        let parent = |pid: &u32| self.processes.get(pid).map(|process| process.ppid);
        let is_shown = |pid: &u32| self.places.contains_key(&Place::Process(*pid));
        let is_below = |shown: u32| {
            let mut above = successors(parent(&shown), parent).take(GENERATIONS);
            above.find(|above| *above == pid || is_shown(above)) == Some(pid)
        };
        let shown = self.places.iter().filter_map(|(place, node)| match place {
            Place::Process(shown) if is_below(*shown) => Some(*node),
            _ => None,
        });
        let mut below: Vec<usize> = shown.collect();
        below.sort_unstable();
        below
    }

    fn add_silence(&mut self, process: &'a Process, from: usize) {
        let mark = self.marks.mark(Place::Process(process.pid));
        for (id, stream) in process.stdio.iter().skip(1).take(2).zip(["stdout", "stderr"]) {
            let Some(object) = self.objects.get(id.as_str()).copied() else { continue };
            let to = self.object_node(object);
            let known =
                self.picture.edges.iter_mut().find(|edge| (edge.from, edge.to) == (from, to));
            match known {
                Some(edge) => edge.remark = "stdout, stderr".to_owned(),
                None => self.edge((from, to), Some(0), stream.to_owned(), mark.min(Mark::Odd)),
            }
        }
    }

    /// Adds the node that counts what has none.
    fn add_rest(&mut self, report: &Report, ranked: &[&'a Object]) {
        let is_shown = |process: &&Process| {
            self.places.contains_key(&Place::Process(process.pid))
                || self.grouped.contains(&process.pid)
        };
        let commands = report.processes.iter().filter(|process| is_command(process));
        let commands = commands.filter(|process| !is_shown(process)).count() as u64;
        let ended: u64 = report.summed_up.iter().map(|sum| sum.processes).sum();
        let objects =
            ranked.iter().filter(|object| !self.places.contains_key(&Place::Object(&object.id)));
        let objects_count = objects.count() as u64;
        let objects = match objects_count {
            1 => "1 more pipe, file or socket".to_owned(),
            more => format!("{} more pipes, files and sockets", grouped(more)),
        };
        let commands = commands.saturating_add(ended);
        let parts = [(commands, count(commands, "more command")), (objects_count, objects)];
        let details: Vec<String> =
            parts.into_iter().filter(|(number, _)| *number > 0).map(|(_, words)| words).collect();
        if !details.is_empty() {
            self.push(Node {
                shape: Shape::Rest,
                title: "not in the picture".into(),
                details,
                mark: Mark::Fine,
            });
        }
    }

    /// The streams of a process that lead to an object: `stdout`, `stdout, stderr`.
    fn streams(&self, pid: u32, object: &str) -> String {
        let Some(process) = self.processes.get(&pid) else { return String::new() };
        let rows = process.fds.iter().filter(|row| row.object == object && row.bytes > 0);
        let mut names: Vec<String> = rows.map(|row| stream_name(process, row)).collect();
        names.sort_by_key(|name| Reverse(name.clone()));
        names.dedup();
        names.truncate(2);
        names.join(", ")
    }

    fn group(&mut self, side: &Side<'a>, what: &str) -> Option<usize> {
        self.grouped.extend(side.others.iter().map(|endpoint| endpoint.pid));
        let number = side.others.len() as u64;
        (number > 0).then(|| self.push(describe::group(number, what)))
    }

    /// Those that moved bytes: the ones with findings first, then those with a node, then those of most bytes.
    fn side(&self, all: &'a [Endpoint], most: usize) -> Side<'a> {
        let mut shown: Vec<&Endpoint> = all.iter().filter(|endpoint| endpoint.bytes > 0).collect();
        shown.sort_by_key(|endpoint| {
            let place = Place::Process(endpoint.pid);
            (Reverse(self.marks.mark(place)), !self.places.contains_key(&place))
        });
        // A node for one other process takes no more room than its own.
        let most = if shown.len() == most + 1 { most + 1 } else { most };
        let others = shown.split_off(most.min(shown.len()));
        let others_bytes = others.iter().fold(0, |sum: u64, other| sum.saturating_add(other.bytes));
        Side { shown, others, others_bytes }
    }

    fn process_node(&mut self, endpoint: &Endpoint) -> usize {
        let place = Place::Process(endpoint.pid);
        if let Some(node) = self.known_process(endpoint.pid) {
            return node;
        }
        let node = self.push(describe::outsider(endpoint, self.marks.mark(place)));
        self.places.insert(place, node);
        node
    }

    /// The node of a process of the target, or of any that has one already.
    fn known_process(&mut self, pid: u32) -> Option<usize> {
        let place = Place::Process(pid);
        if let Some(node) = self.places.get(&place) {
            return Some(*node);
        }
        let process = self.processes.get(&pid).copied()?;
        let node = self.push(describe::process(
            process,
            self.commands.get(&pid).copied(),
            self.marks.mark(place),
        ));
        self.places.insert(place, node);
        Some(node)
    }

    fn object_node(&mut self, object: &'a Object) -> usize {
        let place = Place::Object(&object.id);
        if let Some(node) = self.places.get(&place) {
            return *node;
        }
        let node = self.push(describe::object(object, self.marks.mark(place)));
        self.places.insert(place, node);
        node
    }

    fn push(&mut self, node: Node) -> usize {
        self.picture.nodes.push(node);
        self.picture.nodes.len() - 1
    }

    fn edge(&mut self, (from, to): (usize, usize), bytes: Option<u64>, remark: String, mark: Mark) {
        self.picture.edges.push(Edge { from, to, bytes, remark, mark });
    }
}

/// The writers of an object, or its readers.
struct Side<'a> {
    shown: Vec<&'a Endpoint>,
    others: Vec<&'a Endpoint>,
    others_bytes: u64,
}

/// Whether one process wrote a file that no process read.
fn is_plain_file(object: &Object) -> bool {
    object.kind == "file" && object.writers.len() == 1 && object.readers.is_empty()
}

/// Whether bytes moved through an object, other than those by which a process wakes itself up.
fn moves_bytes(object: &Object) -> bool {
    let is_own = match (object.writers.as_slice(), object.readers.as_slice()) {
        ([writer], [reader]) => writer.pid == reader.pid,
        _ => false,
    };
    (object.written > 0 || object.read > 0) && !(is_own && object.hop > 0)
}

/// `closed +3.24 s`: when a process closed its read end of an object last.
fn closing(object: &Object, pid: u32) -> String {
    let close = object.closes.iter().rev().find(|close| close.pid == pid);
    close.map_or_else(String::new, |close| format!("closed {}", offset(close.at_ms)))
}
