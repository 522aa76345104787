//! One file that is written to.

mod schema;
mod tails;
mod texts;

use std::mem;

use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior, params};
use serde::{Deserialize, Serialize};

pub(crate) use self::schema::{LONG_US, MEDIUM_US, VERSION};
use self::texts::Ids;
use crate::{
    Coverage, Entry, Fate, Gap, Stream,
    folder::{Folder, Identity, UNFINISHED, identity},
    names::FileName,
    severity, time,
};

/// Level of the compression of reports: above it, zstd takes several times as long for a few percent.
const LEVEL: i32 = 6;

/// What is wrong with a file, as far as the writer must know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The disk, or the user's share of it, is full.
    DiskFull,
    /// The file is damaged.
    Damaged,
    /// Anything else.
    Other,
}

/// An error of a file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// SQLite's.
    #[error("{0}")]
    Sql(#[from] rusqlite::Error),
    /// The system's.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// The folder cannot be used.
    #[error("{0}")]
    Folder(#[from] crate::HistoryError),
    /// It is of a later version of tracer.
    #[error("it was written by a later version of tracer")]
    Later,
    /// It has no tables, or a check found it damaged.
    #[error("it is damaged")]
    Damaged,
}

impl StoreError {
    /// What the writer must do about it.
    pub(crate) fn fault(&self) -> Fault {
        match self {
            Self::Sql(error) => match error.sqlite_error_code() {
                Some(ErrorCode::DiskFull) => Fault::DiskFull,
                Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Fault::Damaged,
                _ => Fault::Other,
            },
            Self::Io(error) => match error.kind() {
                std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                    Fault::DiskFull
                }
                _ => Fault::Other,
            },
            Self::Later | Self::Folder(_) => Fault::Other,
            Self::Damaged => Fault::Damaged,
        }
    }
}

/// An open file.
pub(crate) struct Store {
    connection: Connection,
    name: FileName,
    identity: Option<Identity>,
    is_new: bool,
    ids: Ids,
    /// Id of the latest entry.
    latest: i64,
}

/// What the writer puts into a file at once.
#[derive(Default)]
pub(crate) struct Batch<'a> {
    /// Commands.
    pub(crate) entries: &'a [Entry],
    /// Gaps.
    pub(crate) gaps: &'a [Gap],
    /// Coverage, with the number of its row if it has one in this file.
    pub(crate) coverage: &'a [(Option<i64>, Coverage)],
}

impl Store {
    /// Creates a file. It gets its name when its tables are there, so that a file without tables is a damaged one.
    pub(crate) fn create(folder: &Folder, name: FileName) -> Result<Self, StoreError> {
        folder.create(UNFINISHED)?;
        let connection = connect(folder, UNFINISHED)?;
        connection.execute_batch(schema::TABLES)?;
        connection.close().map_err(|(_, error)| error)?;
        folder.finish(name)?;
        Ok(Self { is_new: true, ..Self::open(folder, name)? })
    }

    /// Opens a file, and takes over what a killed writer left in its WAL.
    pub(crate) fn open(folder: &Folder, name: FileName) -> Result<Self, StoreError> {
        folder.check(name)?;
        let connection = connect(folder, &name.text())?;
        match connection.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0))? {
            VERSION => {}
            0 => return Err(StoreError::Damaged),
            _ => return Err(StoreError::Later),
        }
        let identity = identity(&folder.path_of(&name.text()));
        Ok(Self { connection, name, identity, ids: Ids::default(), latest: 0, is_new: false })
    }

    /// The name of the file.
    pub(crate) fn name(&self) -> FileName {
        self.name
    }

    /// Whether the file was created since the last call.
    pub(crate) fn take_new(&mut self) -> bool {
        mem::take(&mut self.is_new)
    }

    /// Whether the file is still in the folder.
    pub(crate) fn is_there(&self, folder: &Folder) -> bool {
        self.identity.is_some() && identity(&folder.path_of(&self.name.text())) == self.identity
    }

    /// Reads every page, for up to a second with a file of 64 MiB.
    pub(crate) fn examine(&self) -> Result<(), StoreError> {
        let verdict: String =
            self.connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        if verdict == "ok" { Ok(()) } else { Err(StoreError::Damaged) }
    }

    /// The coverage that reaches farthest.
    pub(crate) fn last_coverage(&self) -> Result<Option<Coverage>, StoreError> {
        let sql = "SELECT from_us, until_us, scope, ended FROM coverage ORDER BY until_us DESC, id DESC LIMIT 1";
        let mut statement = self.connection.prepare(sql)?;
        let mut rows = statement.query([])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        Ok(Some(Coverage {
            from_us: row.get(0)?,
            until_us: row.get(1)?,
            scope: row.get(2)?,
            ended: row.get(3)?,
        }))
    }

    /// When its first entry ended, in µs since 1970; `None` if there is none.
    pub(crate) fn oldest_us(&self) -> Result<Option<i64>, StoreError> {
        let sql = "SELECT min(id) FROM entries";
        let id: Option<i64> = self.connection.query_row(sql, [], |row| row.get(0))?;
        Ok(id.map(time::of_id))
    }

    /// Writes a batch in one transaction. Returns the rows of the coverage. After an error the store must be dropped: it
    /// remembers ids that were undone.
    pub(crate) fn write(&mut self, batch: &Batch<'_>) -> Result<Vec<i64>, StoreError> {
        let Self { connection, ids, latest, .. } = self;
        let behavior = TransactionBehavior::Immediate;
        let transaction = Transaction::new_unchecked(connection, behavior)?;
        for entry in batch.entries {
            *latest = put_entry(&transaction, ids, *latest, entry)?;
        }
        for gap in batch.gaps {
            put_gap(&transaction, gap)?;
        }
        let rows = batch.coverage.iter();
        let rows = rows.map(|(row, coverage)| put_coverage(&transaction, *row, coverage));
        let rows = rows.collect::<Result<_, _>>()?;
        transaction.commit()?;
        Ok(rows)
    }
}

