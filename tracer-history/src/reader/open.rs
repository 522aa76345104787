//! Opens a file for reading without creating or changing anything in its folder.

use std::{
    fmt::Write as _,
    fs,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, config::DbConfig, ffi};

/// How long to wait for a lock that another process holds for moments only.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often to begin beside a writer that commits, and how long to wait before the next try.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(5);

/// Opens a file in the first way that works. Also returns whether it is damaged, as far as that shows at once.
pub(super) fn open(path: &Path) -> rusqlite::Result<(Connection, bool)> {
    let opened = match beside(path, "-wal").exists() {
        true => shared(path).or_else(|_| left_behind(path).and_then(checked)),
        // No process writes, and everything is in the file.
        false => unchanging(path).and_then(checked),
    };
    opened.map(|connection| (connection, false)).or_else(|_| {
        let cut =
            left_behind(path).and_then(tolerant).or_else(|_| unchanging(path).and_then(tolerant));
        cut.map(|connection| (connection, true))
    })
}

/// Beside a writer, or where its files still are: with its `-shm`, which SQLite would create without `readonly_shm`. All
/// that the connection reads is of one moment.
fn shared(path: &Path) -> rusqlite::Result<Connection> {
    if !beside(path, "-shm").exists() {
        return Err(rusqlite::Error::InvalidPath(path.to_owned()));
    }
    let connection = connect(path, "mode=ro&readonly_shm=1")?;
    connection.execute_batch("BEGIN")?;
    let mut tries = 0;
    // The transaction begins with its first read.
    while let Err(error) = tables(&connection) {
        tries += 1;
        if tries == TRIES || !is_mid_commit(&error) {
            return Err(error);
        }
        thread::sleep(PAUSE);
    }
    Ok(connection)
}

/// A reader that may not write to `-shm` meets these while a writer commits: it saw the two copies of the header differ
/// and found no writer a moment later, or the header it saw is older than all marks of readers (`walIndexReadHdr` and
/// `walTryBeginRead` in SQLite's wal.c). Both also last, if the writer was killed.
fn is_mid_commit(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error().map(|error| error.extended_code);
    matches!(code, Some(ffi::SQLITE_READONLY_RECOVERY | ffi::SQLITE_READONLY_CANTINIT))
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
    tables(&connection)?;
    Ok(connection)
}

/// The number of tables and indexes.
fn tables(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "everything here is a test")]

    use std::{
        process::{Command, Stdio},
        time::{Duration, Instant},
    };

    use super::*;

    /// Names the file to a process that writes.
    const FILE: &str = "TRACER_HISTORY_TEST_FILE";

    const COMMITS: i64 = 50_000;

    /// Not a test by itself: a process that commits, and waits until it is killed.
    #[test]
    fn committing_process() {
        let Some(path) = std::env::var_os(FILE) else { return };
        let connection = Connection::open(path).unwrap();
        let begin = "PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF; CREATE TABLE numbers (n);
            INSERT INTO numbers VALUES (0)";
        connection.execute_batch(begin).unwrap();
        // Readers keep it from beginning its WAL again, which must not fill the disk.
        for _ in 0..COMMITS {
            connection.execute_batch("UPDATE numbers SET n = n + 1").unwrap();
        }
        // Until the test ends.
        let _ = std::io::stdin().read_line(&mut String::new());
    }

    #[test]
    fn a_file_is_read_as_of_one_moment_while_another_process_commits() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file.db");
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "reader::open::tests::committing_process"]).env(FILE, &path);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let number = |connection: &Connection| {
            connection.query_row("SELECT n FROM numbers", [], |row| row.get::<_, i64>(0))
        };
        let begin = Instant::now();
        while shared(&path).and_then(|connection| number(&connection)).is_err() {
            assert!(begin.elapsed() < Duration::from_secs(60), "nothing is committed");
        }
        // Without a second try one of 400 fails.
        let mut seen = 0;
        while seen < COMMITS {
            assert!(begin.elapsed() < Duration::from_secs(60), "{seen} commits");
            let connection = shared(&path).unwrap();
            let now = number(&connection).unwrap();
            assert!(now >= seen && number(&connection).unwrap() == now, "{now} after {seen}");
            seen = now;
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
