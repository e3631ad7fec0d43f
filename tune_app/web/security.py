"""The outermost layer of every request: Host allow-list, cross-origin refusal, body size limit, security headers."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tune_app.web.problems import problem
from tune_app.web.settings import Settings

HEALTH = "/api/v1/healthz"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; form-action 'self'; frame-src 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": CONTENT_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


class Guard:
    """ASGI middleware that refuses what no route should see."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app, self._settings = app, settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer with the reason for refusing it."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)

        async def guarded_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._add_headers(MutableHeaders(scope=message))
            await send(message)

        refusal = self._refusal(scope, headers)
        if refusal is not None:
            status, detail = refusal
            await problem(status, detail)(scope, receive, guarded_send)
            return
        await self._app(scope, self._limited(receive), guarded_send)

    def _refusal(self, scope: Scope, headers: Headers) -> tuple[int, str] | None:
        host = headers.get("host", "")
        if scope["path"] != HEALTH and _name(host) not in self._settings.allowed_hosts:
            return 421, "the Host header names another host than this service; add it by --allow-host if it is right"
        if scope["method"] not in SAFE_METHODS and not _same_origin(headers, host):
            return 403, "the request comes from another origin"
        length = headers.get("content-length", "0")
        if not length.isdecimal():
            return 400, "Content-Length is not a number"
        return (413, self._too_large()) if int(length) > self._settings.limits.body_bytes else None

    def _too_large(self) -> str:
        return f"the request body is larger than {self._settings.limits.body_bytes:,} bytes"

    def _limited(self, receive: Receive) -> Receive:
        received = 0

        async def limited() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._settings.limits.body_bytes:
                raise HTTPException(413, self._too_large())
            return message

        return limited

    def _add_headers(self, headers: MutableHeaders) -> None:
        for name, value in HEADERS.items():
            headers.setdefault(name, value)
        headers.setdefault("Cache-Control", "no-store")
        if self._settings.is_secure:
            headers.setdefault("Strict-Transport-Security", "max-age=31536000")


def _name(host: str) -> str:
    """Return a Host header without its port: "localhost:8600" -> "localhost", "[::1]:8600" -> "[::1]"."""
    name, colon, port = host.rpartition(":")
    return (name if colon and port.isdecimal() else host).lower()


def _same_origin(headers: Headers, host: str) -> bool:
    """Return whether the headers that browsers send with a request are absent or name this origin.

    Browsers cannot leave them out of unsafe requests. A request signed in by a cookie must have one of them: see
    `tune_app.web.access`.
    """
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None:
        return site == "same-origin"
    return origin is None or urlsplit(origin).netloc.lower() == host.lower()
