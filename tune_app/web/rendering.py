"""Templates, the static files, and error pages."""

from __future__ import annotations

import hashlib
import mimetypes
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
from fastapi import Request
from fastapi.responses import HTMLResponse

from tune_app.web.access import identify
from tune_app.web.forms import local_target
from tune_app.web.text import FILTERS
from tune_app.web.tokens import Identity

_HERE = Path(__file__).parent
_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.FileSystemLoader(_HERE / "templates"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.filters.update(FILTERS)


def _static_files() -> dict[str, tuple[bytes, str]]:
    folder = _HERE / "static"
    paths = [path for path in sorted(folder.rglob("*")) if path.suffix in (".js", ".css", ".svg")]
    return {path.name: (path.read_bytes(), mimetypes.guess_type(path.name)[0] or "text/plain") for path in paths}


STATIC: Mapping[str, tuple[bytes, str]] = _static_files()
"""Name -> content and media type of the style sheets and scripts."""
_VERSION = {name: hashlib.sha256(content).hexdigest()[:12] for name, (content, _) in STATIC.items()}
_ENVIRONMENT.globals["static"] = lambda name: f"/static/{name}?v={_VERSION[name]}"


def render(template: str, **context: Any) -> str:
    """Return a template's text; every value is escaped."""
    return _ENVIRONMENT.get_template(template).render(**context)


def page(request: Request, template: str, status: int = 200, **context: Any) -> HTMLResponse:
    """Return a page with its frame: navigation by what the signed-in token may do."""
    who = context.pop("who", None) or _known(request)
    path = request.url.path
    return HTMLResponse(render(template, who=who, path=path, **context), status_code=status)


def _known(request: Request) -> Identity | None:
    """Return who makes a request as its route found out; a wrong token is not tried, and counted, once more."""
    if "authorization" in request.headers or hasattr(request.state, "who"):
        who: Identity | None = getattr(request.state, "who", None)
        return who
    return identify(request)


def error_page(request: Request, status: int, title: str, detail: str) -> HTMLResponse:
    """Return a page that says what is wrong."""
    return page(request, "error.html", status, title=title, detail=detail)


def sign_in_page(target: str, message: str = "", status: int = 401) -> HTMLResponse:
    """Return the sign-in page, which leads to ``target`` where that is a path of this site."""
    context = {"message": message, "target": local_target(target), "who": None, "path": "/login"}
    return HTMLResponse(render("login.html", **context), status_code=status)
