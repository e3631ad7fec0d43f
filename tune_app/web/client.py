"""A typed client of the service's API."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from search_spaces.errors import StudyError
from tune_app.web import models, run_models

M = TypeVar("M", bound=BaseModel)
TIMEOUT_SECONDS = 60.0
ACTIVE = ("queued", "running", "stopping")


class Client:
    """Talks to a `tune-app serve`. Refusals are raised as StudyError with the server's words.

    Example: ``Client("http://127.0.0.1:8600", token).submit("quickstart")``
    """

    def __init__(self, url: str, token: str, http: httpx.Client | None = None) -> None:
        """Connect to the service at ``url`` with a token; ``http`` replaces the HTTP client, for tests."""
        if not (token.isascii() and token.strip().isprintable()):
            raise StudyError("the token has characters that no token of a service has; give the one it printed")
        self._url = url.rstrip("/")
        self._http = http or httpx.Client(timeout=TIMEOUT_SECONDS, trust_env=False, follow_redirects=False)
        self._headers = {"Authorization": f"Bearer {token.strip()}"}

    def __enter__(self) -> Self:
        """Return the client."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close the connections."""
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def validate(
        self, study: str | Path | Mapping[str, Any], size: str | None = None, overrides: Sequence[str] = ()
    ) -> run_models.Validation:
        """Return whether a study is right: a file, the name of a ready study, YAML text or plain data."""
        return self._post("validate", submission(study, size, overrides), run_models.Validation)

    def plan(
        self, study: str | Path | Mapping[str, Any], size: str | None = None, overrides: Sequence[str] = ()
    ) -> run_models.StudyPlan:
        """Return what running a study would do."""
        return self._post("plan", submission(study, size, overrides), run_models.StudyPlan)

    def submit(
        self,
        study: str | Path | Mapping[str, Any],
        size: str | None = None,
        overrides: Sequence[str] = (),
        priority: int = 0,
        idempotency_key: str | None = None,
    ) -> run_models.Run:
        """Put a study into the queue and return its run."""
        body = {**submission(study, size, overrides), "priority": priority}
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        return self._post("runs", body, run_models.Run, headers)

    def runs(self, study: str | None = None) -> list[run_models.Run]:
        """Return runs, active ones first, then the newest."""
        return self._get("runs", run_models.RunList, study=study).runs

    def run(self, run: str) -> run_models.Run:
        """Return a run."""
        return self._get(f"runs/{run}", run_models.Run)

    def stop(self, run: str) -> run_models.Run:
        """End a run in order."""
        return self._post(f"runs/{run}/stop", None, run_models.Run)

    def wait(self, run: str, seconds: float = 3600.0, every: float = 1.0) -> run_models.Run:
        """Return a run when it has ended; StudyError where that takes longer than ``seconds``."""
        end = time.monotonic() + seconds
        while (found := self.run(run)).state in ACTIVE:
            if time.monotonic() > end:
                raise StudyError(f"run {run} is still {found.state} after {seconds:g} s")
            time.sleep(every)
        return found

    def log(self, run: str, follow: bool = False, every: float = 1.0) -> Iterator[str]:
        """Yield a run's log; with ``follow``, also what is added until the run ends."""
        offset = 0
        while True:
            part = self._get(f"runs/{run}/log", run_models.LogPart, offset=offset)
            if part.text:
                yield part.text
            if part.complete or (part.next == offset and not follow):
                return
            if part.next == offset:
                time.sleep(every)
            offset = part.next

    def studies(self) -> list[models.StudySummary]:
        """Return all studies."""
        return self._get("studies", models.StudyList).studies

    def study(self, name: str) -> models.StudyDetail:
        """Return a study with its cells."""
        return self._get(f"studies/{name}", models.StudyDetail)

    def trials(self, name: str, **query: str | int | None) -> Iterator[models.TrialRow]:
        """Yield a study's trials, page by page; ``query``: status, arm, seed, text, sort, limit."""
        cursor = None
        while True:
            page = self._get(f"studies/{name}/trials", models.TrialPage, cursor=cursor, **query)
            yield from page.trials
            if (cursor := page.next) is None:
                return

    def trial(self, name: str, key: str) -> models.TrialDetail:
        """Return one trial."""
        return self._get(f"studies/{name}/trials/{key}", models.TrialDetail)

    def curves(
        self, name: str, metric: str | None = None, group: Literal["arm", "trial"] = "arm", limit: int = 60
    ) -> models.Curves:
        """Return learning curves, at most 300 points each."""
        return self._get(f"studies/{name}/curves", models.Curves, metric=metric, group=group, limit=limit)

    def effects(self, name: str, metric: str | None = None) -> models.Effects:
        """Return each arm against the reference arm."""
        return self._get(f"studies/{name}/effects", models.Effects, metric=metric)

    def file(self, name: str, path: str) -> bytes:
        """Return a file of a study, such as ``trials.parquet``."""
        return self._request("GET", f"studies/{name}/files/{path}").content

    def _get(self, path: str, kind: type[M], **query: str | int | None) -> M:
        known = {key: value for key, value in query.items() if value is not None}
        return _document(self._request("GET", path, params=known), kind)

    def _post(
        self, path: str, body: Mapping[str, Any] | None, kind: type[M], headers: Mapping[str, str] | None = None
    ) -> M:
        return _document(self._request("POST", path, json=body, headers=headers or {}), kind)

    def _request(self, method: str, path: str, headers: Mapping[str, str] | None = None, **more: Any) -> httpx.Response:
        url = f"{self._url}/api/v1/{path}"
        try:
            answer = self._http.request(method, url, headers={**self._headers, **(headers or {})}, **more)
        except httpx.InvalidURL as error:
            raise StudyError(f"`--server` is {self._url!r}, which is not an address: {error}") from None
        except httpx.HTTPError as error:
            raise StudyError(f"{self._url} does not answer: {error}; is `tune-app serve` running there?") from None
        if answer.is_success:
            return answer
        raise StudyError(_refusal(answer))


def submission(study: str | Path | Mapping[str, Any], size: str | None, overrides: Sequence[str]) -> dict[str, Any]:
    """Return the body of a request: a file's text is sent, everything else as it is."""
    if isinstance(study, Mapping):
        content: Any = dict(study)
    elif isinstance(study, Path) or ("\n" not in study and len(study) < 1000 and Path(study).is_file()):
        try:
            content = Path(study).read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise StudyError(f"{study}: byte {error.start + 1} is not UTF-8 text; save the file as UTF-8") from None
    else:
        content = study
    return {"study": content, "size": size, "overrides": list(overrides)}


def _document(answer: httpx.Response, kind: type[M]) -> M:
    """Return the document that an answer holds; StudyError where it is a proxy's page or of another release."""
    try:
        return kind.model_validate_json(answer.content)
    except ValidationError:
        raise StudyError(
            f"{answer.url} answers with something else than a {kind.__name__}; check that `--server` is the address of "
            "a `tune-app serve` of this release"
        ) from None


def _refusal(answer: httpx.Response) -> str:
    try:
        found = answer.json()
        return str(found["detail"])
    except (ValueError, KeyError, TypeError):
        return f"{answer.url} answers {answer.status_code} {answer.reason_phrase}"
