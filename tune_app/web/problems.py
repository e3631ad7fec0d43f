"""Errors as RFC 9457 problem details: status, title, detail, and for mistakes in a study the path, value and remedy."""

from __future__ import annotations

import re
from typing import Any

from fastapi import FastAPI, Request
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.responses import Response

from search_spaces.errors import StudyError, dotted
from tune_app.storage import StorageError
from tune_app.web.run_models import Problem, StudyMistake

MEDIA_TYPE = "application/problem+json"
_TITLES = {
    400: "Bad request",
    401: "A token is needed",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    409: "Conflict",
    413: "Request too large",
    415: "Unsupported media type",
    421: "Unknown host",
    422: "Invalid request",
    429: "Too many requests",
    503: "Not available",
}
_ONE = re.compile(r"`(?P<path>[^`]+)` is (?P<value>.+?), but must be (?P<allowed>.+)", re.DOTALL)
_KEY = re.compile(r"`(?P<path>[^`]+)` is not a known key(?:.*?; allowed here: (?P<allowed>.+))?", re.DOTALL)
_ORIGIN = re.compile(r" \(from `([^`]+)`\)$")
_MISSING = re.compile(r"`(?P<path>[^`]+)` is missing")
_PLACE = re.compile(r"`(?P<path>[^`]+)`")
_LINE = re.compile(r"\bline (\d+)(?:, column (\d+))?")


class ProblemError(Exception):
    """A request that is refused, with the status and a sentence for the client."""

    def __init__(self, status: int, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, headers or {}


class NotModified(Exception):  # noqa: N818 - not an error: an answer
    """The client has the current version already."""

    def __init__(self, tag: str) -> None:
        super().__init__(tag)
        self.tag = tag


def mistakes_in(message: str) -> list[StudyMistake]:
    """Return each mistake that a StudyError names, with path, value, what is allowed and line where it has them."""
    return [_mistake(line) for line in message.splitlines() if line.strip()]


def _mistake(text: str) -> StudyMistake:
    found: dict[str, Any] = {"message": text}
    origin = _ORIGIN.search(text)
    rule = text[: origin.start()] if origin else text
    for pattern in (_ONE, _KEY, _MISSING, _PLACE):
        if match := pattern.search(rule):
            parts = {name: value for name, value in match.groupdict().items() if value is not None}
            found |= {name: value.split(" (did you mean ")[0] for name, value in parts.items()}
            break
    if origin:
        found["path"] = origin[1]
    if line := _LINE.search(text):
        found["line"] = int(line[1])
        found["column"] = int(line[2]) if line[2] else None
    return StudyMistake(**found)


def problem(status: int, detail: str, headers: dict[str, str] | None = None, **more: Any) -> JSONResponse:
    """Return a problem-details response."""
    body = Problem(title=_TITLES.get(status, "Error"), status=status, detail=detail, **more)
    content = jsonable_encoder(body.model_dump(exclude_none=True))
    return JSONResponse(content, status_code=status, headers=headers, media_type=MEDIA_TYPE)


def _refusal(
    request: Request, status: int, detail: str, headers: dict[str, str] | None = None, **more: Any
) -> Response:
    """Return problem details, or a page that says the same where a page was asked for."""
    error_page = getattr(request.app.state, "error_page", None)
    if error_page is None or request.url.path.startswith("/api/"):
        return problem(status, detail, headers, **more)
    answer: Response = error_page(request, status, _TITLES.get(status, "Error"), detail)
    answer.headers.update(headers or {})
    return answer


def add_handlers(app: FastAPI) -> None:
    """Answer every refusal of the application with problem details."""

    @app.exception_handler(ProblemError)
    def _refused(request: Request, error: ProblemError) -> Response:
        return _refusal(request, error.status, error.detail, error.headers)

    @app.exception_handler(NotModified)
    def _not_modified(request: Request, error: NotModified) -> Response:
        return Response(status_code=304, headers={"ETag": error.tag, "Cache-Control": "private, no-cache"})

    @app.exception_handler(StorageError)
    def _unavailable(request: Request, error: StorageError) -> Response:
        return _refusal(request, 503, str(error))

    @app.exception_handler(StudyError)
    def _study_error(request: Request, error: StudyError) -> Response:
        return _refusal(request, 422, str(error), mistakes=mistakes_in(str(error)))

    @app.exception_handler(RequestValidationError)
    def _invalid(request: Request, error: RequestValidationError) -> Response:
        found = [
            StudyMistake(message=str(one["msg"]), path=dotted(one["loc"]), value=repr(one.get("input"))[:200])
            for one in error.errors()
        ]
        return _refusal(request, 422, "; ".join(f"{one.path}: {one.message}" for one in found), mistakes=found)

    @app.exception_handler(HTTPException)
    def _http(request: Request, error: HTTPException) -> Response:
        return _refusal(request, error.status_code, str(error.detail), dict(error.headers or {}))