fn connect(folder: &Folder, name: &str) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_NOFOLLOW
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(folder.path_of(name), flags)?;
    connection.execute_batch(schema::SETTINGS)?;
    Ok(connection)
}

/// Writes one entry. Returns its id.
fn put_entry(
    transaction: &Transaction<'_>,
    ids: &mut Ids,
    latest: i64,
    entry: &Entry,
) -> Result<i64, StoreError> {
    let mut text = |text: &str| ids.text(transaction, text);
    let name = text(&entry.name)?;
    let command = text(&entry.command)?;
    let (rule, severity) = (text(&entry.rule)?, text(&entry.severity)?);
    let (confidence, sentence) = (text(&entry.confidence)?, text(&entry.sentence)?);
    let streams = entry.streams.iter().map(|stream| stream_ids(stream, &mut text));
    let streams = streams.collect::<Result<Vec<_>, _>>()?;
    let streams = serde_json::to_string(&streams).map_err(std::io::Error::from)?;
    let place = ids.place(transaction, &entry.place)?;
    let report = entry.report.as_deref().map(|report| zstd::bulk::compress(report, LEVEL));
    let report = report.transpose()?;
    let first = time::id(entry.ended_us);
    // Entries that ended in the same µs get successive ids.
    let mut id = if time::of_id(latest) == time::of_id(first) { latest + 1 } else { first };
    let lasted = time::clamp(entry.ended_us).saturating_sub(time::clamp(entry.began_us)).max(0);
    let mut insert = transaction.prepare_cached(schema::PUT_ENTRY)?;
    loop {
        let changed = insert.execute(params![
            id,
            lasted,
            i64::from(entry.is_interim) | i64::from(entry.has_loss) << 1,
            weight(entry),
            place,
            entry.pid,
            entry.ns_pid,
            name,
            command,
            entry.exit_code,
            entry.signal,
            rule,
            severity,
            confidence,
            sentence,
            streams,
            report
        ])?;
        if changed == 1 {
            tails::put(transaction, id, &entry.tails)?;
            return Ok(id);
        }
        id += 1;
    }
}

/// How much an entry matters: 2 for a loss, 1 for a warning, 0 for the rest.
fn weight(entry: &Entry) -> i64 {
    match entry.severity.as_str() {
        _ if entry.has_loss => 2,
        severity::LOSS => 2,
        severity::WARNING => 1,
        _ => 0,
    }
}

/// A stream as it is stored: fd, bytes, destination, outcome and reader. The rest is absent in rows of versions that did
/// not count what became of the bytes.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum StreamRow {
    /// With the bytes that were delivered, lost, discarded and refused. What is left of all is unknown.
    Whole(i32, u64, i64, i64, Option<i64>, u64, u64, u64, u64),
    /// Without these numbers: of a version that did not count them.
    Short(i32, u64, i64, i64, Option<i64>),
}

fn stream_ids(
    stream: &Stream,
    text: &mut impl FnMut(&str) -> Result<i64, StoreError>,
) -> Result<StreamRow, StoreError> {
    let (fd, bytes) = (stream.fd, stream.bytes);
    let (to, outcome) = (text(&stream.destination)?, text(&stream.outcome)?);
    let by = stream.reader.as_deref().map(text).transpose()?;
    Ok(match stream.fate {
        Some(Fate { delivered, lost, discarded, refused, .. }) => {
            StreamRow::Whole(fd, bytes, to, outcome, by, delivered, lost, discarded, refused)
        }
        None => StreamRow::Short(fd, bytes, to, outcome, by),
    })
}

fn put_gap(transaction: &Transaction<'_>, gap: &Gap) -> Result<(), StoreError> {
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let mut insert = transaction.prepare_cached(schema::PUT_GAP)?;
    insert.execute(params![
        gap.from_us,
        gap.until_us,
        gap.reason,
        number(gap.events),
        number(gap.bytes),
        gap.container
    ])?;
    Ok(())
}

fn put_coverage(
    transaction: &Transaction<'_>,
    row: Option<i64>,
    coverage: &Coverage,
) -> Result<i64, StoreError> {
    let Coverage { from_us, until_us, scope, ended } = coverage;
    if let Some(row) = row {
        let mut update = transaction.prepare_cached(schema::MOVE_COVERAGE)?;
        update.execute(params![row, until_us, ended])?;
        return Ok(row);
    }
    let mut insert = transaction.prepare_cached(schema::PUT_COVERAGE)?;
    Ok(insert.insert(params![from_us, until_us, scope, ended])?)
}
