//! The tables, as `SCHEMA.md` describes them.

/// Version of the tables (`PRAGMA user_version`).
pub(crate) const VERSION: i64 = 1;

/// Commands that lasted longer than this have an index of their own (`entries_medium`): who looks for the commands that
/// ran at a time must look that far ahead among all others.
pub(crate) const MEDIUM_US: i64 = 10_000_000;
/// The same for `entries_long`. Among those, a reader looks through everything that follows.
pub(crate) const LONG_US: i64 = 600_000_000;

/// Settings of a connection that writes. Each transaction is synced (`FULL`), at most once a second or per 500
/// entries: with `NORMAL` SQLite syncs only at a checkpoint, and a power cut could take many minutes.
pub(super) const SETTINGS: &str = "
PRAGMA busy_timeout = 2000;
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
PRAGMA temp_store = MEMORY;
PRAGMA trusted_schema = OFF;
PRAGMA cell_size_check = ON;
PRAGMA journal_size_limit = 4194304;
";

/// The tables. The application id is `trcr`.
pub(super) const TABLES: &str = "
BEGIN;
CREATE TABLE texts (id INTEGER PRIMARY KEY, text TEXT NOT NULL);
CREATE TABLE places (
    id INTEGER PRIMARY KEY, cgroup TEXT NOT NULL, engine TEXT, container_id TEXT, container TEXT, image TEXT,
    namespace TEXT, pod TEXT, unit TEXT
);
CREATE TABLE entries (
    id INTEGER PRIMARY KEY, lasted_us INTEGER NOT NULL, flags INTEGER NOT NULL, weight INTEGER NOT NULL,
    place INTEGER NOT NULL, pid INTEGER NOT NULL, ns_pid INTEGER NOT NULL, name INTEGER NOT NULL,
    command INTEGER NOT NULL, exit_code INTEGER, signal INTEGER, rule INTEGER NOT NULL, severity INTEGER NOT NULL,
    confidence INTEGER NOT NULL, sentence INTEGER NOT NULL, streams TEXT NOT NULL, report BLOB
);
CREATE INDEX entries_place ON entries (place);
CREATE INDEX entries_medium ON entries (place) WHERE lasted_us > 10000000;
CREATE INDEX entries_long ON entries (place) WHERE lasted_us > 600000000;
CREATE INDEX entries_told ON entries (place) WHERE weight > 0;
CREATE TABLE coverage (
    id INTEGER PRIMARY KEY, from_us INTEGER NOT NULL, until_us INTEGER NOT NULL, scope TEXT NOT NULL, ended TEXT
);
CREATE TABLE gaps (
    from_us INTEGER NOT NULL, until_us INTEGER NOT NULL, reason TEXT NOT NULL, events INTEGER NOT NULL,
    bytes INTEGER NOT NULL, container TEXT
);
PRAGMA application_id = 0x74726372;
PRAGMA user_version = 1;
COMMIT;
";

pub(super) const PUT_ENTRY: &str = "INSERT OR IGNORE INTO entries VALUES
    (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)";

pub(super) const PUT_GAP: &str = "INSERT INTO gaps VALUES (?1, ?2, ?3, ?4, ?5, ?6)";

pub(super) const PUT_COVERAGE: &str =
    "INSERT INTO coverage (from_us, until_us, scope, ended) VALUES (?1, ?2, ?3, ?4)";

pub(super) const MOVE_COVERAGE: &str =
    "UPDATE coverage SET until_us = max(until_us, ?2), ended = ?3 WHERE id = ?1";
