"""The SQLite file behind the cache of scores: its tables, and how it is opened safely.

Another program's file is never written to, and neither is one of a newer fakescan.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fakescan.errors import CacheError

APPLICATION_ID = 0x66736361
"""In the header of the file, so that another program's database is not taken for a cache."""
MIGRATIONS = (
    """
    CREATE TABLE scorers (
        id INTEGER PRIMARY KEY, name TEXT NOT NULL, detector TEXT NOT NULL,
        preprocessing TEXT NOT NULL, perturbation TEXT NOT NULL, device TEXT NOT NULL,
        UNIQUE (detector, preprocessing, perturbation, device));
    CREATE TABLE scores (
        content BLOB NOT NULL, scorer INTEGER NOT NULL REFERENCES scorers, logit REAL NOT NULL,
        width INTEGER NOT NULL, height INTEGER NOT NULL, format TEXT, provenance TEXT,
        PRIMARY KEY (content, scorer)) WITHOUT ROWID;
    CREATE TABLE files (
        path BLOB PRIMARY KEY, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
        content BLOB NOT NULL) WITHOUT ROWID;
    """,
    """
    ALTER TABLE scores ADD COLUMN reader INTEGER;
    UPDATE scores SET reader = 1 WHERE provenance IS NOT NULL;
    """,
)
"""Number i leads from version i to version i + 1; what is released is never changed."""
BUSY_TIMEOUT_S = 30.0
"""How long another scan may keep the file to itself; it takes milliseconds."""
REMEDY = "`fakescan cache clear` starts a new one"


def open_database(path: Path) -> sqlite3.Connection:
    """Open a file that `MIGRATIONS` describe, or make it.

    Raises:
        CacheError: it cannot be used, with the reason.
    """
    with reasons(path):
        # The scan's iterator may be read in another thread than the one that began it.
        db = sqlite3.connect(
            path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
        )
        try:
            _prepare(db, path)
        except (sqlite3.Error, CacheError):
            db.close()
            raise
        return db


def _prepare(db: sqlite3.Connection, path: Path) -> None:
    if _pragma(db, "user_version") != len(MIGRATIONS):
        with transaction(db):
            _migrate(db, path)
    elif _pragma(db, "application_id") != APPLICATION_ID:
        raise CacheError(f"{path}: not a cache of scores; {REMEDY}")
    _use_log(db)
    db.execute("PRAGMA synchronous = NORMAL")  # with the log: safe but for the last rows


def _migrate(db: sqlite3.Connection, path: Path) -> None:
    """Bring the tables up to date, alone in the file."""
    version = _pragma(db, "user_version")
    (tables,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if tables and _pragma(db, "application_id") != APPLICATION_ID:
        raise CacheError(f"{path}: not a cache of scores; {REMEDY}")
    if version > len(MIGRATIONS):
        raise CacheError(f"{path}: made by a newer fakescan; update fakescan, or {REMEDY}")
    for migration in MIGRATIONS[version:]:
        for statement in filter(str.strip, migration.split(";")):
            db.execute(statement)
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    db.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")


def _use_log(db: sqlite3.Connection) -> None:
    """Write ahead, so that scans read while others write.

    SQLite does not wait for a lock here; whoever holds it is about to make the same change.
    """
    give_up = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as e:
            if e.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > give_up:
                raise
            time.sleep(0.01)
        else:
            return


def _pragma(db: sqlite3.Connection, name: str) -> int:
    return int(db.execute(f"PRAGMA {name}").fetchone()[0])


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """Do all of it, or nothing, while no other process writes."""
    with db:  # commits, or takes back
        db.execute("BEGIN IMMEDIATE")
        yield


@contextmanager
def reasons(path: Path) -> Iterator[None]:
    """Turn what SQLite raises into one reason and a remedy."""
    try:
        yield
    except sqlite3.Error as e:
        raise CacheError(f"{path}: the cache of scores cannot be used ({e}); {REMEDY}") from e
