"""Tokens and browser sessions: random, stored hashed, with a scope, an expiry and revocation."""

from __future__ import annotations

import hashlib
import os
import secrets
import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from search_spaces.errors import StudyError, nearest
from tune_app.web.database import Database

Scope = Literal["read", "run", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
"""Each scope includes those before it. ``run`` can start training, which executes code: see docs/service.md."""
SESSION_SECONDS = 12 * 3600.0
PREFIX = "tune_"


@dataclass(frozen=True)
class Identity:
    """Who makes a request: a token, presented itself or by a browser session."""

    token: int
    name: str
    scope: Scope
    by_cookie: bool = False

    def may(self, scope: Scope) -> bool:
        """Return whether the token's scope includes ``scope``."""
        return SCOPES.index(self.scope) >= SCOPES.index(scope)


@dataclass(frozen=True)
class TokenInfo:
    """What is known of a token; the token itself is not stored. Times are seconds since 1970, UTC."""

    name: str
    scope: Scope
    created_at: float
    expires_at: float | None
    revoked_at: float | None
    used_at: float | None


class Tokens:
    """The tokens of one service."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, name: str, scope: str, days: float | None = None) -> str:
        """Create a token and return it: this is the only time it can be seen. StudyError where the name is taken."""
        if scope not in SCOPES:
            raise StudyError(f"`scope` is {scope!r}, but must be one of {', '.join(SCOPES)}{nearest(scope, SCOPES)}")
        if not name.strip() or len(name) > 64 or not name.isprintable():
            raise StudyError(f"`name` is {name[:70]!r}, but must be 1 to 64 printable characters")
        if days is not None and not 0 < days <= 3650:
            raise StudyError(f"`days` is {days:g}, but must be above 0 and at most 3650")
        token, now = PREFIX + secrets.token_urlsafe(32), time.time()
        expires = None if days is None else now + days * 86400
        try:
            self._database.execute(
                "INSERT INTO tokens (name, hash, scope, created_at, expires_at) VALUES (?, ?, ?, ?, ?)",
                (name, digest(token), scope, now, expires),
            )
        except sqlite3.IntegrityError:
            raise StudyError(f"`name` is {name!r}, but there is a token of this name; choose another") from None
        return token

    def listed(self) -> list[TokenInfo]:
        """Return all tokens, the oldest first."""
        columns = "name, scope, created_at, expires_at, revoked_at, used_at"
        return [TokenInfo(**row) for row in self._database.rows(f"SELECT {columns} FROM tokens ORDER BY id")]

    def revoke(self, name: str) -> None:
        """Make a token and its sessions invalid at once; StudyError where there is no valid token of that name."""
        with self._database.transaction():
            changed = self._database.execute(
                "UPDATE tokens SET revoked_at = ? WHERE name = ? AND revoked_at IS NULL", (time.time(), name)
            )
            self._database.execute(
                "DELETE FROM sessions WHERE token IN (SELECT id FROM tokens WHERE name = ?)", (name,)
            )
        if not changed:
            names = [token.name for token in self.listed() if token.revoked_at is None]
            raise StudyError(f"`name` is {name!r}, but no valid token has this name{nearest(name, names)}")

    def identify(self, token: str) -> Identity | None:
        """Return whose token it is; None where it is unknown, expired or revoked."""
        found = self._valid("SELECT * FROM tokens WHERE hash = ?", digest(token))
        if found is None:
            return None
        now = time.time()
        if now - (found["used_at"] or 0) > 60:
            self._database.execute("UPDATE tokens SET used_at = ? WHERE id = ?", (now, found["id"]))
        return Identity(found["id"], found["name"], found["scope"])

    def open_session(self, identity: Identity) -> str:
        """Return a new session's secret for a cookie."""
        secret, now = secrets.token_urlsafe(32), time.time()
        with self._database.transaction():
            self._database.execute("DELETE FROM sessions WHERE expires_at < ?", (now,))
            self._database.execute(
                "INSERT INTO sessions (hash, token, expires_at) VALUES (?, ?, ?)",
                (digest(secret), identity.token, now + SESSION_SECONDS),
            )
        return secret

    def of_session(self, secret: str) -> Identity | None:
        """Return who signed in; None where the session is over or its token is no longer valid."""
        query = (
            "SELECT tokens.* FROM sessions JOIN tokens ON tokens.id = sessions.token "
            "WHERE sessions.hash = ? AND sessions.expires_at > ?"
        )
        found = self._valid(query, digest(secret), time.time())
        return Identity(found["id"], found["name"], found["scope"], by_cookie=True) if found else None

    def close_session(self, secret: str) -> None:
        """End a session."""
        self._database.execute("DELETE FROM sessions WHERE hash = ?", (digest(secret),))

    def _valid(self, query: str, *values: str | float) -> dict[str, Any] | None:
        found = self._database.row(query, values)
        if found is None or found["revoked_at"] is not None:
            return None
        return None if found["expires_at"] is not None and found["expires_at"] < time.time() else found

    def ensure_admin(self, path: Path) -> bool:
        """Create the first administrator token in a file of mode 0600 where there is none; return whether it did."""
        if any(token.scope == "admin" and token.revoked_at is None for token in self.listed()):
            return False
        names = {token.name for token in self.listed()}
        name = next(name for n in range(1, 1_000_000) if (name := "admin" if n == 1 else f"admin-{n}") not in names)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        with self._database.transaction():  # no token without its file
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "w") as file:
                file.write(self.create(name, "admin") + "\n")
        return True


def digest(secret: str) -> str:
    """Return the stored form of a secret. Secrets are 256 random bits, so a fast hash without salt is enough."""
    return hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()
