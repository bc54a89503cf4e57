"""The default store: one SQLite file in the run directory, shared by the processes of one machine."""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from orchestrator.state.base import EVENT_LIMIT, Document, StoreDamaged, StoreError, Update, decode, encode

BUSY_TIMEOUT_S = 10.0

_SCHEMA = """
CREATE TABLE IF NOT EXISTS documents (kind TEXT, name TEXT, body TEXT NOT NULL, PRIMARY KEY (kind, name)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS revision (id INTEGER PRIMARY KEY CHECK (id = 1), value INTEGER NOT NULL);
INSERT OR IGNORE INTO revision VALUES (1, 0);
CREATE TABLE IF NOT EXISTS events (seq INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT NOT NULL);
"""


class SqliteStore:
    """A `Store` on a file in WAL mode: readers never wait, writers wait for each other up to BUSY_TIMEOUT_S.

    A transaction that was not committed when its process was killed never happened. One connection serves all threads
    under a lock; a store must not be carried over a fork.
    """

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._path = path
        self._closed = False
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with self._turn():
                self._db, self._inode = self._open()
        except (sqlite3.Error, OSError) as error:
            raise _store_error(error, path, "cannot open the state file") from error

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Opening and setting aside by several processes, one after the other."""
        with open(f"{self._path}.lock", "a") as turn:
            fcntl.flock(turn, fcntl.LOCK_EX)
            yield

    def _open(self) -> tuple[sqlite3.Connection, int]:
        """(connection, inode of the file). Writes only what is missing, so that it also works on a full disk."""
        db = sqlite3.connect(self._path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
        try:
            # The switch to WAL ignores the busy time-out, so processes that start together take turns.
            db.execute("PRAGMA journal_mode=WAL")
            if not db.execute("SELECT count(*) FROM sqlite_master WHERE name = 'events'").fetchone()[0]:
                db.executescript(_SCHEMA)
            # With WAL this survives a killed process; only a power cut can lose the last transactions, never the file.
            db.execute("PRAGMA synchronous=NORMAL")
            os.chmod(self._path, 0o600)
            return db, os.stat(self._path).st_ino
        except BaseException:
            db.close()
            raise

    def put(self, kind: str, name: str, doc: Mapping[str, Any]) -> None:
        body = encode(doc)
        with self._write():
            if self._body(kind, name) != body:
                self._store(kind, name, body)

    def get(self, kind: str, name: str) -> Document | None:
        with self._read():
            body = self._body(kind, name)
        return None if body is None else decode(body)

    def delete(self, kind: str, name: str) -> bool:
        with self._write():
            there = self._body(kind, name) is not None
            if there:
                self._store(kind, name, None)
        return there

    def list(self, kind: str) -> dict[str, Document]:
        with self._read():
            rows = self._db.execute("SELECT name, body FROM documents WHERE kind = ? ORDER BY name", (kind,)).fetchall()
        return {name: decode(body) for name, body in rows}

    def update(self, kind: str, name: str, fn: Update) -> Document | None:
        with self._write():
            old = self._body(kind, name)
            doc = fn(None if old is None else decode(old))
            new = None if doc is None else encode(doc)
            if new != old:
                self._store(kind, name, new)
        return None if new is None else decode(new)

    def revision(self) -> int:
        with self._read():
            value: int = self._db.execute("SELECT value FROM revision").fetchone()[0]
        return value

    def check(self) -> None:
        # Not with the connection at hand, which may answer from memory.
        with self._read(), closing(sqlite3.connect(self._path, timeout=BUSY_TIMEOUT_S)) as db:
            db.execute("SELECT value FROM revision").fetchone()
            db.execute("SELECT max(length(body)) FROM documents").fetchone()

    def restore(self, documents: Mapping[str, Mapping[str, Document]], revision: int) -> None:
        rows = [(kind, name, encode(doc)) for kind, named in documents.items() for name, doc in named.items()]
        try:
            self.check()
        except StoreDamaged:
            self._set_aside()
        self._replace(rows, revision)

    def _replace(self, rows: Sequence[tuple[str, str, str]], revision: int) -> None:
        with self._write():
            self._db.execute("DELETE FROM documents")
            self._db.executemany("INSERT INTO documents VALUES (?, ?, ?)", rows)
            self._db.execute("UPDATE revision SET value = ?", (revision,))

    def _set_aside(self) -> None:
        """Rename the damaged file and what belongs to it; other processes notice and open the one that takes its place."""
        with self._lock, self._turn():
            try:
                aside = self._path.with_name(f"{self._path.name}.damaged")
                for suffix in ("", "-wal", "-shm"):
                    with suppress(FileNotFoundError):
                        os.replace(f"{self._path}{suffix}", f"{aside}{suffix}")
            except OSError as error:
                raise _store_error(error, self._path, "cannot set the damaged state file aside") from error

    def append_event(self, event: Mapping[str, Any]) -> int:
        body = encode(event)
        with self._write():
            seq = self._db.execute("INSERT INTO events (body) VALUES (?)", (body,)).lastrowid
            assert seq is not None
            self._db.execute("DELETE FROM events WHERE seq <= ?", (seq - EVENT_LIMIT,))
        return seq

    def events(self, after: int = 0, limit: int = 1000) -> Sequence[tuple[int, Document]]:
        query = "SELECT seq, body FROM events WHERE seq > ? ORDER BY seq LIMIT ?"
        with self._read():
            rows = self._db.execute(query, (after, limit)).fetchall()
        return [(seq, decode(body)) for seq, body in rows]

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._db.close()

    @contextmanager
    def _read(self) -> Iterator[None]:
        with self._lock:
            try:
                self._follow()
                yield
            except (sqlite3.Error, OSError) as error:
                raise _store_error(error, self._path, "state file") from error

    def _follow(self) -> None:
        """Open the file again if another one has taken its place: the old one is nobody's any more."""
        try:
            inode = os.stat(self._path).st_ino
        except FileNotFoundError:
            inode = 0
        if inode != self._inode and not self._closed:
            with self._turn():
                fresh, self._inode = self._open()
            self._db.close()
            self._db = fresh

    @contextmanager
    def _write(self) -> Iterator[None]:
        """A transaction that takes the write lock first, so that what it read cannot change before it commits."""
        with self._read():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    with suppress(sqlite3.Error):  # what went wrong first is what counts
                        self._db.execute("ROLLBACK")
                raise

    def _body(self, kind: str, name: str) -> str | None:
        query = "SELECT body FROM documents WHERE kind = ? AND name = ?"
        row = self._db.execute(query, (kind, name)).fetchone()
        return row[0] if row else None

    def _store(self, kind: str, name: str, body: str | None) -> None:
        if body is None:
            self._db.execute("DELETE FROM documents WHERE kind = ? AND name = ?", (kind, name))
        else:
            self._db.execute("INSERT OR REPLACE INTO documents VALUES (?, ?, ?)", (kind, name, body))
        self._db.execute("UPDATE revision SET value = value + 1")


def _store_error(error: Exception, path: Path, what: str) -> StoreError:
    """Says what to do where that is known. A damaged file is a StoreDamaged."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    where = f"{what} {path}: {error}"
    if code == sqlite3.SQLITE_FULL or getattr(error, "errno", 0) in (errno.ENOSPC, errno.EDQUOT):
        return StoreError(f"{where}; free space on its disk, what is stored stays readable")
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) or "no such table" in str(error):
        return StoreDamaged(f"{where}; a running cluster sets it aside and writes it anew")
    return StoreError(where)
