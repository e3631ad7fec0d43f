"""The application: routes, handlers of errors, and the layers around them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tune_app.web import api_runs, api_studies, api_system, pages, pages_actions
from tune_app.web.access import require_rules
from tune_app.web.problems import add_handlers
from tune_app.web.security import Guard
from tune_app.web.service import Service
from tune_app.web.settings import Settings

_METHODS = ("GET", "HEAD", "POST", "DELETE", "PUT", "PATCH", "OPTIONS")


def create_app(settings: Settings) -> FastAPI:
    """Return the application; StudyError where the settings are unsafe or its state cannot be opened."""
    service = Service(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service.start()
        yield
        service.close()

    app = FastAPI(
        title="tune-app",
        version="1",
        summary="Studies, their trials and effects; validate, plan, start and stop runs.",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        lifespan=lifespan,
        middleware=[Middleware(_Counter, service=service), Middleware(Guard, settings=settings)],
    )
    app.state.service = service
    for module in (api_studies, api_runs, api_system, pages, pages_actions):
        app.router.routes.extend(module.router.routes)  # flat, so that `require_rules` sees each route
    add_handlers(app)
    pages.add_handlers(app)
    require_rules(app.routes)
    return app


class _Counter:
    """ASGI middleware that counts answers by method and status."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app, self._service = app, service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                method = scope["method"] if scope["method"] in _METHODS else "other"
                with self._service.lock:
                    self._service.requests[method, message["status"]] += 1
            await send(message)

        await self._app(scope, receive, counted if scope["type"] == "http" else send)
