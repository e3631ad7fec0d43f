"""The service's own state in SQLite: tokens, sessions, runs and the audit log. Results stay in the results store."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from search_spaces.errors import StudyError

VERSION = 1
_SCHEMA = """
CREATE TABLE tokens (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, hash TEXT NOT NULL UNIQUE, scope TEXT NOT NULL,
    created_at REAL NOT NULL, expires_at REAL, revoked_at REAL, used_at REAL
);
CREATE TABLE sessions (
    hash TEXT PRIMARY KEY, token INTEGER NOT NULL REFERENCES tokens(id), expires_at REAL NOT NULL
);
CREATE TABLE runs (
    id TEXT PRIMARY KEY, study TEXT NOT NULL, question TEXT NOT NULL, source TEXT NOT NULL, size TEXT,
    overrides TEXT NOT NULL, state TEXT NOT NULL, priority INTEGER NOT NULL DEFAULT 0, created_at REAL NOT NULL,
    created_by TEXT NOT NULL, started_at REAL, ended_at REAL, exit_code INTEGER, reason TEXT, stop_at REAL
);
CREATE UNIQUE INDEX one_active_run ON runs(study) WHERE state IN ('queued', 'running', 'stopping');
CREATE TABLE idempotency (
    key TEXT NOT NULL, token INTEGER NOT NULL, request TEXT NOT NULL, run TEXT NOT NULL, at REAL NOT NULL,
    PRIMARY KEY (key, token)
);
CREATE TABLE audit (
    id INTEGER PRIMARY KEY, at REAL NOT NULL, who TEXT NOT NULL, action TEXT NOT NULL, target TEXT NOT NULL
);
"""


class Database:
    """One SQLite file in WAL mode, used by all threads of the server one statement group at a time."""

    def __init__(self, folder: Path) -> None:
        """Open or create ``folder/service.sqlite``; StudyError where it cannot be written or is of a later release."""
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.path = path = folder.absolute() / "service.sqlite"
            self.is_new = new = not path.exists()
            self._lock = threading.RLock()
            self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=10)
            if new:
                path.chmod(0o600)
            self._connection.row_factory = sqlite3.Row
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA foreign_keys=ON")
            self._migrate(folder)
        except (OSError, sqlite3.DatabaseError) as error:
            raise StudyError(
                f"{folder}: the service cannot keep its state there: {error}; choose another folder by --state"
            ) from None

    def _migrate(self, folder: Path) -> None:
        with self.transaction():
            version = self._connection.execute("PRAGMA user_version").fetchone()[0]
            if version > VERSION:
                raise StudyError(
                    f"{folder}/service.sqlite is of a later release (version {version}, this one knows {VERSION}); "
                    "update tune-app, or choose another folder by --state"
                )
            if version == 0:
                for statement in _SCHEMA.split(";\n"):
                    self._connection.execute(statement)
                self._connection.execute(f"PRAGMA user_version={VERSION}")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Run what is inside as one transaction; roll back where it raises."""
        with self._lock:
            if self._connection.in_transaction:
                yield
                return
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.OperationalError):  # SQLite itself has rolled back where the disk is full
                    self._connection.execute("ROLLBACK")
                raise

    def execute(self, statement: str, values: Sequence[Any] = ()) -> int:
        """Execute a statement and return how many rows it changed."""
        with self._lock:
            return self._connection.execute(statement, values).rowcount

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[dict[str, Any]]:
        """Return the rows of a query."""
        with self._lock:
            return [dict(row) for row in self._connection.execute(query, values).fetchall()]

    def row(self, query: str, values: Sequence[Any] = ()) -> dict[str, Any] | None:
        """Return the first row of a query, None where there is none."""
        found = self.rows(query, values)
        return found[0] if found else None

    def audit(self, who: str, action: str, target: str) -> None:
        """Note who did what."""
        self.execute(
            "INSERT INTO audit (at, who, action, target) VALUES (?, ?, ?, ?)", (time.time(), who, action, target)
        )

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()
