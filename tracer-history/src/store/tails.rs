//! The ends of streams that lost output. The table is made with the first of them: a history without any has none.

use rusqlite::{Transaction, params};

use super::{LEVEL, StoreError};
use crate::Tail;

const TABLE: &str = "CREATE TABLE IF NOT EXISTS tails (
    entry INTEGER NOT NULL, fd INTEGER NOT NULL, object TEXT NOT NULL, written INTEGER NOT NULL, lost INTEGER,
    kept INTEGER NOT NULL, missing INTEGER NOT NULL, not_kept TEXT, text BLOB NOT NULL
)";
const INDEX: &str = "CREATE INDEX IF NOT EXISTS tails_entry ON tails (entry)";
const PUT: &str = "INSERT INTO tails VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";

/// Writes the tails of an entry, in the transaction of the entry.
pub(super) fn put(
    transaction: &Transaction<'_>,
    entry: i64,
    tails: &[Tail],
) -> Result<(), StoreError> {
    if tails.is_empty() {
        return Ok(());
    }
    transaction.execute(TABLE, [])?;
    transaction.execute(INDEX, [])?;
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let mut insert = transaction.prepare_cached(PUT)?;
    for Tail { fd, object, written, lost, kept, missing, not_kept, text } in tails {
        insert.execute(params![
            entry,
            fd,
            object,
            number(*written),
            lost.map(number),
            number(*kept),
            number(*missing),
            not_kept,
            zstd::bulk::compress(text, LEVEL)?
        ])?;
    }
    Ok(())
}
