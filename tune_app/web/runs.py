"""The queue of runs: kept in SQLite, started in order of priority, followed until they end."""

from __future__ import annotations

import hashlib
import json
import logging
import secrets
import signal
import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

from search_spaces.study import StudySpec
from tune_app.web import processes
from tune_app.web.commands import command_of, stop_command
from tune_app.web.database import Database
from tune_app.web.logs import LOG, last_line, read_part
from tune_app.web.problems import ProblemError
from tune_app.web.run_models import LogPart, Run, RunSubmission
from tune_app.web.settings import Settings
from tune_app.web.tokens import Identity

ACTIVE = ("queued", "running", "stopping")
TICK_SECONDS = 0.3
RETRY_SECONDS = 5.0
"""The queue waits this long after an error, such as a full disk."""
_COLUMNS = (
    "id, study, question, size, overrides, state, priority, created_at, created_by, started_at, ended_at, "
    "exit_code, reason"
)
_FOLLOWED = "id, study, state, started_at, stop_at"
_NO_MORE_SIGNALS = 99
_STOPPED = (130, 3)
"""Exit codes of a run that ended in order before all was trained: interrupted, budget spent."""
_log = logging.getLogger(__name__)


class Runs:
    """The runs of one service, and the thread that starts and follows them."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database, self._settings = database, settings
        self._folder = settings.state_folder / "runs"
        stopping = database.rows("SELECT id FROM runs WHERE state = 'stopping'")
        self._signals = {str(row["id"]): 1 for row in stopping}  # by the server before this one
        self._wake, self._end = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None

    def submit(
        self, spec: StudySpec, text: str, request: RunSubmission, who: Identity, key: str | None
    ) -> tuple[Run, bool]:
        """Put a study into the queue and return its run, and whether it is a new one.

        With an idempotency key that this token used before, the run of that request is returned. A 409 problem where
        the study is queued or running already, or the key was used for another request.
        """
        content = hashlib.sha256(json.dumps([text, request.size, request.overrides]).encode()).hexdigest()
        with self._database.transaction():
            if key is not None and (known := self._known(key, who, content)):
                return known, False
            self._refuse_double(spec.name)
            run = secrets.token_hex(8)
            values = (
                run,
                spec.name,
                spec.question,
                text,
                request.size,
                json.dumps(request.overrides),
                request.priority,
            )
            try:
                self._database.execute(
                    "INSERT INTO runs (id, study, question, source, size, overrides, priority, state, created_at, "
                    "created_by) VALUES (?, ?, ?, ?, ?, ?, ?, 'queued', ?, ?)",
                    (*values, time.time(), who.name),
                )
            except sqlite3.IntegrityError:
                raise ProblemError(409, f"study {spec.name!r} is queued or running already") from None
            if key is not None:
                self._database.execute(
                    "INSERT INTO idempotency (key, token, request, run, at) VALUES (?, ?, ?, ?, ?)",
                    (key, who.token, content, run, time.time()),
                )
            self._database.audit(who.name, "start", f"{spec.name} ({run})")
        self._wake.set()
        return self.get(run), True

    def _known(self, key: str, who: Identity, content: str) -> Run | None:
        found = self._database.row("SELECT * FROM idempotency WHERE key = ? AND token = ?", (key, who.token))
        if found is None:
            return None
        if found["request"] != content:
            raise ProblemError(409, "the Idempotency-Key was used before for another study; send a new key")
        return self.get(found["run"])

    def _refuse_double(self, study: str) -> None:
        active = self.active(study)
        if active is not None:
            raise ProblemError(409, f"study {study!r} is {active.state} already, as run {active.id}; stop it first")
        queued = self._database.rows("SELECT id FROM runs WHERE state = 'queued'")
        if len(queued) >= self._settings.limits.queued_runs:
            raise ProblemError(429, f"{len(queued)} runs are waiting already; wait until some have ended")

    def get(self, run: str) -> Run:
        """Return a run; a 404 problem where there is none."""
        found = self._database.row(f"SELECT {_COLUMNS} FROM runs WHERE id = ?", (run,))
        if found is None:
            raise ProblemError(404, f"there is no run {run[:40]!r}")
        return _run(found)

    def listed(self, study: str | None = None, limit: int = 200) -> list[Run]:
        """Return the latest runs, active ones first, then the newest."""
        where, values = ("WHERE study = ?", [study]) if study else ("", [])
        rows = self._database.rows(
            f"SELECT {_COLUMNS} FROM runs {where} ORDER BY state NOT IN ('queued', 'running', 'stopping'), "
            "CASE WHEN state = 'queued' THEN -priority END, created_at DESC LIMIT ?",
            [*values, limit],
        )
        return [_run(row) for row in rows]

    def active(self, study: str) -> Run | None:
        """Return the run of a study that is queued, running or stopping."""
        found = self._database.row(f"SELECT {_COLUMNS} FROM runs WHERE study = ? AND state IN {ACTIVE}", (study,))
        return _run(found) if found else None

    def source(self, run: str) -> str:
        """Return the YAML text that a run was submitted with."""
        found = self._database.row("SELECT source FROM runs WHERE id = ?", (run,))
        return str(found["source"]) if found else ""

    def stop(self, run: str, who: Identity) -> Run:
        """End a run in order, or take it out of the queue; a run that has ended is returned as it is."""
        with self._database.transaction():
            found = self.get(run)
            now = time.time()
            if found.state == "queued":
                self._set(run, state="stopped", ended_at=now, reason="taken out of the queue")
            elif found.state == "running":
                self._set(run, state="stopping", stop_at=now)
            if found.state in ("queued", "running"):
                self._database.audit(who.name, "stop", f"{found.study} ({run})")
        self._wake.set()
        return self.get(run)

    def log(self, run: str, offset: int) -> LogPart:
        """Return a part of a run's log from a byte offset on; ``complete`` at the end of a run that has ended."""
        state = self.get(run).state
        return read_part(self.folder(run) / LOG, offset, self._settings.limits.log_bytes, state not in ACTIVE)

    def folder(self, run: str) -> Path:
        """Return the folder of a run's study file and log."""
        return self._folder / run

    def start(self) -> None:
        """Start the thread that starts and follows runs."""
        self._thread = threading.Thread(target=self._loop, name="runs", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread. Runs go on: the next server finds them."""
        self._end.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout=10)

    def _loop(self) -> None:
        while not self._end.is_set():
            try:
                self.tick()
            except Exception:  # whatever it is, the other runs are followed when it has passed
                _log.exception("the queue of runs met an error and goes on in %g s", RETRY_SECONDS)
                self._end.wait(RETRY_SECONDS)
            self._wake.wait(TICK_SECONDS)
            self._wake.clear()

    def tick(self) -> None:
        """Note which runs have ended, signal those that are to stop, and start what may start."""
        processes.collect()
        active = self._database.rows(f"SELECT {_FOLLOWED} FROM runs WHERE state IN ('running', 'stopping')")
        left = [row for row in active if not self._has_ended(**row)]
        for row in left:
            if row["state"] == "stopping":
                self._signal(row["id"], row["stop_at"])
        if self._settings.read_only:
            return
        free = self._settings.max_runs - len(left)
        order = "SELECT id FROM runs WHERE state = 'queued' ORDER BY priority DESC, created_at LIMIT ?"
        for row in self._database.rows(order, (max(0, free),)):
            self._launch(row["id"])

    def _has_ended(self, id: str, study: str, state: str, started_at: float, **other: Any) -> bool:
        run, folder = id, self.folder(id)
        ended = processes.exit_of(folder)
        if ended is None and processes.is_alive(folder, started_at):
            return False
        ended = ended or processes.exit_of(folder)  # it may have ended between the two
        if self._settings.cluster is not None and self._follow_again(run, f"{study}-{run}", state, ended is None):
            return False
        if ended is None:
            self._set(
                run,
                state="lost",
                ended_at=time.time(),
                reason="its process was killed; start the study again to resume",
            )
            return True
        code, at = ended
        outcome = "stopped" if state == "stopping" or code in _STOPPED else "failed" if code else "finished"
        reason = None if outcome == "finished" else last_line(folder / LOG) or f"ended with exit code {code}"
        self._set(run, state=outcome, ended_at=at, exit_code=code, reason=reason)
        self._signals.pop(run, None)
        return True

    def _follow_again(self, run: str, job: str, state: str, killed: bool) -> bool:
        """Start what follows a cluster's job again where it was killed; make sure that a stopped job has ended."""
        assert self._settings.cluster is not None
        if self._settings.read_only:
            return False
        if killed:
            self._signals.pop(run, None)
            self._launch(run, state)
            return True
        is_confirmed = f"{job}: " in last_line(self.folder(run) / LOG)
        if state != "stopping" or self._signals.get(run) == _NO_MORE_SIGNALS or is_confirmed:
            return False
        # It was interrupted before it could pass that on to the job.
        processes.start(self.folder(run), stop_command(self._settings.cluster, job), self._variables())
        self._signals[run] = _NO_MORE_SIGNALS
        return True

    def _variables(self) -> dict[str, str]:
        return processes.environment(self._settings.results, self._settings.pass_environment)

    def _signal(self, run: str, stopping_since: float) -> None:
        folder, sent = self.folder(run), self._signals.get(run, 0)
        number = processes.next_signal(stopping_since, sent)
        if number is signal.SIGKILL:
            processes.kill(folder)
            self._signals[run] = sent + 1
        elif number is not None and processes.signal_run(folder, number):
            self._signals[run] = sent + 1

    def _launch(self, run: str, state: str = "running") -> None:
        """Start a run unless it was stopped since it was chosen; one that cannot be started has failed."""
        taken = self._database.execute(
            "UPDATE runs SET state = ?, started_at = ? WHERE id = ? AND state IN ('queued', ?)",
            (state, time.time(), run, state),
        )
        row = self._database.row("SELECT * FROM runs WHERE id = ?", (run,))
        if not taken or row is None:
            return
        folder = self.folder(run)
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            file = folder / "study.yaml"
            file.write_text(row["source"], encoding="utf-8")
            job = f"{row['study']}-{run}"
            command = command_of(str(file), self._settings, row["size"], json.loads(row["overrides"]), job)
            processes.start(folder, command, self._variables())
        except (OSError, ValueError) as error:
            self._set(run, state="failed", ended_at=time.time(), reason=f"could not be started: {error}")

    def _set(self, run: str, **values: Any) -> None:
        names = ", ".join(f"{name} = ?" for name in values)
        self._database.execute(f"UPDATE runs SET {names} WHERE id = ?", (*values.values(), run))


def _run(row: dict[str, Any]) -> Run:
    return Run(**{**row, "overrides": json.loads(row["overrides"])})
