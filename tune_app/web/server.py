"""Run the application with uvicorn."""

from __future__ import annotations

import socket
from collections.abc import Callable

import uvicorn

from search_spaces.errors import StudyError
from tune_app.web.app import create_app
from tune_app.web.settings import Settings


def run_server(settings: Settings, ready: Callable[[str, bool], None]) -> None:
    """Serve until the process is interrupted; ``ready(url, new_token)`` is called when the port is open.

    Raises StudyError where the settings are unsafe, or the address is in use.
    """
    app = create_app(settings)
    service = app.state.service
    try:
        listening = _listen(settings)
        new_token = service.tokens.ensure_admin(settings.token_path)
        ready(settings.url, new_token)
        config = uvicorn.Config(
            app,
            log_level="warning",
            server_header=False,
            proxy_headers=settings.behind_proxy,
            ssl_certfile=str(settings.tls_cert) if settings.tls_cert else None,
            ssl_keyfile=str(settings.tls_key) if settings.tls_key else None,
            limit_concurrency=500,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=5,
            ws="none",
        )
        uvicorn.Server(config).run(sockets=[listening])
    finally:
        service.close()


def _listen(settings: Settings) -> socket.socket:
    """Return a listening socket, so that an address in use is known before anything else."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((settings.host, settings.port))
    except OSError as error:
        listening.close()
        raise StudyError(
            f"{settings.host}:{settings.port} cannot be listened on: {error.strerror}; choose another --port"
        ) from None
    return listening
