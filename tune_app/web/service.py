"""What the routes share: settings, state, index, answers and runs of one server."""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated

from fastapi import Depends, Query, Request, Response
from filelock import FileLock, Timeout
from pydantic import BaseModel

from search_spaces.errors import StudyError
from tune_app.storage import StorageError
from tune_app.web.access import Failures
from tune_app.web.answers import Answers
from tune_app.web.cache import Cache
from tune_app.web.database import Database
from tune_app.web.index import ResultsIndex, StudyIndex
from tune_app.web.models import StudySummary
from tune_app.web.problems import NotModified, ProblemError
from tune_app.web.run_models import Run
from tune_app.web.runs import Runs
from tune_app.web.settings import Settings
from tune_app.web.summaries import summary
from tune_app.web.tokens import Tokens


class Service:
    """The parts of one server."""

    def __init__(self, settings: Settings) -> None:
        """Open the state; StudyError where settings are unsafe or another server uses the same state."""
        settings.check()
        self.settings = settings
        self.database = Database(settings.state_folder)
        self._lock = FileLock(settings.state_folder / ".lock")
        try:
            self._lock.acquire(blocking=False)
        except Timeout:
            self.database.close()
            raise StudyError(
                f"another `tune-app serve` uses {settings.state_folder}; stop it, or choose another --state"
            ) from None
        self.tokens = Tokens(self.database)
        self.failures = Failures(settings.limits.failed_sign_ins_per_minute)
        self.cache = Cache(settings.limits.cached_bytes)
        self.index = ResultsIndex(settings.results)
        self.answers = Answers(settings.state_folder / "reports")
        self.runs = Runs(self.database, settings)
        self.requests: Counter[tuple[str, int]] = Counter()
        self.lock = threading.Lock()

    def start(self) -> None:
        """Start to follow runs, and to read the studies, so that the first page need not wait for a large one."""
        self.runs.start()
        threading.Thread(target=self._read_studies, name="index", daemon=True).start()

    def _read_studies(self) -> None:
        with suppress(StorageError):  # a remote folder that does not answer: the first request says so
            for study in self.index.studies():
                study.epochs()

    def close(self) -> None:
        """Stop following runs, which go on, and close the state; nothing where that was done."""
        if not self._lock.is_locked:
            return
        self.runs.close()
        self.database.close()
        self._lock.release()

    def summaries(self) -> list[StudySummary]:
        """Return all studies, the one with the latest activity first."""
        found = [self._summary(study) for study in self.index.studies()]
        return sorted(found, key=lambda one: (one.state not in ("running", "stopping"), -(one.last_activity or 0.0)))

    def _summary(self, study: StudyIndex) -> StudySummary:
        found = summary(study, self.runs.active(study.name))
        statement = self.answers.known_statement(study)
        return found.model_copy(update={"statement": statement}) if statement else found

    def active_run(self, study: StudyIndex) -> Run | None:
        """Return the study's run that is queued, running or stopping."""
        return self.runs.active(study.name)

    def must_be_writable(self) -> None:
        """Raise a 403 problem where the server only reads."""
        if self.settings.read_only:
            raise ProblemError(403, "this server is read-only: it starts and stops nothing")


def service_of(request: Request) -> Service:
    """Return the service of the application that answers a request."""
    service: Service = request.app.state.service
    return service


Part = Annotated[str | None, Query(max_length=20)]
"""Which part of a page is asked for, without its frame; None for the whole page."""
TheService = Annotated[Service, Depends(service_of)]


def revalidate(request: Request, response: Response, *parts: object) -> str:
    """Set the ETag that names a version of the answer, and return it; 304 where the client has that version."""
    text = "\x1f".join(map(str, (request.url.path, request.url.query, *parts)))
    tag = f'W/"{hashlib.sha256(text.encode()).hexdigest()[:24]}"'
    if tag in [one.strip() for one in request.headers.get("if-none-match", "").split(",")]:
        raise NotModified(tag)
    response.headers["ETag"] = tag
    response.headers["Cache-Control"] = "private, no-cache"
    return tag


def answer(request: Request, service: Service, make: Callable[[], BaseModel], *parts: object) -> Response:
    """Return a document as JSON, computed once for each version that ``parts`` name; 304 where the client has it."""
    found = Response(media_type="application/json")
    tag = revalidate(request, found, *parts)
    found.body = service.cache.get(tag, lambda: make().model_dump_json().encode())
    found.headers["Content-Length"] = str(len(found.body))
    return found


def page_answer(request: Request, service: Service, make: Callable[[], Response], *parts: object) -> Response:
    """Return a page, rendered once for each version that ``parts`` name: they must have who sees it, too."""
    found = Response(media_type="text/html")
    tag = revalidate(request, found, *parts)
    found.body = service.cache.get(tag, lambda: bytes(make().body))
    found.headers["Content-Length"] = str(len(found.body))
    return found
