//! One file that is read. What cannot be read is left out, and the file is then known as damaged.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    io::Read as _,
    path::Path,
};

use rusqlite::{Connection, Row as SqlRow};

use super::{Subject, cursor::Row, open};
use crate::{
    Coverage, Entry, Fate, Gap, Place, Stream,
    names::FileName,
    store::{StreamRow, VERSION},
    time,
};

/// How many texts are remembered.
const MOST_TEXTS: usize = 16 << 10;
/// The largest report that is unpacked, in bytes.
const LARGEST_REPORT: u64 = 64 << 20;

/// An open file.
pub(super) struct File {
    pub(super) connection: Connection,
    texts: RefCell<HashMap<i64, String>>,
    is_damaged: Cell<bool>,
}

impl File {
    /// Opens a file; `None` if that is not possible, or if a later version of tracer wrote it.
    pub(super) fn open(folder: &Path, name: FileName) -> Option<Self> {
        let path = folder.join(name.text());
        let (connection, is_damaged) = open::open(&path).ok().filter(|_| open::is_file(&path))?;
        let version =
            connection.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0));
        (version.ok()? == VERSION).then(|| Self {
            connection,
            texts: RefCell::default(),
            is_damaged: Cell::new(is_damaged),
        })
    }

    /// Whether a part of it could not be read until now.
    pub(super) fn is_damaged(&self) -> bool {
        self.is_damaged.get()
    }

    /// A part of it could not be read.
    pub(super) fn set_damaged(&self) {
        self.is_damaged.set(true);
    }

    /// All rows of a statement, up to the first that cannot be read.
    pub(super) fn rows<T>(
        &self,
        sql: &str,
        mut read: impl FnMut(&SqlRow<'_>) -> rusqlite::Result<T>,
    ) -> Vec<T> {
        let mut found = Vec::new();
        let mut collect = || -> rusqlite::Result<()> {
            let mut statement = self.connection.prepare_cached(sql)?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                found.push(read(row)?);
            }
            Ok(())
        };
        if collect().is_err() {
            self.set_damaged();
        }
        found
    }

    /// The table `coverage`.
    pub(super) fn coverage(&self) -> Vec<Coverage> {
        self.rows("SELECT from_us, until_us, scope, ended FROM coverage", |row| {
            Ok(Coverage {
                from_us: row.get(0)?,
                until_us: row.get(1)?,
                scope: row.get(2)?,
                ended: row.get(3)?,
            })
        })
    }

    /// The table `gaps`.
    pub(super) fn gaps(&self) -> Vec<Gap> {
        self.rows("SELECT from_us, until_us, reason, events, bytes, container FROM gaps", |row| {
            Ok(Gap {
                from_us: row.get(0)?,
                until_us: row.get(1)?,
                reason: row.get(2)?,
                events: count(row.get(3)?),
                bytes: count(row.get(4)?),
                container: row.get(5)?,
            })
        })
    }

    /// When the first entry began, in µs since 1970.
    pub(super) fn begins_us(&self) -> Option<i64> {
        let sql = "SELECT id, lasted_us FROM entries NOT INDEXED ORDER BY id LIMIT 1";
        let row = |row: &SqlRow<'_>| Ok(time::of_id(row.get(0)?).saturating_sub(row.get(1)?));
        self.rows(sql, row).first().copied()
    }

    /// Ids of the places that match.
    pub(super) fn places(&self, subject: &Subject) -> Vec<i64> {
        let sql = "SELECT cgroup, engine, container_id, container, image, namespace, pod, unit, id FROM places";
        let all = self.rows(sql, |row| Ok((row.get::<_, i64>(8)?, place(row)?)));
        all.into_iter().filter(|(_, place)| subject.is_at(place)).map(|(id, _)| id).collect()
    }

    /// A text; empty if it cannot be read.
    pub(super) fn text(&self, id: i64) -> String {
        if let Some(text) = self.texts.borrow().get(&id) {
            return text.clone();
        }
        let read = || -> rusqlite::Result<String> {
            let mut statement =
                self.connection.prepare_cached("SELECT text FROM texts WHERE id = ?1")?;
            statement.query_row([id], |row| row.get(0))
        };
        let text = read().unwrap_or_else(|_| {
            self.set_damaged();
            String::new()
        });
        let mut texts = self.texts.borrow_mut();
        if texts.len() >= MOST_TEXTS {
            texts.clear();
        }
        texts.insert(id, text.clone());
        text
    }

    /// The entry of a row, without its report; `None` if it cannot be read.
    pub(super) fn load(&self, row: &Row) -> Option<Entry> {
        let read = || -> rusqlite::Result<Entry> {
            let sql = "SELECT command, exit_code, signal, rule, severity, confidence, sentence, streams, place, name
                 FROM entries WHERE id = ?1";
            let mut statement = self.connection.prepare_cached(sql)?;
            statement.query_row([row.id], |found| self.entry(row, found))
        };
        let entry = read();
        if entry.is_err() {
            self.set_damaged();
        }
        entry.ok()
    }

    fn entry(&self, row: &Row, found: &SqlRow<'_>) -> rusqlite::Result<Entry> {
        let text = |column: usize| found.get(column).map(|id| self.text(id));
        let streams: String = found.get(7)?;
        Ok(Entry {
            began_us: row.began_us,
            ended_us: row.ended_us,
            is_interim: row.is_interim(),
            pid: row.pid,
            ns_pid: row.ns_pid,
            name: text(9)?,
            command: text(0)?,
            exit_code: found.get(1)?,
            signal: found.get(2)?,
            place: self.place(found.get(8)?),
            streams: self.streams(&streams),
            rule: text(3)?,
            severity: text(4)?,
            confidence: text(5)?,
            sentence: text(6)?,
            has_loss: row.has_loss(),
            started_ns: 0,
            findings: Vec::new(),
            report: None,
            tails: Vec::new(),
        })
    }

    fn streams(&self, json: &str) -> Vec<Stream> {
        let rows: Vec<StreamRow> = serde_json::from_str(json).unwrap_or_else(|_| {
            self.set_damaged();
            Vec::new()
        });
        rows.iter().map(|row| self.stream(row)).collect()
    }

    fn stream(&self, row: &StreamRow) -> Stream {
        let (fd, bytes, destination, outcome, reader, fate) = match *row {
            StreamRow::Short(fd, bytes, to, outcome, by) => (fd, bytes, to, outcome, by, None),
            StreamRow::Whole(fd, bytes, to, outcome, by, delivered, lost, discarded, refused) => {
                let known = [delivered, lost, discarded].into_iter().fold(0, u64::saturating_add);
                let unknown = bytes.saturating_sub(known);
                let fate = Fate { delivered, lost, discarded, unknown, refused };
                (fd, bytes, to, outcome, by, Some(fate))
            }
        };
        Stream {
            fd,
            bytes,
            destination: self.text(destination),
            outcome: self.text(outcome),
            reader: reader.map(|reader| self.text(reader)),
            fate,
        }
    }

    fn place(&self, id: i64) -> Place {
        let read = || -> rusqlite::Result<Place> {
            let sql = "SELECT cgroup, engine, container_id, container, image, namespace, pod, unit
                 FROM places WHERE id = ?1";
            self.connection.prepare_cached(sql)?.query_row([id], place)
        };
        read().unwrap_or_else(|_| {
            self.set_damaged();
            Place::default()
        })
    }

    /// The report of an entry.
    pub(super) fn report(&self, id: i64) -> Option<Vec<u8>> {
        let read = || -> rusqlite::Result<Option<Vec<u8>>> {
            let sql = "SELECT report FROM entries WHERE id = ?1";
            self.connection.prepare_cached(sql)?.query_row([id], |row| row.get(0))
        };
        let packed = read().ok().flatten()?;
        let mut report = Vec::new();
        let unpacked = zstd::Decoder::new(packed.as_slice())
            .and_then(|decoder| decoder.take(LARGEST_REPORT).read_to_end(&mut report));
        unpacked.ok().map(|_| report)
    }
}

pub(super) fn count(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// A place from the first eight columns.
fn place(row: &SqlRow<'_>) -> rusqlite::Result<Place> {
    Ok(Place {
        cgroup: row.get(0)?,
        engine: row.get(1)?,
        container_id: row.get(2)?,
        container: row.get(3)?,
        image: row.get(4)?,
        namespace: row.get(5)?,
        pod: row.get(6)?,
        unit: row.get(7)?,
    })
}
