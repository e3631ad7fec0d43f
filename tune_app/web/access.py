"""Who may call a route: every route has a scope, and a request needs a token whose scope includes it."""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

from tune_app.web.problems import ProblemError
from tune_app.web.security import SAFE_METHODS
from tune_app.web.tokens import Identity, Scope, Tokens

COOKIE = "tune_app_session"
PUBLIC = "public"
"""The scope of a route that needs no token: health, sign-in, and the style and scripts of the sign-in page."""


class SignInNeeded(Exception):  # noqa: N818 - leads to the sign-in page
    """A page was asked for without a valid session."""


class Failures:
    """Counts failed attempts to identify, by client address, so that tokens cannot be tried in bulk."""

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._times: dict[str, deque[float]] = defaultdict(deque)

    def note(self, client: str) -> None:
        """Note a failed attempt."""
        self._times[client].append(time.monotonic())

    def refuse_many(self, client: str) -> None:
        """Raise a 429 problem where a client failed too often within the last minute."""
        times = self._times.get(client)
        if times is None:
            return
        while times and time.monotonic() - times[0] > 60:
            times.popleft()
        if not times:
            self._times.pop(client, None)
        elif len(times) >= self._per_minute:
            raise ProblemError(429, "too many failed attempts; wait a minute", {"Retry-After": "60"})


def client_of(request: Request) -> str:
    """Return the client's address."""
    return request.client.host if request.client else "unknown"


def identify(request: Request) -> Identity | None:
    """Return who makes a request: by ``Authorization: Bearer``, else by the session cookie."""
    tokens: Tokens = request.app.state.service.tokens
    failures: Failures = request.app.state.service.failures
    header = request.headers.get("authorization")
    if header is not None:
        failures.refuse_many(client_of(request))
        kind, _, token = header.partition(" ")
        found = tokens.identify(token.strip()) if kind.lower() == "bearer" else None
        if found is None:
            failures.note(client_of(request))
        return found
    secret = request.cookies.get(COOKIE)
    return tokens.of_session(secret) if secret else None


class Needs:
    """A route's dependency that admits requests of a scope and returns their identity."""

    def __init__(self, scope: Scope, page: bool = False) -> None:
        self.scope, self._page = scope, page

    def __call__(self, request: Request) -> Identity:
        """Return the identity; 401 without a valid token, 403 for a smaller scope."""
        request.state.who = None
        identity = request.state.who = identify(request)
        if identity is None and self._page and "authorization" not in request.headers:
            raise SignInNeeded
        if identity is None:
            raise ProblemError(
                401,
                "send a valid token as `Authorization: Bearer TOKEN`, or sign in at /login",
                {"WWW-Authenticate": 'Bearer realm="tune-app"'},
            )
        if identity.by_cookie and request.method not in SAFE_METHODS and not _from_browser(request):
            raise ProblemError(403, "a request with a session cookie must have Origin or Sec-Fetch-Site")
        if not identity.may(self.scope):
            raise ProblemError(403, f"this needs a token of scope {self.scope}; yours has scope {identity.scope}")
        return identity


def _from_browser(request: Request) -> bool:
    return "origin" in request.headers or "sec-fetch-site" in request.headers


Reader = Annotated[Identity, Depends(Needs("read"))]
Runner = Annotated[Identity, Depends(Needs("run"))]
Admin = Annotated[Identity, Depends(Needs("admin"))]
PageReader = Annotated[Identity, Depends(Needs("read", page=True))]
PageRunner = Annotated[Identity, Depends(Needs("run", page=True))]
PageAdmin = Annotated[Identity, Depends(Needs("admin", page=True))]


def public(endpoint: Callable[..., Any]) -> Callable[..., Any]:
    """Mark an endpoint as one that needs no token."""
    endpoint.__dict__["scope"] = PUBLIC
    return endpoint


def scope_of(route: APIRoute) -> str | None:
    """Return the scope that a route needs, "public", or None where it has no rule."""
    needs = [one.call.scope for one in route.dependant.dependencies if isinstance(one.call, Needs)]
    return needs[0] if needs else getattr(route.endpoint, "scope", None)


def require_rules(routes: Iterable[BaseRoute]) -> None:
    """Fail where a route says neither which scope it needs nor that it is public."""
    for route in routes:
        assert isinstance(route, APIRoute), f"route {route} cannot be checked for a scope"
        assert scope_of(route) is not None, f"route {route.path} has no scope"
