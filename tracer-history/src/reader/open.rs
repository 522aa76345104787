//! Opens a file for reading without creating or changing anything in its folder.

use std::{
    fmt::Write as _,
    fs,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, config::DbConfig};

/// How long to wait for a lock that another process holds for moments only.
const PATIENCE: Duration = Duration::from_secs(2);

/// Opens a file in the first way that works. Also returns whether it is damaged, as far as that shows at once.
pub(super) fn open(path: &Path) -> rusqlite::Result<(Connection, bool)> {
    let opened = match beside(path, "-wal").exists() {
        true => shared(path).and_then(checked).or_else(|_| left_behind(path).and_then(checked)),
        // No process writes, and everything is in the file.
        false => unchanging(path).and_then(checked),
    };
    opened.map(|connection| (connection, false)).or_else(|_| {
        let cut =
            left_behind(path).and_then(tolerant).or_else(|_| unchanging(path).and_then(tolerant));
        cut.map(|connection| (connection, true))
    })
}

/// Beside a writer, or where its files still are: with its `-shm`, which SQLite would create without `readonly_shm`.
fn shared(path: &Path) -> rusqlite::Result<Connection> {
    if !beside(path, "-shm").exists() {
        return Err(rusqlite::Error::InvalidPath(path.to_owned()));
    }
    connect(path, "mode=ro&readonly_shm=1")
}

/// With a `-wal` but no `-shm`: a copy, or a file that was set aside. An exclusive connection without locks keeps the
/// index of the WAL in memory. It must not copy the WAL into the file when it is closed.
fn left_behind(path: &Path) -> rusqlite::Result<Connection> {
    let connection = connect(path, "mode=ro&vfs=unix-none")?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.execute_batch("PRAGMA locking_mode = EXCLUSIVE")?;
    Ok(connection)
}

/// As a file that does not change. A `-wal` is ignored.
fn unchanging(path: &Path) -> rusqlite::Result<Connection> {
    connect(path, "mode=ro&immutable=1")
}

/// A connection that reads a file that is shorter than it should be (`lockBtree` in SQLite's btree.c).
fn tolerant(connection: Connection) -> rusqlite::Result<Connection> {
    connection.execute_batch("PRAGMA writable_schema = ON")?;
    checked(connection)
}

/// A connection that can read the tables.
fn checked(connection: Connection) -> rusqlite::Result<Connection> {
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0))?;
    Ok(connection)
}

fn connect(path: &Path, how: &str) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_NOFOLLOW
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(uri(path, how), flags)?;
    connection.busy_timeout(PATIENCE)?;
    connection.execute_batch("PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON")?;
    connection.execute_batch("PRAGMA query_only = ON")?;
    Ok(connection)
}

/// <https://www.sqlite.org/uri.html>
fn uri(path: &Path, how: &str) -> String {
    let mut uri = "file:".to_owned();
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'/' | b'-' | b'.' | b'_' => uri.push(char::from(*byte)),
            byte if byte.is_ascii_alphanumeric() => uri.push(char::from(*byte)),
            byte => {
                // Writing to a string cannot fail.
                let _ = write!(uri, "%{byte:02x}");
            }
        }
    }
    uri + "?" + how
}

fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

/// Whether a path leads to a file itself.
pub(super) fn is_file(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.is_file())
}
